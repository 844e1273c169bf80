import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil

SPACING = (0.3, 0.2, 0.5)
CASES = [
    ((6,), ("dirichlet",)),
    ((5,), ("neumann",)),
    ((2,), ("periodic",)),
    ((1, 5), ("dirichlet", "neumann")),
    ((5, 4), ("periodic", "dirichlet")),
    ((4, 3), ("neumann", "periodic")),
    ((1, 3), ("periodic", "neumann")),
    ((3, 4, 2), ("dirichlet", "periodic", "neumann")),
]


def coefficient(shape, boundaries, seed=0):
    """Positive random coefficient, with boundary nodes on Dirichlet axes."""
    extended = [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)]
    return np.random.default_rng(seed).uniform(0.5, 3.0, size=extended)


def boundary_values(shape):
    return np.random.default_rng(1).normal(size=shape)


def assemble(a, shape, boundaries, kind):
    """The matrix on the unknowns and the one onto boundary nodes, point by point from their definition."""
    mean = {"harmonic": lambda p, q: 2 / (1 / p + 1 / q), "arithmetic": lambda p, q: (p + q) / 2}[kind]
    offset = np.array([int(b == "dirichlet") for b in boundaries])
    matrix, lift = np.zeros((*shape, *shape)), np.zeros((*shape, *a.shape))
    for point in itertools.product(*map(range, shape)):
        for axis, step in itertools.product(range(len(shape)), (-1, 1)):
            neighbour = list(point)
            neighbour[axis] += step
            outside = not 0 <= neighbour[axis] < shape[axis]
            if outside and boundaries[axis] == "neumann":
                continue
            if boundaries[axis] == "periodic":
                neighbour[axis] %= shape[axis]
            node = tuple(np.add(neighbour, offset))
            weight = mean(a[tuple(np.add(point, offset))], a[node]) / SPACING[axis] ** 2
            matrix[point + point] += weight
            if outside and boundaries[axis] == "dirichlet":
                lift[point + node] += weight
            else:
                matrix[point + tuple(neighbour)] -= weight
    n = int(np.prod(shape))
    return matrix.reshape(n, n), lift.reshape(n, -1)


@functools.cache
def build(shape, boundaries):
    """Matrices of the operators, column by column in float64: {kind: (diffusion, diagonal, lift of g), "unit": …}."""
    spacing, a = SPACING[: len(shape)], coefficient(shape, boundaries)
    n = int(np.prod(shape))

    def columns(operator, identity):
        return jax.vmap(operator)(identity).reshape(n, n).T

    @jax.jit
    def kernels(a, g, identity):
        result = {"unit": columns(lambda u: stencil.apply_laplacian(u, spacing, boundaries), identity)}
        for kind in ("harmonic", "arithmetic"):
            faces = stencil.face_means(a, boundaries, kind)
            diffusion = columns(lambda u, f=faces: stencil.apply_diffusion(u, f, spacing, boundaries), identity)
            diagonal = stencil.diffusion_diagonal(faces, spacing, boundaries)
            result[kind] = (diffusion, diagonal, stencil.boundary_lift(g, faces, spacing, boundaries))
        return result

    with jax.enable_x64(True):
        result = kernels(*map(jnp.asarray, (a, boundary_values(a.shape), np.eye(n).reshape(n, *shape))))
    return jax.tree.map(np.asarray, result)


