"""Baselines where the answer is known, and the contract on surrogates that break each part of it."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.solvers.pde import Solved
from surrogax.surrogates.resampling import resample
from surrogax.surrogates.surrogate import AbstractGenerative, AbstractProbabilistic

N = 12


def relative_error(u, v) -> float:
    u, v = (x.reshape(len(x), -1) for x in (u, v))
    return float(np.mean(np.linalg.norm(u - v, axis=1) / np.linalg.norm(v, axis=1)))


@pytest.fixture(scope="module")
def waves():
    """Training and test data on a periodic grid: û_k = (1 + 2i)/(1 + k) â_k, and a fixed field on top."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(26, N)) * np.linspace(1, 3, N)
    symbol = (1 + 2j) / (1 + np.arange(N // 2 + 1))
    symbol[[0, -1]] = 0.5  # real, so that the result is
    u = np.fft.irfft(symbol * np.fft.rfft(a), N) + np.cos(np.arange(N))
    data = sx.from_arrays({"a": np.float32(a)}, {"u": np.float32(u)}, grid=sx.Grid.unit(N, 1, "periodic"))
    train, test = data.split(train=20, test=6)
    return train, test, sx.Task.fit(train, "a", "u")


# Baselines ------------------------------------------------------------------------------------------------------------


def test_the_mean_field_is_the_mean_of_the_training_targets(waves):
    train, test, task = waves
    mean = sx.MeanField(task)
    expected = train["u"].mean(0, np.float64)
    for prediction in mean.predict(test)["u"]:
        np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-6)
    fine = mean.predict(test, at=sx.Grid.unit(2 * N, 1, "periodic"))["u"][0]
    np.testing.assert_allclose(fine[::2], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fine[1::2], (expected + np.roll(expected, -1)) / 2, rtol=1e-4, atol=1e-5)
    sx.check_surrogate(mean, test)


def test_persistence_repeats_the_last_frame():
    w = np.random.default_rng(0).normal(size=(3, 5, N)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=sx.Grid.unit(N, 1), times=np.arange(5))
    persistence = sx.Persistence(sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(2)))
    np.testing.assert_array_equal(persistence.predict(data)["w"], w[:, 1])
    np.testing.assert_array_equal(persistence.rollout(data, 3)["w"], w[:, [1, 1, 1]])


def test_persistence_on_point_clouds_is_bound_to_their_points():
    w = np.random.default_rng(0).normal(size=(3, 4, 7)).astype(np.float32)
    cloud = sx.PointCloud(np.random.default_rng(1).uniform(size=(3, 7, 2)).astype(np.float32))
    data = sx.from_arrays({"w": w}, points=cloud, times=np.arange(4))
    persistence = sx.Persistence(sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(1)))
    assert not persistence.capabilities.resolution_free
    np.testing.assert_array_equal(persistence.predict(data)["w"], w[:, 0])


