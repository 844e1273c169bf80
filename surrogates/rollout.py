"""Rollouts: predictions that are fed back as inputs. Forecasts, tables and training all use `unroll`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..datasets.dataset import Dataset
from ..datasets.source import FieldSpec
from .batching import Batch, over_batches
from .task.task import Fields, Place, Task

if TYPE_CHECKING:
    from .surrogate import AbstractSurrogate

Frames = Float[Array, "batch frames *space c"]
Predict = Callable[[PyTree, Fields, Array | int], tuple[PyTree, Frames]]


def unroll(
    predict: Predict, task: Task, fields: Fields, calls: int, carry: PyTree = None, *, through: bool = True
) -> tuple[PyTree, Float[Array, "calls batch frames *space c"]]:
    """Make `calls` predictions in a row, each from the frames before it, in one `lax.scan`.

    **Arguments:**

    - `predict`: a function `(carry, fields, call) -> (carry, frames)`. It predicts a batch; `frames` are the targets with
      channels in physical units, `(batch, frames, *space, c)`.
    - `task`: says which fields are fed back and how many frames a prediction reads (`history`) and yields.
    - `fields`: a batch in physical units, arrays by name. The first `history` frames of the targets are read. Other
      time-dependent inputs (forcings) must have frames for all calls.
    - `calls`: number of predictions.
    - `carry`: first value of what `predict` hands from call to call, for example a network's state.
    - `through`: whether derivatives flow through the frames that are fed back.

    **Returns:** the last carry, and the frames of every call.

    **Raises:** `ValueError` for forcings that are too short, and for several calls of a task that cannot be rolled out.
    """
    mode = task.mode
    if calls == 1:
        carry, frames = predict(carry, fields, 0)
        return carry, frames[None]
    if not mode.rolls_out:
        raise ValueError(f"{task!r} cannot be rolled out: only an autoregressive task feeds its predictions back")
    needed = mode.history + (calls - 1) * mode.ahead
    seen = {n: _inexact(fields[n])[:, : mode.history] for n in task.targets}
    forcings = {n: jnp.asarray(fields[n]) for n in task.inputs if task.is_timed(n) and n not in seen}
    short = [n for n, values in forcings.items() if values.shape[1] < needed]
    if short:
        raise ValueError(
            f"{calls} predictions in a row need {needed} frames of the inputs {short}, which are not predicted; "
            f"there are {forcings[short[0]].shape[1]}"
        )
    still = {n: v for n, v in fields.items() if n not in seen and n not in forcings}

    def step(state, call):
        carry, seen = state
        given = {n: jax.lax.dynamic_slice_in_dim(v, call * mode.ahead, mode.history, 1) for n, v in forcings.items()}
        carry, frames = predict(carry, {**still, **given, **seen}, call)
        fed = jax.vmap(task.split)(frames if through else jax.lax.stop_gradient(frames))
        new = {n: jax.vmap(mode.as_frames)(fed[n]).astype(seen[n].dtype) for n in seen}
        seen = {n: jnp.concatenate([seen[n], new[n]], 1)[:, -mode.history :] for n in seen}
        return (carry, seen), frames

    (carry, _), frames = jax.lax.scan(step, (carry, seen), jnp.arange(calls))
    return carry, frames


@eqx.filter_jit
def forecast(
    surrogate: "AbstractSurrogate", batch: Batch, frames: int | None = None, at: Place | None = None
) -> Frames:
    """Predicted frames of a batch with channels, `(batch, frames, *space, c)`, in physical units.

    Without `frames` they are those of one call of the surrogate; else the first `frames` of a rollout.
    """
    task = surrogate.task

    def predict(carry, fields, call):
        return carry, jax.vmap(task.join)(surrogate.on_batch(Batch(fields, batch.numbers), at))

    calls = 1 if frames is None else -(-frames // task.mode.ahead)
    _, parts = unroll(predict, task, batch.fields, calls)
    joined = jnp.moveaxis(parts, 0, 1)
    joined = joined.reshape(joined.shape[0], -1, *joined.shape[3:])
    return joined if frames is None else joined[:, :frames]


def rolled_out(model: "AbstractSurrogate", task: Task, data: Dataset, steps: int, batch_size: int = 64) -> Dataset:
    """A dataset of `steps` predicted frames of every trajectory; see `AbstractSurrogate.rollout`.

    `task` is that of physical values; `model` may work with values relative to its origins.
    """
    task.check(data, targets=False)
    moved = model.task.origins != task.origins

    def run(batch: Batch) -> dict[str, Array]:
        batch = Batch(task.relative(batch.fields), batch.numbers) if moved else batch
        return split_frames(task, forecast(model, batch, steps))

    calls = -(-steps // task.mode.ahead)
    needed = task.mode.history + (calls - 1) * task.mode.ahead
    frames = over_batches(run, data, task.input_names(), batch_size, needed)
    frames = task.absolute(frames) if moved else frames
    times = np.asarray(data.times)
    if task.dt is None:
        raise ValueError(f"rollout: {task!r} knows no time step, because the training data have uneven instants")
    first = times[task.mode.history - 1] + task.dt
    return data.with_fields(frames, times=first + task.dt * np.arange(steps))


def split_frames(task: Task, frames: Frames) -> dict[str, Array]:
    """Split frames with channels `(batch, frames, *space, c)` into named trajectories `(batch, frames, *space[, component])`."""
    named, start = {}, 0
    for name in task.targets:
        spec: FieldSpec = task.spec(name)
        part = frames[..., start : start + spec.channels]
        start += spec.channels
        named[name] = part if spec.components else part[..., 0]
    return named


def _inexact(values) -> Array:
    values = jnp.asarray(values)
    return values.astype(jnp.result_type(values, float))
