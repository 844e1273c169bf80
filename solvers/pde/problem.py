"""One declaration of a PDE, for every family of methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
from jaxtyping import Array

from ...core.domains import Box, Grid
from ..random import Distribution
from .affine import AffineSystem
from .pointwise_derivatives import Jet
from .symmetry import Dihedral

Fields = Mapping[str, Any]  # arrays of JAX or NumPy


@dataclass(frozen=True, eq=False)
class Problem:
    """A PDE with whatever is known of it; consumers ask for the part they need and say so if it is missing.

    **Arguments:**

    - `unknowns`: name or names of the solution fields.
    - `box`: the domain with its boundary conditions.
    - `parameters`: distribution of every input, by name; what `generate` samples.
    - `solve`: `(fields, grid, rtol=None) -> (fields, Stats)`, one sample: the unknowns at the points of `grid` from the
      inputs given there. In time `(fields, grid, rtol=None, *, times)`, with the unknowns `(t, *space)` at `times`.
    - `operator`: `(fields, grid) -> (A, b)`, the linear system of one sample.
    - `affine`: `grid -> AffineSystem`, the same system as sums of parameter functions times fixed parts.
    - `residual`: `u -> array`, the strong form from a `Jet` of the unknown at one point, for training without data.
    - `initial`: value at the start of the axis `t`, a function of the other coordinates.
    - `boundary_value`: value on Dirichlet sides, a function of the coordinates.
    - `symmetry`: group under which solutions go to solutions.
    - `recipe`: what identifies the declaration, for caching generated data; empty for hand-made problems.
    """

    unknowns: tuple[str, ...] | str
    box: Box
    parameters: Mapping[str, Distribution] = field(default_factory=dict)
    solve: Callable | None = None
    operator: Callable | None = None
    affine: Callable[[Grid], AffineSystem] | None = None
    residual: Callable[[Jet], Array] | None = None
    initial: Callable | None = None
    boundary_value: Callable | None = None
    symmetry: Dihedral | None = None
    recipe: str = ""

    def __post_init__(self):
        if isinstance(self.unknowns, str):
            object.__setattr__(self, "unknowns", (self.unknowns,))

    def needs(self, part: str, purpose: str):
        """The part of the declaration called `part`, or a `ValueError` that names it and what it was needed for."""
        value = getattr(self, part)
        if value is None:
            raise ValueError(f"{purpose} needs a problem that declares `{part}`; {self!r} does not")
        return value

    def sample_parameters(self, key: jax.Array, grid: Grid) -> dict[str, Array]:
        """One draw of every input, each from its own key (by position in the declaration)."""
        return {
            name: distribution.sample(jax.random.fold_in(key, i), grid)
            for i, (name, distribution) in enumerate(self.parameters.items())
        }

    def __repr__(self) -> str:
        has = [p for p in ("solve", "operator", "affine", "residual") if getattr(self, p) is not None]
        return f"Problem({self.recipe or ', '.join(self.unknowns)}; inputs {list(self.parameters)}; has {has})"


_factories: dict[str, Callable[..., Problem]] = {}


def register_problem(name: str):
    """Decorator: make a function that returns a `Problem` available as `problem(name, **options)`."""

    def decorate(factory):
        _factories[name] = factory
        return factory

    return decorate


def problem(name: str, **options) -> Problem:
    """The registered problem `name`, for example `problem("darcy", a=random.Threshold(12, 3))`."""
    if name not in _factories:
        raise ValueError(f"unknown problem {name!r}; known: {sorted(_factories)}")
    return _factories[name](**options)
