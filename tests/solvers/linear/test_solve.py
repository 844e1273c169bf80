"""Conjugate gradients and the differentiable solve: against dense algebra, finite differences and their own promises."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, FastPoisson, Jacobi, Status, solve, status_message

SHAPE, BOUNDARIES, SPACING = (5, 4), ("dirichlet", "neumann"), (1 / 6, 1 / 4)
A = np.random.default_rng(0).uniform(0.5, 3.0, (7, 4))
B = np.random.default_rng(1).normal(size=SHAPE)
W = np.random.default_rng(2).normal(size=SHAPE)


def diffusion(a, shift=0.0):
    return Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), SHAPE, SPACING, BOUNDARIES, shift)


def dense(a=A, shift=0.0):
    """The matrix in float64."""
    with jax.enable_x64(True):
        return np.asarray(diffusion(jnp.asarray(a), shift).as_matrix())


def paired(x):
    return (jnp.asarray(W, x.dtype) * x).sum()


def natural(**options):
    return CG(FastPoisson(SPACING, BOUNDARIES), norm="natural", **options)


@functools.cache
def compiled(**options):
    """`(a, b, shift) -> Solution` of plain conjugate gradients, for both precisions."""
    return jax.jit(lambda a, b, shift: solve(diffusion(a, shift), b, CG(**options)))


def float32(*arrays):
    return [jnp.asarray(x, jnp.float32) for x in arrays]


# Solutions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["plain", "jacobi", "natural"])
def test_solution_and_residual_against_dense_algebra(x64, method):
    @jax.jit
    def run(a, b):
        operator = diffusion(a, 2.0)
        preconditioned = CG(Jacobi(operator.diagonal()), rtol=1e-10)
        return solve(
            operator, b, {"plain": CG(rtol=1e-10), "jacobi": preconditioned, "natural": natural(rtol=1e-10)}[method]
        )

    solution = run(jnp.asarray(A), jnp.asarray(B))
    matrix = dense(shift=2.0)
    np.testing.assert_allclose(solution.value.ravel(), np.linalg.solve(matrix, B.ravel()), rtol=1e-8, atol=1e-11)
    assert solution.status == Status.converged and 2 < solution.iterations <= B.size
    r = B.ravel() - matrix @ np.ravel(solution.value)
    if method == "natural":
        inverse = np.linalg.inv(dense(np.ones_like(A)))
        expected, start = np.sqrt(r @ inverse @ r), np.sqrt(B.ravel() @ inverse @ B.ravel())
    else:
        expected, start = np.linalg.norm(r), np.linalg.norm(B)
    np.testing.assert_allclose(solution.stats.residual, expected, rtol=1e-2, atol=1e-15)
    assert solution.stats.residual <= 1e-10 * start


@pytest.mark.nightly
def test_natural_norm_with_the_exact_inverse_is_the_energy_norm(x64):
    ones = jnp.ones_like(jnp.asarray(A))
    exact = np.linalg.solve(dense(ones), B.ravel())
    operator, b = diffusion(ones), jnp.asarray(B)
    solution = jax.jit(lambda b: solve(operator, b, natural()))(b)
    assert solution.status == Status.converged and solution.iterations == 1
    error = np.ravel(0.7 * B) - exact
    residual = b - operator.mv(0.7 * b)
    np.testing.assert_allclose(natural().measure(residual), np.sqrt(error @ dense(ones) @ error), rtol=1e-10)


def test_operators_of_lineax_are_solved_too():
    matrix = np.diag([2.0, 3.0, 4.0]) + 0.5
    run = jax.jit(lambda matrix: solve(lx.MatrixLinearOperator(matrix, lx.symmetric_tag), jnp.ones(3)))
    solution = run(*float32(matrix))
    np.testing.assert_allclose(solution.value, np.linalg.solve(matrix, np.ones(3)), rtol=1e-5)


def test_history_holds_the_norm_of_every_iteration():
    solution = compiled(rtol=1e-4, history=True, max_steps=60)(*float32(A, B), 0.0)
    history, k = np.asarray(solution.stats.history), int(solution.iterations)
    assert history.shape == (60,) and np.isfinite(history[:k]).all() and np.isnan(history[k:]).all()
    tolerance = 1e-4 * np.linalg.norm(B)
    assert (history[: k - 1] > tolerance).all() and history[k - 1] <= tolerance
    np.testing.assert_allclose(history[k - 1], solution.stats.residual, rtol=1e-2)
    steepest = np.vdot(B, B) / np.vdot(B.ravel(), dense() @ B.ravel())
    np.testing.assert_allclose(history[0], np.linalg.norm(B.ravel() - steepest * dense() @ B.ravel()), rtol=1e-4)


@pytest.mark.parametrize("size", [1e-25, 1e-13, 1.0, 1e25])
def test_size_of_the_right_hand_side_does_not_matter(size):
    solution = compiled()(*float32(A, size * B), 0.0)
    assert solution.status == Status.converged
    expected = np.linalg.solve(dense(), B.ravel())
    np.testing.assert_allclose(np.ravel(solution.value) / size, expected, atol=1e-4 * abs(expected).max())


def test_compiled_once_for_equal_shapes():
    traces = []

    @jax.jit
    def run(operator, b, method):
        traces.append(1)
        return solve(operator, b, method).value

    for seed in range(3):
        a = np.random.default_rng(seed).uniform(1, 2, A.shape)
        run(diffusion(*float32(a), seed), *float32(B + seed), natural(rtol=10.0 ** -(seed + 1)))
    assert len(traces) == 1


# Statuses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 3])
def test_step_limit(steps):
    solution = compiled(max_steps=steps)(*float32(A, B), 0.0)
    assert solution.status == Status.max_steps and solution.iterations == steps
    residual = np.linalg.norm(B.ravel() - dense() @ np.ravel(solution.value))
    np.testing.assert_allclose(solution.stats.residual, residual, rtol=1e-4)
    assert (residual < np.linalg.norm(B)) == (steps > 0)


def test_breakdown_of_an_indefinite_operator():
    assert np.linalg.eigvalsh(dense(shift=-60.0))[0] < 0 < np.linalg.eigvalsh(dense(shift=-60.0))[-1]
    solution = compiled()(*float32(A, B), -60.0)
    assert solution.status == Status.breakdown and np.isfinite(solution.value).all()
    assert status_message(solution.status).startswith("breakdown: a direction of zero or negative curvature")
    residual = np.linalg.norm(B.ravel() - dense(shift=-60.0) @ np.ravel(solution.value))
    np.testing.assert_allclose(solution.stats.residual, residual, rtol=1e-4)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["b", "a"])
def test_non_finite(where, wrong):
    broken = {"a": A.copy(), "b": B.copy()}
    broken[where][2, 1] = wrong
    solution = compiled()(*float32(broken["a"], broken["b"]), 0.0)
    assert solution.status == Status.non_finite and solution.iterations <= 1


@pytest.mark.filterwarnings("ignore:solve. rtol")
def test_stagnation_at_the_floor_of_float32():
    solution = compiled(rtol=1e-12)(*float32(A, B), 0.0)
    assert solution.status == Status.stagnated and solution.iterations < 200
    expected = np.linalg.solve(dense(), B.ravel())
    np.testing.assert_allclose(np.ravel(solution.value), expected, atol=1e-5 * abs(expected).max())


def test_zero_right_hand_side():
    @jax.jit
    def run(a, b, x0):
        def pairing(a, b):
            solution = solve(diffusion(a), b, x0=x0)
            return paired(solution.value), solution

        (_, solution), gradients = jax.value_and_grad(pairing, (0, 1), has_aux=True)(a, b)
        return solution, gradients

    for x0 in (0 * B, W):
        solution, (to_a, to_b) = run(*float32(A, 0 * B, x0))
        assert solution.status == Status.converged and solution.iterations == 0 and solution.stats.residual == 0
        assert (solution.value == 0).all() and (to_a == 0).all()
        expected = np.linalg.solve(dense(), W.ravel())
        np.testing.assert_allclose(to_b.ravel(), expected, atol=1e-4 * abs(expected).max())


def test_wrong_use_is_named():
    operator = diffusion(*float32(A))
    with pytest.raises(ValueError, match=r"arrays of shape \(5, 4\), the right-hand side has \(4, 5\)"):
        solve(operator, jnp.ones((4, 5)))
    with pytest.raises(ValueError, match="CG needs a symmetric operator, MatrixLinearOperator is not"):
        solve(lx.MatrixLinearOperator(jnp.asarray([[1.0, 1.0], [0.0, 1.0]])), jnp.ones(2), CG())
    with pytest.raises(ValueError, match="max_steps must not be negative, got -1"):
        CG(max_steps=-1)


@pytest.mark.parametrize("sign", [-1.0, np.nan])
def test_a_wrong_preconditioner_ends_the_iteration(sign):
    method = CG(lambda r: sign * r, norm="natural")
    solution = jax.jit(lambda a, b: solve(diffusion(a), b, method))(*float32(A, B))
    assert solution.status == (Status.breakdown if sign == -1 else Status.non_finite)
    assert (solution.value == 0).all()


@pytest.mark.nightly
@pytest.mark.parametrize("scaling", [None, A[1:-1]])
def test_singular_systems_ignore_the_mean_of_a_right_hand_side(x64, scaling):
    """All sides Neumann: a consistent part, a constant and their sum have solutions that differ by rounding."""
    boundaries, spacing = ("neumann", "neumann"), SPACING
    a = jnp.asarray(A[1:-1])
    operator = Diffusion(stencil.face_means(a, boundaries, "harmonic"), SHAPE, spacing, boundaries)
    method = CG(FastPoisson(spacing, boundaries, scaling), rtol=1e-12, norm="natural")
    centred = jnp.asarray(B - B.mean())
    run = jax.jit(lambda b: solve(operator, b, method))
    x = run(centred)
    matrix = np.asarray(operator.as_matrix())
    np.testing.assert_allclose(x.value.ravel(), np.linalg.pinv(matrix) @ centred.ravel(), atol=1e-10)
    shifted = run(centred + 1e3)
    assert x.status == Status.converged
    np.testing.assert_allclose(shifted.value, x.value, atol=1e-10)


@pytest.mark.nightly
@pytest.mark.parametrize("scaled", [False, True])
def test_transforms_in_single_precision_leave_a_solution_in_double_precision(x64, scaled):
    shape, spacing = (24, 20), (1 / 25, 1 / 20)
    a = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3.0, (26, 20)))
    b = jnp.asarray(np.random.default_rng(1).normal(size=shape))
    operator = Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), shape, spacing, BOUNDARIES)
    scaling = a[1:-1] ** -0.5 if scaled else None
    single, double = (FastPoisson(spacing, BOUNDARIES, scaling, dtype=dtype) for dtype in ("float32", None))

    @jax.jit
    def run(b):
        return single(b), double(b), solve(operator, b, CG(single, rtol=1e-13, norm="natural"))

    z, reference, solution = run(b)
    assert z.dtype == jnp.float64
    difference = jnp.abs(z - reference).max() / jnp.abs(reference).max()
    assert 1e-9 < difference < 4 * np.finfo(np.float32).eps
    exact = np.linalg.solve(np.asarray(operator.as_matrix()), b.ravel()).reshape(shape)
    np.testing.assert_allclose(solution.value, exact, atol=1e-12 * np.abs(exact).max())
    assert solution.status == Status.converged


# Starting points ------------------------------------------------------------------------------------------------------


def test_warm_start_saves_iterations_and_gets_no_gradient():
    @jax.jit
    def run(a, b, x0):
        def pairing(b, x0):
            solution = solve(diffusion(a), b, CG(rtol=1e-4), x0=x0)
            return paired(solution.value), solution

        (_, solution), gradients = jax.value_and_grad(pairing, (0, 1), has_aux=True)(b, x0)
        return solution, gradients

    exact = np.linalg.solve(dense(), B.ravel()).reshape(SHAPE)
    runs = [run(*float32(A, B, x0)) for x0 in (0 * B, exact * (1 + 1e-3 * W), exact, 0.1 * W)]
    iterations = [int(solution.iterations) for solution, _ in runs]
    assert iterations[2] <= 1 and iterations[1] < iterations[0] - 3
    adjoint = np.linalg.solve(dense(), W.ravel()).reshape(SHAPE)
    for solution, (to_b, to_x0) in runs:
        assert solution.status == Status.converged and (to_x0 == 0).all()
        np.testing.assert_allclose(solution.value, exact, atol=1e-3 * abs(exact).max())
        np.testing.assert_allclose(to_b, adjoint, atol=1e-3 * abs(adjoint).max())


# Derivatives ----------------------------------------------------------------------------------------------------------


def loss(parameters):
    a, b, shift = parameters
    x = solve(diffusion(a, shift), b, CG(rtol=1e-13)).value
    return jnp.sum(jnp.sin(20 * x)) + paired(x)


def difference(function, at, direction, step=1e-4):
    """Central difference of fourth order of `function` along a direction."""
    f = [function(jax.tree.map(lambda p, v, s=s: p + s * step * v, at, direction)) for s in (-2, -1, 1, 2)]
    return jax.tree.map(lambda a, b, c, d: (a - 8 * b + 8 * c - d) / (12 * step), *f)


def test_derivatives_against_finite_differences(x64):
    at = tuple(map(jnp.asarray, (A, B, 1.5)))
    rng = np.random.default_rng(3)

    @jax.jit
    def value_gradient_and_both_along(at, direction):
        return jax.jvp(jax.value_and_grad(loss), (at,), (direction,))

    for part in range(3):
        direction = [jnp.zeros_like(p) for p in at]
        direction[part] = jnp.asarray(rng.normal(size=at[part].shape))
        direction = tuple(direction)
        (_, gradient), (slope, curvature) = value_gradient_and_both_along(at, direction)
        expected, curvatures = difference(lambda p, v=direction: value_gradient_and_both_along(p, v)[0], at, direction)
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(slope, expected, rtol=1e-7)
        np.testing.assert_allclose(jnp.vdot(gradient[part], direction[part]), expected, rtol=1e-7)
        for ours, reference in zip(curvature, curvatures, strict=True):
            np.testing.assert_allclose(ours, reference, rtol=1e-6, atol=1e-7 * abs(reference).max() + 1e-12)


@pytest.mark.nightly
def test_every_composition_of_forward_and_reverse_agrees(x64):
    a, b, direction = jnp.asarray(A), jnp.asarray(B), jnp.asarray(np.random.default_rng(4).normal(size=A.shape))

    def linear(a):  # a constant cotangent: only the operator is differentiated in the second pass
        return paired(solve(diffusion(a), b, CG(rtol=1e-13)).value)

    along = jax.jit(
        lambda a: (
            jax.jvp(jax.grad(linear), (a,), (direction,))[1],
            jax.grad(lambda a: jax.jvp(linear, (a,), (direction,))[1])(a),
            jax.grad(lambda a: jnp.vdot(jax.grad(linear)(a), direction))(a),
        )
    )
    forward_reverse, reverse_forward, reverse_reverse = along(a)
    assert abs(forward_reverse).max() > 1e-4
    np.testing.assert_allclose(reverse_forward, forward_reverse, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(reverse_reverse, forward_reverse, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "size", [pytest.param(1e-25, marks=pytest.mark.nightly), pytest.param(1e-13, marks=pytest.mark.nightly), 1e13]
)
def test_size_of_a_cotangent_does_not_matter(size):
    @jax.jit
    def gradient(a, b, w):
        return jax.grad(lambda b: (w * solve(diffusion(a), b, natural()).value).sum())(b)

    expected = np.linalg.solve(dense(), W.ravel())
    ours = np.asarray(gradient(*float32(A, B, size * W)), np.float64).ravel() / size
    np.testing.assert_allclose(ours, expected, atol=1e-4 * abs(expected).max())


@pytest.mark.nightly
def test_gradients_at_the_step_limit():
    """An adjoint that misses its tolerance 100 times over is NaN, unless it is asked for as it is."""
    a, b, w = float32(A, B, W)
    method = CG(max_steps=3)

    @functools.partial(jax.jit, static_argnames="keep")
    def gradient(b, keep=False, adjoint_rtol=method.rtol):
        def pairing(b):
            solution = solve(diffusion(a), b, method, keep_inexact_gradients=keep, adjoint_rtol=adjoint_rtol)
            return (w * solution.value).sum()

        return jax.value_and_grad(pairing)(b)

    value, inexact = gradient(b)
    assert np.isfinite(value) and np.isnan(inexact).all()
    three_steps, stats = method(diffusion(a), w, jnp.zeros_like(w), method.rtol * method.measure(w))
    assert stats.status == Status.max_steps
    np.testing.assert_allclose(gradient(b, keep=True)[1], three_steps, rtol=1e-4, atol=1e-6 * abs(three_steps).max())
    missed = float(stats.residual / jnp.linalg.norm(w))
    assert np.isfinite(gradient(b, adjoint_rtol=missed / 50)[1]).all()
    assert np.isnan(gradient(b, adjoint_rtol=missed / 200)[1]).all()


def test_adjoint_has_its_own_tolerance(x64):
    expected = np.linalg.solve(dense(), W.ravel())

    @jax.jit
    def gradient(a, b, rtol, adjoint_rtol):
        return jax.grad(lambda b: paired(solve(diffusion(a), b, CG(rtol=rtol), adjoint_rtol=adjoint_rtol).value))(b)

    def error(rtol, adjoint_rtol):
        ours = gradient(jnp.asarray(A), jnp.asarray(B), rtol, adjoint_rtol)
        return np.linalg.norm(np.ravel(ours) - expected) / np.linalg.norm(expected)

    assert error(1e-2, 1e-10) < 1e-8 < 1e-5 < error(1e-10, 1e-2)


# Batches --------------------------------------------------------------------------------------------------------------


def test_a_failing_lane_disturbs_no_other():
    shifts = [0.0, -60.0, 5.0, 0.0, 0.0]
    bs = [B, B, 1e-6 * W, np.where(B[2, 1] == B, np.nan, B), 0 * B]
    expected = [Status.converged, Status.breakdown, Status.converged, Status.non_finite, Status.converged]

    def one(a, b, shift):
        def pairing(a, b):
            solution = solve(diffusion(a, shift), b)
            return paired(solution.value), solution

        (_, solution), gradients = jax.value_and_grad(pairing, (0, 1), has_aux=True)(a, b)
        return solution, gradients

    lanes = (jnp.stack(float32(*[A] * 5)), jnp.stack(float32(*bs)), jnp.asarray(shifts))
    solutions, gradients = jax.jit(jax.vmap(one))(*lanes)
    alone = jax.jit(one)
    assert solutions.status.tolist() == expected
    for lane in range(5):
        solution, to_a_b = alone(*(x[lane] for x in lanes))
        assert solution.status == expected[lane] and solution.iterations == solutions.iterations[lane]
        if expected[lane] != Status.converged:
            continue
        for ours, own in zip((solutions.value, *gradients), (solution.value, *to_a_b), strict=True):
            assert np.isfinite(ours[lane]).all()
            np.testing.assert_allclose(ours[lane], own, rtol=1e-4, atol=1e-5 * float(abs(own).max()))
    assert np.isnan(gradients[1][1]).all(), "an adjoint that broke down gave a gradient"
    assert np.isfinite(gradients[1][3]).all(), "the adjoint of b does not depend on b"


def test_batches_of_either_argument(x64):
    a, b = jnp.asarray(A), jnp.asarray(B)
    both = jnp.stack([a, 2 * a])
    run = jax.jit(jax.vmap(lambda a, b: jax.grad(lambda b: (solve(diffusion(a), b).value ** 2).sum())(b), (0, None)))
    first, second = run(both, b)
    np.testing.assert_allclose(first, 4 * second, rtol=1e-3)
    run = jax.jit(jax.vmap(lambda b: jax.grad(lambda b: (solve(diffusion(a), b).value ** 2).sum())(b)))
    ours = run(jnp.stack([b, 3 * b]))
    np.testing.assert_allclose(3 * ours[0], ours[1], rtol=1e-3)


# Export ---------------------------------------------------------------------------------------------------------------


def test_exports_a_gradient_for_every_platform_without_callbacks_or_doubles():
    def pairing(a, b):
        return (solve(diffusion(a), b, natural()).value ** 2).sum()

    arguments = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in (A, B)]
    exported = jax.export.export(jax.jit(jax.grad(pairing, (0, 1))), platforms=["cpu", "cuda", "tpu"])(*arguments)
    text = exported.mlir_module()
    assert "stablehlo.while" in text
    assert "stablehlo.custom_call" not in text and "f64" not in text
