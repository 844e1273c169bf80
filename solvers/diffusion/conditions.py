"""What is known exactly of a sample: conditions h(x) = 0 with the projection onto the samples that meet them."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ...core.arguments import checked, count, kind, real_array
from ...core.arrays import AnyArray
from .projection import projected


class AbstractCondition(eqx.Module):
    """h(x) = 0 for one sample x `(*shape)`: write `residual` and `nearest`.

    **Example:**

        >>> issubclass(sx.diffusion.KnownValues, sx.diffusion.AbstractCondition)
        True
    """

    @abc.abstractmethod
    def residual(self, x: Float[Array, "*shape"]) -> Float[Array, " m"]:
        """h(x), zero where the condition is met."""

    @abc.abstractmethod
    def nearest(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The nearest sample that meets the condition; of nonlinear ones a near one."""


class KnownValues(AbstractCondition):
    """Some entries of a sample are known: x = values there. Exact.

        KnownValues(mask, values)                                  # where a boolean array is True
        KnownValues.at((64, 64, 1), np.s_[0], u0)                  # an initial state, time being the first axis
        KnownValues.boundary((64, 64, 1), 0.0)                     # on all sides of a box

    **Arguments:**

    - `where`: booleans of the shape of a sample, known before compilation.
    - `values`: of the shape of a sample (or one that broadcasts to it), of which the known entries count; or those entries
      `(m,)`.

    **Raises:** `ValueError` for no known entry, for values that are not finite and for shapes that do not fit.

    **Example:**

        >>> sx.diffusion.KnownValues.at((4,), 0, 2.0).nearest(jnp.ones(4)).tolist()
        [2.0, 1.0, 1.0, 1.0]
    """

    index: Int[Array, " m"]
    values: Float[Array, " m"]
    shape: tuple[int, ...] = eqx.field(static=True)

    @checked
    def __init__(self, where: AnyArray | list | tuple, values: AnyArray | list | tuple | float):
        if isinstance(where, Tracer):
            raise TypeError(
                "KnownValues(where=…): which entries are known must be known before compilation; values may be traced"
            )
        where = np.asarray(where)
        if where.dtype != bool or not where.ndim:
            raise TypeError(
                f"KnownValues(where=…): expected booleans of the shape of a sample, got {where.dtype} {where.shape}"
            )
        if not where.any():
            raise ValueError("KnownValues(where=…): no entry is known")
        index = np.flatnonzero(where)
        values = jnp.asarray(real_array("KnownValues", "values", values), float)
        if values.shape != index.shape or where.shape == index.shape:
            values = jnp.ravel(_spread_over("KnownValues", values, where.shape))[index]
        _finite("KnownValues", values)
        self.index, self.values, self.shape = jnp.asarray(index), values, where.shape

    @classmethod
    def at(cls, shape: Sequence[int], index: Any, values: AnyArray | list | tuple | float) -> "KnownValues":
        """The entries `x[index]` of samples of this shape; `values` broadcast to them. `np.s_[…]` writes an index."""
        where = np.zeros(tuple(shape), bool)
        where[index] = True
        known = np.zeros(where.shape)[index].shape
        return cls(
            where, jnp.ravel(_spread_over("KnownValues.at", jnp.asarray(values, float), known))[_order(where, index)]
        )

    @classmethod
    def boundary(
        cls, shape: Sequence[int], values: AnyArray | list | tuple | float, axes: Sequence[int] = (0, 1)
    ) -> "KnownValues":
        """The first and the last entries along `axes`. `values` broadcast to a sample; only those on the sides count."""
        where = np.zeros(tuple(shape), bool)
        for axis in axes:
            where[(slice(None),) * axis + ([0, -1],)] = True
        return cls(where, _spread_over("KnownValues.boundary", jnp.asarray(values, float), where.shape))

    def residual(self, x):
        self._check(x)
        return jnp.ravel(x)[self.index] - self.values.astype(x.dtype)

    def nearest(self, x):
        self._check(x)
        return jnp.ravel(x).at[self.index].set(self.values.astype(x.dtype)).reshape(x.shape)

    def _check(self, x):
        if x.shape != self.shape:
            raise ValueError(f"KnownValues: made for samples of shape {self.shape}, a sample has {x.shape}")


