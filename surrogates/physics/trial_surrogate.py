"""`TrialSurrogate`: a trial function that fulfils conditions of a problem exactly. `PINN(…)` and `PIG(…)` return one."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.pde.conditions import BoundaryCondition
from ...solvers.pde.declaration import Problem
from ...solvers.pde.pointwise_derivatives import AbstractDerivatives, Automatic, Jet, Jets
from ..surrogate import AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable
from .exact_conditions import ExactConditions, exact_conditions
from .observations import Observations, learned_arrays, started
from .trial_functions import AbstractTrialFunction, Coordinates

Builder = Callable[[Coordinates, int, Array], AbstractTrialFunction]
_POINTS = {1: 257, 2: 65, 3: 17}  # per axis of the grid on which a surrogate predicts by default
_SIZES = 1e-4, 3e3  # of solutions that training reaches from a start near 1
_KINK = 0.05  # jump across a periodic axis, relative to the largest value or slope
_INCOMPATIBLE = 1e-3  # difference of prescribed values where faces meet, relative to the largest


@dataclass(frozen=True)
class TrialSettings:
    """From what a `TrialSurrogate` is built.

    **Fields:** `problem`; `build`, which makes the trial function of coordinates, number of unknowns and a random key;
    `exact_boundary`, `exact_initial`, which conditions hold by construction; `harmonics` of periodic axes; `learn`, start values
    of constants of the problem that are trained with the solution.
    """

    problem: Problem
    build: Builder
    exact_boundary: bool
    exact_initial: bool
    harmonics: int
    learn: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Split:
    """The conditions of a problem: those that hold exactly, per unknown, and those left to the objective."""

    exact: tuple[ExactConditions, ...]
    boundary: tuple[BoundaryCondition, ...]
    initial: tuple[str, ...]

    @classmethod
    def of(cls, settings: TrialSettings) -> "Split":
        """**Raises:** `ValueError` for values that contradict each other where faces of the box meet."""
        problem, exact, boundary, initial = settings.problem, [], [], []
        for unknown in problem.unknowns:
            held, left, starts = exact_conditions(problem, unknown, settings.exact_boundary, settings.exact_initial)
            if not any(isinstance(face.value, str) for face in held.faces):
                wrong = held.contradiction(problem.space_time, {})
                if wrong > _INCOMPATIBLE:
                    raise ValueError(
                        f"the conditions on {unknown!r} contradict each other where sides of {problem!r} meet (by {wrong:.2g} of "
                        "the largest value), so that they cannot all hold exactly; pass exact_boundary=False or "
                        "exact_initial=False"
                    )
            _warn_of_seams(problem, unknown, held)
            exact.append(held)
            boundary += left
            initial += [unknown] * starts
        return cls(tuple(exact), tuple(boundary), tuple(initial))


def _warn_of_seams(problem: Problem, unknown: str, held: ExactConditions) -> None:
    """Warn of values prescribed on periodic axes that are not smooth where the axis closes."""
    inputs = {face.value: 1.0 for face in held.faces if isinstance(face.value, str)}
    for index, axis in enumerate(problem.space_time.axes):
        if axis.boundary != "periodic" or not held.faces:
            continue
        jump = held.seam(problem.space_time, index, inputs)
        if jump > _KINK:
            named = {face.spatial: "exact_initial" if face.spatial else "exact_boundary" for face in held.faces}
            warnings.warn(
                f"the values of {unknown!r} prescribed on {problem!r} are not smooth where the periodic axis {axis.name!r} "
                f"closes (they or their slopes jump by {jump:.2g} of the largest), and a model that fulfils them exactly keeps "
                f"this in the whole box, where the solution may not; {' or '.join(named.values())}=False leaves them to the loss",
                stacklevel=6,
            )


@register("TrialSurrogate")
class TrialSurrogate(AbstractSurrogate, AbstractTrainable):
    """The solution of a problem as a trial function, trained by `fit` on the problem's residual, without data.

    It predicts on the grid of its task and at any other points (`predict(n, at=…)`), for the random numbers of the problem as
    parameters. A surrogate that was trained in float64 predicts in float64 by `predict`.

    **Fields:** `function`; `learned`, the constants of the problem that were trained with it, by name; `task`; and `settings`,
    from which it was built. Files hold its arrays; to load one, pass
    `load(path, like=PINN(problem, …))` with the same arguments.
    """

    function: AbstractTrialFunction
    learned: dict[str, Float[Array, ""]]
    task: Task
    settings: TrialSettings = eqx.field(static=True)
    split: Split = eqx.field(static=True)
    state: None = None

    @classmethod
    def build(cls, settings: TrialSettings, key: Array) -> "TrialSurrogate":
        """A surrogate with new random weights.

        **Raises:** `ValueError` for a problem without residual, with random fields as inputs, or with conditions that contradict
        each other.
        """
        problem = settings.problem
        problem.needs("residual", "training without data")
        if fields := [name for name, law in problem.laws.items() if law.is_field]:
            raise ValueError(
                f"the inputs {fields} of {problem!r} are random fields; trial functions know numbers alone"
            )
        return cls.drawn(settings, Task.of(problem, _POINTS.get(len(problem.box.axes), 9)), Split.of(settings), key)

    @classmethod
    def drawn(cls, settings: TrialSettings, task: Task, split: Split, key: Array) -> "TrialSurrogate":
        """A surrogate with new random weights whose conditions have been looked at."""
        problem = settings.problem
        coordinates = Coordinates.of(problem.space_time, _ranges(problem), settings.harmonics)
        function = settings.build(coordinates, len(problem.unknowns), key)
        learned = learned_arrays(started(problem, settings.learn))
        return cls(function=function, learned=learned, task=task, settings=settings, split=split)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            resolution_free=True, any_points=True, needs_input=bool(self.task.parameters), self_contained=False
        )

    def jets(self, point: Float[Array, " d"], numbers: dict[str, Array]) -> Jets:
        """The unknowns with their derivatives at a point, given in the order of `Problem.coordinates`."""
        names = self.settings.problem.coordinates
        return Jets(
            {u: Jet(_Channel(self, i, point, numbers, names)) for i, u in enumerate(self.settings.problem.unknowns)}
        )

    def values(self, point: Float[Array, " d"], numbers: dict[str, Array]) -> Float[Array, " c"]:
        """The unknowns at a point."""
        return jnp.stack([jet.value for jet in self.jets(point, numbers).values()])

    def at_points(self, fields: Fields, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The unknowns of one sample at single points, in physical coordinates; time, counted from the start, is the first one.

        While x64 is off it computes in float32; `core.precision.in_double(u.at_points)` computes in float64.
        """
        points = jnp.asarray(points, jnp.result_type(float))
        if self.settings.problem.time is not None:
            points = jnp.concatenate([points[..., 1:], points[..., :1] + self.settings.problem.time.start], -1)
        numbers = {name: jnp.asarray(fields[name]).reshape(()) for name in self.task.parameters}
        model = self
        if points.dtype == jnp.float32:  # of float64 parameters; operations that mix both are refused while x64 is off
            model = jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, self)
        return jax.vmap(lambda point: model.values(point, numbers))(points)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        return predicted(self.task, lambda points: self.at_points(fields, points), fields, at)

    def objective(self, data: Any, **options: Any):
        """The default objective of `fit`: `Residual` with these options, `sampler=UniformSampler(2000)` if none is given."""
        from .residual import Residual  # which asks for these surrogates
        from .sampling import UniformSampler

        if data is not None:
            raise ValueError("fit: this model is trained on the residual of its problem alone; leave out data")
        problem = self.settings.problem
        if (seen := options.get("observations")) is not None and not isinstance(seen, Observations):
            options["observations"] = Observations.of(seen, problem)
        if self.learned and seen is None:
            raise ValueError(f"fit: to learn {sorted(self.learned)} give observations=…, a dataset of measured values")
        residual = Residual(problem=problem, **{"sampler": UniformSampler(2000), **options})
        size = residual.size(self)
        if 0 < size < _SIZES[0] or _SIZES[1] < size < np.inf:
            warnings.warn(
                f"the solution of {problem!r} seems to have a size of about {size:.0e}, while trial functions start at about 1: "
                "training may end far from it; state the unknowns in other units",
                stacklevel=2,
            )
        return residual

    def renewed(self, key: Array) -> "TrialSurrogate":
        return TrialSurrogate.drawn(self.settings, self.task, self.split, key)


