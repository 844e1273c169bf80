"""Symmetry groups of a problem: maps of the domain under which solutions go to solutions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...core.domains import Layout


@dataclass(frozen=True)
class Dihedral:
    """The eight symmetries of a square: reflections of both axes and their exchange.

    An element is three booleans `(flip_x, flip_y, swap)`; `transform` applies the swap last. Valid where domain, grid,
    boundary conditions and every fixed coefficient have the symmetry.

    **Arguments:**

    - `vectors`: names of the fields and parameters whose two components are those of a vector, such as a velocity. They turn with
      the square.
    - `scalars`: names of the fields and parameters with components of which each is a scalar, such as concentrations.

    Scalar fields need not be named.

    **Example:**

        >>> reflect_x = jnp.array([True, False, False])
        >>> sx.Dihedral().transform(reflect_x, jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[3.0, 4.0], [1.0, 2.0]]
    """

    vectors: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()

    order = 8

    def random(self, key: jax.Array) -> Bool[Array, "3"]:
        return jax.random.bernoulli(key, 0.5, (3,))

    def elements(self) -> Bool[Array, "8 3"]:
        return (jnp.arange(8)[:, None] >> jnp.arange(3)) % 2 == 1

    def transform(
        self, element: Bool[Array, "3"], field: Float[Array, "n n *c"], layout: Layout = "nodes"
    ) -> Float[Array, "n n *c"]:
        """The field seen after the symmetry `element`, channels transformed as scalars.

        On the layout "periodic", whose points are 0, h, …, L−h, a reflection maps point i to −i modulo n.
        """
        if field.shape[0] != field.shape[1]:
            raise ValueError(f"the symmetries of the square act on fields (n, n, …), got shape {field.shape}")
        flip_x, flip_y, swap = element
        shift = 1 if layout == "periodic" else 0
        field = jnp.where(flip_x, jnp.roll(field[::-1], shift, 0), field)
        field = jnp.where(flip_y, jnp.roll(field[:, ::-1], shift, 1), field)
        return jnp.where(swap, jnp.swapaxes(field, 0, 1), field)

    def turn(self, element: Bool[Array, "3"], values: Float[Array, "*any 2"]) -> Float[Array, "*any 2"]:
        """The components of vectors seen after the symmetry `element`; the points stay where they are."""
        flip_x, flip_y, swap = element
        values = values * jnp.where(jnp.stack([flip_x, flip_y]), -1, 1).astype(values.dtype)
        return jnp.where(swap, values[..., ::-1], values)
