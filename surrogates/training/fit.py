"""`fit` trains models by an optimiser, and fits those that need none."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from ...core.addresses import inside
from ...core.arguments import checked, count, kind, number, random_key
from ...core.precision import in_double
from ...datasets.dataset import Dataset
from ..surrogate import AbstractSurrogate, about_origin
from ..task.task import Task
from ..trainable import AbstractTrainable
from .batches import AbstractBatches, NoData, Resident, Stream, Whole
from .devices import Devices, assert_same_everywhere, is_first_process
from .history import History
from .logs import Log
from .losses import AbstractFieldLoss
from .objective import AbstractByRows, AbstractObjective
from .plan import Plan
from .result import AbstractDirectFit, FitResult
from .run_identity import run_identity
from .runner import Runner, Validation
from .samples import Samples
from .session import Measure, Session
from .solver_source import SolverSource
from .steps import AbstractDoubleStep, AbstractStep, as_step
from .supervised import Supervised

_GAP = 30.0  # of mean squares


@checked
def fit(
    model: AbstractTrainable | AbstractDirectFit | Callable[[Array], AbstractTrainable],
    data: Dataset | SolverSource | None = None,
    *,
    val: Dataset | Measure | None = None,
    optimizer: optax.GradientTransformation | optax.GradientTransformationExtraArgs | AbstractStep | None = None,
    objective: AbstractObjective | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 20,
    seeds: int = 1,
    ema: float = 0.0,
    patience: int | None = None,
    run: str | Path | None = None,
    key: Array | None = None,
    progress: bool = True,
    checkpoint_every: float = 30.0,
    check_every: int = 500,
    mesh: Mesh | None = None,
    stream: bool | None = None,
    log: Log | Sequence[Log] = (),
    **options: Any,
) -> FitResult:
    """Train a model by an optimiser, or fit one that needs no optimiser. Returns a `FitResult` with the best and the last model.

        fno = fit(FNO(task, key=key), train, val=val, optimizer=optax.adam(1e-3), epochs=100)
        pod = fit(PODRegression(task), train, val=val)

    Search directions and preconditioners of `learned_solvers` are trained by the same call. The result can be used as its best
    model: `fno.predict(test)`, `fno.save("fno.sgx")`; `fno.history.plot()` shows the losses.

    **What to train on:**

    - `model`: for example `FNO(task, …)`, `wrap(network, task)` or `PODRegression(task, …)`. For several seeds of a wrapped
      network, pass a function of a random key that makes the model.
    - `data`: the training data; or a `SolverSource`, which solves for new samples in every step; None if the objective needs no
      data.
    - `val`: validation data, or a function of the model that returns an error. After every epoch the model is validated, and the
      parameters with the lowest error are kept as the best. On data the objective defines the error (`Supervised`: the mean
      over samples and targets of the relative L2 error). Without `val` the last parameters count as the best.
    - `objective`: what is minimised; by default the model's own objective, for network surrogates `Supervised`.
    - `options`: arguments of the model's own objective. Those of `Supervised` are `loss` (`losses.RelativeL2()` by default),
      `metric` (the name of another validation error, for example "rel_h1"), `symmetry` (a group whose random elements transform
      the samples, or True for the group that the problem of the data declares), `unroll` (such as `Unroll(steps=4)`, for
      autoregressive tasks), `noise` (on the input fields, in units of their deviations) and `dtype` (in which the network
      computes, for example "bfloat16").

    **How to train** (a model that needs no optimiser takes `data` and `val` only):

    - `optimizer`: any optax optimiser, for example `optax.adam(1e-3)`; its learning-rate schedule counts steps. `optax.lbfgs()`
      needs all samples in one batch.
    - `epochs` or `steps`: number of passes over the data, or of optimiser steps. Give exactly one; without data it is `steps`. An
      epoch visits the samples in a new random order and leaves out those that do not fill a batch.
    - `batch_size`: samples per step; all samples if there are fewer.
    - `seeds`: number of models trained at once (by `vmap`), with different initial weights and batch orders.
    - `ema`: decay of an exponential average of the parameters, which becomes the result; 0.999 is good for long runs, 0 is off.
    - `patience`: stop after so many epochs without a better validation error of any seed.
    - `key`: random key of batches and of the weights of further seeds; `jax.random.key(0)` by default.
    - `check_every`: without data, number of steps between two validations.

    **Running:**

    - `run`: folder for settings, metrics and checkpoints, and at the end for the best surrogate, `best.sgx`. The same call on
      an existing folder resumes the run and gives the same numbers as an uninterrupted one; a call with more epochs continues
      it. The folder may be at an address such as `s3://bucket/run` (`pip install surrogax[remote]`). Nothing locks it: let
      one process at a time use it. On SIGTERM the run is saved and the process exits. Ctrl-C ends the training after the
      current epoch (part of an epoch, if it is long) and returns the best model so far, with or without a folder; a second
      Ctrl-C raises `KeyboardInterrupt`.
    - `checkpoint_every`: seconds between two checkpoints.
    - `progress`: whether to show progress.
    - `log`: a function, or several, called after every epoch with the number of steps done and a dict of numbers ("epoch",
      "loss", "val", "gradient_norm", "seconds", "seconds_validation", …; see `History`). `surrogax.log` has sinks: `CSV(path)`,
      `TensorBoard(folder)`, `WeightsAndBiases(project=…)`, `MLflow(experiment)`. One that raises is left out from then on, with a
      warning; the training goes on.
    - `stream`: True reads batches from the dataset when they are needed, a few in advance in threads; False keeps all data on the
      device. By default they are streamed if they would fill half of the device's memory, or if there are several processes.
    - `mesh`: devices, from `jax.make_mesh`, with axes named "data" (divides the batch), "seed" (divides the seeds), "space"
      (divides the first space axis of large fields; FNO supports it) or "fsdp" (divides the batch, and parameters and the
      optimiser's memory too, for models larger than a device; make those on the host, inside
      `jax.default_device(jax.devices("cpu")[0])`). In several processes (`jax.distributed.initialize()`) the
      default divides the batch among all devices. Every process calls `fit` with the same arguments and reads the samples of its
      own devices; only the first one writes and prints. Losses do not depend on the number of devices, except for rounding. See
      `docs/performance.md`.

    **Raises:** `TypeError` for an unknown option and for arguments of another kind; `ValueError` for arguments that contradict
    each other or are useless for the model, and for a run folder of another configuration or with more epochs;
    `FloatingPointError` if the loss is no longer finite, after saving the last good state.

    **Example:**

        >>> model = sx.FNO(task, width=4, modes=4, depth=1, key=key)
        >>> fit = sx.fit(model, ds[:8], val=ds[8:], optimizer=optax.adam(1e-2), epochs=2, progress=False)
        >>> fit.predict(ds[:3])["u"].shape, len(fit.history.loss)
        ((3, 16), 2)
    """
    log = cast(Sequence[Log], (log,) if callable(log) else tuple(log))
    if isinstance(model, AbstractDirectFit):
        unused = {
            "optimizer": optimizer, "objective": objective, "epochs": epochs, "steps": steps, "run": run, "mesh": mesh,
            "patience": patience, "key": key, "stream": stream, "log": log or None,
            "check_every": None if check_every == 500 else check_every,
            "checkpoint_every": None if checkpoint_every == 30.0 else checkpoint_every,
            "batch_size": None if batch_size == 20 else batch_size,
            "seeds": None if seeds == 1 else seeds, "ema": ema or None, **options,
        }  # fmt: skip
        return _fit_directly(model, data, val, [name for name, value in unused.items() if value is not None])
    _check_data(data, val)
    batch_size, check_every = count("fit", "batch_size", batch_size), count("fit", "check_every", check_every)
    seeds = count("fit", "seeds", seeds)
    ema = number("fit", "ema", ema, least=0, below=1)
    checkpoint_every = number("fit", "checkpoint_every", checkpoint_every, least=0)
    key = jax.random.key(0) if key is None else random_key("fit", key)
    models = _seeded(model, seeds, jax.random.fold_in(key, 1))
    objective = _objective(models[0], data, objective, options)
    if data is None and batch_size != 20:
        raise ValueError(
            f"fit(batch_size={batch_size}) has no meaning without data: the objective draws what a step sees, for example "
            "sampler=UniformSampler(2000) or samples=8"
        )
    if optimizer is None:
        raise ValueError("fit needs an optimizer, for example optimizer=optax.adam(1e-3)")
    step = as_step(optimizer)
    if in_float64(objective, step):
        models = in_double(lambda models: models)(models)
        if jnp.result_type(float) != jnp.float64:
            result = in_double(fit, promote=False)(
                models[0] if isinstance(model, AbstractTrainable) else model, data, val=val, optimizer=step,
                objective=objective, epochs=epochs, steps=steps, batch_size=batch_size, seeds=seeds, ema=ema, patience=patience,
                run=run, key=key, progress=progress, checkpoint_every=checkpoint_every, check_every=check_every, mesh=mesh,
                stream=stream, log=log,
            )  # fmt: skip
            # While x64 is off float64 arrays are NumPy's.
            members, lasts = in_double(lambda *models: models)(result.members, result.lasts)
            return FitResult(members, lasts, result.history)
    if isinstance(data, SolverSource) and (stream is not None or check_every != 500):
        raise ValueError(
            "fit: stream=… and check_every=… mean nothing with a SolverSource; SolverSource(round=…) sets the steps of a round"
        )
    if isinstance(data, Dataset) and check_every != 500:
        raise ValueError(
            f"fit(check_every={check_every}) is for training without data; with data models are validated after every epoch"
        )
    physical = models
    if (
        isinstance(data, Dataset)
        and isinstance(objective, Supervised)
        and isinstance(objective.loss, AbstractFieldLoss)
    ):
        models = [_about_origin(model) for model in models]
    relative = _task(models[0]).origins != _task(physical[0]).origins if isinstance(data, Dataset) else False
    if isinstance(data, Dataset) and (rounded := [name for name, _ in _task(models[0]).origins]):
        warnings.warn(
            f"fit: {rounded} vary little about a large mean, and this {type(objective).__name__} sees their values in single "
            "precision, where the variation is lost; subtract the mean, or use a loss of `losses`",
            stacklevel=3,
        )
    samples = Samples.of(_task(physical[0]), data, objective.calls, relative) if isinstance(data, Dataset) else None
    held_out = Samples.of(_task(physical[0]), val, relative=relative) if isinstance(val, Dataset) else None
    batch_size = batch_size if samples is None else min(batch_size, len(samples))
    devices = Devices.of(mesh, batch_size=None if data is None else batch_size, seeds=seeds)
    runner, state = Runner.start(models, objective, step, ema, devices, jax.random.fold_in(key, 2))
    per_round = _per_round(data, samples, batch_size, check_every)
    plan = Plan.of(
        epochs, steps, per_round, 1 if data is None else batch_size, seeds, patience,
        has_data=samples is not None, validates=val is not None,
    )  # fmt: skip
    if step.hold > 1 and samples is not None and per_round > 1:
        raise ValueError(
            f"{type(step).__name__} holds its points for {step.hold} steps: use the whole set as one batch"
        )
    identity: dict[str, Any] = {}
    if run is not None or jax.process_count() > 1:  # checksums of the data take a while
        names = _task(models[0]).names() if samples is not None or held_out is not None else ()
        identity = run_identity(
            physical, objective, step, data, val, names, batch_size=batch_size, seeds=seeds, ema=ema, key=key,
            per_round=per_round,
        )  # fmt: skip
    assert_same_everywhere({**identity, "steps": plan.total, "stream": stream, "run": str(run)}, "fit")

    batches = _batches(data, samples, batch_size, per_round, devices, stream, runner, state, objective)
    validation: Validation | Measure | None = None
    if callable(val):
        measure = val
        validation = lambda model: measure(_physical(model, physical[0]))  # noqa: E731
    if held_out is not None:
        validation = Validation.of(held_out, batch_size, devices, _streams(stream, held_out, devices))
    session = Session(
        runner, state, batches, validation, plan, progress=progress, checkpoint_every=checkpoint_every, log=log,
        zero_targets=lambda: _zero_targets(samples, held_out),
    )  # fmt: skip
    if run is not None:
        session.open(run, identity)
    session.train()
    if session.history.metrics and (gap := session.history.gap) is not None and gap[1] > _GAP:
        warnings.warn(
            f"fit: on points that it is not trained on the mean squared {gap[0]} is {gap[1]:.3g} times that of the training; the "
            "model meets the equation at its points alone: take more points, or a smaller model",
            stacklevel=3,
        )
    lasts = tuple(_physical(m, physical[0]) for m in runner.models(runner.loop.result(session.state)))
    members = lasts if validation is None else tuple(_physical(m, physical[0]) for m in runner.models(session.best))
    result = FitResult(members, lasts, session.history)
    savable = isinstance(result.best, AbstractSurrogate) and result.best.capabilities.savable
    if session.folder is not None and is_first_process() and savable:
        result.save(inside(session.folder.where, "best.sgx"))
    return result


def in_float64(objective: AbstractObjective, step: AbstractStep) -> bool:
    """Whether a training computes in float64: if its objective says so, or says nothing and the optimiser is of second order."""
    wanted = objective.dtype if isinstance(objective, AbstractByRows | Supervised) else None
    return wanted == "float64" or (wanted is None and isinstance(step, AbstractDoubleStep))


def _check_data(data: Any, val: Any) -> None:
    """**Raises:** `TypeError` for training or validation data of another kind than `fit` takes."""
    if not (data is None or isinstance(data, Dataset | SolverSource)):
        raise TypeError(f"fit: data is a {type(data).__name__}; make a dataset of arrays by from_arrays(…, grid=…)")
    if not (val is None or isinstance(val, Dataset) or callable(val)):
        raise TypeError(f"fit: val is a {type(val).__name__}; pass a dataset, or a function of the model")


def _about_origin(model: AbstractTrainable) -> AbstractTrainable:
    return cast(AbstractTrainable, about_origin(model)) if isinstance(model, AbstractSurrogate) else model


def _physical(model: Any, like: Any) -> Any:
    """A trained model with the task of `like`, which knows the origins of physical values; see `Task.origins`."""
    if not isinstance(model, AbstractSurrogate) or model.task.origins == like.task.origins:
        return model
    return eqx.tree_at(lambda m: m.task, model, replace(model.task, origins=like.task.origins))


def _zero_targets(*parts: Samples | None) -> str:
    """A sentence that names samples whose targets are zero everywhere, which have no relative error; "" if there are none."""
    found = []
    for what, samples in zip(("training", "validation"), parts, strict=True):
        if samples is not None and (zero := samples.zero_targets()):
            found.append(f"the {what} samples {zero[:5]}{' and more' if len(zero) > 5 else ''}")
    if not found:
        return ""
    return (
        f". The targets of {' and of '.join(found)} are zero everywhere, so that they have no relative error; leave them out "
        "(dataset.select) or use losses.MSE() and metric='rmse'."
    )


def _fit_directly(model: AbstractDirectFit, data, val, given: list[str]) -> FitResult:
    if given:
        raise ValueError(
            f"fit({given[0]}=…): {type(model).__name__} is fitted by linear algebra, which has no use for it"
        )
    if not isinstance(data, Dataset):
        raise ValueError(f"fit needs data; {type(model).__name__} is fitted to a Dataset")
    fitted = model.fitted(data, val)
    return FitResult((fitted,), (fitted,), History())


def _objective(model: AbstractTrainable, data, objective: AbstractObjective | None, options: dict) -> AbstractObjective:
    if objective is None:
        try:
            return model.objective(data, **options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            name = str(error).rsplit("unexpected keyword argument", 1)[1].strip(" '")
            raise TypeError(
                f"fit does not know {name}=…, and the objective of {type(model).__name__} neither"
            ) from None
    if options:
        raise ValueError(
            f"fit({next(iter(options))}=…) belongs to the model's own objective and means nothing beside objective=…; set it "
            f"in {type(objective).__name__}(…)"
        )
    return objective


def _task(model: AbstractTrainable) -> Task:
    if not isinstance(model, AbstractSurrogate):
        raise ValueError(
            f"fit: {type(model).__name__} learns from its objective alone; leave out data and val datasets"
        )
    return model.task


def _per_round(data, samples: Samples | None, batch_size: int, check_every: int) -> int:
    """Number of steps between two validations: those of an epoch if there is a dataset."""
    if isinstance(data, SolverSource):
        return data.round
    return check_every if samples is None else len(samples) // batch_size


def _batches(
    data, samples: Samples | None, batch_size: int, per_round: int, devices: Devices, stream, runner: Runner, state,
    objective: AbstractObjective,
) -> AbstractBatches:  # fmt: skip
    if isinstance(data, SolverSource):
        return data.batches(_task(runner.loop.static), batch_size, objective.calls)
    if samples is None:
        return Whole(NoData(), per_round, 1)
    if _streams(stream, samples, devices):
        order_keys = np.asarray(jax.random.key_data(devices.local(state.key))).reshape(runner.seeds, -1)
        return Stream(samples, order_keys, batch_size, devices)
    return Whole(Resident.of(samples, batch_size, devices), per_round, batch_size)


def _streams(stream: bool | None, samples: Samples, devices: Devices) -> bool:
    """Whether to stream the samples from the host: `stream` if it is given; else if they would fill half of a device's memory or
    if there are several processes."""
    if stream is not None:
        return stream
    return jax.process_count() > 1 or 2 * samples.nbytes > devices.memory


def _seeded(model, seeds: int, key: Array) -> list[AbstractTrainable]:
    """One model per seed: the given one and renewed copies, or all from the given function of a key."""
    if isinstance(model, AbstractTrainable):
        return [model, *(model.renewed(k) for k in jax.random.split(key, seeds - 1))] if seeds > 1 else [model]
    if isinstance(model, AbstractSurrogate):
        raise TypeError(f"fit: {type(model).__name__} has nothing to train")
    if isinstance(model, type) or not callable(model):
        raise TypeError(f"fit: {model!r} is no model; pass for example FNO(task, key=key)")
    try:
        inspect.signature(model).bind(key)
    except TypeError as error:
        raise TypeError(
            f"fit: {model!r} is no model and no function of one random key ({error}); make a surrogate by wrap(network, task)"
        ) from None
    made = [model(k) for k in jax.random.split(key, seeds)]
    for each in made:
        kind(
            "fit",
            "model",
            each,
            AbstractTrainable,
            "the function of a key must return a model, such as wrap(network(key), task)",
        )
    return cast(list[AbstractTrainable], made)
