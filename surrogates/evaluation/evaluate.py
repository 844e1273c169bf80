"""`evaluate` compares surrogates, baselines and solvers in one table."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, count, kind, random_key
from ...core.domains import AbstractDomain
from ...core.precision import in_double
from ...datasets.dataset import Dataset
from ..batching import Batch, batches
from ..rollout import forecast as predicted_frames
from ..surrogate import (
    AbstractInterval,
    AbstractObserving,
    AbstractSurrogate,
    about_origin,
    cannot_serve,
    generative,
    output_place,
    probabilistic,
)
from ..task.task import Place, Task
from ..training.result import members_of
from .forecast import AbstractForecast, GaussianForecast, IntervalForecast, PointForecast, SampleForecast
from .metrics import Metric, find_metric, known_metrics
from .table import Row, Table

_BATCH = 64
_LEVEL = 0.9  # of the intervals that metrics ask for
_REPEATS = 5


@checked
def evaluate(
    surrogates: Mapping[str, Any] | Any,
    datasets: Mapping[str, Dataset] | Dataset,
    *,
    metrics: str | Sequence[str] = ("rel_l2",),
    rollout: int | None = None,
    samples: int = 32,
    key: Array | None = None,
    timing: bool = True,
    batch_size: int = _BATCH,
) -> Table:
    """Predict all samples of every dataset with every surrogate, and return a table of errors, times and sizes.

        table = evaluate({"FNO": fno, "mean": MeanField(task)}, {"85": test.subsample(space=5), "421": test})
        print(table)                    # Markdown; also table.to_json(path), table.pareto(), table.value("FNO", "85")

    The table has one row per surrogate, seed, dataset, field, metric and predicted frame. A row holds the mean of the metric over
    the samples (in physical units) and its standard error; the milliseconds per sample, at batch size 1 and in full batches,
    after compilation; the number of parameters; and the error of the labels, if the dataset knows it. Metrics are computed in
    float64 (in float32 on TPUs).

    Of a trajectory, one prediction is made from every start that has frames before and after it, and the metric is averaged
    over the starts; with `rollout` the one start is the beginning. Frames that are given to a surrogate do not count.

    A surrogate that cannot predict at the resolution of a dataset gets no row for it, and a metric that a surrogate cannot serve
    is left out; `Table.missing` lists both.

    **Arguments:**

    - `surrogates`: surrogates or results of `fit`, by name, or a single one. A result of `fit` gets rows for all its seeds.
    - `datasets`: datasets by name, for example one per resolution, or a single one.
    - `metrics`: names of metrics. "rel_l2" (the default), "rel_h1", "rmse", "max_error", "vrmse", "rel_l2_unweighted",
      "correlation" and "blow_up" serve every surrogate; "crps" and "spread" need one with `std` or `samples`; "coverage_90",
      "simultaneous_90" (whole fields) and "width_90" need these or the calibrated intervals of `conformal`; "band_90" is the
      coverage of whole fields by a band that is made for it; "data_misfit" is for `prior.conditioned(…)`.
      `metrics.register_metric` adds others.
    - `rollout`: number of frames to predict from the start of every trajectory, feeding predictions back, with one row per frame.
      It needs autoregressive surrogates. By default single predictions are measured.
    - `samples`: number of draws per test sample, for surrogates that draw samples and metrics that need them; `key` is the random
      key of the draws.
    - `timing`: whether to measure times.
    - `batch_size`: samples per full batch.

    **Raises:** `ValueError` for an unknown metric, for trajectories that are too short, and for data that do not suit a task.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, timing=False)
        >>> bool(table.value("mean") < 0.5)
        True
    """
    surrogates = (
        surrogates if isinstance(surrogates, Mapping) else {type(members_of(surrogates)[0]).__name__: surrogates}
    )
    datasets = datasets if isinstance(datasets, Mapping) else {"test": datasets}
    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name, surrogate in surrogates.items():
        for member in members_of(surrogate):
            kind(
                "evaluate",
                str(name),
                member,
                AbstractSurrogate,
                'pass surrogates or results of fit by name, {"FNO": fno}',
            )
    for name, data in datasets.items():
        kind("evaluate", str(name), data, Dataset, "pass datasets, for example from_arrays(…), or a dict of them")
    if not metrics or not surrogates or not datasets:
        raise ValueError("evaluate needs at least one surrogate, one dataset and one metric")
    unknown = [m for m in metrics if m not in known_metrics()]
    if unknown:
        raise ValueError(f"evaluate: unknown metrics {unknown}; known: {known_metrics()}")
    rollout = None if rollout is None else count("evaluate", "rollout", rollout)
    batch_size, samples = count("evaluate", "batch_size", batch_size), count("evaluate", "samples", samples, least=2)
    if empty := [name for name, data in datasets.items() if not len(data)]:
        raise ValueError(f"evaluate: the datasets {empty} hold no samples")
    key = jax.random.key(0) if key is None else random_key("evaluate", key)
    rows, missing, errors = [], [], {}
    for data_name, data in datasets.items():
        for name, surrogate in surrogates.items():
            for seed, member in enumerate(members_of(surrogate)):
                reason = _cannot(member, data, rollout)
                if reason:
                    missing.append(f"{name} on {data_name}: {reason}")
                    continue
                member.task.check(data)
                can, cannot = _measurable(member, metrics, rollout)
                if cannot and seed == 0:
                    missing.append(f"{', '.join(cannot)} of {name}: it has no std, samples or observations here")
                if not can:
                    continue
                dt = member.task.dt
                measured, starts = _errors(member, data, can, rollout, batch_size, samples, key)
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
                                step=step if values.shape[1] > 1 or rollout else None,
                                mean=float(v.mean()),
                                stderr=stderr,
                                ms_per_sample_1=times[0],
                                ms_per_sample=times[1],
                                parameters=member.parameters,
                                label_error=(data.attributes.get("label_error") or {}).get(field),
                                time=None if dt is None else (step + (member.task.mode.history > 0)) * dt,
                                rollout=rollout,
                                starts=starts,
                                given=member.task.mode.history,
                            )
                        )
    return Table(rows, missing, errors)


def _cannot(surrogate: AbstractSurrogate, data: Dataset, rollout: int | None) -> str | None:
    """Why the surrogate cannot predict these data, or None if it can."""
    if rollout and not surrogate.capabilities.autoregressive:
        return "not autoregressive"
    return cannot_serve(surrogate, data)


def _measurable(
    surrogate: AbstractSurrogate, metrics: tuple[str, ...], rollout: int | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The metrics that can be computed for a surrogate, and those that need a `std`, `samples` or intervals that it does not
    have."""
    knows = (surrogate.capabilities.has_std or surrogate.capabilities.has_samples) and not rollout
    bands = isinstance(surrogate, AbstractInterval) and not rollout
    observes = isinstance(surrogate, AbstractObserving) and not rollout

    def measurable(metric: Metric) -> bool:
        if metric.observing:
            return observes
        return knows or not metric.probabilistic or (bands and metric.interval)

    can = tuple(m for m in metrics if measurable(find_metric(m)))
    return can, tuple(m for m in metrics if m not in can)