def predicted(
    task: Task, at_points: Callable[[Float[Array, "n d"]], Float[Array, "n c"]], fields: Fields, at: Place | None
) -> dict[str, Array]:
    """The targets of one sample at the points of a place (those of the task if it is None), from a function of points."""
    points = jnp.asarray(task.mode.domain(task.domain if at is None else at, task.dt).sites(fields).points)
    values = at_points(points.reshape(-1, points.shape[-1]))
    return task.split(task.decode(values.reshape(*points.shape[:-1], -1), fields))


@dataclass(frozen=True, eq=False)
class _Channel(AbstractDerivatives):
    """One unknown of a `TrialSurrogate` at a point."""

    surrogate: TrialSurrogate
    index: int
    point: Float[Array, " d"]
    numbers: dict[str, Array]
    names: tuple[str, ...]

    @property
    def coordinates(self) -> tuple[Array, ...]:
        return tuple(self.point[i] for i in range(len(self.names)))

    def derivative(self, orders: tuple[int, ...]) -> Array:
        surrogate, problem = self.surrogate, self.surrogate.settings.problem
        own = jnp.stack([self.numbers[name] for name in problem.laws]) if problem.laws else self.point[:0]
        near = surrogate.function.near(jnp.concatenate([self.point, own.astype(self.point.dtype)]), orders)
        inputs = {**problem.constants, **surrogate.learned, **self.numbers}

        def function(point):
            value = near(jnp.concatenate([point, own.astype(point.dtype)]))[self.index]
            return surrogate.split.exact[self.index](point, value, inputs)

        return Automatic(function, self.point, self.names).derivative(orders)


def _ranges(problem: Problem) -> tuple[tuple[float, float], ...]:
    """Start and length of a range of every random number: mean and two standard deviations of 256 draws."""
    grid, found = problem.box.grid(2), []
    for i, law in enumerate(problem.laws.values()):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), i), 256)
        draws = np.asarray(jax.vmap(lambda k, law=law: law.draw(k, grid, None))(keys), np.float64)
        spread = 2 * float(draws.std()) or 1.0
        found.append((float(draws.mean()) - spread, 2 * spread))
    return tuple(found)
