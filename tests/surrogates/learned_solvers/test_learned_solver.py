"""Learned solvers: the papers' updates, the closed-form start, training on unseen noise, files, and `sample`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common.mixtures import SMOOTH, Mixture

import surrogax as sx
from surrogax.solvers import diffusion
from surrogax.surrogates import learned_solvers as ls

VP, EDM = diffusion.VPLinear(), diffusion.EDM()
GRID = diffusion.VPQuadratic
STEPS = 4


def denoise(x, sigma, condition=None):
    """Smooth, and of no special form."""
    return jnp.tanh(x + 0.3 * jnp.roll(x, 1)) / (1 + 0.2 * sigma)


def solver(form, schedule=VP, weights=None, shifts=None, to_zero=False, steps=STEPS):
    made = sx.LearnedSolver(
        denoise, schedule, steps, shape=(3,), form=form, grid=diffusion.LogSNR(steps, to_zero=to_zero)
    )
    if weights is not None:
        made = eqx.tree_at(lambda s: s.weights, made, jnp.asarray(weights))
    if shifts is not None:
        made = eqx.tree_at(lambda s: s.shifts, made, jnp.asarray(shifts))
    return made


def ends(made, schedule, y, steps=STEPS):
    """The last state in the frame of y, from y at the first level."""
    levels = made.levels()[0]
    x = diffusion.sample(denoise, made, schedule=schedule, times=steps, initial=y * schedule.alpha(schedule.start))
    return np.asarray(x) / (schedule.alpha(schedule.end) if levels[-1] else 1.0)


def by_hand(made, y, update):
    """The states of `update(i, states, evaluations, levels)`, the network at its own levels and at the points of VP."""
    levels, network = made.levels()
    states, known = [y], []
    for i in range(len(network)):
        seen = states[-1] * np.sqrt((1 + network[i] ** 2) / (1 + levels[i] ** 2))
        known.append(np.asarray(jax.vmap(lambda x, s=network[i]: denoise(x, s))(jnp.asarray(seen))))
        states.append(update(i, states, known, levels))
    return states[-1]


@pytest.fixture
def y():
    return jnp.asarray(VP.level(np.float64(1.0)) * np.random.default_rng(0).standard_normal((5, 3)))


def ddim(y, d, s, t):
    return d + t / s * (y - d)


def test_d_ode_is_the_update_of_its_paper(x64, y):
    weights = np.random.default_rng(1).standard_normal((STEPS, 1))

    def update(i, states, known, levels):
        moved = ddim(states[-1], known[-1], levels[i], levels[i + 1])
        return moved + weights[i, 0] * (known[-1] - known[-2]) if i else moved

    made = solver(ls.DODE(), weights=weights)
    np.testing.assert_allclose(ends(made, VP, y), by_hand(made, y, update), rtol=1e-9)


def test_iia_is_the_update_of_its_paper(x64, y):
    weights = np.random.default_rng(2).standard_normal((STEPS, 1))

    def update(i, states, known, levels):
        moved = ddim(states[-1], known[-1], levels[i], levels[i + 1])
        if not i:
            return moved
        now, old = ((states[j] - known[j]) / levels[j] for j in (i, i - 1))
        return moved + weights[i, 0] * (now - old)

    made = solver(ls.IIA(), weights=weights)
    np.testing.assert_allclose(ends(made, VP, y), by_hand(made, y, update), rtol=1e-9)


@pytest.mark.quick("velocity")
@pytest.mark.parametrize("prediction", ["data", "velocity"])
def test_solver_search_is_the_update_of_its_paper(x64, y, prediction):
    """VP: x_t = (σ_t/σ_s) x + σ_t (w_t − w_s) Σ c_j x0_j, w = α/σ. Flow: x += dt Σ c_j u_j, u = ε − x₀."""
    weights = np.random.default_rng(3).standard_normal((STEPS, STEPS))

    def update(i, states, known, levels):
        c = np.append(weights[i, :i], 1 - weights[i, :i].sum())
        s, t = levels[i], levels[i + 1]
        if prediction == "data":
            alpha = 1 / np.sqrt(1 + levels[i : i + 2] ** 2)
            sigma = alpha * levels[i : i + 2]
            x = sigma[1] / sigma[0] * alpha[0] * states[-1]
            x = x + sigma[1] * (1 / t - 1 / s) * sum(w * d for w, d in zip(c, known, strict=True))
            return x / alpha[1]
        velocities = [(u - d) / v - d for u, d, v in zip(states, known, levels, strict=False)]
        x = states[-1] / (1 + s) + (t / (1 + t) - s / (1 + s)) * sum(w * u for w, u in zip(c, velocities, strict=True))
        return (1 + t) * x

    made = solver(ls.SolverSearch(prediction), weights=weights)
    np.testing.assert_allclose(ends(made, VP, y), by_hand(made, y, update), rtol=1e-8)


def test_time_alignment_is_the_update_of_its_paper(x64, y):
    """The network sees the VP state at another time; its ε then moves the state between the times of the points."""
    shifts = np.array([0.0, 0.1, -0.2, 0.15])
    made = solver(ls.TimeAlignment(), shifts=shifts)
    levels, network = made.levels()
    np.testing.assert_allclose(network, levels[:-1] * np.exp(-shifts))

    def update(i, states, known, levels):
        scale = np.sqrt((1 + network[i] ** 2) / (1 + levels[i] ** 2))
        # x = α y of VP at the point; ε of the network at its own time.
        x, alpha = states[-1] / np.sqrt(1 + levels[i] ** 2), 1 / np.sqrt(1 + network[i] ** 2)
        np.testing.assert_allclose(x, states[-1] * scale * alpha)
        noise = (x - alpha * known[-1]) / (network[i] * alpha)
        return states[-1] + (levels[i + 1] - levels[i]) * noise

    np.testing.assert_allclose(ends(made, VP, y), by_hand(made, y, update), rtol=1e-9)


CHOICES = {
    "UniPC": (diffusion.UniPC(3, "vary", lower_final=False), ls.StepChoice("data", 3, True)),
    "Adams": (diffusion.ExponentialAdams(2, lower_final=False), ls.StepChoice("data", 2, False)),
    "DEIS": (diffusion.DEIS(3, "log_snr"), ls.StepChoice("noise", 3, False)),
    "DDIM": (diffusion.DDIM(), ls.StepChoice("noise", 1, False)),
}


@pytest.mark.quick("False-UniPC", "True-DEIS")
@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("to_zero", [False, True])
def test_choices_of_steps_contain_the_classical_solvers(x64, y, name, to_zero):
    classical, choice = CHOICES[name]
    made = solver(ls.StepChoices((choice,) * STEPS), to_zero=to_zero)
    grid = diffusion.LogSNR(STEPS, to_zero=to_zero)
    initial = y * VP.alpha(VP.start)
    x = diffusion.sample(denoise, classical, schedule=VP, times=grid, initial=initial)
    np.testing.assert_allclose(ends(made, VP, y), np.asarray(x) / (1 if to_zero else VP.alpha(VP.end)), rtol=1e-9)


@pytest.mark.nightly
@pytest.mark.parametrize("to_zero", [False, True])
def test_the_free_table_starts_as_ipndm_and_every_weight_moves_it(x64, y, to_zero):
    made, grid = solver(ls.FreeTable(), to_zero=to_zero), diffusion.LogSNR(STEPS, to_zero=to_zero)
    ipndm = diffusion.plan(diffusion.IPNDM(3), schedule=VP, times=grid)
    rows = STEPS if not to_zero else STEPS - 1  # the step to no noise of iPNDM is of order one
    np.testing.assert_allclose(made.unrolled()[2][: rows + 1], diffusion.unrolled(ipndm)[: rows + 1], atol=1e-9)
    slopes = jax.jacobian(lambda w: eqx.tree_at(lambda s: s.weights, made, w).unrolled(jnp)[2])(made.weights)
    moved = np.abs(slopes).max((0, 1)) > 0
    expected = np.column_stack([np.ones(STEPS), np.tri(STEPS)]).astype(bool)
    if to_zero:
        expected[-1, 0] = False
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_allclose(made.unrolled(jnp)[2], made.unrolled(np)[2], atol=1e-12)


@pytest.mark.quick("UniPC")
@pytest.mark.parametrize("name", ["UniPC", "DEIS", "DPM-Solver", "Heun"])
def test_every_sampler_is_one_triangular_matrix(x64, y, name):
    classical = {
        "UniPC": diffusion.UniPC(3), "DEIS": diffusion.DEIS(3), "DPM-Solver": diffusion.DPMSolver(3), "Heun": diffusion.Heun(),
    }[name]  # fmt: skip
    table = diffusion.plan(classical, schedule=VP, times=diffusion.LogSNR(6, to_zero=False))
    points = diffusion.unrolled(table)
    again = diffusion.from_unrolled(points, table.levels, table.start, table.end)
    np.testing.assert_allclose(diffusion.unrolled(again), points, atol=1e-12)
    assert (np.triu(points, 1) == 0).all()


def start_and_measure():
    mixture = Mixture.random(3, SMOOTH, 2, 3)
    start = sx.LearnedSolver(mixture.denoise, VP, 4, shape=(2,), grid=GRID(4, to_zero=False))
    return mixture, start, ls.EndError.of(start, jax.random.key(9), samples=64, teacher=40)


def test_least_squares_beat_theory_on_unseen_noise_and_are_saved(key, tmp_path):
    """In closed form; the file keeps the sampler without the denoiser; evaluations are counted."""
    mixture, start, measure = start_and_measure()
    closed = start.least_squares(key, samples=128, teacher=40)
    assert closed.evaluations == 128 * 44
    assert measure(start) > 1.2 * measure(closed)
    closed.save(tmp_path / "solver.sgx")
    loaded = sx.load(tmp_path / "solver.sgx")
    options = {"schedule": VP, "times": 4, "shape": (2,), "n": 8, "key": key}
    found, again = (diffusion.sample(mixture.denoise, s, **options) for s in (closed, loaded))
    np.testing.assert_array_equal(found, again)
    with pytest.raises(ValueError, match="loaded from a file"):
        loaded.least_squares(key)


@pytest.mark.nightly
def test_training_beats_least_squares_on_unseen_noise(key, x64):
    _, start, measure = start_and_measure()
    closed = start.least_squares(key, samples=128, teacher=40)
    result = sx.fit(
        closed, optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, 100)), steps=100, key=key, val=measure,
        check_every=50, progress=False, samples=64, pool=128, teacher=40,
    )  # fmt: skip
    assert measure(closed) > 1.1 * measure(result.best)
    assert result.last.evaluations == 128 * 44 + 100 * 64 * 4


@pytest.mark.nightly
def test_restrictions_are_fitted_in_closed_form(key, x64):
    """A restriction cannot beat the free table of the same start by much, and beats DDIM."""
    mixture = Mixture.random(3, SMOOTH, 4, 4)

    def made(form):
        return sx.LearnedSolver(mixture.denoise, VP, 5, shape=(4,), form=form, grid=GRID(5, to_zero=False))

    measure = ls.EndError.of(made(ls.FreeTable()), jax.random.key(9))
    plain = float(measure(made(ls.DODE())))
    fitted = {
        type(f).__name__: float(measure(made(f).least_squares(key))) for f in (ls.DODE(), ls.IIA(), ls.SolverSearch())
    }
    assert all(error < 0.8 * plain for error in fitted.values())
    assert float(measure(made(ls.FreeTable()).least_squares(key))) < 1.1 * min(fitted.values())
    found = made(ls.FreeTable()).searched(key, population=16, generations=4)
    assert float(measure(found)) < 0.5 * plain and found.evaluations == 128 * (64 + 5 * (16 + 3 * 12))


def test_refusals(key):
    made = solver(ls.FreeTable())
    with pytest.raises(ValueError, match="has times of its own, those of 4 evaluations; pass times=4"):
        diffusion.sample(denoise, made, schedule=VP, times=5, shape=(3,), n=1, key=key)
    with pytest.raises(ValueError, match="evaluates at the noise level 152"):
        diffusion.sample(denoise, made, schedule=EDM, times=4, shape=(3,), n=1, key=key)
    with pytest.raises(ValueError, match="the grid has 5 evaluations"):
        sx.LearnedSolver(denoise, VP, 4, shape=(3,), grid=GRID(5))
    with pytest.raises(ValueError, match="starts at infinite noise"):
        sx.LearnedSolver(denoise, diffusion.FlowMatching(), 4, shape=(3,), grid=diffusion.UniformTime(4))
    with pytest.raises(ValueError, match="TimeAlignment has no weights"):
        solver(ls.TimeAlignment()).least_squares(key)
    with pytest.raises(ValueError, match="a reference for 4 evaluations needs 12 or more"):
        made.least_squares(key, teacher=8)
    measure = ls.EndError.of(made, key, samples=2, teacher=12)
    with pytest.raises(ValueError, match=r"make one with EndError\.of"):
        measure(sx.LearnedSolver(denoise, VP, 4, shape=(3,), grid=diffusion.LogSNR(4, start=0.5, to_zero=False)))
    fixed = ls.StepChoices((ls.StepChoice("data", 2, False),) * 4)
    with pytest.raises(ValueError, match="StepChoices has nothing to train"):
        solver(fixed).objective()
    with pytest.raises(TypeError, match="close over the solver"):
        eqx.filter_jit(lambda s: s.fixed_table().advance)(made)
    with pytest.raises(TypeError, match="pass a function denoise"):
        sx.LearnedSolver(3, VP, 4, shape=(3,))  # pyright: ignore[reportArgumentType]
