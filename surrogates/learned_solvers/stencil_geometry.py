"""The geometry that a learned direction is given of an operator, on every level, in a form without units."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...solvers.kernels.stencil import pad_axis
from ...solvers.linear.operators.laplacian import as_diffusion
from .layers import pooled


class Geometry(eqx.Module):
    """The geometry of one level. a_i is the local coefficient at point i: the mean over its open faces of coefficient/h².

    **Fields:**

    - `faces`: one field `(*n)` per axis: the coefficient/h² of the face between points i and i + 1, divided by √(a_i a_{i+1}); 0
      after the last point.
    - `shift` `(*n)`: the other contributions to the diagonal (shift, Dirichlet sides, obstacles), divided by a_i.
    - `fluid` `(*n)`: the fraction of points that have an open face to another point; 0 or 1 on the finest level.
    """

    faces: tuple[Float[Array, "*n"], ...]
    shift: Float[Array, "*n"]
    fluid: Float[Array, "*n"]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.fluid.shape

    @property
    def features(self) -> Float[Array, "*n c"]:
        """The input of the network that computes the gates: fluid fraction, bounded shift and faces as channels."""
        return jnp.stack([self.fluid, self.shift / (1 + jnp.abs(self.shift)), *self.faces], axis=-1)


class Units(eqx.Module):
    """A diagonal scaling that makes the network N independent of the units of the coefficient: q = s · N(s · r) + r/D.

    N is given s · r, with s = 0 at points that are not fluid. The last term serves points without an open face, where A is
    diagonal. Both fields are scaled by the mean coefficient.

    **Fields:**

    - `scaling` `(*n)`: s_i = a_i^(−1/2) at fluid points, 0 elsewhere.
    - `solid_inverse` `(*n)`: 1/D_i, with the diagonal D of A, at points without an open face; 0 elsewhere.
    """

    scaling: Float[Array, "*n"]
    solid_inverse: Float[Array, "*n"]


def geometry_of(operator) -> tuple[Geometry, Units]:
    """The geometry of the finest level, and the scaling, of a `Diffusion` or an operator that can be written as one.

    **Raises:** `TypeError` for other operators.
    """
    operator = as_diffusion(operator, "MultilevelDirection")
    inner, extra = [], jnp.zeros(operator.shape, operator.faces[0].dtype) + operator.shift
    for axis, (a, h, boundary) in enumerate(zip(operator.faces, operator.spacing, operator.boundaries, strict=True)):
        n, a = operator.shape[axis], a / h**2
        if boundary == "dirichlet":
            first, last = pad_axis(a, axis, 0, -n), pad_axis(a, axis, -n, 0)
            extra += pad_axis(first, axis, 0, n - 1) + pad_axis(last, axis, n - 1, 0)
            a = pad_axis(a, axis, -1, -1)
        elif boundary == "periodic":
            a = pad_axis(a, axis, 0, -1)
        inner.append(pad_axis(a, axis, 0, 1))
    both = jnp.stack([face for axis, a in enumerate(inner) for face in (a, pad_axis(a, axis, 1, -1))])
    count, total = (both > 0).sum(0), both.sum(0)
    fluid = (count > 0).astype(total.dtype)
    local = jnp.where(count > 0, total / jnp.maximum(count, 1), 1)
    mean = (fluid * local).sum() / jnp.maximum(fluid.sum(), 1)
    scaling = fluid / jnp.sqrt(local)
    faces = tuple(a * scaling * pad_axis(scaling, axis, -1, 1) for axis, a in enumerate(inner))
    alone = (count == 0) & (extra != 0)
    solid_inverse = jnp.where(alone, mean / jnp.where(alone, extra, 1), 0)
    return Geometry(faces, fluid * extra / local, fluid), Units(jnp.sqrt(mean) * scaling, solid_inverse)


def coarsened(fine: Geometry) -> Geometry:
    """The next coarser level: two points per axis become one. The shift is multiplied by 4, because h² is."""
    axes = range(fine.fluid.ndim)
    faces = tuple(pooled(_between_blocks(a, axis), [i for i in axes if i != axis]) for axis, a in enumerate(fine.faces))
    fluid = pooled(fine.fluid, axes)
    shift = 4 * pooled(fine.fluid * fine.shift, axes) / jnp.where(fluid > 0, fluid, 1)
    return Geometry(faces, shift, fluid)


def _between_blocks(a: Array, axis: int) -> Array:
    """The faces between blocks of two points along `axis`: entries 1, 3, …. The last block of an odd side has a closed face."""
    a = pad_axis(a, axis, 0, a.shape[axis] % 2)
    return lax.slice_in_dim(a, 1, None, 2, axis)
