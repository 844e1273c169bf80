"""`evaluate`: every family, baseline and solver in one tidy table."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...datasets.dataset import Dataset
from ..surrogate import AbstractSurrogate, _rollout_batched, window
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
                        v = values[:, step]
                        rows.append(
                            Row(
                                surrogate=name,
                                seed=seed,
                                dataset=data_name,
                                field=field,
                                metric=metric,
                                step=step if rollout else None,
                                mean=float(v.mean()),
                                stderr=float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else None,
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
    if task.history and len(data.times) < task.history + steps:
        raise ValueError(f"rollout={rollout} needs {task.history + steps} instants, the dataset has {len(data.times)}")

    @eqx.filter_jit
    def measure(surrogate, batch):
        inputs = window(task, batch)
        if task.history:
            predicted = _rollout_batched(surrogate, inputs, steps)
        else:
            predicted = {k: v[:, None] for k, v in jax.vmap(surrogate)(inputs).items()}

        def one(predicted, fields):
            weights = task.weights(fields)
            grid = None if task.grid is None else task.grid_of(fields)
            truth = {k: fields[k][task.history :] if task.history else fields[k][None] for k in task.targets}
            stack = lambda named, s: task.stack({k: jnp.asarray(v[s], jnp.float32) for k, v in named.items()})  # noqa: E731
            return {
                m: jnp.stack([METRICS[m](stack(predicted, s), stack(truth, s), weights, grid) for s in range(steps)])
                for m in metrics
            }

        return jax.vmap(one)(predicted, batch)

    parts = []
    for start in range(0, len(data), batch_size):
        positions = np.arange(start, min(start + batch_size, len(data)))
        batch = data.read(task.names(), np.resize(positions, min(batch_size, len(data))))
        parts.append(jax.tree.map(lambda x, n=len(positions): np.asarray(x[:n]), measure(surrogate, batch)))
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


def _timing(surrogate, data: Dataset, batch_size: int) -> tuple[float, float]:
    """Milliseconds per sample at batch 1 and at full batch: medians after compilation, inputs on the device."""
    task = surrogate.task
    names = [n for n in task.names() if n not in task.targets or n in task.inputs]
    run = eqx.filter_jit(lambda surrogate, batch: jax.vmap(surrogate)(batch))
    results = []
    for size in (1, min(batch_size, len(data))):
        batch = jax.tree.map(jnp.asarray, window(task, data.read(names, np.arange(size)))) or {"": jnp.zeros(size)}
        jax.block_until_ready(run(surrogate, batch))
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(run(surrogate, batch))
            seconds.append(time.perf_counter() - start)
        results.append(1000 * float(np.median(seconds)) / size)
    return results[0], results[1]
