"""`Systems`: a sequence of linear systems, each of which is assembled when it is needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.arguments import count, random_key
from ..core.arrays import AnyArray
from ..core.domains import Grid
from ..solvers.pde.declaration import Problem


class Systems(eqx.Module):
    """The linear systems A x = b of the samples of a dataset, stored as the inputs from which they are assembled.

    A sequence of systems is a pytree whose arrays have a leading sample axis. `lax.scan(step, state, systems)` and `vmap` pass
    one system at a time to a function, and only this one is assembled, by `system.operator` and `system.b`. On a sequence,
    `operator`, `b` and `A, b = systems.assembled()` assemble all systems at once.

    `len(systems)` is the number of systems, `systems[3]` one system, `systems[:100]` and `systems[[1, 5]]` are shorter
    sequences, and a Python loop `for system in systems` visits one system after the other.

    **Fields:**

    - `fields`: the problem's random inputs by name, with a leading sample axis in a sequence and without it in one system.
    - `grid`: the grid of all systems.
    - `assemble`: the problem's `operator(fields, grid) -> (A, b)`.
    - `context_names`: the parameters that make up `context`; see `Dataset.systems`.
    - `ranks`: name and number of axes, without the sample axis, of every field.
    """

    fields: Mapping[str, Float[Array, "..."]]
    grid: Grid = eqx.field(static=True)
    assemble: Callable = eqx.field(static=True)
    context_names: tuple[str, ...] = eqx.field(static=True)
    ranks: tuple[tuple[str, int], ...] = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        problem: Problem,
        grid: Grid,
        fields: Mapping[str, Float[AnyArray, "..."]],
        context: str | Sequence[str] | None = None,
    ) -> "Systems":
        """The systems of a problem for the inputs `fields`, arrays with a leading sample axis by name.

        The arrays are converted to JAX's default floating-point type, float64 if x64 is on. `context` is that of
        `Dataset.systems`.

        **Raises:** `ValueError` if the problem declares no `operator` or has no random inputs, and if `context` names anything
        but parameters with one number per sample.
        """
        problem.needs("operator", "systems")
        if not fields:
            raise ValueError(f"systems: {problem!r} has no inputs, all its systems are the same")
        numbers = [k for k, v in fields.items() if not problem.laws[k].is_field and v.ndim == 1]
        names = (context,) if isinstance(context, str) else tuple(numbers if context is None else context)
        if not set(names) <= set(numbers):
            raise ValueError(f"systems: context={context!r} must name parameters with one number per sample, {numbers}")
        dtype = jnp.result_type(float)
        ranks = tuple((k, v.ndim - 1) for k, v in fields.items())
        return cls({k: jnp.asarray(v, dtype) for k, v in fields.items()}, grid, problem.operator, names, ranks)

    @classmethod
    def sample(
        cls,
        problem: Problem,
        n: int,
        grid: int | tuple[int, ...] | Grid,
        key: jax.Array,
        context: str | Sequence[str] | None = None,
    ) -> "Systems":
        """The systems of the samples of `generate(problem, n, grid, key)`, without solving any of them."""
        n, key = count("Systems.sample", "n", n), random_key("Systems.sample", key)
        grid = problem.box.grid(grid)
        draw = jax.vmap(lambda i: problem.sample_inputs(jax.random.fold_in(key, i), grid))
        return cls.of(problem, grid, draw(jnp.arange(n)), context)

    @property
    def operator(self):
        """The operator A of this system; for a sequence, one operator whose arrays have a leading sample axis."""
        return self.assembled()[0]

    @property
    def b(self) -> Float[Array, "..."]:
        """The right-hand side of this system; for a sequence with a leading sample axis."""
        return self.assembled()[1]

    @property
    def context(self) -> Float[Array, "..."] | None:
        """The parameters that a policy sees before the solve: a number, or a vector `(k,)` of k parameters, or None if there are
        none. A sequence has a leading sample axis."""
        values = [self.fields[name] for name in self.context_names]
        if not values:
            return None
        return values[0] if len(values) == 1 else jnp.stack(values, axis=-1)

    @property
    def is_sequence(self) -> bool:
        """Whether this is a sequence of systems; False for one system."""
        name, rank = self.ranks[0]
        return jnp.ndim(self.fields[name]) > rank

    def __len__(self) -> int:
        if not self.is_sequence:
            raise TypeError("len: this is one system, not a sequence")
        return len(self.fields[self.ranks[0][0]])

    def __getitem__(self, index) -> "Systems":
        if not self.is_sequence:
            raise TypeError("this is one system, not a sequence")
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"system {index} of a sequence of {len(self)}")
        index = index if isinstance(index, int | slice) else jnp.asarray(index)
        return eqx.tree_at(lambda s: s.fields, self, {name: values[index] for name, values in self.fields.items()})

    def __iter__(self) -> "Iterator[Systems]":
        return (self[i] for i in range(len(self)))

    def assembled(self) -> tuple[Any, Float[Array, "..."]]:
        """`(A, b)` of this system; for a sequence, with a leading sample axis on every array in them."""

        def one(fields):
            return self.assemble(fields, self.grid)

        return (jax.vmap(one) if self.is_sequence else one)(self.fields)
