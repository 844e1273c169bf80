"""One declaration of a PDE, for every family of methods."""

import copy
import inspect
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, ScalarLike

from ...core.arguments import kind
from ...core.domains import Axis, Box, Grid
from ..kernels.exponential import Instants
from ..random import AbstractLaw
from .affine import AffineSystem
from .conditions import BoundaryValues, Value, boundary_conditions, prescribed
from .inputs import DeclaredInputs
from .inputs import Fields as Fields
from .pointwise_derivatives import Jet, Jets
from .recipe import Recipe
from .solved import Solved
from .symmetry import Dihedral


@dataclass(frozen=True)
class Interval:
    """The time interval [start, stop].

    **Example:**

        >>> sx.pde.Interval(0.0, 2.0).length
        2.0
    """

    start: float
    stop: float

    def __post_init__(self):
        if not self.stop > self.start:
            raise ValueError(f"time=({self.start}, {self.stop}) is empty; the end must be later than the start")

    @property
    def length(self) -> float:
        return self.stop - self.start


class Problem:
    """The declaration of a PDE: its unknowns, domain, inputs and conditions, and whatever ways there are to solve it.

    `surrogax.problem("darcy", a=…)` returns a registered problem; this class declares a new one. The heat equation is

        Problem("u", Box(x=(-1, 1, "periodic")), time=(0, 1), inputs={"nu": 0.1}, initial=lambda x: jnp.sin(jnp.pi * x),
                residual=lambda u, p: u.t - p.nu * u.xx)

    Only `unknowns` and `box` are required. A method that needs another part raises an error if it is missing: data generation
    needs `solve`, training without data `residual`, sequences of linear systems `operator`, reduced bases `affine`.

    **The equation:**

    - `unknowns`: name or names of the solution fields.
    - `box`: the domain in space, with the kind of boundary condition on every axis.
    - `time`: the time interval (start, stop); None for a steady equation.
    - `inputs`: everything on which the equation depends, by name. A random input is a law, such as `random.GaussianField()` or
      another `random.Distribution`; `generate` samples it. A number or array is a constant, which the caller of `solve` may
      override.
    - `boundary`: values on Dirichlet sides and fluxes ∂u/∂n on Neumann sides. It is a number, the name of an input, a function of
      all coordinates (time last), or `pde.Sides` if sides differ; for several unknowns a dict of these by unknown.
    - `initial`: the value at the start of `time`. It is a number, the name of an input such as "u0", or a function of the space
      coordinates; for several unknowns a dict of these by unknown.
    - `residual`: a function `(u, inputs)` that returns left-hand side minus right-hand side of the equation, or a dict of these
      by equation name. `u` is a `pde.Jet`, the unknown with its derivatives `u.x`, `u.xx`, `u.t`, …. With several unknowns it
      holds a jet per name: `lambda w, p: {"prey": w.u.t - w.u + w.u * w.v, "hunter": w.v.t + w.v - w.u * w.v}`. Inputs are jets
      too: ∇a is `inputs.a.x`, `inputs.a.y`. Write it elementwise; it is then valid at one point, at many points and on a grid.
    - `no_residual`: why there is no pointwise residual, for example that a coefficient jumps.
    - `symmetry`: the group of maps of the box that take solutions to solutions, for augmentation.

    **Ways to solve it,** all for one sample:

    - `solve`: a function `(inputs, grid, *, times=None, rtol=None) -> pde.Solved` that returns the unknowns at the points of
      `grid`, and at the instants `times` if the problem has a time interval. It may omit `times` or `rtol` and have further
      keywords.
    - `operator`: a function `(inputs, grid) -> (A, b)` that returns the linear system A x = b.
    - `affine`: a function `grid -> pde.AffineSystem` that returns the same system as a sum of fixed parts times functions of the
      inputs.
    - `step`: a function `(fields, inputs, grid, dt, *, rtol=None) -> pde.Solved` that returns the unknowns, without time axis, a
      time `dt` after they were `fields`. Declare it only if the future depends on the unknowns and inputs, but not on the time t.
    - `grid`: the only grid on which the problem can be solved, if there is only one.

    **Raises:** `ValueError` or `TypeError` for a declaration that contradicts itself.

    **Example:**

        >>> heat = sx.Problem("u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), inputs={"nu": 0.1},
        ...                   initial=lambda x: jnp.sin(jnp.pi * x), residual=lambda u, p: u.t - p.nu * u.xx)
        >>> heat.unknowns, heat.coordinates, heat.constants
        (('u',), ('x', 't'), {'nu': 0.1})
    """

    def __init__(
        self,
        unknowns: tuple[str, ...] | str,
        box: Box,
        *,
        time: tuple[float, float] | Interval | None = None,
        inputs: Mapping[str, Any] | None = None,
        residual: Callable | None = None,
        boundary: BoundaryValues = 0.0,
        initial: Value | Mapping[str, Value] | None = None,
        solve: Callable[..., Solved] | None = None,
        operator: Callable | None = None,
        affine: Callable[[Grid], AffineSystem] | None = None,
        step: Callable[..., Solved] | None = None,
        symmetry: Dihedral | None = None,
        grid: Grid | None = None,
        no_residual: str = "",
    ):
        parts = {"residual": residual, "solve": solve, "operator": operator, "affine": affine, "step": step}
        rest = {"inputs": inputs, "boundary": boundary, "initial": initial, "symmetry": symmetry, "grid": grid}
        self._arguments = {"unknowns": unknowns, "box": box, "time": time, "no_residual": no_residual, **parts, **rest}
        self._recipe: Recipe | None = None
        kind("Problem", "unknowns", unknowns, (str, tuple, list), "give the names of the solution fields")
        kind("Problem", "box", box, Box, "give a Box, such as Box(x=(0, 1))")
        kind("Problem", "inputs", inputs, (Mapping, type(None)), "give a dict of laws and numbers by name")
        kind("Problem", "time", time, (tuple, Interval, type(None)), "give (start, stop)")
        self.unknowns = (unknowns,) if isinstance(unknowns, str) else tuple(unknowns)
        self.box, self.grid, self.symmetry, self.no_residual = box, grid, symmetry, no_residual
        self.time = Interval(*map(float, time)) if isinstance(time, tuple) else time
        self.inputs = DeclaredInputs(inputs or {})
        self._parts = {name: part for name, part in parts.items() if part is not None}
        _check_axes(box)
        if residual is not None and no_residual:
            raise ValueError(f"{self!r} declares a residual and no_residual={no_residual!r}; leave one of them out")
        if self.time is None and (initial is not None or step is not None):
            raise ValueError(f"{self!r} has an initial value or a step but no time interval; give time=(start, stop)")
        self.boundary = boundary_conditions(boundary, self.unknowns, box)
        self.initial = _by_unknown(initial, self.unknowns)
        values = [*self.initial.values(), *(v for c in self.boundary for v in c.condition.prescribes)]
        if unknown := {v for v in values if isinstance(v, str)} - set(self.inputs):
            raise ValueError(f"{self!r}: the conditions name {sorted(unknown)}, which are no inputs")

    # What is declared ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The registered name; for a problem that is not registered the names of its unknowns."""
        return ", ".join(self.unknowns) if self._recipe is None else self._recipe.name

    @property
    def laws(self) -> dict[str, AbstractLaw]:
        """The random inputs by name: `generate` samples them, and `solve` must be given them."""
        return self.inputs.laws

    @property
    def constants(self) -> dict[str, Any]:
        """The inputs that are constants, by name."""
        return self.inputs.constants

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates of a point in order: the space axes, then "t" if the problem has a time interval."""
        return self.box.names + ("t",) * (self.time is not None)

    @property
    def space_time(self) -> Box:
        """The box; if the problem has a time interval, with a last axis "t" without boundary condition."""
        if self.time is None:
            return self.box
        return Box((*self.box.axes, Axis("t", self.time.start, self.time.stop, None)))

    @property
    def recipe(self) -> str:
        """A text that identifies the declaration, by which generated data are cached: registered name and arguments.

        **Raises:** `ValueError` for a problem that is not registered; `TypeError` for an argument that has no text.
        """
        if self._recipe is None:
            raise ValueError(
                f"{self!r} is hand-made, so that nothing identifies it: return it from a function under "
                "@register_problem(name), or switch the cache off"
            )
        return str(self._recipe)

    def needs(self, part: str, purpose: str) -> None:
        """Check that a part ("solve", "residual", …) is declared.

        **Raises:** `ValueError`, naming the part and the purpose, if it is not.
        """
        if part not in self._parts:
            why = f": {self.no_residual}" if part == "residual" and self.no_residual else ""
            raise ValueError(f"{purpose} needs a problem that declares `{part}`; {self!r} does not{why}")

    def replace(self, **changes) -> "Problem":
        """A copy with some arguments of the declaration changed. The copy is not registered."""
        return Problem(**{**self._arguments, **changes})

    def registered_as(self, recipe: Recipe) -> "Problem":
        """A copy with the recipe of the registered function that made it. `register_problem` calls this."""
        known = copy.copy(self)
        known._recipe = recipe
        return known

    # What can be done with it ----------------------------------------------------------------------------------------

    def sample_inputs(self, key: jax.Array, grid: Grid, times: np.ndarray | None = None) -> dict[str, Array]:
        """Draw every random input once: fields at the points of `grid`, time-dependent fields also at `times`.

        Every input has its own key, which depends on `key` and on its position in the declaration.
        """
        return self.inputs.sample(key, grid, times)

    def solve(
        self,
        inputs: Fields | None = None,
        grid: Grid | None = None,
        *,
        times: Instants | None = None,
        rtol: ScalarLike | None = None,
        **options,
    ) -> Solved:
        """The unknowns of one sample at the points of `grid`.

        **Arguments:**

        - `inputs`: every random input by name, and constants that should have another value. They may be given as keywords
          too, `solve(grid=grid, a=a)`.
        - `grid`: a grid on the problem's box, usually `problem.box.grid(n)`.
        - `times`: for a problem with a time interval, the instants at which the solution is returned: increasing numbers that are
          not traced.
        - `rtol`: relative tolerance of the solver; by default that of the problem.
        - `options`: further keywords of the problem's own solver, for example `dt` and `pressure_solver` of "smoke".

        **Raises:** `ValueError` for missing, unknown or unsuitable arguments.
        """
        self.needs("solve", "solve")
        if times is not None and self.time is None:
            raise ValueError(f"{self.name} is steady: it has no solution at times={times}")
        named = {name: value for name, value in options.items() if name in self.inputs}
        options = {name: value for name, value in options.items() if name not in self.inputs}
        options |= {name: v for name, v in (("times", times), ("rtol", rtol)) if v is not None}
        self._check_options(self._parts["solve"], options)
        return self._parts["solve"](self.inputs.complete({**(inputs or {}), **named}), self._suitable(grid), **options)

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: ScalarLike | None = None) -> Solved:
        """The unknowns, without time axis, a time `dt` after they were `fields`. Inputs that only hold the initial value may be
        left out. `rtol` changes nothing where the solver has no tolerance, as with finite volumes."""
        self.needs("step", "step")
        options = {} if rtol is None else {"rtol": rtol}
        self._check_options(self._parts["step"], options)
        starts = [value for value in self.initial.values() if isinstance(value, str)]
        complete = self.inputs.complete(inputs, without=starts)
        return self._parts["step"](fields, complete, self._suitable(grid), dt, **options)

    def operator(self, inputs: Fields, grid: Grid) -> tuple[Any, Array]:
        """The linear system A x = b of one sample, as `(A, b)`."""
        self.needs("operator", "operator")
        return self._parts["operator"](self.inputs.complete(inputs), self._suitable(grid))

    def affine(self, grid: Grid) -> AffineSystem:
        """The linear system for all inputs at once, as a sum of fixed parts times functions of the inputs."""
        self.needs("affine", "affine")
        return self._parts["affine"](grid)

    def residual(self, u: Jet | Mapping[str, Jet], inputs: Mapping[str, Jet | ArrayLike] | None = None) -> Any:
        """Left-hand side minus right-hand side of the equation at the points of `u`; zero for a solution.

        **Arguments:**

        - `u`: the `Jet` of the unknown, its values and derivatives at some points; a dict of jets by name for several unknowns.
        - `inputs`: the random inputs by name: numbers, jets of fields at the same points, or values of fields whose derivatives
          the equation does not contain. Constants are filled in.

        **Returns:** an array, or a dict of arrays by equation name, as the problem declares it.
        """
        self.needs("residual", "residual")
        unknowns = self._unknowns(u)
        one = unknowns[self.unknowns[0]] if len(self.unknowns) == 1 else unknowns
        return self._parts["residual"](one, self.input_jets(inputs))

    def initial_residual(
        self, u: Jet | Mapping[str, Jet], inputs: Mapping[str, Jet | ArrayLike] | None = None
    ) -> dict[str, Array]:
        """Every unknown minus its initial value, by name, at points with t = `time.start`. Boundary conditions have residuals of
        their own; see `boundary` and `BoundaryCondition.residual`."""
        unknowns, jets = self._unknowns(u), self.input_jets(inputs)
        return {
            name: unknowns[name].value - prescribed(value, unknowns[name], jets, self.box.names)
            for name, value in self.initial.items()
        }

    def input_jets(self, inputs: Mapping[str, Jet | ArrayLike] | None = None) -> Jets:
        """All inputs as jets, constants filled in. A number becomes a constant field; an array of values has no derivatives."""
        return self.inputs.jets(inputs or {}, self.coordinates)

    # Checks ----------------------------------------------------------------------------------------------------------

    def _unknowns(self, u: Jet | Mapping[str, Jet]) -> Jets:
        jets = {self.unknowns[0]: u} if isinstance(u, Jet) else dict(u)
        if set(jets) != set(self.unknowns):
            raise ValueError(f"{self.name}: got jets of {sorted(jets)}; the unknowns are {self.unknowns}")
        return Jets(jets)

    def _suitable(self, grid: Grid | None) -> Grid:
        wanted = self.grid if grid is None else grid
        if wanted is None:
            raise ValueError(f"{self.name}: give a grid, for example problem.box.grid(64)")
        if self.grid is not None and wanted != self.grid:
            raise ValueError(f"{self.name}: this problem lives on {self.grid}, not on {grid}")
        return wanted

    def _check_options(self, part: Callable, options: Mapping[str, Any]) -> None:
        accepted = inspect.signature(part).parameters.values()
        names = {p.name for p in accepted if p.kind is p.KEYWORD_ONLY}
        if unknown := set(options) - names:
            raise ValueError(
                f"{self.name}: unknown inputs or options {sorted(unknown)}; inputs: {sorted(self.inputs)}, "
                f"options of its solver: {sorted(names)}"
            )

    def __repr__(self) -> str:
        axes = ", ".join(f"{a.name}∈[{a.start:g}, {a.stop:g}] {a.boundary}" for a in self.box.axes)
        time = "" if self.time is None else f", t∈[{self.time.start:g}, {self.time.stop:g}]"
        inputs = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in self.inputs.constants.items())
        laws = ", ".join(f"{name} ~ {value!r}" for name, value in self.laws.items())
        unknowns = "" if self._recipe is None else f": {', '.join(self.unknowns)}"
        return (
            f"Problem({self.name}{unknowns} on {axes}{time}; random inputs: {laws or 'none'}; constants: "
            f"{inputs or 'none'}; has {list(self._parts)})"
        )


def _check_axes(box: Box) -> None:
    if timed := [axis.name for axis in box.axes if axis.boundary is None]:
        raise ValueError(
            f"the box has the axes {timed} without boundary condition; give time apart from it, time=(0, 1)"
        )
    if "t" in box.names:
        raise ValueError(f"the space axes are called {box.names}; 't' means time, so rename that axis")


def _by_unknown(initial: Value | Mapping[str, Value] | None, unknowns: tuple[str, ...]) -> Mapping[str, Value]:
    if initial is None:
        return {}
    values = dict(initial) if isinstance(initial, Mapping) else dict.fromkeys(unknowns, initial)
    if unknown := set(values) - set(unknowns):
        raise ValueError(f"initial: got values of {sorted(unknown)}; the unknowns are {unknowns}")
    return values
