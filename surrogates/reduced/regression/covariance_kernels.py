"""Covariances of Gaussian processes as functions of the squared distance over the length, k(0) = 1."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Kernel = Callable[[Float[Array, "..."]], Float[Array, "..."]]
KernelName = Literal["matern52", "squared_exponential"]


@jax.custom_jvp
def matern52(squared: Float[Array, "..."]) -> Float[Array, "..."]:
    """k(r) = (1 + √5 r + 5r²/3) exp(−√5 r) of r², with the derivative −(5/6)(1 + √5 r) exp(−√5 r) in r², finite at 0
    (Rasmussen and Williams 2006, eq. 4.17)."""
    root = jnp.sqrt(5 * squared)
    return (1 + root + root**2 / 3) * jnp.exp(-root)


@matern52.defjvp
def _(primals, tangents):
    return matern52(primals[0]), _slope(primals[0]) * tangents[0]


@jax.custom_jvp
def _slope(squared):
    """The derivative of `matern52`, with the derivative (25/12) exp(−√5 r) in r²."""
    root = jnp.sqrt(5 * squared)
    return -5 / 6 * (1 + root) * jnp.exp(-root)


@_slope.defjvp
def _(primals, tangents):
    return _slope(primals[0]), 25 / 12 * jnp.exp(-jnp.sqrt(5 * primals[0])) * tangents[0]


def squared_exponential(squared: Float[Array, "..."]) -> Float[Array, "..."]:
    """k(r) = exp(−r²/2) of r², of functions that are smooth to all orders (Rasmussen and Williams 2006, eq. 4.9)."""
    return jnp.exp(-squared / 2)


KERNELS: dict[KernelName, Kernel] = {"matern52": matern52, "squared_exponential": squared_exponential}
