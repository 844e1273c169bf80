"""Noise that is correlated between points, with the product of its covariance."""

import abc

import equinox as eqx
from jaxtyping import Array, Float


class AbstractColouredNoise(eqx.Module):
    """Gaussian noise K^½ ε as the argument `noise` of `sample`, whose covariance is known: write `__call__` and `covariance`.

    **Example:**

        >>> issubclass(sx.diffusion.FieldNoise, sx.diffusion.AbstractColouredNoise)
        True
    """

    @abc.abstractmethod
    def __call__(self, key: Array, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
        """One draw."""

    @abc.abstractmethod
    def covariance(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The product K x."""
