"""Inner products, norms and safe divisions of fields, as iterative methods need them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, ""]:
    """Σ_i a_i b_i over all entries, in the highest matmul precision."""
    return jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)


def norm(a: Float[Array, "..."]) -> Float[Array, ""]:
    """‖a‖₂ over all entries. It under- or overflows where the square does: scale by `max_norm_or_one` first."""
    return jnp.sqrt(dot(a, a))


def ratio(a: Float[Array, "..."], b: Float[Array, "..."], safe: Bool[Array, "..."]) -> Float[Array, "..."]:
    """a / b where that is safe, 0 elsewhere, without a division by zero on the way."""
    return jnp.where(safe, a / jnp.where(safe, b, 1), 0)


def power_of_four(size: Float[Array, ""]) -> Float[Array, ""]:
    """The power of four near a positive number, 1 for zero and for what is not finite. Dividing by it, or by its root, is
    exact."""
    usual = jnp.isfinite(size) & (size > 0)
    exponent = jnp.frexp(jnp.where(usual, size, 1))[1]
    return jnp.ldexp(jnp.ones_like(size), 2 * (exponent // 2)).astype(size.dtype)


def rough_signs(structure: jax.ShapeDtypeStruct) -> Float[Array, "..."]:
    """Signs ±1 without a pattern: the largest entry of A times them is about the largest of A."""
    number = jax.lax.iota(jnp.uint32, structure.size) * jnp.uint32(2654435761)
    return (1 - 2 * ((number >> 15) & 1).astype(structure.dtype)).reshape(structure.shape)
