"""Evolution equations with constant coefficients in their linear part on periodic boxes, by exponential integrators."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact

from ...core.arguments import number
from ...core.domains import Box, Grid
from ..kernels.exponential import Instants, Symbol, checked_instants, etdrk4, integrate, linear_in_time, propagate
from ..kernels.periodic_modes import PeriodicModes
from .declaration import Fields, Problem
from .marching import check_numbers, initial_fields, integration_stats, one_step
from .solved import Solved

Waves = tuple[np.ndarray, ...]  # the wavenumbers along every axis, which broadcast against each other
Nonlinear = Callable[[Array, Array], Array]

_RTOL = 1e-6  # nominal, of the default steps
_MOST = 1e7  # default steps


@dataclass(frozen=True, eq=False)
class PeriodicEvolution:
    """v_t = L v + N(v) + source for the Fourier coefficients v of one or more fields, `(component, *modes)`.

    Fourier-Galerkin in space: N acts on the modes of `PeriodicModes`, which its products do not alias, and `etdrk4` steps
    these; all other modes feel L and the source alone, and are exact at any instant. Without N every mode is.

    **Arguments:**

    - `name`: of the problem, for messages.
    - `box`: periodic along all axes.
    - `starts`: the input that is the initial value, by unknown in the order of the components.
    - `inputs`: the inputs that are declared, laws and numbers.
    - `symbol`: `(waves, inputs) -> L`, which broadcasts against v.
    - `nonlinear`: `(modes, inputs) -> ((v, t) -> N(v))`, or None.
    - `default_step`: `(inputs, grid) -> step` for rtol 1e-6, from laws and values; another rtol multiplies it by
      (rtol/1e-6)^¼, at most 2. It is asked for the inputs that are declared, and for those that are given to `solve` and
      not traced; the smaller step counts.
    - `dt`: the largest step instead, if given.
    - `degree`: number of factors of the products in N.
    - `source`: `(inputs, grid) -> (component, *space)`, constant in time, or `(t, component, *space)` at the instants of the
      solve, linear in between and constant before the first; or None.
    - `fields`: the inputs beside the initial values that may be fields, because `source` takes them; all others are numbers.
    - `variables`: for an L that is not diagonal: `(waves, inputs) -> (forward, backward)`, the linear maps from coefficients of
      the fields to v, on which L is, and back.
    - `ndim`: the numbers of axes it is meant for.
    """

    name: str
    box: Box
    starts: Mapping[str, str]
    inputs: Fields
    symbol: Callable[[Waves, Fields], Symbol]
    nonlinear: Callable[[PeriodicModes, Fields], Nonlinear] | None = None
    default_step: Callable[[Fields, Grid], float] | None = None
    dt: float | None = None
    degree: int = 2
    source: Callable[[Fields, Grid], Array] | None = None
    variables: Callable[[Waves, Fields], tuple[Callable, Callable]] | None = None
    fields: tuple[str, ...] = ()
    ndim: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self):
        check_periodic(self.name, self.box, self.ndim)

    def problem(self, residual: Callable | None, duration: float, no_residual: str = "") -> Problem:
        """The declaration of the equation, solved by this method."""
        return Problem(
            tuple(self.starts),
            self.box,
            time=(0.0, duration),
            inputs=self.inputs,
            residual=residual,
            no_residual=no_residual,
            initial=self.starts,
            solve=self.solve,
            step=self.step,
        )

    def solve(self, inputs: Fields, grid: Grid, *, times: Instants | None = None, rtol: float | None = None) -> Solved:
        fields, times = initial_fields(self.name, self.box, inputs, self.starts, grid, times)
        check_numbers(self.name, inputs, without=(*self.starts.values(), *self.fields))
        modes = PeriodicModes(grid.shape, self.box.extent, self.degree)
        source = None if self.source is None else jnp.asarray(self.source(inputs, grid), fields.dtype)
        if source is not None and source.ndim > fields.ndim and len(source) != len(times):
            raise ValueError(f"{self.name}: {len(source)} fields of a forcing in time for {len(times)} instants")
        solve = self._exact if self.nonlinear is None else self._stepped
        u, steps = solve(self.nonlinear, modes, fields, source, inputs, times, self._step(inputs, grid, times, rtol))
        return Solved({name: u[:, i] for i, name in enumerate(self.starts)}, integration_stats(u, steps))

    def step(self, fields: Fields, inputs: Fields, grid: Grid, dt: float, *, rtol: float | None = None) -> Solved:
        return one_step(self.solve, fields, inputs, self.starts, grid, dt, rtol=rtol)

    def _exact(self, _, modes: PeriodicModes, fields: Array, source: Array | None, inputs: Fields, times: Instants, dt):
        forward, backward = self._variables(modes.all_wavenumbers, inputs)
        start = forward(modes.whole(fields))
        states = self._propagate(modes, start, None if source is None else modes.whole(source), inputs, times)
        return modes.fields(backward(states)), 0

    def _stepped(self, nonlinear, modes: PeriodicModes, fields: Array, source: Array | None, inputs: Fields, times, dt):
        block, rest = modes.split(fields)
        pushed, pushed_rest = (None, None) if source is None else modes.split(source)
        act, linear = nonlinear(modes, inputs), self.symbol(modes.wavenumbers, inputs)
        full = act
        if pushed is not None:
            push = linear_in_time(pushed, times, fields.dtype) if pushed.ndim > block.ndim else lambda t: pushed
            full = lambda v, t: act(v, t) + push(t)  # noqa: E731
        forward, backward = self._variables(modes.wavenumbers, inputs)
        states, steps = integrate(lambda h: etdrk4(linear, full, h), forward(block), times, dt)
        forward, backward_rest = self._variables(modes.all_wavenumbers, inputs)
        rests = self._propagate(modes, forward(rest), pushed_rest, inputs, times)
        return modes.values(backward(states), backward_rest(rests)), steps

    def _propagate(
        self, modes: PeriodicModes, v: Array, source: Array | None, inputs: Fields, times: Instants
    ) -> Array:
        return propagate(modes.symbol(lambda k: self.symbol(k, inputs)), v, times, source)

    def _variables(self, waves: Waves, inputs: Fields) -> tuple[Callable, Callable]:
        return (_same, _same) if self.variables is None else self.variables(waves, inputs)

    def _step(self, inputs: Fields, grid: Grid, times: Instants, rtol: float | None) -> float:
        if self.dt is not None or self.default_step is None:
            return math.inf if self.dt is None else self.dt
        step = self.default_step(self.inputs, grid)
        known = {k: v for k, v in inputs.items() if not isinstance(v, Tracer) and v is not self.inputs.get(k)}
        if known:
            given = self.default_step({**self.inputs, **known}, grid)
            step = given if 0 < given < step else step  # not that of fields that are not finite
        share = 1.0 if rtol is None else number(self.name, "rtol", rtol, above=0) / _RTOL
        step *= min(share**0.25, 2.0)
        last = float(checked_instants(times)[-1])
        if last > _MOST * step:
            raise ValueError(
                f"{self.name}: the default step for these inputs is {step:.2g}, so that t = {last:g} is {last / step:.2g} steps "
                "away; give dt, or inputs of the size that the equation is meant for"
            )
        return step


def _same(v: Array) -> Array:
    return v


def self_advection(modes: PeriodicModes, inputs: Fields) -> Nonlinear:
    """−(u²/2)_x in one dimension."""
    (k,) = modes.wavenumbers

    return lambda v, t: modes.square(v) * jnp.asarray(-0.5j * k, v.dtype)


def components(*symbols: Inexact[Array | np.ndarray, "..."]) -> Inexact[Array | np.ndarray, "..."]:
    """The symbol of several unknowns from one for each; NumPy if all of them are."""
    xp = np if all(isinstance(symbol, np.ndarray) for symbol in symbols) else jnp
    return xp.stack(xp.broadcast_arrays(*symbols))


def check_periodic(name: str, box: Box, ndim: tuple[int, ...]) -> None:
    """Raise `ValueError` for a box that is not periodic along all of its axes, or has another number of them than `ndim`."""
    if set(box.conditions) != {"periodic"} or len(box.axes) not in ndim:
        place = ("interval", "rectangle")[ndim[0] - 1] if len(ndim) == 1 else "box of 1 to 3 axes"
        axes = ", ".join(f"{x}=(0, 1, 'periodic')" for x in "xyz"[: ndim[0]])
        raise ValueError(f"{name} lives in a periodic {place}, for example Box({axes}); got {box}")
