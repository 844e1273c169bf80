"""`evaluate`: every family, baseline and solver in one tidy table."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...datasets.dataset import Dataset
from ..surrogate import AbstractSurrogate, batched, wanted_grid, window
from ..surrogate import rollout as predicted_frames
from .metrics import METRICS
from .table import Row, Table

_BATCH = 64
_REPEATS = 5


def evaluate(
    surrogates: Mapping[str, Any] | Any,
    datasets: Mapping[str, Dataset] | Dataset,
    *,
    metrics: Iterable[str] = ("rel_l2",),
    rollout: int | None = None,
    timing: bool = True,
    batch_size: int = _BATCH,
) -> Table:
    """Predict every dataset with every surrogate and measure.

    One row per surrogate, seed, dataset, field, metric and (with `rollout`) step: the mean over samples of the metric in
    physical units, its standard error over samples, the milliseconds per sample at batch 1 and in full batches after
    compilation, the parameters counted as reals, and the recorded error of the labels. A surrogate that cannot run at a
    dataset's resolution gets no row for it, and `Table.missing` says so. Context frames are never part of an error.

    **Arguments:**

    - `surrogates`: by name; results of `fit` count all their seeds.
    - `datasets`: by name, for example one per resolution.
    - `metrics`: names from `metrics.METRICS`.
    - `rollout`: of autoregressive surrogates, so many steps from the start of every trajectory, with one row per step.
    """
    surrogates = surrogates if isinstance(surrogates, Mapping) else {type(surrogates).__name__: surrogates}
    datasets = datasets if isinstance(datasets, Mapping) else {"test": datasets}
    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"evaluate: unknown metrics {unknown}; known: {sorted(METRICS)}")
    rows, missing, errors = [], [], {}
    for data_name, data in datasets.items():
        for name, surrogate in surrogates.items():
            for seed, member in enumerate(getattr(surrogate, "members", (surrogate,))):
                reason = _cannot(member, data, rollout)
                if reason:
                    missing.append(f"{name} on {data_name}: {reason}")
                    continue
                member.task.check(data)
                measured = _errors(member, data, metrics, rollout, batch_size)
                times = _timing(member, data, batch_size) if timing and seed == 0 else (None, None)
                for (field, metric), values in measured.items():
                    errors[name, seed, data_name, field, metric] = values
                    for step in range(values.shape[1]):
                        v = values[:, step].astype(np.float64)
                        with np.errstate(invalid="ignore"):  # a reference of zero gives infinite relative errors
                            stderr = float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else None
                        rows.append(
                            Row(
                                surrogate=name,
                                seed=seed,
                                dataset=data_name,
                                field=field,
                                metric=metric,
                                step=step if rollout else None,
                                mean=float(v.mean()),
                                stderr=stderr,
                                ms_per_sample_1=times[0],
                                ms_per_sample=times[1],
                                parameters=member.parameters,
                                label_error=(data.attributes.get("label_error") or {}).get(field),
                            )
                        )
    return Table(rows, missing, errors)


def _cannot(surrogate: AbstractSurrogate, data: Dataset, rollout: int | None) -> str | None:
    if rollout and not surrogate.capabilities.autoregressive:
        return "not autoregressive"
    if data.grid != surrogate.task.grid and data.grid is not None and not surrogate.capabilities.resolution_free:
        return f"fitted on {surrogate.task.grid} and not resolution free"
    return None


def _errors(surrogate, data: Dataset, metrics, rollout, batch_size: int) -> dict[tuple[str, str], np.ndarray]:
    """Per (field or field component, metric) the values `(sample, step)`."""
    task = surrogate.task
    steps = rollout or 1
    if task.history and data.instants < task.history + steps:
        raise ValueError(f"rollout={rollout} needs {task.history + steps} instants, the dataset has {data.instants}")

    at, parts = wanted_grid(task, data), []
    for start in range(0, len(data), batch_size):
        positions = np.arange(start, min(start + batch_size, len(data)))
        # The last batch is filled up, so that one compiled program serves all of them.
        batch = data.read(task.names(), np.resize(positions, min(batch_size, len(data))))
        inputs = _inputs(task, batch)
        if task.history:
            predicted = predicted_frames(surrogate, inputs, steps)
            truth = {k: batch[k][:, task.history : task.history + steps] for k in task.targets}
        else:
            predicted = {k: v[:, None] for k, v in batched(surrogate, inputs, at).items()}
            truth = {k: batch[k][:, None] for k in task.targets}
        weights = data.grid.weights if data.grid is not None else batch["weights"]
        values = _measure(
            metrics, _stack(task, predicted), _stack(task, truth), jnp.asarray(weights, jnp.float32), data.grid
        )
        parts.append(jax.tree.map(lambda x, n=len(positions): np.asarray(x[:n]), values))
    values = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    result, channel = {}, 0
    for name in task.targets:
        spec = task.spec(name)
        for i in range(spec.channels):
            label = f"{name}_{i}" if spec.components else name
            for metric in metrics:
                result[label, metric] = values[metric][:, :, channel]
            channel += 1
    return result


def _inputs(task, batch) -> dict:
    """What a prediction needs of a batch; an array with a sample axis also where that is nothing."""
    needed = {k: v for k, v in window(task, batch).items() if k not in task.targets or k in task.inputs}
    return needed or {"": np.zeros(len(next(iter(batch.values()))))}


def _stack(task, named) -> jax.Array:
    """`(sample, step, *space, channel)`."""
    return task.stack({k: jnp.asarray(v, jnp.float32) for k, v in named.items()})


@eqx.filter_jit
def _measure(metrics: tuple[str, ...], predicted, truth, weights, grid):
    """By metric the values `(sample, step, channel)`. One compiled program for all surrogates on a dataset."""

    def one(u, v, weights):
        return {m: METRICS[m](u, v, weights, grid) for m in metrics}

    steps = jax.vmap(one, in_axes=(0, 0, None))
    return jax.vmap(steps, in_axes=(0, 0, None if grid is not None else 0))(predicted, truth, weights)


def _timing(surrogate, data: Dataset, batch_size: int) -> tuple[float, float]:
    """Milliseconds per sample at batch 1 and at full batch: medians after compilation, inputs on the device."""
    task = surrogate.task
    at, results = wanted_grid(task, data), []
    for size in (1, min(batch_size, len(data))):
        batch = jax.tree.map(jnp.asarray, _inputs(task, data.read(task.names(), np.arange(size))))
        run = lambda batch=batch: jax.block_until_ready(batched(surrogate, batch, at))  # noqa: E731
        run()
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        results.append(1000 * float(np.median(seconds)) / size)
    return results[0], results[1]