class LinearCondition(AbstractCondition):
    """A x = b with the rows of a matrix. The projection is exact, x + A⁺ (b − A x), from an SVD in float64 on the host; dependent
    rows are left out. `residual` is that of the orthonormal combinations of the rows.

    **Arguments:** `matrix`: A `(m, *shape)`, known before compilation. `values`: b `(m,)`.

    **Raises:** `ValueError` for rows that contradict each other (dependent ones with other values), for zero rows, and for values
    that are not finite.

    **Example:**

        >>> zero_sum = sx.diffusion.LinearCondition(np.ones((1, 4)), [0.0])
        >>> bool(abs(zero_sum.nearest(jnp.arange(4.0)).sum()) < 1e-5)
        True
    """

    rows: Float[Array, "r *shape"]
    values: Float[Array, " r"]

    @checked
    def __init__(self, matrix: AnyArray | list | tuple, values: AnyArray | list | tuple):
        matrix = real_array("LinearCondition", "matrix", matrix)
        if isinstance(matrix, Tracer):
            raise TypeError(
                "LinearCondition(matrix=…): the matrix must be known before compilation; values may be traced"
            )
        matrix, values = np.asarray(matrix, np.float64), real_array("LinearCondition", "values", values)
        if matrix.ndim < 2 or values.shape != matrix.shape[:1]:
            raise ValueError(
                f"LinearCondition: expected a matrix (m, *shape) and values (m,), got {matrix.shape} and {values.shape}"
            )
        _finite("LinearCondition", matrix)
        _finite("LinearCondition", values)
        left, singular, right = np.linalg.svd(matrix.reshape(len(matrix), -1), full_matrices=False)
        kept = singular > 1e-6 * singular.max(initial=0)
        if not kept.any():
            raise ValueError("LinearCondition(matrix=…): all rows are zero")
        combine = left[:, kept].T / singular[kept, None]
        if not isinstance(values, Tracer):
            values = np.asarray(values, np.float64)
            missed = np.abs(values - left[:, kept] @ (left[:, kept].T @ values)).max()
            if missed > 1e-5 * np.abs(values).max():
                raise ValueError(
                    f"LinearCondition: no sample meets all of the {len(matrix)} equations; their rows depend on each other (rank "
                    f"{kept.sum()}) and the values contradict this by {missed:.2g}"
                )
            self.values = jnp.asarray(combine @ values, float)
        else:
            self.values = jnp.matmul(jnp.asarray(combine, values.dtype), values, precision="highest")
        self.rows = jnp.asarray(right[kept].reshape(-1, *matrix.shape[1:]), float)

    def residual(self, x):
        if x.shape != self.rows.shape[1:]:
            raise ValueError(
                f"LinearCondition: made for samples of shape {self.rows.shape[1:]}, a sample has {x.shape}"
            )
        return jnp.tensordot(self.rows.astype(x.dtype), x, x.ndim, precision="highest") - self.values.astype(x.dtype)

    def nearest(self, x):
        for _ in range(2):  # the second time takes off what rounding left
            x = x - jnp.tensordot(self.residual(x), self.rows.astype(x.dtype), 1, precision="highest")
        return x


class Mass(AbstractCondition):
    """Σ_i w_i x_i = total, along some axes and for every entry of the others: a conserved integral.

    The projection is the shift by a constant, the nearest sample in the norm with weights w. `residual` is that of the mean.

    **Arguments:**

    - `total`: one number, or one for every entry of the other axes.
    - `weights`: w, of the shape of the axes that are summed over, `grid.weights` for an integral.
    - `axis`: the first of these axes; 1 after a time axis, so that the mass of every frame is known.

    **Raises:** `ValueError` for weights that sum to zero or are not finite.

    **Example:**

        >>> sx.diffusion.Mass(2.0, np.full(4, 0.25)).residual(jnp.full(4, 2.0)).tolist()
        [0.0]
    """

    total: Float[Array, "..."]
    weights: Float[Array, "..."]
    axis: int = eqx.field(static=True)

    @checked
    def __init__(self, total: AnyArray | list | tuple | float, weights: AnyArray | list | tuple, axis: int = 0):
        self.axis = count("Mass", "axis", axis, least=0)
        weights, total = real_array("Mass", "weights", weights), real_array("Mass", "total", total)
        _finite("Mass", weights)
        _finite("Mass", total)
        if not isinstance(weights, Tracer):
            weights = np.asarray(weights, np.float64)
            if not weights.ndim or abs(weights.sum()) <= 1e-6 * np.abs(weights).sum():
                raise ValueError(
                    f"Mass(weights=…): expected an array whose sum is not zero, got {weights.shape}, sum {weights.sum():g}"
                )
        self.weights = jnp.asarray(weights / weights.sum(), float)
        self.total = jnp.asarray(total, float) / jnp.asarray(weights.sum(), float)

    def _missing(self, x):
        axes = tuple(range(self.axis, self.axis + self.weights.ndim))
        if tuple(x.shape[a] for a in axes if a < x.ndim) != self.weights.shape:
            raise ValueError(f"Mass: weights {self.weights.shape} from axis {self.axis} on, a sample has {x.shape}")
        # The mean of the differences from the total keeps digits that the difference of large means would lose.
        total = jnp.expand_dims(jnp.broadcast_to(self.total.astype(x.dtype), _without_axes(x.shape, axes)), axes)
        weights = self.weights.astype(x.dtype).reshape(self.weights.shape + (1,) * (x.ndim - axes[-1] - 1))
        return ((x - total) * weights).sum(axes, keepdims=True)

    def residual(self, x):
        return jnp.ravel(self._missing(x))

    def nearest(self, x):
        for _ in range(2):
            x = x - self._missing(x)
        return x


