"""`march`: training without data in one window of time after the other."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, count, kind
from ...solvers.pde.declaration import Problem
from ..surrogate import AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task
from ..training.fit import fit
from ..training.history import History
from ..training.result import FitResult
from .trial_surrogate import TrialSurrogate, predicted


class Marched(AbstractSurrogate):
    """The solution of a problem in time, with a trial surrogate for every window of time. `march` returns it.

    It predicts like a `TrialSurrogate`. It cannot be saved, since the windows know each other as functions; `export` it, or keep
    its predictions as a dataset.

    **Fields:** `windows`, in the order of time; `task`, that of the whole interval.
    """

    windows: tuple[TrialSurrogate, ...]
    task: Task

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=True, any_points=True, needs_input=False, savable=False)

    def at_points(self, fields: Fields, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """`TrialSurrogate.at_points`: each point is answered by the window in which it lies."""
        points = jnp.asarray(points, jnp.result_type(float))
        start = _time(self.windows[0]).start
        found = self.windows[0].at_points(fields, points)
        for window in self.windows[1:]:
            since = _time(window).start - start
            here = window.at_points(fields, points.at[:, 0].add(-since))
            found = jnp.where(points[:, :1] >= since, here, found)
        return found

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return predicted(self.task, lambda points: self.at_points(fields, points), fields, at)


@checked
def march(
    problem: Problem, make: Callable[[Problem], TrialSurrogate], *, windows: int, progress: bool = True, **options: Any
) -> FitResult:
    """Solve a problem without data in equal windows of time, one after the other, where one network for the whole interval does
    not converge: long times, and solutions that a network would have to find everywhere at once.

        u = march(problem, lambda p: PINN(p, width=20, key=key), windows=4, sampler=R3(4000), optimizer=LevenbergMarquardt(),
                  steps=150)

    Each window is trained by `fit` from the end of the one before as initial value, at first with the parameters of the one
    before. Its error is that of the windows before it and its own.

    **Arguments:**

    - `problem`: a problem with a time interval and initial values of its unknowns.
    - `make`: a function of the problem in a window that makes the model, such as `PINN` or `PIG`; the same for all windows.
    - `windows`: their number, 2 to 10. Every window is compiled anew, and asks those before it for its initial value.
    - `options`: those of `fit` without data and of `Residual`; `steps` are those of one window.

    **Returns:** a `FitResult` of a `Marched` surrogate; its history holds the windows one after the other.

    **Raises:** `ValueError` for a problem without time or initial values or with random inputs, and for options that mean nothing
    for several windows; what `fit` raises.

    Source: Krishnapriyan et al., NeurIPS 2021 (training sequence to sequence in time); Wight & Zhao, Commun. Comput. Phys. 29
    (2021).

    **Example:**

        >>> decay = sx.Problem("u", sx.Box(x=(0, 1, "periodic")), time=(0, 1), initial=1.0, residual=lambda u, p: u.t + u)
        >>> make = lambda window: sx.RandomFeatures(window, features=20, key=key)
        >>> fit = sx.march(decay, make, windows=2, optimizer=sx.GaussNewton(), steps=1, progress=False)
        >>> bool(abs(fit.predict({}, at=decay.box.grid(4))["u"]).max() < 1.1)
        True
    """
    windows = count("march", "windows", windows)
    if problem.time is None or set(problem.initial) != set(problem.unknowns):
        raise ValueError(
            f"march needs a time interval and an initial value of every unknown; {problem!r} has not all of them"
        )
    if problem.laws:
        raise ValueError(
            f"march: the random inputs {sorted(problem.laws)} of {problem!r} would be others in every window"
        )
    if useless := {"data", "val", "seeds", "run", "observations", "objective"} & set(options):
        raise ValueError(f"march({sorted(useless)[0]}=…) means nothing for several windows; call fit for each of them")
    edges = np.linspace(problem.time.start, problem.time.stop, windows + 1)
    history, done = History(epochs=False), []
    for start, stop in itertools.pairwise(edges):
        initial = {name: _end(done[-1], i) for i, name in enumerate(problem.unknowns)} if done else problem.initial
        model = make(problem.replace(time=(float(start), float(stop)), initial=initial))
        kind("march", "make(…)", model, TrialSurrogate, "return a model such as PINN(problem, key=key)")
        if done:
            model = eqx.tree_at(lambda m: m.function, model, done[-1].function)
        found = fit(model, progress=progress, **options)
        done.append(found.last)
        _extend(history, found.history)
    solution = Marched(windows=tuple(done), task=make(problem).task)
    return FitResult((solution,), (solution,), history)


def _time(window: TrialSurrogate):
    time = window.settings.problem.time
    assert time is not None
    return time


def _end(window: TrialSurrogate, index: int) -> Callable[..., Array]:
    """An unknown at the end of a window as a function of the space coordinates."""

    @jax.jit
    def value(*x):
        points = jnp.stack(jnp.broadcast_arrays(*x, jnp.asarray(_time(window).stop, jnp.result_type(float))), -1)
        # The parameters are constants here, of the precision of the points.
        fixed = jax.tree.map(lambda x: jnp.asarray(x, points.dtype) if eqx.is_inexact_array(x) else x, window)
        found = jax.vmap(lambda point: fixed.values(point, {})[index])(points.reshape(-1, points.shape[-1]))
        return found.reshape(points.shape[:-1])

    return value


def _extend(history: History, other: History) -> None:
    history.loss += other.loss
    history.seconds += other.seconds
    history.steps += other.steps
    for name, values in other.metrics.items():
        history.metrics.setdefault(name, []).extend(values)
    for what, seconds in other.spent.items():
        history.spent.setdefault(what, []).extend(seconds)