@pytest.mark.parametrize("kind", ["harmonic", "arithmetic"])
@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_equals_an_independently_assembled_matrix(shape, boundaries, kind):
    a = coefficient(shape, boundaries)
    expected, lift_matrix = assemble(a, shape, boundaries, kind)
    matrix, diagonal, lift = build(shape, boundaries)[kind]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    assert diagonal.shape == lift.shape == shape
    np.testing.assert_allclose(diagonal.ravel(), np.diag(expected), atol=1e-12)
    np.testing.assert_allclose(lift.ravel(), lift_matrix @ boundary_values(a.shape).ravel(), atol=1e-12)


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_laplacian_is_the_diffusion_of_a_unit_coefficient(shape, boundaries):
    expected, _ = assemble(np.ones_like(coefficient(shape, boundaries)), shape, boundaries, "arithmetic")
    np.testing.assert_allclose(build(shape, boundaries)["unit"], expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_symmetric_and_definite_as_documented(shape, boundaries):
    matrix, _, _ = build(shape, boundaries)["harmonic"]
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13)
    eigenvalues = np.linalg.eigvalsh(matrix)
    if "dirichlet" in boundaries:
        assert eigenvalues[0] > 0.1
    else:
        np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-12)
        assert eigenvalues[1] > 0.1


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_laplacian_is_second_order_consistent(boundary):
    errors = []
    for n in (16, 32, 64):
        points, function, wave = {
            "dirichlet": (np.arange(1, n) / n, np.sin, np.pi),
            "neumann": ((np.arange(n) + 0.5) / n, np.cos, np.pi),
            "periodic": (np.arange(n) / n, np.sin, 2 * np.pi),
        }[boundary]
        u = function(wave * points)
        laplacian = jax.jit(lambda u, h=1 / n: stencil.apply_laplacian(u, (h,), (boundary,)))
        with jax.enable_x64(True):
            errors.append(abs(np.asarray(laplacian(jnp.asarray(u))) - wave**2 * u).max())
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.2)


@pytest.mark.parametrize(("second", "kind"), [("neumann", "harmonic"), ("periodic", "arithmetic")])
def test_manufactured_solution_with_boundary_values_is_second_order(second, kind):
    """−∇·(a∇u) = f on (0, 1)², u given and nonzero at x = 0 and 1, f derived by automatic differentiation."""

    def u(p):
        return jnp.exp(p[0]) * jnp.cos(2 * jnp.pi * p[1]) + p[0]

    def a(p):
        return 1.5 + jnp.sin(p[0]) + 0.5 * jnp.cos(2 * jnp.pi * p[1])

    def f(p):
        return -jnp.trace(jax.jacfwd(lambda q: a(q) * jax.grad(u)(q))(p))

    boundaries, errors = ("dirichlet", second), []
    with jax.enable_x64(True):
        for n in (8, 16, 32):
            x, y = np.arange(n + 1) / n, (np.arange(n) + 0.5 * (second == "neumann")) / n
            nodes = np.stack(np.meshgrid(x, y, indexing="ij"), -1)

            @jax.jit
            def discretise(nodes, n=n):
                a_, g, f_ = (jax.vmap(jax.vmap(function))(nodes) for function in (a, u, f))
                faces = stencil.face_means(a_, boundaries, kind)
                shape, spacing = (n - 1, n), (1 / n, 1 / n)
                b = f_[1:-1] + stencil.boundary_lift(g, faces, spacing, boundaries)
                identity = jnp.eye(b.size).reshape(b.size, *shape)
                columns = jax.vmap(lambda v: stencil.apply_diffusion(v, faces, spacing, boundaries))(identity)
                return columns.reshape(b.size, b.size).T, b.ravel(), g[1:-1].ravel()

            matrix, b, exact = map(np.asarray, discretise(nodes))
            errors.append(np.sqrt(np.mean((np.linalg.solve(matrix, b) - exact) ** 2)))
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.2)


def test_harmonic_means_are_exact_for_layers():
    # −(a u')' = 0 on nodes (i + ½)/11 with a = 1 left of x = 6/11 (a face) and 10 right of it, continued to u(0) = 0 and
    # u(1) = 1: the flux is constant.
    points = (np.arange(11) + 0.5) / 11
    left = points < 6 / 11
    flux = 1 / (6 / 11 + 5 / 11 / 10)
    exact = np.where(left, flux * points, 1 - flux / 10 * (1 - points))

    @jax.jit
    def residual(a, u):
        faces = stencil.face_means(a, ("dirichlet",), "harmonic")
        lift = stencil.boundary_lift(u, faces, (1 / 11,), ("dirichlet",))
        return stencil.apply_diffusion(u[1:-1], faces, (1 / 11,), ("dirichlet",)) - lift

    with jax.enable_x64(True):
        np.testing.assert_allclose(residual(jnp.where(left, 1.0, 10.0), jnp.asarray(exact)), 0, atol=1e-11)


