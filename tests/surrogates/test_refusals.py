"""Wrong use that once gave a wrong number without a word: it raises now, or gives the right number."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.core.identity import identity_of
from surrogax.surrogates.training.samples import Samples

RNG = np.random.default_rng(0)
SQUARE, LINE = sx.Grid.unit_square(5), sx.Grid.unit(8, 1, "periodic")
A = RNG.normal(size=(6, 5, 5)).astype(np.float32)
STEADY = sx.from_arrays({"a": A}, {"u": 2 * A + 1}, grid=SQUARE)
U = np.cumsum(RNG.normal(size=(4, 9, 8)), 1).astype(np.float32)
TIMED = sx.from_arrays({"u0": U[:, 0], "u": U}, grid=LINE, times=0.1 * np.arange(9))
NUMBERS = sx.from_arrays({}, {"u": A}, grid=SQUARE, parameters={"p": np.arange(6.0)})


@sx.register("test_refusals.Config")
@dataclass(frozen=True)
class Config(sx.AbstractNetworkConfig):
    def build(self, signature, key):
        n = signature.params + signature.ndim
        return Anywhere(eqx.nn.Linear(n, signature.out_channels, key=key), self, signature)


class Anywhere(sx.AbstractNetwork):
    """A linear map of parameters and coordinates, at any points."""

    linear: eqx.nn.Linear
    config: Config = eqx.field(static=True)
    signature: sx.Signature = eqx.field(static=True)

    @property
    def abilities(self):
        return sx.Abilities(any_points=True)

    def initial_state(self):
        return None

    def __call__(self, inputs, *, key, state, train):
        points = inputs.query.points
        flat = points.reshape(-1, points.shape[-1])
        if inputs.params is not None:
            flat = jnp.concatenate([jnp.broadcast_to(inputs.params, (len(flat), inputs.params.shape[-1])), flat], -1)
        return jax.vmap(self.linear)(flat).reshape(*points.shape[:-1], -1), state


def anywhere(task):
    return sx.NetworkSurrogate.build(Config(), task, jax.random.key(0))


def fno(task, **details):
    return sx.FNO(task, width=4, modes=2, depth=1, key=jax.random.key(0), **details)


def fit(model, data, **changes):
    return sx.fit(model, data, **{"optimizer": optax.adam(1e-2), "epochs": 3, "progress": False, **changes})


def test_one_name_for_two_arrays_is_refused():
    with pytest.raises(ValueError, match="given twice"):
        sx.from_arrays({"u": A}, {"u": 2 * A}, grid=SQUARE)
    with pytest.raises(ValueError, match="given twice"):
        sx.from_arrays({"a": A}, grid=SQUARE, parameters={"a": np.zeros(6)})


def test_a_steady_task_is_not_given_its_answer():
    assert sx.Task.fit(STEADY, "*", "u").inputs == ("a",)
    with pytest.raises(ValueError, match="given the answer"):
        sx.Task.fit(STEADY, ("a", "u"), "u")
    moving = sx.from_arrays({"u": U}, grid=LINE, times=np.arange(9.0))
    assert sx.Task.fit(moving, "*", "u", mode=sx.Autoregressive()).inputs == ("u",)


def test_another_time_step_is_refused():
    task = sx.Task.fit(TIMED, "u", "u", mode=sx.Autoregressive())
    coarse = TIMED.subsample(time=2)
    for use in (
        lambda: sx.evaluate({"persistence": sx.Persistence(task)}, coarse, rollout=2),
        lambda: sx.Persistence(task).rollout(coarse, 2),
        lambda: fit(fno(task), coarse),
    ):
        with pytest.raises(ValueError, match=r"0\.1 apart, those of the dataset are 0\.2 apart"):
            use()


def test_a_space_time_task_without_history_trains_on_the_first_frames():
    task = sx.Task.fit(TIMED, "u0", "u", mode=sx.SpaceTime(5))
    samples = Samples.of(task, TIMED)
    assert len(samples) == 4
    np.testing.assert_array_equal(samples.read(np.arange(4))["u"], U[:, :5])
    given = sx.Task.fit(TIMED, "u", "u", mode=sx.SpaceTime(5, history=1))
    assert len(Samples.of(given, TIMED)) == 4 * 4


def test_best_is_never_the_untrained_model():
    model = fno(sx.Task.fit(STEADY, "a", "u"))
    zero = sx.from_arrays({"a": A}, {"u": np.where(np.arange(6)[:, None, None] > 0, A, 0)}, grid=SQUARE)
    with pytest.warns(UserWarning, match="never finite"):
        result = fit(model, STEADY, val=zero)
    before, best, last = (
        jax.tree.leaves(eqx.filter(m.network, eqx.is_array)) for m in (model, result.best, result.last)
    )
    assert all(np.array_equal(x, y) for x, y in zip(best, last, strict=True))
    assert any(not np.array_equal(x, y) for x, y in zip(before, best, strict=True))


def test_an_error_that_is_not_a_number_does_not_stop_training():
    task = sx.Task.fit(STEADY, "a", "u")
    errors = iter([np.nan, 3.0, 2.0, 1.0, 0.5, 4.0])
    result = fit(fno(task), STEADY, val=lambda _: next(errors), epochs=6, patience=2)
    assert result.history.rounds == 6 and result.history.best_error == 0.5


@pytest.mark.parametrize("word", ["seeds", "ema", "patience", "key", "stream"])
def test_a_direct_fit_refuses_words_of_training(word):
    value = {"seeds": 3, "ema": 0.9, "patience": 2, "key": jax.random.key(0), "stream": True}[word]
    model = sx.PODRegression(sx.Task.fit(NUMBERS, "p", "u"), rank=2)
    with pytest.raises(ValueError, match=rf"fit\({word}=…\)"):
        sx.fit(model, NUMBERS, **{word: value})


@pytest.mark.parametrize("ema", [1.0, 1.5, -0.1])
def test_averages_need_a_decay_below_one(ema):
    with pytest.raises(ValueError, match="0 or more and below 1"):
        fit(fno(sx.Task.fit(STEADY, "a", "u")), STEADY, ema=ema)


def test_targets_without_inputs_beside_them_are_predicted_where_they_are():
    fine = RNG.normal(size=(6, 9, 9)).astype(np.float32)
    data = sx.from_arrays(
        {"a": A}, {"u": fine}, grid=SQUARE, parameters={"p": np.arange(6.0)}, elsewhere={"u": sx.Grid.unit_square(9)}
    )
    pod = sx.fit(sx.PODRegression(sx.Task.fit(data, "p", "u"), rank=2), data)
    assert pod.predict(data)["u"].shape == fine.shape
    table = sx.evaluate({"POD": pod}, data, timing=False)
    assert table.missing == [] and table.value("POD") < 1.5


@pytest.mark.parametrize("kind", ["FNO", "mean", "POD"])
def test_places_on_another_box_are_refused(kind):
    task = sx.Task.fit(NUMBERS, "p", "u")
    make = {
        "FNO": lambda: fno(task),
        "mean": lambda: sx.MeanField(task),
        "POD": lambda: sx.fit(sx.PODRegression(task, rank=2), NUMBERS),
    }
    model = make[kind]()
    elsewhere = sx.Grid(sx.Box(x=(4, 5), y=(4, 5)), (5, 5), ("nodes", "nodes"))
    with pytest.raises(ValueError, match="is not on the box"):
        model.predict(NUMBERS, at=elsewhere)


def test_points_of_another_dimension_or_of_many_samples_are_refused():
    model = anywhere(sx.Task.fit(NUMBERS, "p", "u"))
    for points in (np.zeros((7, 3)), np.zeros((6, 7, 2))):
        with pytest.raises(ValueError, match="expected one set of points in 2 dimensions"):
            model.predict(NUMBERS, at=sx.PointCloud(points))
    with pytest.raises(ValueError, match="expected 2 coordinates"):
        model.at_points(NUMBERS[0], jnp.zeros((3, 1)))


def test_increments_are_not_added_to_the_last_frame_at_other_points():
    model = anywhere(sx.Task.fit(TIMED, "u", "u", mode=sx.Autoregressive(increments=True)))
    assert not model.capabilities.any_points
    with pytest.raises(ValueError, match="needs a uniform grid"):
        model.predict(TIMED, at=sx.PointCloud(LINE.points[::-1]))
    # On a grid of every second point the last frame is taken there.
    half = model.predict(TIMED, at=LINE.at_shape((4,)))["u"]
    np.testing.assert_allclose(half, model.predict(TIMED)["u"][:, ::2], rtol=1e-5, atol=1e-5)


def test_increments_of_unsigned_integers_do_not_wrap():
    values = RNG.integers(0, 255, size=(4, 9, 8)).astype(np.uint8)
    data = sx.from_arrays({"u": values}, grid=LINE, times=np.arange(9.0))
    found = sx.Task.fit(data, "u", "u", mode=sx.Autoregressive(increments=True)).normalizers["Δu"]
    steps = np.diff(values.astype(float), axis=1)
    np.testing.assert_allclose([found.mean[0], found.std[0]], [steps.mean(), steps.std()], rtol=1e-5)


def test_rounding_of_a_constant_is_no_deviation():
    data = sx.from_arrays({}, {"u": A}, grid=SQUARE, parameters={"nu": np.full(6, 0.1)})
    assert sx.Task.fit(data, "nu", "u").normalizers["nu"].std[0] == 1


def test_complex_values_and_empty_data_are_refused():
    with pytest.raises(ValueError, match="is complex"):
        sx.Task.fit(STEADY.with_fields({"a": A, "u": A + 1j}), "a", "u")
    with pytest.raises(ValueError, match="holds none"):
        sx.Task.fit(STEADY.select(slice(0, 0)), "a", "u")
    with pytest.raises(ValueError, match="hold no samples"):
        sx.evaluate({"mean": sx.MeanField(sx.Task.fit(STEADY, "a", "u"))}, STEADY.select(slice(0, 0)))


def test_the_square_has_no_symmetry_on_a_rectangle():
    grid = sx.Grid(sx.Box(x=(0, 2), y=(0, 1)), (5, 5), ("nodes", "nodes"))
    data = sx.from_arrays({"a": A}, {"u": A}, grid=grid)
    with pytest.raises(ValueError, match="axes of one length"):
        fit(fno(sx.Task.fit(data, "a", "u")), data, symmetry=sx.Dihedral())


@pytest.mark.parametrize("order", [("u", "v"), ("v", "u")])
def test_a_residual_reads_unknowns_by_name(order):
    problem = sx.Problem(("u", "v"), sx.Box(x=(0, 1, "periodic")), residual=lambda w, p: {"u": w.u - 1, "v": w.v + 2})
    values = {"u": np.ones((3, 8)), "v": np.full((3, 8), -2.0)}
    data = sx.from_arrays(values, grid=LINE)
    model = anywhere(sx.Task.fit(data, (), order))
    network = eqx.tree_at(
        lambda n: (n.linear.weight, n.linear.bias), model.network, (jnp.zeros((2, 1)), jnp.zeros(2))
    )  # decoded: the means
    model = eqx.tree_at(lambda m: m.network, model, network)
    objective = sx.Residual(problem, sx.UniformSampler(8))
    points = objective.draw(objective.init(jax.random.key(0)), None, jax.random.key(1))
    assert objective.value(model, points)[0] < 1e-10


def test_a_residual_refuses_models_that_it_cannot_ask():
    problem = sx.Problem("u", sx.Box(x=(0, 1, "periodic")), residual=lambda u, p: u.xx)
    objective = sx.Residual(problem, sx.UniformSampler(8))

    def train(model):
        sx.fit(model, objective=objective, optimizer=optax.adam(1e-3), steps=1, progress=False)

    with pytest.raises(ValueError, match="any_points"):
        train(fno(sx.Task.of(problem, 8)))
    with pytest.raises(ValueError, match="lives on"):
        train(anywhere(sx.Task.of(problem.replace(box=sx.Box(x=(3, 5, "periodic"))), 8)))
    with pytest.raises(ValueError, match="the unknowns of"):
        train(anywhere(sx.Task.of(problem.replace(unknowns="v"), 8)))


WEIGHT = 1.0


def weighted(u, v, weights, domain):
    return WEIGHT * ((u - v) ** 2).sum()


def test_code_and_globals_of_functions_enter_their_identity(monkeypatch):
    def minus(u, v):
        return u - v

    def plus(u, v):
        return u + v

    plus.__qualname__ = minus.__qualname__
    assert identity_of(minus) != identity_of(plus)
    before = identity_of(weighted)
    assert before == identity_of(weighted)
    monkeypatch.setitem(weighted.__globals__, "WEIGHT", 50.0)
    assert before != identity_of(weighted)


def test_numbers_of_frames_below_one_are_refused():
    persistence = sx.Persistence(sx.Task.fit(TIMED, "u", "u", mode=sx.Autoregressive()))
    with pytest.raises(ValueError, match="rollout=0"):
        sx.evaluate({"persistence": persistence}, TIMED, rollout=0)
    with pytest.raises(ValueError, match="steps=-2"):
        persistence.rollout(TIMED, -2)


def test_renewed_networks_start_from_fresh_statistics():
    result = fit(fno(sx.Task.fit(STEADY, "a", "u"), norm="batch"), STEADY)
    assert any(np.any(mean) for mean, _ in result.best.state)
    assert not any(np.any(mean) for mean, _ in result.best.renewed(jax.random.key(1)).state)


@pytest.mark.nightly
def test_what_is_stored_at_padded_points_does_not_matter():
    points, mask = RNG.uniform(size=(6, 7, 2)), np.arange(7) < 5
    found = []
    for padding in (0.0, np.nan, 1e6):
        values = np.sin(np.arange(42, dtype=np.float32)).reshape(6, 7)
        values[:, ~mask] = padding
        cloud = sx.PointCloud(points, mask=np.broadcast_to(mask, (6, 7)))
        data = sx.from_arrays({"a": values}, {"u": values}, points=cloud)
        task = sx.Task.fit(data, "a", "u")
        model = sx.wrap(PointwiseLinear(jax.random.key(0)), task)
        result = sx.fit(model, data, val=data, optimizer=optax.adam(1e-2), epochs=2, batch_size=3, progress=False)
        sx.check_surrogate(result, data)
        found.append((result.predict(data)["u"][:, mask], result.history.val))
    for predicted, errors in found[1:]:
        np.testing.assert_allclose(predicted, found[0][0], atol=1e-6)
        np.testing.assert_allclose(errors, found[0][1], rtol=1e-5)


class PointwiseLinear(eqx.Module):
    linear: eqx.nn.Linear

    def __init__(self, key):
        self.linear = eqx.nn.Linear(1, 1, key=key)

    def __call__(self, x):
        return jax.vmap(self.linear)(x)
