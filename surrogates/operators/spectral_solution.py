"""How a spectral method's solution follows from the coefficients that its network returns: initial values, unknowns that others
give, and sizes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count
from ...core.domains import Grid
from ...solvers.kernels.legendre import gauss_points, polynomials
from ...solvers.pde.declaration import Problem
from ..task.task import Fields
from .spectral_residual import SpectralCollocation
from .spectral_space import SpectralSpace

Solved = Callable[[Mapping[str, Array], SpectralSpace], Array]  # an unknown's coefficients from those of others

_DRAWS = 64  # of the random inputs, by which inputs and outputs are scaled
_FREE = 1e-5  # change of a residual by a constant, relative to that by any function, that is rounding


@dataclass(frozen=True)
class SpectralSettings:
    """From what a `NeuralSpectralSurrogate` is built; the fields are the arguments of `NeuralSpectral`."""

    problem: Problem
    modes: tuple[int, ...]
    width: int
    depth: int
    activation: Literal["gelu", "relu", "tanh"]
    linear: bool
    degrees: int = 0  # of the solution in time; 0 for a steady problem
    solved: tuple[tuple[str, Solved], ...] = ()

    def __post_init__(self):
        check_fields(self)
        for name in ("width", "depth"):
            count("NeuralSpectral", name, vars(self)[name])
        for modes in self.modes:
            count("NeuralSpectral", "modes", modes)

    @property
    def space(self) -> SpectralSpace:
        """Of the solution."""
        return SpectralSpace(self.problem.box, self.modes, self.problem.time, self.degrees)

    @property
    def inner(self) -> SpectralSpace:
        """Of the network: a degree less in time, for a factor that vanishes at its start."""
        return replace(self.space, degrees=max(self.degrees - 1, 0))

    @property
    def unknowns(self) -> tuple[str, ...]:
        """Those that the network returns."""
        return tuple(name for name in self.problem.unknowns if name not in dict(self.solved))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The random inputs that are fields."""
        return tuple(name for name, law in self.problem.laws.items() if law.is_field)

    @property
    def number_names(self) -> tuple[str, ...]:
        """The random inputs that are numbers."""
        return tuple(name for name, law in self.problem.laws.items() if not law.is_field)


def started(settings: SpectralSettings, fields: Fields, grid: Grid) -> Float[Array, "*modes unknowns"]:
    """The coefficients of the initial values at all times, zero for unknowns without one and in a steady problem."""
    problem, space = settings.problem, settings.space
    hat = jnp.zeros((*space.shape, len(settings.unknowns)))
    if problem.time is None:
        return hat
    known, points = {**problem.constants, **fields}, np.moveaxis(grid.points, -1, 0)
    for i, value in enumerate(problem.initial.get(name) for name in settings.unknowns):
        if value is None:
            continue
        value = known[value] if isinstance(value, str) else value
        value = value(*(jnp.asarray(x, float) for x in points)) if callable(value) else value
        u0 = jnp.broadcast_to(jnp.asarray(value, float), grid.shape)
        constant = math.sqrt(problem.time.length)  # 1 is that many times the first polynomial
        hat = hat.at[0, ..., i].set(constant * space.still.coefficients(u0[..., None], grid)[..., 0])
    return hat


def from_start(settings: SpectralSettings, hat: Float[Array, "*inner u"]) -> Float[Array, "*modes u"]:
    """t/T times the functions of the network where there is an initial value, which stays; others as they are."""
    problem, degrees = settings.problem, settings.degrees
    if problem.time is None:
        return hat
    t, w = gauss_points(degrees, 1.0)
    rising = polynomials(degrees, t, 1.0).T @ (w[:, None] * t[:, None] * polynomials(degrees - 1, t, 1.0))
    kept = np.eye(degrees, degrees - 1)
    matrices = np.stack([rising if name in problem.initial else kept for name in settings.unknowns])
    return jnp.einsum("udj,j...u->d...u", jnp.asarray(matrices, hat.dtype), hat, precision="highest")


def completed(settings: SpectralSettings, hat: Float[Array, "*modes u"]) -> Float[Array, "*modes unknowns"]:
    """The coefficients of all unknowns, from those that the network returns.

    **Raises:** `ValueError` for an entry of `solved` that returns an array of another shape.
    """
    if not settings.solved:
        return hat
    hats = {name: hat[..., i] for i, name in enumerate(settings.unknowns)}
    for name, follow in settings.solved:
        found = jnp.asarray(follow(hats, settings.space))
        if found.shape != settings.space.shape:
            raise ValueError(
                f"NeuralSpectral(solved={{{name!r}: …}}) returned an array of shape {found.shape}; expected coefficients of "
                f"shape {settings.space.shape}"
            )
        hats[name] = found
    return jnp.stack([hats[name] for name in settings.problem.unknowns], -1)


def scales(settings: SpectralSettings) -> tuple[Array, Array, Array]:
    """Shifts and factors of the random inputs, and the factor of every coefficient of the network.

    The latter is such that white noise of size 1 changes the residual by as much as the inputs do. It is zero for a mean that the
    equation leaves free.
    """
    problem, space, inner = settings.problem, settings.space, settings.inner
    own, keys = SpectralCollocation(problem, space), jax.random.split(jax.random.key(0), _DRAWS)
    grid = own.grid
    drawn = jax.jit(jax.vmap(lambda key: problem.sample_inputs(key, grid)))(keys)
    names = (*settings.field_names, *settings.number_names)
    shifts = np.array([float(drawn[name].mean()) for name in names], np.float32)
    factors = np.array([1 / (float(drawn[name].std()) or 1.0) for name in names], np.float32)
    first = {name: values[0] for name, values in drawn.items()}
    unknowns = len(settings.unknowns)
    # White noise with the norm of a function of size 1.
    random = jax.random.normal(jax.random.key(1), (*inner.shape, unknowns))
    random *= math.sqrt(space.size) / jnp.linalg.norm(random.ravel())

    @jax.jit
    def sizes(hat, along):
        """The norms of the residual and of its derivative."""

        def residual(h):
            whole = completed(settings, started(settings, first, grid) + from_start(settings, h))
            return own.coefficients(whole, first)

        parts = jax.jvp(residual, (hat,), (along,))
        return [jnp.sqrt(sum(jnp.sum(r**2) for r in jax.tree.leaves(part))) for part in parts]

    at_zero, slope = map(float, sizes(0 * random, random))
    size = at_zero / slope if at_zero and slope else 1.0
    out, random = np.full((*inner.shape, unknowns), size), size * random
    if "dirichlet" not in space.box.conditions:
        for i in range(unknowns):
            constant = (*(0,) * len(inner.shape), i)
            along = jnp.zeros_like(random).at[constant].set(jnp.linalg.norm(random.ravel()))
            if sizes(random, along)[1] <= _FREE * sizes(random, random)[1]:
                out[(..., *(0,) * len(space.modes), i)] = 0.0
    return jnp.asarray(shifts), jnp.asarray(factors), jnp.asarray(out, jnp.float32)
