"""Empirical interpolation: the textbook greedy, round-off, complex functions, modes, transformations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.precision import in_double
from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.interpolation.eim import deim, eim, q_deim

X = np.linspace(0, 1, 120)


def bumps(centres):
    return 0.1 + np.exp(-((X - np.asarray(centres)[:, None]) ** 2) / 0.02)


def waves(numbers):
    """Damped, so that no two of them are equally large."""
    return np.exp((1j - 0.02) * np.asarray(numbers)[:, None] * (1 + X))


# Not symmetric about the middle: of mirror images that are equally large rounding would choose one.
BUMPS, WAVES = bumps(np.geomspace(0.2, 0.8, 60)), waves(np.linspace(1, 20, 60))


def clear_winner(sizes) -> tuple[int, ...]:
    """Where the largest entry is; it must be larger than all others by far more than rounding."""
    second, first = np.sort(sizes.ravel())[-2:]
    assert second < first * (1 - 1e-8), "a tie: choose a family in which rounding does not decide"
    return tuple(int(i) for i in np.unravel_index(sizes.argmax(), sizes.shape))


def pivots(modes):
    """The points of a QR factorisation with column pivoting of modesᴴ: where the rest of the rows is longest."""
    rest, points = modes.copy(), []
    for _ in range(modes.shape[1]):
        points.append(clear_winner(np.linalg.norm(rest, axis=1))[0])
        direction = rest[points[-1]] / np.linalg.norm(rest[points[-1]])
        rest -= np.outer(rest @ direction.conj(), direction)
    return set(points)


def textbook(functions, rank):
    """The greedy with a full interpolation, from the start, at every step."""
    points, chosen, errors = [], [], []
    for _ in range(rank):
        space = functions[chosen].T
        residual = functions.T - (space @ np.linalg.solve(space[points], functions[:, points].T) if chosen else 0)
        point, worst = clear_winner(np.abs(residual))
        chosen.append(worst)
        points.append(point)
        errors.append(np.abs(residual).max())
    return points, chosen, errors


@pytest.mark.parametrize("functions", [BUMPS, WAVES], ids=["real", "complex"])
def test_is_the_textbook_greedy(functions):
    ours = eim(functions, rank=10)
    points, chosen, errors = textbook(functions, 10)
    assert ours.points.tolist() == points and ours.snapshots.tolist() == chosen
    np.testing.assert_allclose(ours.errors[:10], errors, rtol=1e-9)
    np.testing.assert_array_equal(ours.basis[ours.points], ours.lower)
    np.testing.assert_allclose(ours.basis @ ours.upper, functions[chosen].T, atol=1e-14)
    nodal = np.linalg.inv(functions[chosen][:, points].T)
    assert ours.lebesgue == pytest.approx(np.abs(functions[chosen].T @ nodal).sum(1).max(), rel=1e-6)


@pytest.mark.parametrize("functions", [BUMPS, WAVES], ids=["real", "complex"])
def test_stops_at_rounding_with_a_residual_that_is_true(functions):
    ours = eim(functions)
    assert ours.errors[-1] <= 2.3e-14 * ours.errors[0] < ours.errors[-2] and len(ours.points) < 40
    again = np.abs(functions - in_double(jax.vmap(ours))(functions[:, ours.points])).max()
    assert abs(again - ours.errors[-1]) < 1e-14


def test_interpolates_unseen_functions_within_the_bound():
    ours = eim(BUMPS, rank=9)
    unseen = bumps([0.333, 0.5123, 0.777])
    with jax.enable_x64(True):
        interpolants = np.asarray(jax.vmap(ours)(unseen[:, ours.points]))
        beta = np.asarray(jax.vmap(ours.interpolate)(unseen[:, ours.points]))
    np.testing.assert_allclose(interpolants, beta @ BUMPS[ours.snapshots], atol=1e-12)
    np.testing.assert_allclose(interpolants[:, ours.points], unseen[:, ours.points], atol=1e-14)
    assert 1e-4 < np.abs(interpolants - unseen).max() < 2 * ours.errors[-1]
    best = np.abs(unseen - unseen @ (q := np.linalg.qr(ours.basis)[0]) @ q.T).max()
    # The best approximation in the maximum norm is at least 1 / √points of that in the least-squares sense.
    assert np.abs(interpolants - unseen).max() <= (1 + ours.lebesgue) * best


def test_float32_interpolates_to_its_rounding_though_the_coefficients_do_not():
    ours = eim(BUMPS, rank=18)
    values = bumps([0.333])[0]
    beta = np.asarray(jax.jit(lambda v: ours.interpolate(v))(jnp.asarray(values[ours.points])))
    assert beta.dtype == np.float32
    assert np.abs(beta - in_double(ours.interpolate)(values[ours.points])).max() > 1e-3
    assert np.abs(beta @ BUMPS[ours.snapshots] - values).max() < 2e-6


def test_jit_vmap_grad():
    ours = eim(BUMPS, rank=6)
    center = 0.41

    def weighted(c):
        return jnp.arange(6) @ ours.interpolate(0.1 + jnp.exp(-((X[ours.points] - c) ** 2) / 0.02))

    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(weighted))(center)
        difference = (weighted(center + 1e-5) - weighted(center - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.vmap(weighted)(jnp.array([center]))[0], weighted(center), rtol=1e-13)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_rank_of_the_family_and_size_of_its_members():
    rng = np.random.default_rng(0)
    family = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 50))
    family[7] = family[6]
    family[8] = 0
    assert len(eim(family, rank=10).points) == len(eim(family).points) == 3
    assert len(eim(BUMPS.astype(np.float32)).points) < 0.6 * len(eim(BUMPS).points)
    assert eim(BUMPS, rtol=1e-3).errors[-1] <= 1.1e-3 < eim(BUMPS, rtol=1e-3).errors[-2]
    sized = BUMPS * np.geomspace(1, 1e-6, len(BUMPS))[:, None]
    plain, relative = eim(sized, rank=10), eim(sized, rank=10, relative=True)
    assert relative.errors[-1] < 1e-2 and relative.snapshots.max() > 50
    values = in_double(jax.vmap(relative))(sized[:, relative.points])
    assert (np.abs(values - sized).max(1) / sized.max(1)).max() == pytest.approx(relative.errors[-1], rel=1e-6)
    values = in_double(jax.vmap(plain))(sized[:, plain.points])
    assert (np.abs(values - sized).max(1) / sized.max(1)).max() > 3 * relative.errors[-1]


MODES = np.linalg.svd(BUMPS.T, full_matrices=False)[0][:, :8]


def test_deim_is_the_greedy_on_modes():
    points = []
    for k in range(8):
        c = np.linalg.solve(MODES[points, :k], MODES[points, k])
        points.append(clear_winner(np.abs(MODES[:, k] - MODES[:, :k] @ c))[0])
    ours = deim(MODES)
    assert ours.points.tolist() == points
    c = np.arange(1.0, 9.0)
    np.testing.assert_allclose(in_double(ours.interpolate)(MODES[points] @ c), c, rtol=1e-11)
    np.testing.assert_allclose(in_double(ours)(MODES[points] @ c), MODES @ c, atol=1e-12)


def test_q_deim_is_pivoted_qr_and_independent_of_the_basis():
    ours = q_deim(MODES)
    assert set(ours.points.tolist()) == pivots(MODES)
    turned = MODES @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    assert set(q_deim(turned).points.tolist()) == pivots(MODES)
    assert ours.lebesgue < deim(MODES).lebesgue
    np.testing.assert_allclose(in_double(ours.interpolate)(MODES[ours.points] @ np.ones(8)), np.ones(8), rtol=1e-12)
    complex_modes = np.linalg.qr(WAVES[:20:3].T)[0]
    assert set(q_deim(complex_modes).points.tolist()) == pivots(complex_modes)


def test_mirror_points_of_a_symmetric_family_serve_alike():
    """Which of two equally good points is taken is rounding; the greedy residual and the quality of the points are not."""
    symmetric = bumps(np.linspace(0.2, 0.8, 60))
    modes = np.linalg.svd(symmetric.T, full_matrices=False)[0][:, :8]
    one, mirrored = q_deim(modes), q_deim(modes[::-1])
    np.testing.assert_allclose(one.lebesgue, mirrored.lebesgue, rtol=1e-6)
    first, second = eim(symmetric, rank=10), eim(symmetric[:, ::-1], rank=10)
    np.testing.assert_allclose(first.errors, second.errors, rtol=0.5)
    for found in (first, second):
        np.testing.assert_allclose(found.lower, np.tril(found.lower), atol=0)
        assert np.abs(found.lower).max() == 1 and found.lebesgue < 10  # complete pivoting


def test_survives_a_file(tmp_path):
    save(tmp_path / "eim", ours := eim(WAVES, rank=4))
    back = load(tmp_path / "eim")
    values = WAVES[3, ours.points]
    np.testing.assert_array_equal(back(values), ours(values))


def test_bad_input():
    nan = BUMPS.copy()
    nan[3, 4] = np.nan
    for call, message in [
        (lambda: eim(nan), "NaN"),
        (lambda: eim(np.zeros((3, 5))), "all functions are zero"),
        (lambda: eim(BUMPS, rank=0), "rank must be at least 1"),
        (lambda: deim(np.column_stack([MODES, MODES[:, 2]])), "mode 8 depends linearly"),
        (lambda: q_deim(np.column_stack([MODES[:, :2], MODES[:, 0]])), "mode 2 depends linearly"),
        (lambda: deim(MODES.T), "modes are columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_integers_and_lists_are_numbers_and_other_things_are_not():
    whole = np.eye(8, 3, dtype=int) + np.arange(24).reshape(8, 3)
    for call in (deim, q_deim):
        np.testing.assert_array_equal(call(whole).points, call(whole.astype(float)).points)
        np.testing.assert_array_equal(call(whole.tolist()).points, call(whole.astype(float)).points)
    np.testing.assert_array_equal(eim(whole.T).points, eim(whole.T.astype(float)).points)
    assert eim(np.eye(3, 8) > 0).errors.shape == (4,)
    for wrong, message in (
        (lambda: eim(whole, rank=1.5), r"eim\(rank=…\) is"),
        (lambda: eim(whole.tolist(), 2), "eim: too many positional arguments"),
        (lambda: deim([["a", "b"]]), "deim: values of type <U1"),
        (lambda: eim([1.0, 2.0]), r"eim: an array of shape \(2,\)"),
        (lambda: deim([[], []]), r"deim: an array of shape \(2, 0\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            wrong()
