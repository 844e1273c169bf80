"""Rows of comparisons of operators on one set: surrogates without networks, families of networks, one training of each."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import surrogax as sx

KEY = jax.random.key(0)


class Direct(NamedTuple):
    """A row that needs no optimiser: `fit(task, train)` makes it."""

    fit: Callable[[sx.Task, sx.Dataset], Any]


class Trained(NamedTuple):
    """A row that is trained: `make(task, train)` makes the network; epochs are `factor` times those of the comparison; `options`
    are further arguments of `fit`."""

    make: Callable[[sx.Task, sx.Dataset], sx.NetworkSurrogate]
    factor: int = 1
    options: Mapping[str, Any] = {}


def direct_rows(modes: int, rank: int) -> dict[str, Direct]:
    return {
        "mean": Direct(lambda task, train: sx.MeanField(task)),
        "linear spectral": Direct(lambda task, train: sx.fit(sx.LinearSpectral(task, modes=modes), train)),
        "POD regression": Direct(lambda task, train: sx.fit(sx.PODRegression(task, rank=rank, input_rank=rank), train)),
    }


def deep_rows(width: int) -> dict[str, Trained]:
    """DeepONets with bases of 4 · `width` functions, and of 2 · `width` POD modes of the training outputs alone."""
    wide = 4 * width
    return {
        "DeepONet": Trained(
            lambda task, train: sx.DeepONet(task, basis=wide, branch=(wide,) * 3, trunk=(wide,) * 3, key=KEY)
        ),
        "POD-DeepONet": Trained(
            lambda task, train: sx.PODDeepONet(
                task, train, basis=min(2 * width, len(train) // 2), branch=(2 * wide,) * 2, key=KEY
            )
        ),
    }


def fourier_rows(width: int, modes: int, padding: float, **details: Any) -> dict[str, Trained]:
    """F-FNO, FNO with Tucker weights of a tenth of the parameters (TFNO), and FNO; `details` are those of the last two."""
    sizes = {"width": width, "modes": modes, "padding": padding, "key": KEY}
    return {
        "F-FNO": Trained(lambda task, train: sx.FFNO(task, **sizes)),
        "TFNO": Trained(lambda task, train: sx.FNO(task, **sizes, factorization="tucker", rank=0.1, **details)),
        "FNO": Trained(lambda task, train: sx.FNO(task, **sizes, **details)),
    }


class Plan(NamedTuple):
    """How all networks of a comparison are trained: the relative L2 loss, `batch`, `epochs`, seeds by vmap, and an optimiser made
    from the number of steps."""

    epochs: int
    batch: int
    seeds: int
    optimizer: Callable[[int], optax.GradientTransformation]


def cosine(peak: float) -> Callable[[int], optax.GradientTransformation]:
    """Adam with a rate that falls from `peak` to zero by a cosine."""
    return lambda steps: optax.adam(optax.cosine_decay_schedule(peak, steps))


def halving(peak: float, times: int = 5) -> Callable[[int], optax.GradientTransformation]:
    """Adam with decay of weights by 1e-4 in the gradient and a rate that is halved at every `times`-th part of the steps."""

    def make(steps: int) -> optax.GradientTransformation:
        rate = optax.exponential_decay(peak, max(steps // times, 1), 0.5, staircase=True)
        return optax.chain(optax.add_decayed_weights(1e-4), optax.adam(rate))

    return make


def result_of(
    row: Direct | Trained, task: sx.Task, train: sx.Dataset, plan: Plan, run: Path | None = None
) -> tuple[Any, float]:
    """The fitted surrogate, or the result of the training, and the seconds of the fit. In a folder `run` it resumes."""
    start = time.perf_counter()
    if isinstance(row, Direct):
        return row.fit(task, train), time.perf_counter() - start
    epochs, batch = row.factor * plan.epochs, min(plan.batch, len(train))
    fitted = sx.fit(
        row.make(task, train), train, optimizer=plan.optimizer(epochs * (len(train) // batch)), epochs=epochs,
        batch_size=batch, seeds=plan.seeds, key=KEY, run=run, progress=False, **row.options,
    )  # fmt: skip
    return fitted, time.perf_counter() - start if run is None else float(np.sum(fitted.history.seconds))


def measured(fitted: Any, seconds: float, tests: Mapping[str, sx.Dataset]) -> dict[str, Any]:
    """The entries of a row: by name of the test set the relative L2 error of every seed, None where it cannot predict; the
    seconds and the number of parameters."""
    members = fitted.lasts if isinstance(fitted, sx.FitResult) else (fitted,)
    table = sx.evaluate({str(i): member for i, member in enumerate(members)}, tests, timing=False)
    known = {(row.surrogate, row.dataset) for row in table.rows}
    errors = {
        name: [table.value(str(i), name) for i in range(len(members))] if ("0", name) in known else None
        for name in tests
    }
    return {"rel_l2": errors, "seconds": seconds, "parameters": members[0].parameters}


def print_rows(rows: Mapping[str, dict | str], tests: tuple[str, ...]) -> None:
    """The table of `measured` rows, or of those that are `NOT_RUN`."""
    print(f"\n| | {' | '.join(tests)} | parameters | s |\n| --- |{' ---: |' * (len(tests) + 2)}")
    for label, row in rows.items():
        if isinstance(row, str):
            print(f"| {label} | {row} |{' |' * (len(tests) + 1)}")
        else:
            errors = " | ".join(percent(row["rel_l2"][name]) for name in tests)
            print(f"| {label} | {errors} | {row['parameters']} | {row['seconds']:.0f} |")


def percent(errors: list[float] | None) -> str:
    """The mean over seeds, and the deviation between them."""
    if errors is None:
        return "–"
    spread = f" ± {100 * np.std(errors, ddof=1):.2g}" if len(errors) > 1 else ""
    return f"{100 * np.mean(errors):.3g} %{spread}"