def _errors(
    surrogate: AbstractSurrogate,
    data: Dataset,
    metrics: tuple[str, ...],
    rollout: int | None,
    batch_size: int,
    samples: int,
    key: Array,
) -> tuple[dict[tuple[str, str], np.ndarray], int]:
    """The metrics of all samples, averaged over the starts in a trajectory, and the number of starts.

    The metrics are arrays `(sample, frame)` by (label of the channel, metric)."""
    task, mode = surrogate.task, surrogate.task.mode
    frames = rollout or mode.ahead
    window = mode.history + frames if mode.ahead else None
    if window is not None and data.instants < window:
        raise ValueError(f"rollout={rollout} needs {window} instants, the dataset has {data.instants}")
    starts = 1 if window is None or rollout or not mode.slides else data.instants - window + 1
    model = about_origin(surrogate)
    moved = model.task.origins != task.origins
    at, over_starts = output_place(task, data), []
    uncertain = any(find_metric(m).probabilistic for m in metrics)
    measure = _measure if jax.default_backend() == "tpu" else in_double(_measure)
    for start in range(starts):
        parts = []
        for real, batch in batches(data, task.names(), batch_size, window, start):
            inputs = {k: v for k, v in batch.fields.items() if k in task.input_names()}
            inputs = _given(task, Batch(task.relative(inputs) if moved else inputs, batch.numbers))
            if uncertain:
                predicted = _uncertain(model, inputs, samples, key, at)
            else:
                predicted = PointForecast(predicted_frames(model, inputs, rollout, at))
            predicted = predicted.shifted(task.target_origins) if moved else predicted
            values = measure(metrics, predicted, task, batch.fields, frames, data.domains[task.place])
            parts.append(jax.tree.map(lambda x, n=real: np.asarray(x[:n], np.float64), values))
        over_starts.append(jax.tree.map(lambda *xs: np.concatenate(xs), *parts))
    values = jax.tree.map(lambda *xs: sum(xs[1:], xs[0]) / starts, *over_starts)
    for m in metrics:
        if values[m].shape[2:] != (len(task.labels),):
            raise ValueError(
                f"the metric {m!r} returned shape {values[m].shape[2:]} for {len(task.labels)} channels; expected one value "
                "per channel"
            )
    return {(label, m): values[m][:, :, c] for c, label in enumerate(task.labels) for m in metrics}, starts


