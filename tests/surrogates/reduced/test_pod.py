"""POD: optimality, floors, inner products, truncation, streams, devices, bad input."""

import importlib
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import surrogax as sx
from surrogax.surrogates.reduced.basis.pod import pod

RNG = np.random.default_rng(0)
SIGMA = 10.0 ** (-np.arange(30) / 2)
ROWS = (np.linalg.qr(RNG.standard_normal((30, 30)))[0] * SIGMA) @ np.linalg.qr(RNG.standard_normal((200, 30)))[0].T
WEIGHTS = RNG.uniform(0.5, 2, 200)
LAPLACE = scipy.sparse.diags_array([-np.ones(199), 3 * np.ones(200), -np.ones(199)], offsets=[-1, 0, 1]).tocsr()


def error(rows, basis, product=None):
    """‖S − projection‖_M of the snapshots on the modes, and how far the modes are from orthonormal."""
    product = np.eye(rows.shape[1]) if product is None else product
    modes = np.asarray(basis.modes, np.float64)
    left = rows - (rows @ product @ modes) @ modes.T
    return np.sqrt(((left @ product) * left).sum()), np.abs(modes.T @ product @ modes - np.eye(basis.rank)).max()


@pytest.mark.parametrize(
    "product",
    [np.diag(WEIGHTS), WEIGHTS, LAPLACE, lambda v: LAPLACE @ v],
    ids=["dense", "weights", "sparse", "function"],
)
def test_optimal_in_every_product(product):
    matrix = (
        np.diag(WEIGHTS)
        if product is WEIGHTS
        else LAPLACE.toarray()
        if callable(product)
        else np.asarray(product.todense() if scipy.sparse.issparse(product) else product)
    )
    basis = pod(ROWS, product, rank=6)
    factor = np.linalg.cholesky(matrix)
    best = np.linalg.svd(ROWS @ factor, compute_uv=False)
    np.testing.assert_allclose(basis.singular_values, best[:6], rtol=1e-9)
    assert abs(basis.tail / np.sqrt((best[6:] ** 2).sum()) - 1) < 1e-6
    projection, orthogonality = error(ROWS, basis, matrix)
    assert projection < (1 + 1e-8) * basis.tail and orthogonality < 1e-13
    np.testing.assert_allclose(basis.coefficients, ROWS @ matrix @ basis.modes, atol=1e-9)


def test_automatic_choice_says_what_it_did():
    """One pass serves modes above its reliable range; below, a second is added; float32 data end at their rounding."""
    fast = pod(ROWS, rank=12)
    assert fast.method == "gram" and "above" in fast.reason
    accurate = pod(ROWS, rank=24)
    assert accurate.method == "two_grams" and "below" in accurate.reason and accurate.rank == 24
    np.testing.assert_allclose(accurate.singular_values, SIGMA[:24], rtol=1e-2)
    assert error(ROWS, accurate)[1] < 1e-13
    everything = pod(ROWS)
    assert 28 <= everything.rank <= 30 and everything.singular_values[-1] > everything.floor
    floor = pod(ROWS, rank=30, method="gram")
    # 15 singular values lie well above its floor; of those at the floor, rounding decides which are kept.
    assert 15 <= floor.rank <= 20 and floor.singular_values[-1] > floor.floor * SIGMA[0] and floor.floor < 1.5e-8
    np.testing.assert_allclose(floor.singular_values[:14], SIGMA[:14], rtol=0.1)
    assert np.isfinite(floor.modes).all() and error(ROWS, floor)[1] < 1e-13


@pytest.mark.parametrize("method", ["auto", "two_grams"])
def test_single_precision_snapshots(method):
    basis = pod(ROWS.astype(np.float32), rank=14, method=method)
    assert basis.modes.dtype == np.float32 and basis.rank == 14
    np.testing.assert_allclose(basis.singular_values, SIGMA[:14], rtol=0.1)
    assert error(ROWS, basis)[1] < 1e-6


def test_truncation_criteria():
    squares = SIGMA**2
    for energy in (0.95, 0.9995, 0.99999995):  # not at 1 − 10⁻ʳ, where the criterion is met with equality
        r = pod(ROWS, energy=energy).rank
        assert squares[:r].sum() >= energy * squares.sum() > squares[: r - 1].sum()
    for tail in (0.5, 1e-3, 1e-10):
        basis = pod(ROWS, tail=tail)
        assert basis.tail <= tail < np.sqrt((SIGMA[basis.rank - 1 :] ** 2).sum())
    assert pod(ROWS, rank=3, energy=0.9999999).rank == 3
    assert pod(ROWS, rank=9, energy=0.85).rank == 1


