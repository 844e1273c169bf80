"""Ill-posed input: a right status per lane or a clear error, and what gradients do then."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.linear import CG, FGMRES, MINRES, BiCGStab, FlexibleCG, Jacobi, Status, solve

N = 12
RNG = np.random.default_rng(0)
B, W = RNG.normal(size=(2, N))
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]
VALUES = np.linspace(1, 6, N)
DEFINITE = BASIS * VALUES @ BASIS.T
INDEFINITE = BASIS * np.where(np.arange(N) % 3 == 0, -VALUES, VALUES) @ BASIS.T
SINGULAR = np.diag([1.0] + [2.0] * (N - 2) + [1.0]) - np.eye(N, k=1) - np.eye(N, k=-1)  # constants are its null space
GENERAL = DEFINITE + np.triu(RNG.normal(size=(N, N)), 1)
METHODS = {method.__name__: method(max_steps=60) for method in (CG, FlexibleCG, MINRES, BiCGStab, FGMRES)}


@functools.cache
def compiled(name):
    """`(matrix, b, w) -> solution, gradients of w · x` in float32."""
    method = METHODS[name]
    tag = lx.symmetric_tag if method.needs_symmetric else ()

    def pairing(matrix, b, w):
        solution = solve(lx.MatrixLinearOperator(matrix, tag), b, method)
        return (w * solution.value).sum(), solution

    run = jax.jit(jax.value_and_grad(pairing, (0, 1), has_aux=True))

    def call(matrix, b=B, w=W):
        (_, solution), gradients = run(*(jnp.asarray(x, jnp.float32) for x in (matrix, b, w)))
        return solution, gradients

    return call


def broken(array, value=np.nan):
    array = array.copy()
    array[2] = value
    return array


@pytest.mark.parametrize("name", METHODS)
def test_every_status_of_every_method(name):
    run = compiled(name)
    matrix = DEFINITE if METHODS[name].needs_symmetric else GENERAL
    good, gradients = run(matrix)
    assert good.status == Status.converged and 2 < good.iterations <= N + 2
    np.testing.assert_allclose(good.value, np.linalg.solve(matrix, B), atol=1e-4)
    np.testing.assert_allclose(gradients[1], np.linalg.solve(matrix.T, W), atol=1e-4)
    expected = -np.outer(np.linalg.solve(matrix.T, W), np.linalg.solve(matrix, B))
    np.testing.assert_allclose(gradients[0], expected, atol=1e-3)

    zero, (to_matrix, to_b) = run(matrix, 0 * B)
    assert zero.status == Status.converged and zero.iterations == 0 and zero.stats.residual == 0
    assert (zero.value == 0).all() and (to_matrix == 0).all()
    np.testing.assert_allclose(to_b, np.linalg.solve(matrix.T, W), atol=1e-4)

    for wrong in (run(matrix, broken(B)), run(broken(matrix)), run(matrix, broken(B, np.inf))):
        assert wrong[0].status == Status.non_finite and wrong[0].iterations <= 1
    assert np.isnan(run(broken(matrix))[1][1]).all(), "a gradient through a broken operator"

    for size in (1e-25, 1e-13):
        _, (_, to_b) = run(matrix, B, size * W)
        np.testing.assert_allclose(np.asarray(to_b, np.float64) / size, np.linalg.solve(matrix.T, W), atol=1e-4)

    consistent, _ = run(SINGULAR, SINGULAR @ B)
    assert consistent.status == Status.converged
    np.testing.assert_allclose(SINGULAR @ np.asarray(consistent.value), SINGULAR @ B, atol=1e-4)
    inconsistent, (_, to_b) = run(SINGULAR, B)
    assert inconsistent.status in (Status.stagnated, Status.breakdown, Status.max_steps)
    # The iterate may be large along the null space; its residual is known up to the rounding of A x in float32 alone.
    x = np.asarray(inconsistent.value, np.float64)
    residual = np.linalg.norm(B - SINGULAR @ x)
    rounding = 4 * np.finfo(np.float32).eps * np.linalg.norm(np.abs(SINGULAR) @ np.abs(x) + np.abs(B))
    np.testing.assert_allclose(inconsistent.stats.residual, residual, rtol=1e-6, atol=rounding)
    assert residual <= np.linalg.norm(B) + rounding and np.isnan(to_b).all(), "no adjoint without a solution"
    if name in ("MINRES", "FGMRES"):
        assert inconsistent.status == Status.stagnated
        np.testing.assert_allclose(residual, abs(B.mean()) * N**0.5, rtol=1e-3)


def test_indefinite_operators_break_conjugate_gradients_and_suit_minres():
    for name, status in (("CG", Status.breakdown), ("FlexibleCG", Status.breakdown), ("MINRES", Status.converged)):
        solution, (_, to_b) = compiled(name)(INDEFINITE)
        assert solution.status == status and np.isfinite(solution.value).all()
        assert np.isnan(to_b).all() == (status == Status.breakdown)
    np.testing.assert_allclose(solution.value, np.linalg.solve(INDEFINITE, B), atol=1e-4)


def test_an_indefinite_preconditioner_is_a_breakdown():
    operator = lx.MatrixLinearOperator(jnp.asarray(DEFINITE, jnp.float32), lx.symmetric_tag)
    for method in (CG, MINRES):
        assert solve(operator, jnp.asarray(B, jnp.float32), method(jnp.negative)).status == Status.breakdown


def test_one_lane_of_a_hundred_fails():
    method = MINRES(max_steps=60)

    def one(matrix, b):
        def pairing(b):
            solution = solve(lx.MatrixLinearOperator(matrix, lx.symmetric_tag), b, method)
            return (jnp.asarray(W, b.dtype) * solution.value).sum(), solution

        (_, solution), gradient = jax.value_and_grad(pairing, has_aux=True)(b)
        return solution, gradient

    matrices, bs = np.tile(DEFINITE, (100, 1, 1)), RNG.normal(size=(100, N))
    matrices[17, 3, 3] = np.nan
    matrices[40], bs[63], bs[64, 0] = SINGULAR, 0, np.inf
    solutions, gradients = jax.jit(jax.vmap(one))(jnp.asarray(matrices, jnp.float32), jnp.asarray(bs, jnp.float32))
    failed = {17: Status.non_finite, 40: Status.stagnated, 64: Status.non_finite}
    assert solutions.status.tolist() == [failed.get(lane, Status.converged) for lane in range(100)]
    fine = [lane for lane in range(100) if lane not in failed]
    np.testing.assert_allclose(solutions.value[np.asarray(fine)], bs[fine] @ np.linalg.inv(DEFINITE), atol=1e-4)
    adjoint = np.linalg.solve(DEFINITE, W)
    for lane in range(100):
        if lane in (17, 40):
            assert np.isnan(gradients[lane]).all()
        else:
            np.testing.assert_allclose(gradients[lane], adjoint, atol=1e-4)
    assert solutions.iterations[63] == 0 and (solutions.value[63] == 0).all()


@pytest.mark.nightly
def test_gradients_against_finite_differences(x64):
    """Of a loss that is not linear, for a non-symmetric operator, first and second order."""

    def value_and_slope(method):
        def loss(matrix, b):
            return jnp.sum(jnp.sin(solve(lx.MatrixLinearOperator(matrix), b, method).value))

        return jax.jit(lambda at, way: (*jax.jvp(jax.grad(loss, (0, 1)), at, way), loss(*at)))

    at, way = (jnp.asarray(GENERAL), jnp.asarray(B)), (jnp.asarray(RNG.normal(size=(N, N))), jnp.asarray(W))
    for method in (FGMRES(Jacobi(), rtol=1e-13, restart=N), BiCGStab(lambda r: r / jnp.arange(1.0, N + 1), rtol=1e-13)):
        run = value_and_slope(method)
        gradient, curvature, _ = run(at, way)
        points = [run(jax.tree.map(lambda a, v, s=s: a + s * 1e-3 * v, at, way), way) for s in (-2, -1, 1, 2)]
        slope, *curvatures = (
            (a - 8 * b + 8 * c - d) / 12e-3 for a, b, c, d in zip(*([p[2], *p[0]] for p in points), strict=True)
        )
        ours = sum(jnp.vdot(g, v) for g, v in zip(gradient, way, strict=True))
        np.testing.assert_allclose(ours, slope, rtol=1e-7)
        for expected, own in zip(curvatures, curvature, strict=True):
            np.testing.assert_allclose(own, expected, atol=2e-6 * abs(expected).max())


@pytest.mark.nightly
def test_methods_may_depend_on_what_is_differentiated():
    """Closed over, as arrays of a preconditioner, or as tolerances: no error and no gradient."""

    def loss(matrix, make):
        operator = lx.MatrixLinearOperator(matrix)
        return (jnp.asarray(W, matrix.dtype) * solve(operator, jnp.asarray(B, matrix.dtype), make(matrix)).value).sum()

    makes = (
        lambda matrix: FGMRES(Jacobi(jnp.diag(matrix)), rtol=1e-6 * matrix[0, 0] / matrix[0, 0]),
        lambda matrix: BiCGStab(lambda r: r / jnp.diag(matrix), rtol=1e-6),
        lambda matrix: FGMRES(lambda r: jnp.tanh(r) / jnp.diag(matrix), rtol=1e-6),
    )
    matrix = jnp.asarray(GENERAL, jnp.float32)
    expected = -np.outer(np.linalg.solve(GENERAL.T, W), np.linalg.solve(GENERAL, B))
    for make, transform in zip(makes, (lambda f: f, jax.jit, lambda f: f), strict=True):
        gradient = transform(jax.grad(lambda matrix, make=make: loss(matrix, make)))
        np.testing.assert_allclose(gradient(matrix), expected, atol=1e-4)


@pytest.mark.nightly
def test_operators_of_lineax():
    """Sums, multiples, products, functions and tags; the symmetric ones pick CG, the others FGMRES."""
    first = lx.MatrixLinearOperator(jnp.asarray(DEFINITE, jnp.float32), lx.symmetric_tag)
    second = lx.DiagonalLinearOperator(jnp.asarray(VALUES, jnp.float32))
    general = lx.FunctionLinearOperator(lambda x: jnp.asarray(GENERAL, x.dtype) @ x, first.in_structure())
    b = jnp.asarray(B, jnp.float32)
    diagonal = np.diag(VALUES)
    for operator, matrix, symmetric in (
        (2.0 * first + second, 2 * DEFINITE + diagonal, True),
        (lx.TaggedLinearOperator(first @ first, lx.symmetric_tag), DEFINITE @ DEFINITE, True),
        (first @ second, DEFINITE @ diagonal, False),
        (general + second, GENERAL + diagonal, False),
    ):
        solution = solve(operator, b)
        assert solution.status == Status.converged and solution.method == ("MINRES" if symmetric else "FGMRES")
        np.testing.assert_allclose(solution.value, np.linalg.solve(matrix, B), atol=1e-4)
    gradient = jax.grad(lambda b: (jnp.asarray(W, b.dtype) * solve(general + second, b).value).sum())(b)
    np.testing.assert_allclose(gradient, np.linalg.solve((GENERAL + diagonal).T, W), atol=1e-4)


def test_eager_calls_compile_once():
    traces = []

    class Counted(lx.MatrixLinearOperator):
        def mv(self, vector):
            traces.append(1)
            return super().mv(vector)

    lx.is_symmetric.register(Counted, lambda operator: True)
    method = CG(Jacobi(jnp.asarray(np.diag(DEFINITE), jnp.float32)))
    for k in range(3):
        operator = Counted(jnp.asarray((1 + k) * DEFINITE, jnp.float32))
        solution = solve(operator, jnp.asarray(B + k, jnp.float32), method)
        np.testing.assert_allclose(solution.value, np.linalg.solve((1 + k) * DEFINITE, B + k), atol=1e-4)
        first = first if k else len(traces)
    assert 0 < first == len(traces)


def test_wrong_input_is_named():
    matrix = jnp.asarray(GENERAL, jnp.float32)
    operator = lx.MatrixLinearOperator(matrix)
    for b, error, text in (
        (jnp.ones(N + 1), ValueError, r"arrays of shape \(12,\), the right-hand side has \(13,\)"),
        (jnp.ones(N, int), TypeError, "the operator has float32 and the right-hand side int32; convert integers with"),
        (jnp.ones(N, complex), TypeError, "write a complex system as a real one of twice the size"),
        (jnp.ones(N, jnp.bfloat16), TypeError, "the right-hand side bfloat16; convert one of them"),
    ):
        with pytest.raises(error, match=text):
            solve(operator, b)
    with pytest.raises(ValueError, match=r"the starting point has \(3,\)"):
        solve(operator, jnp.ones(N), x0=jnp.ones(3))
    for method in (CG(), FlexibleCG(), MINRES()):
        with pytest.raises(ValueError, match=f"{method.describe()} needs a symmetric operator, .* use FGMRES"):
            solve(operator, jnp.ones(N), method)
    with pytest.raises(ValueError, match="must be square"):
        solve(lx.MatrixLinearOperator(jnp.ones((3, 2))), jnp.ones(2))
    pytree = lx.FunctionLinearOperator(lambda x: x, {"u": jax.ShapeDtypeStruct((2,), jnp.float32)})
    with pytest.raises(TypeError, match=r"acts on a pytree, .*write it for one array"):
        solve(pytree, jnp.ones(2))