class Equation(AbstractCondition):
    """h(x) = 0 for a function: Newton steps x − Jᵀ (J Jᵀ)⁻¹ h(x) of least norm, J the derivative of h. For a linear function the
    first step is exact; for others the result meets the equation near x, if steps suffice.

    **Arguments:** `function`: h, of one sample `(*shape)`, of any shape; JAX differentiates it. `steps`: 1 for linear functions.

    **Example:**

        >>> sx.diffusion.Equation(lambda x: (x**2).sum(keepdims=True) - 1.0).residual(jnp.array([1.0, 0.0])).tolist()
        [0.0]
    """

    function: Callable
    steps: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if isinstance(self.function, type) or not callable(self.function):
            raise TypeError(f"Equation(function={self.function!r}): expected a function h(x) of one sample")
        count("Equation", "steps", self.steps)

    def residual(self, x):
        found = jnp.asarray(self.function(x))
        if not found.size:
            raise ValueError(f"Equation: h(x) has the shape {found.shape} for a sample of shape {x.shape}, no equation")
        return jnp.ravel(found).astype(x.dtype)

    def nearest(self, x):
        return projected(self.residual, x, self.steps)


class Together(AbstractCondition):
    """Several conditions at once. The projection meets all of them; applying their projections in turn would not.

    **Arguments:** `parts`: conditions on the same sample. `steps`: of Newton's method, 2 for linear ones (the second takes off
    rounding).

    **Example:**

        >>> both = sx.diffusion.Together(sx.diffusion.KnownValues.at((4,), 0, 2.0),
        ...                              sx.diffusion.LinearCondition(np.ones((1, 4)), [0.0]))
        >>> both.residual(jnp.array([2.0, -2.0, 0.0, 0.0])).tolist()
        [0.0, 0.0]
    """

    parts: tuple[AbstractCondition, ...]
    steps: int = eqx.field(static=True)

    def __init__(self, *parts: AbstractCondition, steps: int = 2):
        if not parts:
            raise ValueError("Together: give one condition or more")
        for number, part in enumerate(parts):
            kind("Together", f"part {number + 1}", part, AbstractCondition, "pass conditions, such as Mass(…)")
        self.parts, self.steps = parts, count("Together", "steps", steps)

    def residual(self, x):
        return jnp.concatenate([part.residual(x) for part in self.parts])

    def nearest(self, x):
        if len(self.parts) == 1:
            return self.parts[0].nearest(x)
        return projected(self.residual, x, self.steps)


def as_condition(h: Any) -> AbstractCondition:
    """A condition as it is, a function as an `Equation`. **Raises:** `TypeError` for anything else."""
    if isinstance(h, AbstractCondition):
        return h
    if isinstance(h, type) or not callable(h):
        raise TypeError(
            f"Constraint(h={h!r:.60}): expected a condition, such as Mass(…), or a function h(x) of one sample"
        )
    return Equation(h)


def _finite(call: str, values: Any) -> None:
    if not isinstance(values, Tracer) and not bool(np.isfinite(np.asarray(values)).all()):
        raise ValueError(f"{call}: not all numbers are finite")


def _spread_over(call: str, values: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(f"{call}: values of shape {values.shape} do not broadcast to {shape}") from None


def _order(where: np.ndarray, index: Any) -> np.ndarray:
    """Where the known entries, in row-major order, are among those of `x[index]`."""
    number = np.full(where.shape, -1)
    number[index] = np.arange(number[index].size).reshape(number[index].shape)
    return number[where]


def _without_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for axis, n in enumerate(shape) if axis not in axes)