@pytest.mark.parametrize(
    "product",
    [None, np.abs(ROWS[0, :12]) + 0.1, np.diag(np.arange(1.0, 13)), np.where(np.arange(12) % 4, 0.5, 0)],
    ids=["none", "weights", "dense", "masked"],
)
def test_more_snapshots_than_points(product):
    tall = np.random.default_rng(1).standard_normal((50, 12)) * 0.3 ** np.arange(12)
    basis = pod(tall, product, rank=5)
    matrix = np.eye(12) if product is None else product if product.ndim == 2 else np.diag(product)
    factor = np.sqrt(matrix)  # all are diagonal
    best = np.linalg.svd(tall @ factor, compute_uv=False)
    np.testing.assert_allclose(basis.singular_values, best[:5], rtol=1e-9)
    projection, orthogonality = error(tall, basis, matrix)
    np.testing.assert_allclose(projection, np.sqrt((best[5:] ** 2).sum()), rtol=1e-9)
    assert orthogonality < 1e-13 and basis.coefficients.shape == (50, 5)
    np.testing.assert_allclose(basis.coefficients, tall @ matrix @ basis.modes, atol=1e-12)
    combined = np.linalg.lstsq(basis.coefficients, tall)[0].T  # also where the product sees nothing
    np.testing.assert_allclose(basis.modes, combined, atol=1e-12)


def test_more_snapshots_than_points_down_to_the_floor(monkeypatch):
    """One pass over the snapshots gives modes and coefficients, accurate as far as a second Gram matrix resolves them."""
    module, calls = importlib.import_module(pod.__module__), []
    monkeypatch.setattr(module, "triplets", lambda *a, real=module.triplets: calls.append(a) or real(*a))
    tall = (np.linalg.qr(RNG.standard_normal((80, 20)))[0] * 10.0 ** -np.arange(0.0, 14, 0.7)) @ np.linalg.qr(
        RNG.standard_normal((20, 20))
    )[0]
    basis = pod(tall, LAPLACE[:20, :20], rank=18)
    assert basis.method == "two_grams" and basis.rank == 18 and len(calls) == 1
    projection, orthogonality = error(tall, basis, LAPLACE[:20, :20].toarray())
    assert projection < 1.5 * basis.tail and orthogonality < 1e-13


@pytest.mark.nightly
def test_randomized_and_its_automatic_choice():
    basis = pod(ROWS, rank=5, method="randomized")
    np.testing.assert_allclose(basis.singular_values, SIGMA[:5], rtol=1e-9)  # 5 + 20 of 30 decaying ones
    assert error(ROWS, basis)[0] < (1 + 1e-6) * np.sqrt((SIGMA[5:] ** 2).sum())
    many = np.random.default_rng(0).standard_normal((1001, 4)) @ np.random.default_rng(1).standard_normal((4, 1001))
    low = pod(many, rank=6)
    assert low.method == "randomized" and "1001" in low.reason
    assert low.rank == 4 and np.linalg.norm(many - low.coefficients @ low.modes.T) < 1e-9 * np.linalg.norm(many)


@pytest.mark.nightly
def test_randomized_keeps_small_modes_and_slow_decay():
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((size, 60)))[0] for size in (1300, 1400))
    fast = pod((u * 10.0 ** (-np.arange(60) / 4)) @ v.T, rank=55)
    assert fast.method == "randomized" and fast.rank == 55
    np.testing.assert_allclose(fast.singular_values[:45], 10.0 ** (-np.arange(45) / 4), rtol=1e-3)
    slow = pod((u / np.sqrt(1 + np.arange(60))) @ v.T, rank=20)
    np.testing.assert_allclose(slow.singular_values, 1 / np.sqrt(1 + np.arange(20)), rtol=0.02)


def test_integers_are_numbers():
    basis = pod(np.array([[1, 2, 3, 4], [4, 5, 7, 1]]))
    np.testing.assert_allclose(basis.coefficients @ basis.modes.T, [[1, 2, 3, 4], [4, 5, 7, 1]], atol=1e-12)
    with pytest.raises(TypeError, match="complex"):
        pod(ROWS + 1j)