def test_linear_spectral_recovers_a_linear_translation_invariant_map(waves):
    train, test, task = waves
    spectral = sx.fit(sx.LinearSpectral(task, modes=N // 2 + 1, ridge=1e-10), train).best
    assert relative_error(spectral.predict(test)["u"], test["u"]) < 1e-4
    sx.check_surrogate(spectral, test)


def test_linear_spectral_is_never_worse_than_the_mean_on_its_training_data():
    """In mean square, for targets that have nothing to do with the inputs, and few of them."""
    rng = np.random.default_rng(3)
    grid = sx.Grid.unit(N, 1, "periodic")
    data = sx.from_arrays({"a": rng.normal(size=(4, N))}, {"u": 2 + rng.normal(size=(4, N))}, grid=grid)
    task = sx.Task.fit(data, "a", "u")
    spectral = sx.fit(sx.LinearSpectral(task, modes=N // 2 + 1), data).best
    square = lambda u: float(((u - data["u"]) ** 2).mean())  # noqa: E731
    mean = square(sx.MeanField(task).predict(data)["u"])
    assert square(spectral.predict(data)["u"]) < mean * (1 + 1e-5)


def rod(box: sx.Box) -> sx.Problem:
    """−u'' = f on an interval with u = 0 at its ends, by a dense matrix of second order."""

    def solve(fields, grid, *, rtol=None):
        n, h = grid.shape[0], grid.spacing[0]
        inverse = np.linalg.inv((2 * np.eye(n - 2) - np.eye(n - 2, k=1) - np.eye(n - 2, k=-1)) / h**2)
        u = jnp.pad(jnp.asarray(inverse, jnp.float32) @ fields["f"][1:-1], 1)
        return Solved({"u": u}, sx.linear.Stats(jnp.asarray(0), jnp.asarray(0), jnp.asarray(0.0)))

    return sx.Problem("u", box, inputs={"f": sx.random.GaussianField()}, solve=solve)


def test_the_solver_as_a_surrogate_is_the_solver_and_converges_with_its_grid():
    problem = rod(sx.Box.unit(1))
    x = np.linspace(0, 1, 33)
    amplitude = np.float64([[1.0], [-2.0]])
    data = sx.from_arrays(
        {"f": np.float32(amplitude * np.pi**2 * np.sin(np.pi * x))}, {"u": np.float32(amplitude * np.sin(np.pi * x))},
        grid=problem.box.grid(33),
    )  # fmt: skip
    same = sx.SolverSurrogate(problem, 33)
    solved = [problem.solve({"f": jnp.asarray(f)}, data.grid)["u"] for f in data["f"]]
    np.testing.assert_allclose(same.predict(data)["u"], solved, rtol=1e-5, atol=1e-6)
    errors = [relative_error(sx.SolverSurrogate(problem, n).predict(data)["u"][:, ::8], data["u"][:, ::8])
              for n in (5, 9, 17)]  # fmt: skip
    assert all(3.5 < a / b < 4.5 for a, b in pairwise(errors)), errors
    sx.check_surrogate(same, data)
    with pytest.raises(ValueError, match="SolverSurrogate holds functions and cannot be saved"):
        same.save("never")


@pytest.mark.nightly
def test_the_solver_steps_in_time(key):
    """From the last of two given frames, with a viscosity per sample: on its own grid exactly, on a coarser one about."""
    problem = sx.problem("burgers", nu=sx.random.Uniform(0.02, 0.05))
    data = sx.generate(problem, 3, 64, key, times=np.linspace(0, 0.5, 6), cache=False, progress=False, label_samples=0)
    task = sx.Task.fit(data, ("u", "nu"), "u", mode=sx.Autoregressive(history=2))
    assert task.dt == pytest.approx(0.1)
    solver, coarse = (sx.SolverSurrogate(problem, n, task=task) for n in (64, 32))
    np.testing.assert_allclose(solver.predict(data)["u"], data["u"][:, 2], atol=1e-4)
    np.testing.assert_allclose(solver.rollout(data, 4)["u"], data["u"][:, 2:], atol=1e-3)
    table = sx.evaluate(
        {"solver": solver, "coarse": coarse, "last": sx.Persistence(task)}, data, rollout=3, timing=False
    )
    assert table.value("solver") < 1e-3 < table.value("coarse") < table.value("last") / 2
    sx.check_surrogate(solver, data)
    pairs = sx.Task.fit(data, ("u", "nu"), "u", mode=sx.Autoregressive(history=2, horizon=2))
    bundled = sx.SolverSurrogate(problem, 64, task=pairs)
    np.testing.assert_allclose(bundled.predict(data)["u"], data["u"][:, 2:4], atol=1e-3)
    np.testing.assert_allclose(bundled.rollout(data, 3)["u"], data["u"][:, 2:5], atol=1e-3)


@pytest.mark.nightly
def test_samples_that_the_solver_did_not_solve_are_named():
    """A coefficient that is negative somewhere, as sample 1 of 3."""
    darcy = sx.problem("darcy", faces="arithmetic")
    a = np.random.default_rng(0).uniform(1, 2, (3, 9, 9)).astype(np.float32)
    a[1, 4, 4] = -5
    data = sx.from_arrays({"a": a}, {"u": np.zeros_like(a)}, grid=sx.Grid.unit_square(9))
    solver = sx.SolverSurrogate(darcy, 9)
    with pytest.warns(
        UserWarning, match=r"SolverSurrogate of .*did not converge for 1 sample \(1\); .*breakdown"
    ) as found:
        predicted = solver.predict(data, batch_size=2)
    assert len(found) == 1 and np.isfinite(predicted["u"][[0, 2]]).all()
    with pytest.warns(UserWarning, match=r"1 sample \(1\)"):
        sx.evaluate({"solver": solver}, data, timing=False)


@pytest.mark.nightly
def test_float32_data_under_x64(x64):
    """A constant right-hand side takes the precision of the data."""
    a = np.random.default_rng(0).uniform(1, 2, (2, 9, 9)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": np.zeros_like(a)}, grid=sx.Grid.unit_square(9))
    assert (sx.SolverSurrogate(sx.problem("darcy"), 9).predict(data)["u"][:, 4, 4] > 0.03).all()


def test_the_solver_refuses_what_it_cannot_continue(key):
    timed = sx.from_arrays({"u": np.ones((2, 4, N))}, grid=sx.Grid.unit(N, 1, "periodic"), times=np.arange(4))
    task = sx.Task.fit(timed, "u", "u", mode=sx.Autoregressive(1))
    uneven = sx.from_arrays({"u": np.ones((2, 4, N))}, grid=timed.grid, times=np.array([0, 1, 3, 4]))
    with pytest.warns(UserWarning, match="uneven"):
        timeless = sx.Task.fit(uneven, "u", "u", mode=sx.Autoregressive(1))
    burgers = sx.problem("burgers", nu=sx.random.Uniform(0.02, 0.05))
    smoke = sx.problem("smoke", grid=(8, 8), buoyancy=sx.random.Uniform())
    for message, make in (
        (
            r"on an autoregressive task needs a problem that declares `step`",
            lambda: sx.SolverSurrogate(smoke, 8, task=task),
        ),
        (r"knows no time step; fit it on evenly spaced", lambda: sx.SolverSurrogate(burgers, N, task=timeless)),
        (r"from the inputs \['nu'\] to the unknowns", lambda: sx.SolverSurrogate(burgers, N, task=task)),
        (r"is in time; give an autoregressive task", lambda: sx.SolverSurrogate(burgers, N)),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_baselines_refuse_tasks_that_they_cannot_serve(waves):
    _, _, task = waves
    timed = sx.from_arrays({"w": np.ones((2, 4, N))}, grid=sx.Grid.unit(N, 1), times=np.arange(4))
    rolling = sx.Task.fit(timed, "w", "w", mode=sx.Autoregressive(1))
    bare = sx.Task.of(sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box.unit(1)), 5)
    for make, message in (
        (lambda: sx.MeanField(rolling), "MeanField serves steady tasks from Task.fit"),
        (lambda: sx.MeanField(bare), "MeanField serves steady tasks from Task.fit"),
        (lambda: sx.Persistence(task), "Persistence needs an autoregressive task"),
        (lambda: sx.fit(sx.LinearSpectral(rolling), timed), "LinearSpectral serves steady tasks with input fields"),
        (lambda: sx.fit(sx.LinearSpectral(task)), "fit needs data"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


# The contract ---------------------------------------------------------------------------------------------------------


@sx.register("test.Good")
class Good(sx.AbstractSurrogate):
    """u = 2 a at any resolution."""

    task: sx.Task
    factor: sx.Buffer = eqx.field(default_factory=lambda: sx.Buffer(jnp.float32(2)))
    capabilities = sx.Capabilities(resolution_free=True)

    def __call__(self, fields, at=None):
        return {"u": self.factor.value * resample(self.task, fields, at)["a"]}


class WrongShape(Good):
    def __call__(self, fields, at=None):
        return {"u": super().__call__(fields, at)["u"][:-1]}


class OtherName(Good):
    def __call__(self, fields, at=None):
        return {"w": super().__call__(fields, at)["u"]}


class NotFinite(Good):
    def __call__(self, fields, at=None):
        u = super().__call__(fields, at)["u"]
        return {"u": u.at[3].set(jnp.nan)}


class DependsOnTheBatch(Good):
    def predict(self, data, *, at=None, batch_size=64):
        u = super().predict(data, at=at)["u"]
        return {"u": u - u.mean(0)}


class Forgetful(Good):
    """A second prediction differs from the first."""

    def predict(self, data, *, at=None, batch_size=64):
        CALLS.append(len(data))
        u = super().predict(data, at=at)["u"]
        return {"u": u * (1 + 1e-6 * (CALLS.count(len(data)) - 1))}


class Deaf(Good):
    def __call__(self, fields, at=None):
        return {"u": jnp.ones_like(resample(self.task, fields, at)["a"])}


class NeedsInputAfterAll(Good):
    capabilities = sx.Capabilities(needs_input=False, differentiable=False)


class NoGradient(Good):
    def __call__(self, fields, at=None):
        return {"u": jax.lax.stop_gradient(super().__call__(fields, at)["u"])}


class HalfGradient(Good):
    """The gradient of half of the points is missing."""

    def __call__(self, fields, at=None):
        u = super().__call__(fields, at)["u"]
        return {"u": jnp.where(jnp.arange(len(u)) < len(u) // 2, jax.lax.stop_gradient(u), u)}


class InfiniteGradient(Good):
    def __call__(self, fields, at=None):
        a = resample(self.task, fields, at)["a"]
        return {"u": a + jnp.sqrt(0 * a)}


class BoundToItsGrid(Good):
    def __call__(self, fields, at=None):
        return {"u": self.factor.value * fields["a"]}


class LosesItsFactor(Good):
    def save(self, path):
        Good(self.task, sx.Buffer(jnp.float32(1))).save(path)


class ShortStd(Good, AbstractProbabilistic):
    """A variance that is a number and not a field."""

    capabilities = sx.Capabilities(resolution_free=True, has_std=True)

    def std(self, fields, at=None):
        return {"u": jnp.abs(fields["a"]).mean()}


class NegativeStd(ShortStd):
    def std(self, fields, at=None):
        return {"u": resample(self.task, fields, at)["a"]}


class ConstantStd(ShortStd):
    def std(self, fields, at=None):
        return {"u": jnp.ones_like(resample(self.task, fields, at)["a"])}


class Drawing(Good, AbstractGenerative):
    """2 a with noise, as it should be."""

    capabilities = sx.Capabilities(resolution_free=True, has_samples=True)

    def samples(self, fields, n, *, key, at=None):
        u = self(fields, at)["u"]
        return {"u": u + jax.random.normal(key, (n, *u.shape))}


class SameDraws(Drawing):
    def samples(self, fields, n, *, key, at=None):
        u = self(fields, at)["u"]
        return {"u": jnp.broadcast_to(u, (n, *u.shape))}


class OneDraw(Drawing):
    def samples(self, fields, n, *, key, at=None):
        return {"u": super().samples(fields, n, key=key, at=at)["u"][0]}


class InfiniteDraw(Drawing):
    def samples(self, fields, n, *, key, at=None):
        return {"u": super().samples(fields, n, key=key, at=at)["u"].at[0, 0].set(jnp.inf)}


class DrawsOfTheBatch(Drawing):
    def predict_samples(self, data, n, *, key, at=None, batch_size=64):
        drawn = super().predict_samples(data, n, key=key, at=at)["u"]
        return {"u": drawn + drawn.mean(0)}


class AnyPoints(Good):
    """2 a by linear interpolation at any points of a periodic interval."""

    capabilities = sx.Capabilities(any_points=True)

    def __call__(self, fields, at=None):
        if at is None:
            return super().__call__(fields)
        x = at.sites().points[..., 0] * N
        left = jnp.floor(x + 1e-4).astype(int) % N
        return {"u": 2 * fields["a"][left]}


class OtherPoints(AnyPoints):
    """The values at single points are not those at all points."""

    def __call__(self, fields, at=None):
        u = super().__call__(fields, at)["u"]
        return {"u": u if at is None else 1.1 * u}


class CannotBeRead(Good):
    """Not registered, so that no file can name it."""


class NotSaved(Drawing):
    capabilities = sx.Capabilities(resolution_free=True, has_samples=True, savable=False)


class AnyPointsNotSaved(AnyPoints):
    capabilities = sx.Capabilities(any_points=True, savable=False)


CALLS: list[int] = []
BROKEN = {
    WrongShape: r"u: predicted shape \(4, 11\), expected \(4, 12\)",
    OtherName: r"predicted \{'w'\}, the task asks for \{'u'\}",
    NotFinite: "u: the prediction is not finite",
    DependsOnTheBatch: "alone and in a batch: u differs",
    Forgetful: "predicting twice: u differs",
    Deaf: "two different samples give the same prediction",
    NeedsInputAfterAll: "needs_input is False but the input matters",
    NoGradient: "the gradient with respect to a is 0, finite differences say",
    HalfGradient: "the gradient with respect to a is .*, finite differences say",
    InfiniteGradient: "the gradient with respect to a is not finite",
    BoundToItsGrid: "resolution_free: u at .* has shape",
    ShortStd: "has_std: std of u has shape",
    NegativeStd: "has_std: std of u is not positive",
    ConstantStd: "has_std: two different samples give the same std",
    LosesItsFactor: "before and after saving: u differs",
    SameDraws: "has_samples: all draws of u are the same",
    OneDraw: "has_samples: draws of u have shape",
    InfiniteDraw: "has_samples: a draw of u is not finite",
    DrawsOfTheBatch: "has_samples: alone and in a batch: u differs",
    OtherPoints: "any_points: at single points and at all of them: u differs",
}


def test_a_good_surrogate_keeps_the_contract(waves):
    _, test, task = waves
    for good in (Good(task), NotSaved(task), AnyPointsNotSaved(task)):
        sx.check_surrogate(good, test)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_a_surrogate_that_breaks_one_part_of_the_contract_is_caught(waves, broken):
    _, test, task = waves
    CALLS.clear()
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        sx.check_surrogate(broken(task), test)


def test_a_rollout_that_starts_elsewhere_is_caught():
    class Late(sx.Persistence):
        def rollout(self, data, steps):
            frames = super().rollout(data, steps)
            return sx.from_arrays({"w": frames["w"] + 1}, grid=data.grid, times=frames.times)

    w = np.random.default_rng(0).normal(size=(3, 4, N)).astype(np.float32)
    data = sx.from_arrays({"w": w}, grid=sx.Grid.unit(N, 1), times=np.arange(4))
    with pytest.raises(AssertionError, match="the first rollout frames and the prediction: w differs"):
        sx.check_surrogate(Late(sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(1))), data)


def test_a_type_that_is_not_registered_cannot_be_saved(waves):
    _, test, task = waves
    with pytest.raises(TypeError, match="cannot save this object: CannotBeRead"):
        sx.check_surrogate(CannotBeRead(task), test)
