"""Krylov methods: iterations and residuals against SciPy, and what each is for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse.linalg as sparse_linalg

import surrogax as sx
from surrogax.solvers.linear import CG, FGMRES, MINRES, BiCGStab, FlexibleCG, Jacobi, Status, solve, status_message

N = 40
RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]
DEFINITE = BASIS * np.geomspace(1, 15, N) @ BASIS.T
INDEFINITE = BASIS * np.concatenate([-np.linspace(1, 4, 10), np.linspace(2, 9, N - 10)]) @ BASIS.T
GENERAL = RNG.normal(size=(N, N)) / np.sqrt(N) + 3 * np.eye(N)
SCALES = RNG.uniform(0.5, 3, N)
B = RNG.normal(size=N)


def scaled(r):
    return r / jnp.asarray(SCALES, r.dtype)


@eqx.filter_jit
def run(matrix, b, method):
    tag = () if not method.needs_symmetric else lx.symmetric_tag
    operator = lx.MatrixLinearOperator(matrix, tag)
    bound = method.bind(operator)
    return bound(operator, b, jnp.zeros_like(b), bound.rtol * bound.measure(b))


def solved(method, matrix, b=B):
    """x, status, iterations, and the history as far as it goes; the reported residual is asserted to be the true one."""
    x, stats = run(jnp.asarray(matrix), jnp.asarray(b), method)
    k = int(stats.iterations)
    np.testing.assert_allclose(stats.residual, np.linalg.norm(b - matrix @ np.asarray(x)), rtol=1e-5, atol=1e-13)
    history = None if stats.history is None else np.asarray(stats.history)[:k]
    return np.asarray(x), Status(int(stats.status)), k, history


def peer(function, matrix, rtol, **options):
    """Residual norms per iteration of SciPy's method, run past the tolerance so that its own test plays no part."""
    sizes = []

    def record(x):
        sizes.append(np.linalg.norm(B - matrix @ x))

    function(matrix, B, callback=record, maxiter=200, rtol=rtol * 1e-2, **options)
    return np.asarray(sizes)


def gmres_peer(matrix, rtol, restart, **options):
    sizes = []
    options |= {"callback": sizes.append, "callback_type": "pr_norm", "restart": restart, "maxiter": 20}
    sparse_linalg.gmres(matrix, B, rtol=rtol, **options)
    return np.asarray(sizes) * np.linalg.norm(B)


INVERSE = np.diag(1 / SCALES)
RTOL = 1e-8
OPTIONS = {"rtol": RTOL, "history": True, "max_steps": 200}
PEERS = {
    "CG": (CG(**OPTIONS), DEFINITE, lambda: peer(sparse_linalg.cg, DEFINITE, RTOL)),
    "preconditioned CG": (CG(scaled, **OPTIONS), DEFINITE, lambda: peer(sparse_linalg.cg, DEFINITE, RTOL, M=INVERSE)),
    "FlexibleCG": (FlexibleCG(scaled, **OPTIONS), DEFINITE, lambda: peer(sparse_linalg.cg, DEFINITE, RTOL, M=INVERSE)),
    "FlexibleCG of three directions": (
        FlexibleCG(directions=3, **OPTIONS),
        DEFINITE,
        lambda: peer(sparse_linalg.cg, DEFINITE, RTOL),
    ),
    "MINRES": (MINRES(**OPTIONS), INDEFINITE, lambda: peer(sparse_linalg.minres, INDEFINITE, RTOL)),
    "preconditioned MINRES": (
        MINRES(scaled, **OPTIONS),
        INDEFINITE,
        lambda: peer(sparse_linalg.minres, INDEFINITE, RTOL, M=INVERSE),
    ),
    "BiCGStab": (BiCGStab(**OPTIONS), GENERAL, lambda: peer(sparse_linalg.bicgstab, GENERAL, RTOL)),
    "preconditioned BiCGStab": (
        BiCGStab(scaled, **OPTIONS),
        GENERAL,
        lambda: peer(sparse_linalg.bicgstab, GENERAL, RTOL, M=INVERSE),
    ),
    "GMRES": (FGMRES(restart=30, **OPTIONS), GENERAL, lambda: gmres_peer(GENERAL, RTOL, 30)),
    "GMRES(4)": (FGMRES(restart=4, **OPTIONS), GENERAL, lambda: gmres_peer(GENERAL, RTOL, 4)),
    # SciPy's preconditioner stands on the left; from the right it is GMRES on A M⁻¹.
    "preconditioned GMRES": (
        FGMRES(scaled, restart=30, **OPTIONS),
        GENERAL,
        lambda: gmres_peer(GENERAL @ INVERSE, RTOL, 30),
    ),
}


@pytest.mark.parametrize("case", PEERS)
def test_iterations_and_residuals_as_scipys(x64, case):
    method, matrix, reference = PEERS[case]
    x, status, k, history = solved(method, matrix)
    expected = reference()
    reached = 1 + int(np.argmax(expected <= RTOL * np.linalg.norm(B)))
    assert status == Status.converged and expected[reached - 1] <= RTOL * np.linalg.norm(B) and abs(k - reached) <= 1
    common = min(k, reached) // 2
    assert common >= 4
    np.testing.assert_allclose(history[:common], expected[:common], rtol=1e-3)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, B), atol=1e-6)


def test_minres_in_the_natural_norm_falls_monotonically(x64):
    method = MINRES(scaled, norm="natural", **OPTIONS)
    x, stats = run(jnp.asarray(INDEFINITE), jnp.asarray(B), method)
    history = np.asarray(stats.history)[: int(stats.iterations)]
    r = B - INDEFINITE @ np.asarray(x)
    assert (np.diff(history) <= 0).all() and stats.status == Status.converged
    np.testing.assert_allclose(stats.residual, np.sqrt(r @ (r / SCALES)), rtol=1e-4)


@pytest.mark.nightly
def test_a_changing_preconditioner_needs_a_flexible_method(x64):
    """M is not linear: r ↦ D(r) r with a positive D that depends on r."""

    def wild(r):
        return r * (1.5 + jnp.sin(1e3 * r / jnp.linalg.norm(r)))

    options = {"rtol": 1e-8, "max_steps": 400}
    _, status, flexible, _ = solved(FlexibleCG(wild, **options), DEFINITE)
    assert status == Status.converged
    _, more, fewer, _ = solved(FlexibleCG(wild, directions=10, **options), DEFINITE)
    assert more == Status.converged and fewer < flexible
    _, fixed, plain, _ = solved(CG(wild, **options), DEFINITE)
    assert fixed != Status.converged or plain > 1.3 * flexible
    _, status, _, _ = solved(FGMRES(wild, restart=N, **options), GENERAL)
    assert status == Status.converged


@pytest.mark.nightly
def test_restarted_gmres_stagnates_where_the_full_one_converges():
    """The cyclic shift: nothing is gained before step n."""
    shift, b = np.roll(np.eye(N, dtype=np.float32), 1, 0), np.eye(N, dtype=np.float32)[0]
    _, full, steps, _ = solved(FGMRES(restart=N), shift, b)
    assert full == Status.converged and steps == N
    x, cut, steps, _ = solved(FGMRES(restart=N // 2), shift, b)
    assert cut == Status.stagnated and steps == N // 2 and (x == 0).all()


def test_bicgstab_breaks_down_on_a_skew_operator():
    skew = np.kron(np.eye(N // 2), [[0, 1], [-1, 0]]).astype(np.float32)
    x, status, _, _ = solved(BiCGStab(), skew, np.ones(N, np.float32))
    assert (
        status == Status.breakdown and (x == 0).all() and "FGMRES where BiCGStab breaks down" in status_message(status)
    )


@pytest.mark.nightly
def test_true_floor_of_float32_is_reported():
    """The recurrence meets 1e-12, the true residual cannot."""
    for method, matrix in ((MINRES, INDEFINITE), (FGMRES, GENERAL), (BiCGStab, GENERAL), (FlexibleCG, DEFINITE)):
        matrix, b = matrix.astype(np.float32), B.astype(np.float32)
        x, stats = run(jnp.asarray(matrix), jnp.asarray(b), method(rtol=1e-12, max_steps=300))
        assert stats.status == Status.stagnated, method
        assert 1e-12 < stats.residual / np.linalg.norm(b) < 1e-5
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), atol=1e-4)


def test_preconditioners_are_bound_to_the_operator(x64):
    diagonal = np.geomspace(1, 1e4, N)
    matrix = DEFINITE + np.diag(diagonal)
    for method in (FlexibleCG, BiCGStab):
        _, status, bound, _ = solved(method(Jacobi(), rtol=1e-8), matrix)
        _, same, by_hand, _ = solved(method(Jacobi(jnp.asarray(np.diag(matrix))), rtol=1e-8), matrix)
        assert status == same == Status.converged and abs(bound - by_hand) <= 1
        assert bound < 25, "a diagonal of four decades without its inverse needs more than n steps"
        assert method(Jacobi()).describe() == f"{method.__name__}(Jacobi)"


def test_wrong_options_are_named():
    for method in (CG, FlexibleCG, MINRES, BiCGStab, FGMRES):
        with pytest.raises(ValueError, match=f"{method.__name__}: max_steps must not be negative, got -1"):
            method(max_steps=-1)
    with pytest.raises(ValueError, match="restart must be at least 1, got 0"):
        FGMRES(restart=0)
    with pytest.raises(ValueError, match="directions must be at least 1, got 0"):
        FlexibleCG(directions=0)


@pytest.mark.nightly
def test_a_batch_of_cg_keeps_finished_systems_as_they_are():
    """Systems that take 1, a few and many steps: each ends as it does alone, and one that breaks down stays where it did."""
    laplacian = sx.linear.Laplacian((9, 7), (0.1, 0.1), ("dirichlet",) * 2)
    shifts = jnp.asarray([1e6, 0.0, -2e3, 50.0])

    def one(shift):
        operator = sx.linear.Laplacian((9, 7), (0.1, 0.1), ("dirichlet",) * 2, shift=shift)
        b = laplacian.mv(jnp.ones((9, 7))) + shift
        return solve(operator, b, CG(rtol=1e-4, history=True, max_steps=60))

    together = jax.vmap(one)(shifts)
    for i, shift in enumerate(shifts):
        alone = one(shift)
        assert together.stats.iterations[i] == alone.stats.iterations
        assert together.status[i] == alone.status
        np.testing.assert_allclose(together.value[i], alone.value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together.stats.history[i], alone.stats.history, rtol=1e-3)
    assert len(set(together.stats.iterations.tolist())) > 2
