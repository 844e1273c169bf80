"""`Supervised`: training on a loss between predictions and targets."""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, kind, number
from ...solvers.pde.symmetry import Dihedral
from ..batching import Batch
from ..evaluation.forecast import PointForecast
from ..evaluation.metrics import find_metric
from ..networks.network_surrogate import NetworkSurrogate
from ..rollout import unroll
from ..task.task import Fields, Task
from ..trainable import with_state
from .losses import AbstractFieldLoss, Loss, RelativeL2
from .objective import AbstractObjective, Outcome


@dataclass(frozen=True)
class Unroll:
    """Train an autoregressive surrogate on several predictions in a row, each from the one before.

    **Arguments:**

    - `steps`: number of predictions in a row, 2 to 8.
    - `gradient`: "full" averages the losses of all predictions and differentiates through all of them. "last" averages the losses
      of the first prediction, from the data, and of the last one, into whose inputs no gradient flows: the one-step and the
      stability loss of the pushforward trick (Brandstetter et al. 2022). It needs the memory of two predictions.
    - `curriculum`: teacher forcing that fades over this many steps of the optimiser, a third to all of the training; None for
      none. In step s the first `steps` · ½(1 + tanh((e − ½)/0.2)) predictions, e = s/`curriculum`, are made from the ones before
      them, the others from the true frames (Takamoto, Alesiani and Niepert 2023).

    **Raises:** `ValueError` for `steps` or `curriculum` below 1 or an unknown `gradient`.

    **Example:**

        >>> sx.Unroll(steps=4, gradient="last").steps
        4
    """

    steps: int = 1
    gradient: Literal["full", "last"] = "full"
    curriculum: int | None = None

    def __post_init__(self):
        check_fields(self)
        count("Unroll", "steps", self.steps)
        if self.curriculum is not None:
            count("Unroll", "curriculum", self.curriculum)

    def free(self, done: Array | int) -> Array:
        """How many of the predictions are made from the ones before them after `done` steps of the optimiser."""
        if self.curriculum is None:
            return jnp.asarray(self.steps)
        progress = jnp.minimum(jnp.asarray(done) / self.curriculum, 1.0)
        return jnp.ceil(self.steps * 0.5 * (1 + jnp.tanh((progress - 0.5) / 0.2))).astype(int)