def _given(task: Task, batch: Batch) -> Batch:
    """The batch without the frames to be predicted: targets are cut to `history` frames, other inputs keep all frames."""
    history = task.mode.history
    cut = {k: v[:, :history] if k in task.targets and task.is_timed(k) else v for k, v in batch.fields.items()}
    return Batch(cut, batch.numbers)


@eqx.filter_jit
def _uncertain(surrogate, batch: Batch, n: int, key: Array, at: Place | None) -> AbstractForecast:
    """One prediction of a batch with its samples or standard deviation; arrays are `(batch, frames, …, *space, c)`."""
    task = surrogate.task
    value = jax.vmap(task.join)(surrogate.on_batch(batch, at))
    if surrogate.capabilities.has_samples:
        draw = generative(surrogate).samples

        def one(fields, number):
            drawn = draw(fields, n, key=jax.random.fold_in(key, number), at=at)
            return jnp.moveaxis(jax.vmap(task.join)(drawn), 0, 1)

        drawn = jax.vmap(one)(batch.fields, batch.numbers)
        if not isinstance(surrogate, AbstractObserving):
            return SampleForecast(value, drawn)
        # One number for all channels of a frame.
        misfit = jax.vmap(lambda f, x: surrogate.misfit(f, jax.vmap(task.split)(x), at).mean())
        return SampleForecast(value, drawn, misfit(batch.fields, jnp.moveaxis(drawn, 2, 1))[:, None])
    if isinstance(surrogate, AbstractInterval):
        ends = jax.vmap(lambda f, _: surrogate.interval(f, _LEVEL, at))(batch.fields, batch.numbers)
        low, high = (jax.vmap(task.join)(end) for end in ends)
        return IntervalForecast(value, low, high, _LEVEL)
    spread = probabilistic(surrogate).std
    return GaussianForecast(value, jax.vmap(lambda f, _: task.join(spread(f, at)))(batch.fields, batch.numbers))


@eqx.filter_jit
def _measure(
    metrics: tuple[str, ...], predicted: AbstractForecast, task: Task, truth, frames: int, domain: AbstractDomain
) -> dict[str, Float[Array, "sample frame c"]]:
    """The values of a batch by metric, in the widest precision. One compiled program serves all surrogates on a dataset."""
    real = jnp.result_type(float)

    def one(forecast, fields):
        reference = jnp.concatenate([_reference(task, n, fields[n], frames) for n in task.targets], -1)
        weights = jnp.asarray(domain.sites(fields).weights, real)
        every = jax.vmap(lambda u, v: {m: find_metric(m).function(u, v, weights, domain) for m in metrics})
        return every(jax.tree.map(lambda x: jnp.asarray(x, real), forecast), reference)

    return jax.vmap(one)(predicted, truth)


def _reference(task: Task, name: str, values, frames: int) -> Float[Array, "frames *space c"]:
    """The true frames of one target of one sample, with channels."""
    values, spec = jnp.asarray(values, jnp.result_type(float)), task.spec(name)
    values = values[task.mode.history : task.mode.history + frames] if spec.time else values[None]
    return values if spec.components else values[..., None]


def _timing(surrogate: AbstractSurrogate, data: Dataset, batch_size: int) -> tuple[float, float]:
    """Milliseconds per sample at batch size 1 and in full batches: medians after compilation, with inputs on the device."""
    task, results = surrogate.task, []
    at = output_place(task, data)
    for size in (1, min(batch_size, len(data))):
        frames = task.mode.history if task.mode.ahead else None
        batch = next(batches(data[:size], task.input_names(), size, frames))[1]
        batch = jax.tree.map(jnp.asarray, batch)
        run = lambda batch=batch: jax.block_until_ready(predicted_frames(surrogate, batch, None, at))  # noqa: E731
        run()
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        results.append(1000 * float(np.median(seconds)) / size)
    return results[0], results[1]
