"""Symmetric matrices with a coefficient per point and neighbour on a grid: the 3^d-point stencils of coarse multigrid levels.

(A u)_i = d_i u_i + Σ_δ (c_δ,i u_{i+δ} + c_δ,i−δ u_{i−δ}) over one half of the neighbours, δ ∈ {−1, 0, 1}^d.

Coefficients are stored with a halo of one point, so that an application reads shifted slices only: one copy of u with its halo
and one loop (1023² float32 on two cores, 9 points: 1.1 ms; shifts by `lax.pad` of half the coefficients 2.7, of all 1.8).
"""

import itertools
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...core.domains import Boundary
from . import stencil
from .stencil import pad_axis

Offset = tuple[int, ...]


class StencilMatrix(eqx.Module):
    """**Fields:**

    - `diagonal`: d `(*n)`.
    - `upper`: c_δ with halo `(*n + 2)` for each of `offsets`; zero where i + δ is no point.
    - `offsets`: one of every pair δ, −δ.
    - `periodic`: which axes are rings.
    """

    diagonal: Float[Array, "*n"]
    upper: tuple[Float[Array, "..."], ...]
    offsets: tuple[Offset, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.diagonal.shape

    def __call__(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """A u."""
        # Without the barrier XLA would rebuild the halo inside the loop, with a branch per neighbour.
        padded = lax.optimization_barrier(halo(u, self.periodic))
        result = self.diagonal * u
        for delta, _, c in self.entries():
            result += c * window(padded, delta)
        return result

    def entries(self) -> Iterator[tuple[Offset, int, Float[Array, "*n"]]]:
        """(δ, number of the stored half, coefficient of u_{i+δ} in row i) of all neighbours."""
        for k, (offset, c) in enumerate(zip(self.offsets, self.upper, strict=True)):
            backward = tuple(-o for o in offset)
            yield offset, k, window(c, (0,) * len(offset))
            yield backward, k, window(c, backward)

    def row_sums(self) -> Float[Array, "*n"]:
        """Σ_j |a_ij|."""
        return abs(self.diagonal) + sum(abs(c) for _, _, c in self.entries())

    def dense(self) -> Float[Array, "N N"]:
        size = self.diagonal.size
        return jax.vmap(lambda e: self(e.reshape(self.shape)).ravel())(jnp.eye(size, dtype=self.diagonal.dtype))


def from_faces(
    faces: Sequence[Float[Array, "..."]],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
    shift: Float[Array, "..."],
) -> StencilMatrix:
    """The matrix of `stencil.apply_diffusion` plus `shift`."""
    shape = tuple(
        a.shape[axis] - {"dirichlet": 1, "neumann": -1, "periodic": 0}[b]
        for axis, (a, b) in enumerate(zip(faces, boundaries, strict=True))
    )
    diagonal = jnp.broadcast_to(stencil.diffusion_diagonal(faces, spacing, boundaries) + shift, shape)
    periodic = tuple(b == "periodic" for b in boundaries)
    upper, offsets = [], []
    for axis, (a, h, boundary) in enumerate(zip(faces, spacing, boundaries, strict=True)):
        c = -a * jnp.asarray(1 / h**2, a.dtype)
        if boundary == "dirichlet":  # faces of both walls: the first is no coupling, the last leads out
            c = pad_axis(pad_axis(c, axis, -1, -1), axis, 0, 1)
        elif boundary == "neumann":
            c = pad_axis(c, axis, 0, 1)
        elif c.shape[axis] == 1:
            c = 0 * c
        upper.append(halo(c, periodic))
        offsets.append(tuple(int(axis == other) for other in range(len(faces))))
    return StencilMatrix(diagonal, tuple(upper), tuple(offsets), periodic)


def half_offsets(ndim: int) -> tuple[Offset, ...]:
    """One of every pair ±δ of the 3^d − 1 neighbours."""
    return tuple(d for d in itertools.product((-1, 0, 1), repeat=ndim) if d > (0,) * ndim)


def halo(u: Float[Array, "*n"], periodic: Sequence[bool]) -> Float[Array, "..."]:
    """u with one point more on every side: zeros, or the opposite end of a ring."""
    for axis, ring in enumerate(periodic):
        n = u.shape[axis]
        if ring:
            first, last = lax.slice_in_dim(u, 0, 1, axis=axis), lax.slice_in_dim(u, n - 1, n, axis=axis)
            u = lax.concatenate([last, u, first], axis)
        else:
            u = pad_axis(u, axis, 1, 1)
    return u


def window(padded: Float[Array, "..."], delta: Offset) -> Float[Array, "*n"]:
    """The entries i + δ of an array with halo."""
    starts = [1 + d for d in delta]
    return lax.slice(padded, starts, [s + n - 2 for s, n in zip(starts, padded.shape, strict=True)])