def test_stream_of_blocks():
    """Blocks of different length, the last ones of lower rank; bound holds; weights as for arrays."""
    noise = 1e-4 * np.random.default_rng(3).standard_normal((130, 200))
    rows = np.concatenate([ROWS, ROWS[::-1], 2 * ROWS, ROWS[:, ::-1], ROWS[:10]]) + noise
    basis = pod((rows[i : i + 40] for i in range(0, len(rows), 40)), WEIGHTS, rank=8)
    whole = pod(rows, WEIGHTS, rank=8)
    assert basis.method == "incremental" and basis.coefficients is None
    np.testing.assert_allclose(basis.singular_values, whole.singular_values, rtol=1e-3)
    projection, orthogonality = error(rows, basis, np.diag(WEIGHTS))
    assert whole.tail < projection < min(1.001 * whole.tail, basis.tail) and orthogonality < 1e-12
    grid = sx.Grid.unit_square(5)
    ds = sx.from_arrays(targets={"u": rows[:60, :25].reshape(60, 5, 5)}, grid=grid)
    streamed = pod(ds.snapshots("u", block=16), grid.weights.ravel(), rank=3)
    np.testing.assert_allclose(
        streamed.singular_values, pod(ds["u"].reshape(60, 25), grid.weights.ravel(), rank=3).singular_values, rtol=1e-6
    )


def test_known_gram_matrix_is_used(monkeypatch):
    plain = pod(ROWS, WEIGHTS, rank=5)
    monkeypatch.setattr(importlib.import_module(pod.__module__), "gram_matrix", None)
    known = pod(ROWS, WEIGHTS, rank=5, gram=ROWS @ np.diag(WEIGHTS) @ ROWS.T)
    np.testing.assert_allclose(known.coefficients @ known.modes.T, plain.coefficients @ plain.modes.T, atol=1e-9)


def test_jit_vmap_and_gradient():
    """In float32: two Gram matrices; zero modes beyond the rank of the data; derivative of the projection error."""
    rows = jnp.asarray(np.stack([ROWS[:, :40], ROWS[:, 40:80]]), jnp.float32)
    batched = jax.jit(jax.vmap(lambda s: pod(s, jnp.asarray(WEIGHTS[:40], jnp.float32), rank=4)))(rows)
    for i in range(2):
        alone = pod(rows[i], WEIGHTS[:40].astype(np.float32), rank=4)
        np.testing.assert_allclose(batched.singular_values[i], alone.singular_values, rtol=1e-5)
        np.testing.assert_allclose(batched.tail[i], alone.tail, rtol=1e-3)
    deficient = jax.jit(lambda s: pod(s, rank=4))(jnp.concatenate([rows[0, :2], 0 * rows[0, :3]]))
    assert not np.asarray(deficient.modes[:, 2:]).any() and np.isfinite(deficient.modes).all()

    def left_out(s):
        return pod(s, rank=2).tail

    with jax.enable_x64(True):
        s, d = ROWS[:6, :40], np.random.default_rng(5).standard_normal((6, 40))
        slope = (jax.jit(jax.grad(left_out))(s) * d).sum()
        h = 1e-6
        np.testing.assert_allclose(slope, (left_out(s + h * d) - left_out(s - h * d)) / (2 * h), rtol=1e-4)


@pytest.mark.nightly
def test_snapshots_distributed_over_devices(tmp_path):
    """Eight simulated devices hold the points; the modes stay distributed until they are read, the numbers are the same."""
    code = (
        "import jax, numpy as np\n"
        "from surrogax.surrogates.reduced.basis.pod import pod\n"
        "from jax.sharding import NamedSharding, PartitionSpec as P\n"
        "s = np.random.default_rng(0).standard_normal((12, 160)) * 0.5 ** np.arange(12)[:, None]\n"
        "s = s.astype('float32')\n"
        "w = np.linspace(1, 2, 160, dtype='float32')\n"
        "mesh = jax.make_mesh((8,), ('x',), axis_types=(jax.sharding.AxisType.Auto,))\n"
        "d = jax.device_put(s, NamedSharding(mesh, P(None, 'x')))\n"
        "for options in ({}, {'method': 'two_grams'}, {'method': 'randomized'}):\n"
        "    a, b = pod(s, w, rank=4, **options), pod(d, w, rank=4, **options)\n"
        "    np.testing.assert_allclose(a.singular_values, b.singular_values, rtol=1e-6)\n"
        "    np.testing.assert_allclose(a.coefficients @ a.modes.T, b.coefficients @ b.modes.T, atol=1e-4)\n"
        "    np.testing.assert_allclose(b.modes.T @ (w[:, None] * b.modes), np.eye(4), atol=1e-5)\n"
    )
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment, timeout=200)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((np.where(np.arange(30)[:, None] == 7, np.nan, ROWS),), {"rank": 2}, "snapshot 7"),
        ((1e200 * ROWS,), {"rank": 2}, "overflow"),
        ((0 * ROWS,), {"rank": 2}, "zero"),
        ((ROWS,), {"rank": 31}, "at most 30 modes"),
        ((ROWS,), {"rank": 0}, "at least 1"),
        ((ROWS,), {"energy": 1.5}, "fraction"),
        ((ROWS, WEIGHTS[:-1]), {"rank": 2}, "199 weights for 200 points"),
        ((ROWS, -WEIGHTS), {"rank": 2}, "non-negative"),
        ((ROWS, np.eye(199)), {"rank": 2}, "for 200 points"),
        ((ROWS, np.triu(np.ones((200, 200)))), {"rank": 2}, "not symmetric"),
        ((ROWS, np.diag(np.where(np.arange(200) < 100, 1.0, -1.0))), {"rank": 2}, "not positive definite"),
        ((ROWS, lambda v: v[:3]), {"rank": 2}, "maps columns"),
        ((ROWS[:0],), {"rank": 1}, "hold nothing"),
        ((iter([ROWS]),), {"energy": 0.9}, "needs `rank`"),
        ((iter([ROWS[:3]]),), {"rank": 4}, "only 3 snapshots"),
        ((ROWS, np.diag(np.r_[np.ones(199), -1.0])), {"rank": 2}, "not positive definite"),
        ((ROWS,), {"rank": 2, "gram": np.eye(29)}, "for 30 snapshots"),
        ((iter([ROWS]),), {"rank": 2, "method": "gram"}, "a stream of row blocks cannot take method"),
        ((ROWS,), {"rank": 2, "gram": np.eye(30), "method": "randomized"}, "cannot take gram"),
        ((iter([ROWS, ROWS[:, :7]]),), {"rank": 2}, "7 points after blocks of 200"),
        ((iter([ROWS, np.nan * ROWS]),), {"rank": 2}, "NaN"),
        ((iter([]),), {"rank": 2}, "no snapshots"),
        ((ROWS[0],), {"rank": 1}, r"snapshots of shape \(200,\); expected a row of all points per snapshot"),
        (([np.ones(2)],), {"rank": 1}, "a block of shape"),
        ((ROWS,), {"tail": -1.0}, "tail=-1.0; expected an error"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)  # fmt: skip
def test_bad_input(arguments, options, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        pod(*arguments, **options)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((ROWS,), {"rank": 1.5}, r"pod\(rank=…\) is"),
        ((ROWS,), {"rank": True}, r"pod\(rank=…\) is"),
        ((ROWS,), {"rank": 3, "method": "svd"}, r"pod\(method=…\) is"),
        ((ROWS,), {"ranks": 3}, "pod: got an unexpected keyword argument 'ranks'"),
        ((ROWS + 0j,), {"rank": 3}, "complex snapshots; stack real and imaginary parts"),
        ((ROWS.astype(str),), {"rank": 3}, "snapshots of type <U"),
    ],
)  # fmt: skip
def test_arguments_of_another_kind(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        pod(*arguments, **options)


def test_traced_needs_static_shapes():
    for call in (lambda s: pod(s).modes, lambda s: pod(s, LAPLACE, rank=2).modes):
        with pytest.raises(ValueError, match="under jit"):
            jax.jit(call)(ROWS)


@pytest.mark.parametrize("method", ["gram", "two_grams"])
@pytest.mark.parametrize("shape", [(27, 12), (12, 40), (27, 200)], ids=str)
def test_rounding_gives_no_modes(method, shape):
    """Rank 3, over many draws: in some the noise of the Gram matrix lies above its floor."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
        basis = pod(rows / np.linalg.norm(rows, axis=1, keepdims=True), method=method)
        assert basis.rank == 3 and np.isfinite(basis.modes).all() and np.isfinite(basis.coefficients).all()


def test_duplicates_and_low_rank_give_fewer_modes():
    basis = pod(np.repeat(ROWS[:3], 4, 0), rank=8)
    assert basis.rank == 3 and error(np.repeat(ROWS[:3], 4, 0), basis)[0] < 1e-12


def smooth_rows(width: float, n: int = 200) -> np.ndarray:
    """Moving bumps in float32 with their mean subtracted."""
    x, t = np.linspace(0, 1, 60)[None], np.linspace(0, 1, n)[:, None]
    rows = np.exp(-((x - 0.5 - width * t) ** 2) / 0.02).astype(np.float32)
    return rows - rows.mean(0)


@pytest.mark.parametrize("options", [{}, {"energy": 1.0}, {"rank": 40}, {"rank": 40, "method": "two_grams"}], ids=str)
def test_modes_of_float32_snapshots_are_orthonormal(options):
    """More snapshots than points, a rank above the numerical one: no zero vectors and no values of zero."""
    weights = np.linspace(0.5, 2, 60)
    for width in (0.01, 0.04, 0.1):
        for product in (None, weights):
            basis = pod(smooth_rows(width), product, **options)
            assert error(smooth_rows(width), basis, np.diag(np.ones(60) if product is None else weights))[1] < 1e-5
            assert (basis.singular_values > 0).all() and basis.modes.shape[1] == len(basis.singular_values)


@pytest.mark.parametrize("method", ["gram", "two_grams"])
def test_rounding_of_float32_numbers_gives_no_modes(method):
    rng = np.random.default_rng(0)
    for shape in ((300, 400), (60, 500)):
        rows = (rng.standard_normal((shape[0], 7)) @ rng.standard_normal((7, shape[1]))).astype(np.float32)
        assert pod(rows, method=method).rank == 7 and pod(rows, rank=20, method=method).rank == 7


def test_weights_over_eight_decades_and_columns_of_rounding():
    rng = np.random.default_rng(2)
    weights = 10.0 ** np.linspace(-8, 0, 50)
    rows = rng.normal(size=(10, 3)) @ rng.normal(size=(3, 50)) + 1e-15 * rng.normal(size=(10, 50))
    basis = pod(rows, weights)
    assert basis.rank == len(basis.singular_values) == basis.coefficients.shape[1] == 3
    assert error(rows, basis, np.diag(weights))[1] < 1e-10


@pytest.mark.nightly
@pytest.mark.parametrize(
    "method",
    [
        pytest.param("gram", marks=pytest.mark.nightly),
        "auto",
        *(pytest.param(m, marks=pytest.mark.nightly) for m in ("two_grams", "randomized")),
    ],
)
def test_gradients_are_finite_and_right_where_snapshots_depend_on_each_other(method):
    rows = jax.random.normal(jax.random.key(0), (50, 3)) @ jax.random.normal(jax.random.key(1), (3, 400))
    u, _, vt = np.linalg.svd(np.asarray(rows, np.float64), full_matrices=False)
    gradient = jax.grad(lambda s: pod(s, rank=2, method=method).singular_values.sum())(rows)
    np.testing.assert_allclose(gradient, u[:, :2] @ vt[:2], atol=2e-6)
    still = jnp.concatenate([jax.random.normal(jax.random.key(2), (10, 100)), jnp.zeros((2, 100))])
    assert np.isfinite(jax.grad(lambda s: pod(s, rank=2, method=method).modes[0, 0])(still)).all()


@pytest.mark.nightly
def test_a_rank_above_that_of_the_snapshots_under_jit_gives_zero_modes():
    rows = jnp.tile(jax.random.normal(jax.random.key(3), (3, 40)), (10, 1))
    basis = jax.jit(lambda s: pod(s, rank=6))(rows)
    np.testing.assert_allclose(np.linalg.norm(basis.modes, axis=0), [1, 1, 1, 0, 0, 0], atol=1e-5)
    assert (np.asarray(basis.singular_values)[3:] == 0).all()
    assert np.isfinite(jax.grad(lambda s: pod(s, rank=6).singular_values.sum())(rows)).all()


@pytest.mark.parametrize(
    "product", [None, WEIGHTS, LAPLACE, np.diag(WEIGHTS)], ids=["none", "weights", "sparse", "dense"]
)
def test_a_basis_projects_lifts_truncates_plots_and_is_saved(product, tmp_path):
    basis = pod(ROWS, product, rank=5)
    np.testing.assert_allclose(basis.project(ROWS), basis.coefficients, atol=1e-5)
    np.testing.assert_allclose(basis.project(ROWS[3]), basis.coefficients[3], atol=1e-5)
    z = jnp.arange(5.0)
    np.testing.assert_allclose(jax.jit(lambda z: basis.project(basis.lift(z)))(z), z, atol=1e-4)
    few = basis.truncated(3)
    matrix = np.eye(200) if product is None else np.diag(WEIGHTS) if product is WEIGHTS else product
    np.testing.assert_allclose(few.tail, error(ROWS, few, matrix)[0], rtol=1e-5)
    assert few.rank == 3 and "30 snapshots of 200 points → 3 modes" in repr(few)
    assert len(basis.plot().axes[0].lines) >= 2
    if product is not LAPLACE:
        basis.save(tmp_path / "basis")
        again = sx.core.storage.load(tmp_path / "basis")
        np.testing.assert_array_equal(again.project(ROWS), basis.project(ROWS))
    for wrong, message in (
        (lambda: basis.project(np.ones(199)), "expected \\(200,\\)"),
        (lambda: basis.lift(np.ones(4)), "expected \\(5,\\)"),
        (lambda: basis.truncated(6), "the basis has 5 modes"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
