"""Preconditioners M = L Lᵀ with a sparse lower triangular L, applied level by level."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ....core.arrays import AnyArray
from ..operators.sparsity_pattern import SymmetricPattern, grouped


class Levels(NamedTuple):
    """An order of the unknowns in which each level depends on earlier ones alone.

    `unknowns` `(levels, width)`, filled up with n; `slots` `(n,)`, the place of each unknown in the flattened `unknowns`;
    `entries` and `sources` `(levels, width, k)`: the entries off the diagonal that each unknown needs, filled up with m, and
    the slots of the unknowns they multiply.
    """

    unknowns: Int[AnyArray, "levels width"]
    slots: Int[AnyArray, " n"]
    entries: Int[AnyArray, "levels width k"]
    sources: Int[AnyArray, "levels width k"]


class TriangularPattern(eqx.Module):
    """The lower triangle of a pattern with the levels of its two substitutions, computed once on the host.

    Unknown i of L y = r is in the level after the last of those j < i with L_ij ≠ 0 (Saad 2003, §11.6.3): on a grid of
    n × n points in natural order these are the 2n − 1 diagonals. All unknowns of a level are computed at once.
    """

    pattern: SymmetricPattern
    forward: Levels
    backward: Levels

    def __init__(self, pattern: SymmetricPattern):
        self.pattern = pattern
        self.forward = _levels(np.asarray(pattern.rows), np.asarray(pattern.columns), pattern.size)
        self.backward = _levels(np.asarray(pattern.columns), np.asarray(pattern.rows), pattern.size)


class TriangularFactor(eqx.Module):
    """M⁻¹ r = L⁻ᵀ L⁻¹ r, symmetric positive definite for any L without a zero on its diagonal.

    A substitution is a `lax.scan` over levels, exact up to rounding. Its cost is bound by the number of levels (two scans of
    2n − 1 steps on n × n points, each as wide as the longest diagonal), so on accelerators `SparseInverse` is the faster form
    unless it needs several times the iterations. Levels are filled up to the widest one: work is about twice the entries on a
    rectangle, more where one level is much wider than the others.

    **Arguments:**

    - `levels`: `TriangularPattern(pattern)`, or the `SymmetricPattern` itself (on the host).
    - `values`: `(n + m,)`, the diagonal of L and its m entries below.

    **Example:**

        >>> M = sx.linear.IncompleteCholesky().bind(A)
        >>> isinstance(M, sx.linear.TriangularFactor), M(b).shape
        (True, (15, 15))
    """

    levels: TriangularPattern
    values: Float[Array, " entries"]
    _forward: "_Substitution"
    _backward: "_Substitution"

    def __init__(self, levels: TriangularPattern | SymmetricPattern, values: Float[Array, " entries"]):
        self.levels = TriangularPattern(levels) if isinstance(levels, SymmetricPattern) else levels
        pattern, n = self.levels.pattern, self.levels.pattern.size
        if values.shape != (n + pattern.places,):
            raise ValueError(
                f"TriangularFactor: {n} unknowns and {pattern.places} places below the diagonal need values of shape "
                f"{(n + pattern.places,)}, got {values.shape}"
            )
        self.values = values
        self._forward = _Substitution.of(self.levels.forward, values[:n], values[n:])
        self._backward = _Substitution.of(self.levels.backward, values[:n], values[n:])

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self._backward(self._forward(r.ravel())).reshape(r.shape)

    def multiply(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """L Lᵀ x."""
        pattern = self.levels.pattern
        diagonal, lower = self.values[: pattern.size], self.values[pattern.size :]
        zero = jnp.zeros_like(lower)
        y = pattern.multiply(diagonal, pattern.by_rows(zero, lower), x)
        return pattern.multiply(diagonal, pattern.by_rows(lower, zero), y)


class _Substitution(eqx.Module):
    """y_i = r_i / d_i − Σ_j (L_ij / d_i) y_j, level by level; coefficients are stored in the order of the levels."""

    unknowns: Int[AnyArray, "levels width"]
    slots: Int[AnyArray, " n"]
    sources: Int[AnyArray, "levels width k"]
    inverse: Float[Array, "levels width"]
    coefficients: Float[Array, "levels width k"]

    @classmethod
    def of(cls, levels: Levels, diagonal: Float[Array, " n"], lower: Float[Array, " m"]) -> "_Substitution":
        inverse = jnp.append(1 / diagonal, 0)[levels.unknowns]
        coefficients = jnp.append(lower, 0)[levels.entries] * inverse[..., None]
        return cls(levels.unknowns, levels.slots, levels.sources, inverse, coefficients)

    def __call__(self, r: Float[Array, " n"]) -> Float[Array, " n"]:
        width = self.unknowns.shape[1]
        scaled = jnp.append(r, 0)[self.unknowns] * self.inverse

        def level(y, inputs):
            scaled, coefficients, sources, start = inputs
            values = scaled - (coefficients * y[sources]).sum(-1)
            return jax.lax.dynamic_update_slice(y, values, (start,)), None

        starts = np.arange(len(self.unknowns), dtype=np.int32) * width
        start = jnp.zeros(self.unknowns.size, scaled.dtype)
        y, _ = jax.lax.scan(level, start, (scaled, self.coefficients, self.sources, starts))
        return y[self.slots]


def _levels(rows: np.ndarray, columns: np.ndarray, size: int) -> Levels:
    """Levels of the substitution in which row i needs the columns of its entries."""
    needed, below = grouped(rows, size), grouped(columns, size)
    waiting = np.bincount(rows, minlength=size)
    level, found = np.flatnonzero(waiting == 0), []
    while level.size:
        found.append(level)
        freed = np.append(rows, -1)[below[level]]
        freed = freed[freed >= 0]
        np.subtract.at(waiting, freed, 1)
        level = np.unique(freed[waiting[freed] == 0])
    width = max((len(level) for level in found), default=0)
    unknowns = np.full((len(found), width), size, np.int32)
    for i, level in enumerate(found):
        unknowns[i, : len(level)] = level
    slots = np.zeros(size + 1, np.int32)
    slots[unknowns.ravel()] = np.arange(unknowns.size)
    padded = np.vstack([needed, np.full(needed.shape[1], len(rows), np.int32)])
    entries = padded[unknowns]
    # Filled-up places multiply slot 0 by a zero.
    sources = np.where(entries < len(rows), slots[np.append(columns, 0)[entries]], 0).astype(np.int32)
    return Levels(unknowns, slots[:size], entries, sources)