@pytest.mark.parametrize(("shape", "boundaries"), [CASES[3], CASES[7]])
def test_gradients_match_finite_differences(shape, boundaries):
    spacing = SPACING[: len(shape)]

    def loss(arguments):
        u, a, g = arguments
        faces = stencil.face_means(a, boundaries, "harmonic")
        residual = stencil.apply_diffusion(u, faces, spacing, boundaries)
        residual -= stencil.boundary_lift(g, faces, spacing, boundaries)
        return jnp.sum(residual**3 / stencil.diffusion_diagonal(faces, spacing, boundaries))

    @jax.jit
    def derivatives(arguments, direction):
        h = 1e-5
        moved = [jax.tree.map(lambda x, v, s=s: x + s * h * v, arguments, direction) for s in (1, -1)]
        gradient = jax.grad(loss)(arguments)
        along = sum(jnp.vdot(d, v) for d, v in zip(gradient, direction, strict=True))
        return along, (loss(moved[0]) - loss(moved[1])) / (2 * h)

    rng, a = np.random.default_rng(2), coefficient(shape, boundaries)
    arguments = (rng.normal(size=shape), a, boundary_values(a.shape))
    with jax.enable_x64(True):
        direction = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in arguments)
        np.testing.assert_allclose(*derivatives(tuple(map(jnp.asarray, arguments)), direction), rtol=1e-6)


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_float32_under_vmap_keeps_its_dtype_and_agrees_with_float64(boundary):
    boundaries = (boundary, boundary)
    a, u = coefficient((6, 5), boundaries), np.random.default_rng(0).normal(size=(3, 6, 5))
    matrix, _ = assemble(a, (6, 5), boundaries, "arithmetic")

    def apply(u, a):
        return stencil.apply_diffusion(u, stencil.face_means(a, boundaries, "arithmetic"), SPACING[:2], boundaries)

    batched = jax.jit(jax.vmap(apply, in_axes=(0, None)))
    expected = u.reshape(3, -1) @ matrix.T
    for x64 in (False, True):  # float32 stays float32 where doubles are allowed
        with jax.enable_x64(x64):
            result = batched(jnp.asarray(u, jnp.float32), jnp.asarray(a, jnp.float32))
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(result).reshape(3, -1), expected, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_compiles_to_one_loop(boundary):
    boundaries = (boundary, boundary)
    u, faces = jnp.ones((8, 8)), stencil.unit_faces((8, 8), boundaries, jnp.float32)
    function = jax.jit(lambda u, faces: stencil.apply_diffusion(u, faces, (1.0, 1.0), boundaries))
    assert function.lower(u, faces).compile().as_text().count(" fusion(") <= 1


@pytest.mark.parametrize("boundaries", [("dirichlet", "neumann"), ("periodic", "dirichlet")])
def test_exports_for_every_platform_without_callbacks_or_doubles(boundaries):
    def loss(u, a, g):
        faces = stencil.face_means(a, boundaries, "harmonic")
        residual = stencil.apply_diffusion(u, faces, SPACING[:2], boundaries)
        residual -= stencil.boundary_lift(g, faces, SPACING[:2], boundaries)
        residual += stencil.apply_laplacian(u, SPACING[:2], boundaries)
        return jnp.sum(residual**2 / stencil.diffusion_diagonal(faces, SPACING[:2], boundaries))

    points = jax.ShapeDtypeStruct(coefficient((4, 5), boundaries).shape, jnp.float32)
    arguments = (jax.ShapeDtypeStruct((4, 5), jnp.float32), points, points)
    function = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    text = jax.export.export(function, platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text and "complex" not in text


def test_wrong_use_is_named():
    u, boundaries = jnp.ones((3, 4)), ("dirichlet", "neumann")
    faces = stencil.unit_faces((3, 4), boundaries)
    with pytest.raises(ValueError, match=r"need faces \[\(4, 4\), \(3, 3\)\]"):
        stencil.apply_diffusion(u, faces[::-1], (1.0, 1.0), boundaries)
    with pytest.raises(ValueError, match="zip"):
        stencil.apply_diffusion(u, faces, (1.0,), boundaries)
    with pytest.raises(ValueError, match="need one of"):
        stencil.apply_laplacian(u, (1.0, 1.0), ("neumann",))
    face_means = getattr(stencil.face_means, "__wrapped__", stencil.face_means)
    with pytest.raises(ValueError, match="kind must be"):
        face_means(u, boundaries, "geometric")
    with pytest.raises(ValueError, match="need one of"):
        face_means(u, ("dirichlet", "robin"), "harmonic")
