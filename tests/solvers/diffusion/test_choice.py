"""`Tuned`, `solver="auto"` and `choose`: what they cost, that they follow the scale of data, and how good they are."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from common.field_mixtures import FieldMixture
from common.mixtures import SMOOTH, Mixture
from common.sampling_beds import Bed

from surrogax.solvers import diffusion
from surrogax.solvers.diffusion.automatic import automatic_grid

VP, EDM = diffusion.VPLinear(), diffusion.EDM()


@pytest.mark.parametrize("evaluations", [1, 3, 5, 6, 12, 40])
@pytest.mark.parametrize("schedule", [VP, EDM, diffusion.VPCosine()])
def test_tuned_nodes_fall_between_the_ends(evaluations, schedule):
    times, levels = diffusion.Tuned(evaluations, to_zero=False).levels(schedule, evaluations)
    assert len(times) == evaluations + 1 and (np.diff(levels) < 0).all()
    assert (times[0], times[-1]) == (schedule.start, schedule.end)


def test_tuned_moves_with_the_scale_of_the_data():
    """Data and noise that are three times larger: the same grid, three times larger."""
    small = diffusion.Tuned(8, to_zero=False).levels(diffusion.EDM(0.01, 50), 8)[1]
    large = diffusion.Tuned(8, to_zero=False, data_std=3.0).levels(diffusion.EDM(0.03, 150), 8)[1]
    np.testing.assert_allclose(large, 3 * small, rtol=1e-9)
    with pytest.raises(ValueError, match="data_std"):
        diffusion.Tuned(8, data_std=0.0)


@pytest.mark.parametrize(
    ("field", "evaluations", "solver", "grid"),
    [
        (False, 10, diffusion.IPNDM(3), diffusion.Tuned(10)),
        (False, 40, diffusion.ExponentialAdams(4), diffusion.LogSNR(40)),
        (True, 5, diffusion.IPNDM(3), diffusion.Rho(5)),
        (True, 10, diffusion.DEIS(3, "log_snr"), diffusion.Rho(10)),
        (True, 15, diffusion.DEIS(3, "log_snr"), diffusion.Rho(15, rho=10.0)),
        (True, 20, diffusion.UniPC(3), diffusion.LogSNR(20)),
    ],
)
def test_auto_is_the_rule_that_it_says(field, evaluations, solver, grid):
    auto = diffusion.plan("auto", schedule=VP, times=evaluations, field=field)
    expected = diffusion.plan(solver, schedule=VP, times=grid)
    np.testing.assert_allclose(auto.levels, expected.levels, rtol=1e-9)
    np.testing.assert_allclose(auto.advance, expected.advance, rtol=1e-6, atol=1e-12)


def test_samples_with_axes_of_space_are_fields_under_white_noise(key):
    def levels(shape, **options):
        kind = {"schedule": VP, "times": 6, "shape": shape, "n": 1, "key": key, "trajectory": True}
        return diffusion.sample(lambda x, s, c: x / (1 + s), "auto", **kind, **options).levels

    vector, field = (diffusion.plan("auto", schedule=VP, times=6, field=field).levels for field in (False, True))
    np.testing.assert_array_equal(levels((8,)), vector)
    np.testing.assert_array_equal(levels((8, 1)), field)
    # Noise of the data's own colours: all modes come out of it at once.
    np.testing.assert_array_equal(levels((8, 1), noise=lambda key, shape: jnp.ones(shape)), vector)
    with pytest.raises(ValueError, match=r"plan\(field=True\): only the choice"):
        diffusion.plan(diffusion.UniPC(3), schedule=VP, times=6, field=True)


@pytest.mark.nightly
def test_auto_for_fields_is_near_the_best_of_usual_pairs_on_an_unseen_field(x64):
    bed = Bed.of_mixture(FieldMixture.random(50), VP, 24)
    tables = {
        (solver, grid): diffusion.plan(solver, schedule=VP, times=grid(10, to_zero=False))
        for solver in (diffusion.IPNDM(3), diffusion.DEIS(3, "log_snr"), diffusion.UniPC(3), diffusion.DPMSolverPP(2))
        for grid in (diffusion.LogSNR, diffusion.VPQuadratic, diffusion.Rho)
    }
    for field in (False, True):
        grid = dataclasses.replace(automatic_grid(VP, 10, field), to_zero=False)
        tables[field] = diffusion.plan("auto", schedule=VP, times=grid, field=field)
    errors = bed.errors(tables)
    vectors, fields = errors.pop(False), errors.pop(True)
    assert fields < 2.5 * min(errors.values()) and fields < 0.7 * vectors


def ends(mixture, solver, times, y):
    x = diffusion.sample(mixture.denoise, solver, schedule=VP, times=times, initial=y * VP.alpha(VP.start))
    return np.asarray(x) / VP.alpha(VP.end)


@pytest.mark.nightly
def test_auto_halves_the_error_of_the_best_usual_grid_on_an_unseen_mixture(x64):
    mixture = Mixture.random(77, SMOOTH, 12, 9)
    first, last = VP.log_snr(np.array([VP.start, VP.end]))
    y = jnp.asarray(np.exp(-first) * np.random.default_rng(3).standard_normal((64, 12)))
    exact = np.asarray(mixture.flow(y, first, last, 800))

    def error(solver, times):
        return np.median(np.sqrt(np.mean((ends(mixture, solver, times, y) - exact) ** 2, -1)))

    auto = error("auto", diffusion.Tuned(10, to_zero=False))
    for solver in (diffusion.IPNDM(3), diffusion.UniPC(3), diffusion.DEIS(4), diffusion.DPMSolverPP(2)):
        for grid in (diffusion.LogSNR, diffusion.VPQuadratic):
            assert auto < 0.8 * error(solver, grid(10, to_zero=False))


@pytest.mark.nightly
def test_choose_finds_the_solver_that_is_exact(key):
    """Constant data, D = 2: every data-prediction solver is exact in one step, those that are not are never the choice."""

    def denoise(x, sigma, condition=None):
        return 0 * x + 2.0

    found = diffusion.choose(denoise, schedule=VP, times=3, shape=(2,), key=key, samples=8, fine=12)
    assert found.error < 1e-4 and len(found.ranking) == 8
    assert found.evaluations == 8 * 12 + 3 * (4 * 77 + 8 * 8)
    x = diffusion.sample(denoise, found, schedule=VP, times=3, shape=(2,), n=4, key=key)
    np.testing.assert_allclose(x, 2.0, atol=1e-4)
    with pytest.raises(ValueError, match="has times of its own, those of 3 evaluations"):
        diffusion.sample(denoise, found, schedule=VP, times=4, shape=(2,), n=4, key=key)
    with pytest.raises(ValueError, match="the reference needs 9 evaluations or more"):
        diffusion.choose(denoise, schedule=VP, times=3, shape=(2,), key=key, fine=8)
    with pytest.raises(ValueError, match="samples"):
        diffusion.choose(denoise, schedule=VP, times=3, shape=(2,), key=key, samples=4)


class Slowed(diffusion.VPLinear):
    """Derived without the decorator: `rate` is no field, so that instances of different rates are equal."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def _log_alpha(self, t):
        return self.rate * super()._log_alpha(t)


def test_no_kept_table_of_another_object_comes_back():
    one, half = (diffusion.plan(diffusion.DDIM(), schedule=Slowed(rate), times=5).levels for rate in (1.0, 0.5))
    np.testing.assert_allclose(one[0], Slowed(1.0).level(1.0))
    np.testing.assert_allclose(half[0], Slowed(0.5).level(1.0))
    assert diffusion.plan("auto", schedule=VP, times=5) is diffusion.plan("auto", schedule=VP, times=5)
