"""Value and partial derivatives of a scalar function at one point, written the way a PDE is: `u.t - nu * u.xx`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Jet:
    """A function u of named coordinates at one point.

    `u.x`, `u.xx`, `u.xt` are its partial derivatives, by forward-over-forward differentiation. Arithmetic acts on its
    value; functions need that written out, `jnp.sin(u.value)`. `u.at["x"]` is a coordinate of the point.
    """

    def __init__(self, function: Callable[[Float[Array, " d"]], Float[Array, ""]], point, names: tuple[str, ...]):
        self._function, self._point, self._names = function, point, names

    @property
    def value(self) -> Float[Array, ""]:
        return self._function(self._point)

    @property
    def at(self) -> dict[str, Float[Array, ""]]:
        return dict(zip(self._names, self._point, strict=True))

    def __getattr__(self, derivative: str):
        if derivative.startswith("_"):
            raise AttributeError(derivative)
        unknown = set(derivative) - set(self._names)
        if unknown:
            raise AttributeError(
                f"u.{derivative}: no coordinate {sorted(unknown)}; this problem has {list(self._names)}"
            )
        function = self._function
        for name in derivative:
            function = _partial(function, self._names.index(name))
        return function(self._point)

    def __jax_array__(self):
        return self.value

    def __neg__(self):
        return -self.value

    def __add__(self, other):
        return self.value + jnp.asarray(other)

    def __sub__(self, other):
        return self.value - jnp.asarray(other)

    def __rsub__(self, other):
        return jnp.asarray(other) - self.value

    def __mul__(self, other):
        return self.value * jnp.asarray(other)

    def __truediv__(self, other):
        return self.value / jnp.asarray(other)

    def __rtruediv__(self, other):
        return jnp.asarray(other) / self.value

    def __pow__(self, exponent):
        return self.value**exponent

    __radd__, __rmul__ = __add__, __mul__


def _partial(function: Callable, index: int) -> Callable:
    def derivative(point):
        direction = jnp.zeros_like(point).at[index].set(1)
        return jax.jvp(function, (point,), (direction,))[1]

    return derivative
