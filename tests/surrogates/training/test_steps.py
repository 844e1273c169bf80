"""Steps of optimisers of one's own in the training loop: held points, resets, rejected trials, residuals."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training.objective import AbstractLeastSquares
from surrogax.surrogates.training.steps import as_step


class Number(sx.AbstractTrainable):
    """One trained number."""

    x: jax.Array

    @property
    def state(self):
        return None

    def objective(self, data, **options):
        return Target(**options)

    def renewed(self, key):
        return Number(jax.random.normal(key))


class Target(sx.AbstractObjective):
    """(x − p)² for a random point p; the state counts its updates. Metrics: the point and the state that it was drawn in."""

    calls = 1

    def init(self, key):
        return jnp.asarray(0.0)

    def draw(self, state, batch, key):
        return jax.random.uniform(key), state

    def value(self, model, points):
        point, state = points
        return (model.x - point) ** 2, sx.Outcome(metrics={"point": point, "updates": state})

    def update(self, state, points, outcome, key):
        return state + 1

    def validate(self, model, batch):
        raise TypeError("no data")


class Held(sx.AbstractStep):
    """Gradient descent whose memory counts its steps since the last reset, and its resets; `refuses` rejects every step
    with an even number."""

    hold: int = eqx.field(static=True)
    refuses: bool = eqx.field(static=True, default=False)

    def init(self, params):
        return {"since": jnp.asarray(0), "resets": jnp.asarray(0), "taken": jnp.asarray(0)}

    def __call__(self, params, memory, value, residuals):
        (loss, outcome), gradient = jax.value_and_grad(value, has_aux=True)(params)
        accepted = (memory["taken"] % 2 == 1) | (not self.refuses)
        moved = jax.tree.map(lambda p, g: jnp.where(accepted, p - 0.1 * g, p), params, gradient)
        metrics = outcome.metrics | {name: x.astype(float) for name, x in memory.items()}
        outcome = eqx.tree_at(lambda o: o.metrics, outcome, metrics)
        memory = memory | {"since": memory["since"] + 1, "taken": memory["taken"] + 1}
        return sx.Taken(moved, memory, loss, outcome, jnp.isfinite(loss), accepted)

    def reset(self, memory):
        return memory | {"since": jnp.asarray(0), "resets": memory["resets"] + 1}


def trained(step, steps=8, **options):
    return sx.fit(Number(jnp.asarray(2.0)), optimizer=step, steps=steps, check_every=1, progress=False, **options)


def metric(result, name) -> list[float]:
    return [values[0] for values in result.history.metrics[name]]


def test_points_change_every_so_many_steps_and_the_memory_is_reset_then():
    result = trained(Held(3))
    point = metric(result, "point")
    assert point[0] == point[1] == point[2] and point[3] == point[4] == point[5] and point[6] == point[7]
    assert len({point[0], point[3], point[6]}) == 3
    assert metric(result, "since") == [0, 1, 2, 0, 1, 2, 0, 1]
    assert metric(result, "resets") == [0, 0, 0, 1, 1, 1, 2, 2], "not before the first step"
    assert metric(result, "updates") == [0, 0, 0, 1, 1, 1, 2, 2], "the state moves on with the points"
    x = 2.0
    for p, (loss,) in zip(point, result.history.loss, strict=True):
        np.testing.assert_allclose(loss, (x - p) ** 2, rtol=1e-5)
        x -= 0.2 * (x - p)
    np.testing.assert_allclose(result.last.x, x, rtol=1e-5)


def test_without_holding_every_step_has_its_points_and_nothing_is_reset():
    result = trained(Held(1))
    assert len(set(metric(result, "point"))) == 8 and set(metric(result, "resets")) == {0}
    assert metric(result, "updates") == list(range(8))


def test_a_run_goes_on_from_the_middle_of_held_points(tmp_path):
    whole = trained(Held(3))
    trained(Held(3), steps=4, run=tmp_path / "run")
    resumed = trained(Held(3), run=tmp_path / "run")
    assert resumed.history.loss == whole.history.loss and resumed.history.metrics == whole.history.metrics
    assert resumed.last.x == whole.last.x


def test_a_rejected_trial_is_no_failure_and_points_move_on():
    result = trained(Held(1, refuses=True))
    assert len(result.history.loss) == 8 and np.isfinite(result.last.x)
    assert metric(result, "updates") == list(range(8)), "a method that is stuck gets other points"
    x = 2.0
    for number, (p, (loss,)) in enumerate(zip(metric(result, "point"), result.history.loss, strict=True)):
        np.testing.assert_allclose(loss, (x - p) ** 2, rtol=1e-5)
        x -= 0.2 * (x - p) * (number % 2)


def test_held_points_need_the_whole_set_as_one_batch():
    a = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": a}, grid=sx.Grid.unit(6, 1))
    model = sx.wrap(eqx.nn.Lambda(jnp.tanh), sx.Task.fit(data, "a", "u"))
    with pytest.raises(ValueError, match="Held holds its points for 3 steps: use the whole set as one batch"):
        sx.fit(model, data, optimizer=Held(3), steps=2, batch_size=4, progress=False)


class Distance(AbstractLeastSquares):
    """Residuals x − 1 and 2 x − 5 in a tree."""

    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        return None

    def residuals(self, model, points):
        return {"a": model.x - jnp.ones(1), "b": (2 * model.x - 5,)}, sx.Outcome()

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        raise TypeError("no data")


class GaussNewton(sx.AbstractStep):
    hold: int = 1

    def init(self, params):
        return None

    def __call__(self, params, memory, value, residuals):
        flat = lambda p: jnp.concatenate([jnp.ravel(r) for r in jax.tree.leaves(residuals(p)[0])])  # noqa: E731
        loss, outcome = value(params)
        r, j = flat(params), jax.jacobian(flat)(params).x
        moved = eqx.tree_at(lambda p: p.x, params, params.x - (j @ r) / (j @ j))
        return sx.Taken(moved, None, loss, outcome, jnp.isfinite(loss), jnp.asarray(True))

    def reset(self, memory):
        return memory


def test_residuals_are_those_of_the_sum_of_squares():
    result = trained(GaussNewton(), steps=2, objective=Distance())
    np.testing.assert_allclose(result.history.loss[0], 0.5 * (1**2 + 1**2), rtol=1e-6)
    np.testing.assert_allclose(result.last.x, 11 / 5, rtol=1e-6)  # least squares in one step
    np.testing.assert_allclose(result.history.loss[1], 0.5 * (1.2**2 + 0.6**2), rtol=1e-5)
    with pytest.raises(TypeError, match="needs a sum of squares, which Target is not"):
        trained(GaussNewton(), steps=1)


@pytest.mark.parametrize("wrong", [1e-3, optax.adam, None])
def test_what_is_no_optimiser_is_named(wrong):
    if wrong is None:
        with pytest.raises(ValueError, match="fit needs an optimizer"):
            trained(None)
        return
    with pytest.raises(TypeError, match=r"is no optimiser; pass for example optax.adam"):
        inspect.unwrap(as_step)(wrong)  # without the check of annotations, as users run it
