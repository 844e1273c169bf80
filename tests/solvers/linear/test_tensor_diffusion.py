"""Diffusion with a full tensor: order of accuracy, definiteness, derivatives, iterations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.linear import CG, SmoothedAggregation, Status, solve, tensor_diffusion


def rotated(angle: float, ratio: float) -> np.ndarray:
    """Conductivities 1 and `ratio` along axes turned by `angle`."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([1.0, ratio]) @ turn.T


def constant(tensor, cells) -> jax.Array:
    return jnp.asarray(np.broadcast_to(tensor, (*cells, *tensor.shape)))


def errors(boundaries) -> list[float]:
    """Of the solution sin(2πx + 1) sin(2πy + …) at two resolutions, with K = a tensor that varies in x."""
    found = []
    for n in (16, 32):
        h = 1 / n
        middles = (np.arange(n) + 0.5) * h
        base = rotated(0.5, 0.1)
        factor = 1 + 0.5 * np.sin(2 * np.pi * middles)
        tensor = jnp.asarray(factor[:, None, None, None] * np.broadcast_to(base, (n, n, 2, 2)))
        operator = tensor_diffusion(tensor, (h, h), boundaries)
        nodes = [np.arange(b == "dirichlet", n) * h for b in boundaries]

        def exact(x, y):
            return jnp.sin(2 * jnp.pi * x) * jnp.sin(2 * jnp.pi * y)

        def force(x, y, base=base, exact=exact):
            def flux(x, y):
                return (1 + 0.5 * jnp.sin(2 * jnp.pi * x)) * (base @ jnp.stack(jax.grad(exact, (0, 1))(x, y)))

            along = jax.jacfwd(flux, (0, 1))(x, y)
            return -(along[0][0] + along[1][1])

        x, y = np.meshgrid(*nodes, indexing="ij")
        b = jax.vmap(jax.vmap(force))(jnp.asarray(x), jnp.asarray(y))
        wanted = exact(x, y)
        found.append(float(abs(operator.mv(wanted) - b).max()))
        if "dirichlet" in boundaries:
            solution = solve(operator, b, CG(rtol=1e-10))
            found[-1] = float(jnp.sqrt(((solution.value - wanted) ** 2).mean()))
    return found


@pytest.mark.nightly
@pytest.mark.parametrize(
    "boundaries",
    [
        pytest.param(("dirichlet", "dirichlet"), marks=pytest.mark.nightly),
        pytest.param(("periodic", "dirichlet"), marks=pytest.mark.nightly),
        ("periodic", "periodic"),
    ],
)
def test_second_order(boundaries):
    with jax.enable_x64(True):
        coarse, fine = errors(boundaries)
    assert 1.8 < np.log2(coarse / fine) < 2.2


@pytest.mark.nightly
def test_without_rotation_it_is_the_sum_of_both_directions():
    """K = diag(1, 2), and in space; constants and linear functions have no divergence inside."""
    with jax.enable_x64(True):
        operator = tensor_diffusion(constant(np.diag([1.0, 2.0]), (6, 7)), (0.2, 0.5), ("dirichlet", "dirichlet"))
        x, y = jnp.meshgrid(jnp.arange(1.0, 6) * 0.2, jnp.arange(1.0, 7) * 0.5, indexing="ij")
        inner = (slice(1, -1), slice(1, -1))
        np.testing.assert_allclose(operator.mv(x * y + 1)[inner], 0, atol=1e-12)
        np.testing.assert_allclose(operator.mv(x**2 + y**2)[inner], -2 - 4, atol=1e-11)
        space = tensor_diffusion(constant(np.eye(3), (4, 4, 4)), (1.0, 1.0, 1.0), ("dirichlet",) * 3)
        assert space.in_structure().shape == (3, 3, 3)
        np.testing.assert_allclose(space.diagonal(), 8 / 3, rtol=1e-12)


def test_positive_definite_for_strong_rotated_anisotropy():
    with jax.enable_x64(True):
        operator = tensor_diffusion(constant(rotated(0.6, 1e-5), (12, 12)), (0.1, 0.2), ("dirichlet", "periodic"))
        dense = np.asarray(operator.as_matrix())
        np.testing.assert_allclose(dense, dense.T, atol=1e-12)
        assert np.linalg.eigvalsh(dense).min() > 0 and operator.symmetric


@pytest.mark.nightly
def test_smoothed_aggregation_follows_the_rotated_direction():
    with jax.enable_x64(True):
        n = 48
        for ratio, most in ((0.1, 30), (1e-3, 80)):
            operator = tensor_diffusion(constant(rotated(np.pi / 6, ratio), (n, n)), (1 / n,) * 2, ("dirichlet",) * 2)
            b = jnp.asarray(np.random.default_rng(0).normal(size=(n - 1, n - 1)))
            solution = solve(operator, b, CG(SmoothedAggregation(), rtol=1e-8))
            assert solution.status == Status.converged and solution.iterations <= most


def test_derivative_by_the_tensor_under_jit():
    with jax.enable_x64(True):
        tensor = constant(rotated(0.4, 0.2), (8, 8))
        b, w = (jnp.asarray(np.random.default_rng(k).normal(size=(7, 7))) for k in range(2))

        @jax.jit
        def functional(t):
            change = constant(np.array([[1.0, 0.3], [0.3, 0.5]]), (8, 8))
            operator = tensor_diffusion(tensor + t * change, (0.1, 0.1), ("dirichlet",) * 2)
            return jnp.vdot(w, solve(operator, b, CG(rtol=1e-12)).value)

        h = 1e-4
        np.testing.assert_allclose(jax.grad(functional)(0.0), (functional(h) - functional(-h)) / (2 * h), rtol=1e-6)


def test_wrong_arguments_are_named():
    good = constant(np.eye(2, dtype=np.float32), (4, 4))
    for tensor, boundaries, word in (
        (good, ("neumann", "dirichlet"), "'dirichlet' or 'periodic'"),
        (good[..., 0], ("dirichlet",) * 2, r"shape \(\*cells, 2, 2\)"),
        (good[:1], ("dirichlet",) * 2, "2 cells"),
        (good.at[..., 0, 1].set(0.5), ("dirichlet",) * 2, "not symmetric"),
        (good.at[2, 3].mul(-1), ("dirichlet",) * 2, r"cell \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=word):
            tensor_diffusion(tensor, (0.1, 0.1), boundaries)
    with pytest.raises(ValueError, match="spacing must be positive"):
        tensor_diffusion(good, (0.1, -0.1), ("dirichlet",) * 2)
    with pytest.raises(TypeError, match="array of real numbers"):
        tensor_diffusion(good * 1j, (0.1, 0.1), ("dirichlet",) * 2)
    whole = tensor_diffusion(good.astype(int), (0.1, 0.1), ("dirichlet",) * 2)
    np.testing.assert_allclose(whole.values, tensor_diffusion(good, (0.1, 0.1), ("dirichlet",) * 2).values)