class Supervised(AbstractObjective):
    """The mean over a batch of a loss between prediction and target.

    This is the default objective of network surrogates. `fit(model, data, loss=…, metric=…, symmetry=…, unroll=…, dtype=…)` makes
    it from these keywords.

    **Arguments:**

    - `loss`: the loss of one frame. `losses.RelativeL2()`, `losses.RelativeH1()` and `losses.MSE()` measure every target by
      itself and average, with weights such as `losses.RelativeL2(weights={"p": 0.1})`. Your own `losses.Loss` sees all targets
      together in physical units.
    - `metric`: what validation measures, the name of a metric of `evaluate` such as "rel_h1", averaged over all channels; by
      default the relative L2 error of every target, averaged with the weights of the loss. One prediction is measured.
    - `symmetry`: a group such as `surrogax.Dihedral()`; every sample is transformed by a random element of it in every step.
      None for no augmentation.
    - `unroll`: how many predictions in a row are trained, for autoregressive tasks; see `Unroll`.
    - `noise`: deviation of white noise on the input fields of every prediction, in units of their standard deviations in the
      training data (those of the task's `normalizers`: 1 for a constant field, and for every field of `Task.of`); 1e-3 to 1e-2
      are good. Validation has no noise. Rollouts then meet their own errors in training (Sanchez-Gonzalez et al. 2020). Targets
      have no noise, so that increments also undo that of the last frame.
    - `dtype`: the type in which the network computes, for example "bfloat16". The loss and all states keep the type of the
      parameters. With "float64" `fit` does everything in float64, and so does `predict` later.

    **Example:**

        >>> sx.Supervised(loss=sx.losses.RelativeH1(), unroll=sx.Unroll(steps=2)).unroll.steps
        2
    """

    loss: Loss | AbstractFieldLoss = eqx.field(static=True, default=RelativeL2())
    metric: str | None = eqx.field(static=True, default=None)
    symmetry: Dihedral | None = eqx.field(static=True, default=None)
    unroll: Unroll = eqx.field(static=True, default=Unroll())
    noise: float = eqx.field(static=True, default=0.0)
    dtype: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        number("Supervised", "noise", self.noise, least=0)

    @classmethod
    def of(
        cls,
        task: Task,
        data: Any,
        *,
        loss: Loss | AbstractFieldLoss = RelativeL2(),  # noqa: B008 (frozen)
        metric: str | None = None,
        symmetry: Dihedral | bool | None = None,
        unroll: Unroll = Unroll(),
        noise: float = 0.0,
        dtype: str | None = None,
    ) -> "Supervised":
        """The objective that `fit` makes for a network surrogate.

        The arguments are those of the class, with `symmetry=True` for the symmetry group that the problem of `data` declares.
        `data` are the training data of `fit`.

        **Raises:** `TypeError` for arguments of another kind; `ValueError` without data, for an unknown metric, dtype or target,
        for `symmetry=True` if no group is declared, for a symmetry that does not suit the fields, for `unroll` with a task
        that cannot be rolled out, and for `noise` without input fields.
        """
        if data is None:
            raise ValueError("fit needs data")
        _check_loss(loss, task)
        kind("fit", "metric", metric, (str, type(None)), "pass the name of a metric, such as 'rmse'")
        if metric is not None and find_metric(metric).probabilistic:
            raise ValueError(
                f"fit(metric={metric!r}) needs the uncertainty of the predictions, which training does not have"
            )
        kind("fit", "unroll", unroll, Unroll, "pass for example Unroll(steps=4)")
        kind("fit", "symmetry", symmetry, (Dihedral, bool, type(None)), "pass Dihedral(), True or None")
        if dtype is not None and dtype not in ("bfloat16", "float16", "float32", "float64"):
            raise ValueError(f"fit(dtype={dtype!r}): expected 'bfloat16', 'float16', 'float32' or 'float64'")
        if symmetry is True:
            if data.problem is None or data.problem.symmetry is None:
                raise ValueError(
                    "fit(symmetry=True): the data's problem declares no symmetry group; pass one, e.g. Dihedral()"
                )
            group = data.problem.symmetry
        else:
            group = symmetry or None
        if unroll.steps > 1 and not task.mode.rolls_out:
            raise ValueError(f"fit(unroll={unroll}): only an autoregressive task can be rolled out, not {task!r}")
        if group is not None:
            _check_symmetry(task, group)
        if number("fit", "noise", noise, least=0):
            _check_noise(task, noise)
        return cls(loss, metric, group, unroll, float(noise), dtype)

    @property
    def calls(self) -> int:
        return self.unroll.steps

    def init(self, key: Array) -> Array | None:
        """With a curriculum, the number of steps done."""
        return None if self.unroll.curriculum is None else jnp.zeros((), int)

    def draw(self, state: Array | None, batch: Fields | None, key: Array) -> tuple[Fields, Array, Array, Array]:
        """The batch, a key for the random symmetries of its samples, a key for the randomness of the network, and how many
        predictions are made from the ones before them."""
        if batch is None:
            raise ValueError("Supervised needs data")
        k_symmetry, k_model = jax.random.split(key)
        return batch, k_symmetry, k_model, self.unroll.free(0 if state is None else state)

    def value(self, model: NetworkSurrogate, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        (batch, k_symmetry, k_model, free), task = points, model.task
        if self.symmetry is not None:
            batch = transformed(task, self.symmetry, batch, k_symmetry)
        numbers = jnp.arange(len(jax.tree.leaves(batch)[0]))

        def predict(state, fields, call):
            key = jax.random.fold_in(k_model, call)
            if self.unroll.curriculum is not None:
                fields = {**fields, **self._taught(task, fields, batch, call, call < free)}
            if self.noise:
                fields = noisy(task, fields, self.noise, jax.random.fold_in(key, 1))
            frames, state = with_state(model, state).frames(
                Batch(fields, numbers), key=key, train=True, dtype=self.dtype
            )
            return state, frames

        full = self.unroll.gradient == "full"
        state, predicted = unroll(predict, task, batch, self.calls, model.state, through=full)
        counted = range(self.calls) if full else sorted({0, self.calls - 1})
        losses = [frame_losses(self.loss, task, predicted[call], batch, call).mean() for call in counted]
        return sum(losses, start=jnp.zeros(())) / len(losses), Outcome(state)

    def _taught(self, task: Task, fields: Fields, batch: Fields, call: Array | int, own: Array) -> Fields:
        """The targets that prediction number `call` reads: those of `fields` where `own` is true, else the true frames."""

        def chosen(name):
            truth = jax.lax.dynamic_slice_in_dim(batch[name], call * task.mode.ahead, task.mode.history, 1)
            return jnp.where(own, fields[name][:, : task.mode.history], truth.astype(fields[name].dtype))

        return {name: chosen(name) for name in task.targets}

    def update(self, state: Array | None, points: PyTree, outcome: Outcome, key: Array) -> Array | None:
        return None if state is None else state + 1

    def validate(self, model: NetworkSurrogate, batch: Fields) -> Float[Array, " batch"]:
        """The metric of one prediction, `(batch,)`, whatever the training loss."""
        frames, _ = model.frames(Batch(batch, jnp.arange(len(jax.tree.leaves(batch)[0]))))
        if self.metric is None:
            weights = self.loss.weights if isinstance(self.loss, AbstractFieldLoss) else ()
            return frame_losses(RelativeL2(weights), model.task, frames, batch)
        function = find_metric(self.metric).function

        def one(u, reference, weights, domain):
            return function(PointForecast(u), reference, weights, domain).mean()

        return frame_losses(one, model.task, frames, batch)


def noisy(task: Task, fields: Fields, size: float, key: Array) -> Fields:
    """A batch whose input fields have white noise of `size` standard deviations of theirs in the training data."""

    _check_noise(task, size)

    def one(i: int, name: str):
        values, std = fields[name], size * task.normalizers[name].std
        std = std if task.spec(name).components else std[0]
        return values + std * jax.random.normal(jax.random.fold_in(key, i), values.shape, values.dtype)

    return {**fields, **{name: one(i, name) for i, name in enumerate(task.inputs)}}


def _check_noise(task: Task, noise: float) -> None:
    if not task.inputs:
        raise ValueError(f"fit(noise={noise}): the task has no input fields that could be noisy, {task!r}")


def frame_losses(
    loss: Loss | AbstractFieldLoss,
    task: Task,
    predicted: Float[Array, "batch frames *space c"],
    batch: Fields,
    call: int = 0,
) -> Float[Array, " batch"]:
    """The loss of every sample of a batch, averaged over the frames of prediction number `call`.

    `predicted` are its frames with channels and `batch` the arrays of the samples, both in physical units.

    **Raises:** `ValueError` if prediction and targets differ in shape, or if the loss is no single number.
    """
    parts = task.target_parts()

    def one(frames, fields):
        reference = task.wanted(fields, call)
        if frames.shape != reference.shape:
            raise ValueError(f"the network predicts shape {frames.shape[1:]}, the targets have {reference.shape[1:]}")
        weights, domain = task.weights(fields), task.domain_of(fields)

        def mean(u, v):
            values = jnp.asarray(jax.vmap(lambda u, v: loss(u, v, weights, domain))(u, v))
            if values.shape != u.shape[:1]:
                raise ValueError(
                    f"the loss returned an array of shape {values.shape[1:]}, expected one number per frame"
                )
            return values.mean()

        if not isinstance(loss, AbstractFieldLoss):
            return mean(frames, reference)
        factors = {name: loss.weight(name) for name in task.targets}
        each = [
            factors[name] * mean(frames[..., channels] / scale, reference[..., channels] / scale)
            for name, channels, scale in parts
            if factors[name]
        ]
        return sum(each[1:], each[0]) / sum(factors.values())

    return jax.vmap(one)(predicted, batch)


def _check_loss(loss: Any, task: Task) -> None:
    """**Raises:** `TypeError` for anything that cannot be called as a loss; `ValueError` for weights of other fields."""
    advice = "pass losses.RelativeL2(), or a function of (u, reference, weights, domain)"
    if isinstance(loss, type) or not callable(loss):
        kind("fit", "loss", loss, (), advice)
    if isinstance(loss, AbstractFieldLoss):
        if unknown := [name for name, _ in loss.weights if name not in task.targets]:
            raise ValueError(f"fit(loss={loss}): the weights name {unknown}; the targets are {list(task.targets)}")
        if not any(loss.weight(name) for name in task.targets):
            raise ValueError(f"fit(loss={loss}): all weights are zero")
        return
    try:
        inspect.signature(loss).bind(None, None, None, None)
    except TypeError as error:
        raise TypeError(f"fit(loss=…): {error}; a loss is a function of (u, reference, weights, domain)") from None
    hash(loss)


def _check_symmetry(task: Task, symmetry: Dihedral) -> None:
    """**Raises:** `ValueError` for a task on which the group does not act, and for fields whose components are not declared."""
    grid = task.domain.as_grid("symmetry=…")
    if len(set(grid.layouts)) != 1:
        raise ValueError(f"symmetries act on grids of one layout, this task lives on {grid}")
    if len(set(grid.box.extent)) != 1:
        raise ValueError(f"the symmetries of the square need axes of one length, this task lives on {grid}")
    if len(task.domains) > 1:
        raise ValueError(f"symmetry=… needs all fields on one domain, this task has {len(task.domains)}")
    for name in task.inputs + task.parameters + task.targets:
        channels = task.spec(name).components
        if name in symmetry.vectors and channels != (2,):
            raise ValueError(f"symmetry={symmetry}: {name!r} is no vector with two components")
        if channels and name not in symmetry.vectors + symmetry.scalars:
            raise ValueError(
                f"symmetry={symmetry}: {name!r} has components; pass Dihedral(vectors=({name!r},)) if they are those of a "
                f"vector, Dihedral(scalars=({name!r},)) if each is a scalar"
            )


def transformed(task: Task, symmetry: Dihedral, batch: Fields, key: Array) -> Fields:
    """The batch with the fields of every sample transformed by a random element of the group, and vectors turned."""
    _check_symmetry(task, symmetry)
    layout = task.domain.as_grid("symmetry=…").layouts[0]
    size = len(next(iter(batch.values())))
    elements = jax.vmap(symmetry.random)(jax.random.split(key, size))

    def image(element, field):
        return symmetry.transform(element, field, layout)

    def seen(name, values):
        if name in symmetry.vectors:
            values = jax.vmap(symmetry.turn)(elements, values)
        if not task.is_field(name):
            return values
        over_time = jax.vmap(image, in_axes=(None, 0)) if task.is_timed(name) else image
        return jax.vmap(over_time)(elements, values)

    return {name: seen(name, values) for name, values in batch.items()}
