"""Float64 work inside a float32 program.

The library never changes the process-wide x64 flag of JAX. Work that needs double precision (Gram matrices, label errors)
runs through `in_double`. On concrete arrays it computes in float64 under a local switch and returns NumPy arrays. Inside a
traced function (jit, grad, vmap) it raises `TypeError` unless x64 is on, because the backward pass would silently be rounded
to float32.

`wide` is for functions that are called inside float32 programs: it has derivatives of its own. `Double` carries the float64
arrays of such functions through float32 programs.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .registry import register


def in_double(function: Callable | None = None, *, promote: bool = True) -> Callable:
    """Decorator: call `function` with x64 enabled and its floating-point array arguments cast to float64.

    Called on concrete arrays, the decorated function returns NumPy arrays.

    **Arguments:** `promote`: False leaves the arguments as they are. Use it for a function that sums large float32 arrays in
    float64 without copying them to float64.

    **Raises:** `TypeError` if called on traced values (under jit, grad or vmap) while x64 is off.
    """
    if function is None:
        return functools.partial(in_double, promote=promote)

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        if traced and jnp.result_type(float) != jnp.float64:
            raise TypeError(
                f"{function.__name__} computes in float64 and cannot be traced (jit, grad, vmap) while x64 is off: "
                "its derivative would be rounded to float32. Enable it with jax.config.update('jax_enable_x64', True)."
            )
        with jax.enable_x64(True):
            if promote:
                args, kwargs = jax.tree.map(_promote, (args, kwargs))
            result = function(*args, **kwargs)
            return result if traced else jax.tree.map(_to_host, result)

    return wrapped


@register("Double")
class Double(eqx.Module):
    """A float64 array as the sum of two float32 arrays, which pass through jit, vmap and files while x64 is off.

    It keeps 48 of 53 bits, and the range of float32. `np.asarray(x)` is the float64 array.
    """

    high: Float[Array | np.ndarray, "*shape"]
    low: Float[Array | np.ndarray, "*shape"]

    @classmethod
    def of(cls, values) -> "Double":
        """From numbers or a NumPy array.

        **Raises:** `OverflowError` for finite numbers beyond the range of float32."""
        values = np.asarray(values, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            high = values.astype(np.float32)
            if np.isinf(high[np.isfinite(values)]).any():
                raise OverflowError(f"{np.abs(values).max():g} is beyond the range of float32; use other units")
            low = np.where(np.isfinite(high), values - high, 0).astype(np.float32)
        return cls(jnp.asarray(high, jnp.float32), jnp.asarray(low, jnp.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.high.shape

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(np.asarray(self.high, np.float64) + np.asarray(self.low, np.float64), dtype)

    def wide(self) -> Float[Array, "*shape"]:
        """The float64 array. Only inside `wide` functions, or while x64 is on."""
        high, low = (jax.lax.convert_element_type(x, jnp.float64) for x in (self.high, self.low))
        return high + low

    def on_host(self, x) -> bool:
        """Whether operations of x with this array can be done in float64 by NumPy."""
        return not isinstance(x, jax.Array) and not isinstance(self.high, Tracer)

    def subtracted_from(self, x):
        """x − self, also where both are large and close: in float64 on the host if x is no JAX array, else in the precision of x
        without the rounding of self."""
        if self.on_host(x):
            return np.asarray(x, np.float64) - np.asarray(self)
        x = jnp.asarray(x)
        return x - self.wide() if x.dtype == jnp.float64 else (x - self.high) - self.low

    def added_to(self, x: Array) -> Array:
        """x + self, in the precision of x."""
        return x + self.wide() if x.dtype == jnp.float64 else (x + self.low) + self.high


def wide(function: Callable[..., Array]) -> Callable[..., Array]:
    """Decorator of `function(x, parameters)` of a vector x: it is computed in float64, whatever the x64 flag is, also under jit,
    vmap and grad. The result is in float32, or in float64 while x64 is on. A float64 NumPy array x is not rounded.

    Derivatives by x of any order are right to the rounding of the result, because every Jacobian is computed in float64 too, in
    forward mode; the `parameters` (a pytree of arrays and `Double`s) are constants. On a TPU XLA emulates float64 by pairs of
    float32, which is slower and keeps about 48 bits.
    """

    @functools.cache
    def jacobian():
        return wide(jax.jacfwd(function))

    run = jax.custom_jvp(_in_context(lambda x, parameters: function(x.wide(), parameters)))

    @run.defjvp
    def _(primals, tangents):
        x, parameters = primals
        along = tangents[0].high + tangents[0].low
        return run(x, parameters), jnp.matmul(jacobian()(x, parameters), along, precision="highest")

    compiled = jax.jit(run)

    @functools.wraps(function)
    def wrapped(x, parameters):
        if not isinstance(x, Double):
            if isinstance(x, jax.Array) or jnp.result_type(float) == jnp.float64:
                x = jnp.asarray(x, jnp.result_type(x, float))
                x = Double(x, jnp.zeros_like(x))
            else:
                x = Double.of(x)
        return compiled(x, jax.lax.stop_gradient(parameters))

    return wrapped


def _in_context(function):
    """`function(x: Double, parameters)` traced with x64 on, and its result in the precision of x. Under vmap it is traced
    anew: JAX's own rules, which run after the context was left, would turn float64 into float32."""

    @jax.custom_batching.custom_vmap
    def run(x, parameters):
        with jax.enable_x64(True):
            return jax.lax.convert_element_type(function(x, parameters), x.high.dtype)

    @run.def_vmap
    def _(size, batched, x, parameters):
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched))
        return _in_context(jax.vmap(function, axes, axis_size=size))(x, parameters), True

    return run


def _promote(leaf):
    if isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.asarray(leaf, jnp.float64)
    return leaf


def _to_host(leaf):
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf
