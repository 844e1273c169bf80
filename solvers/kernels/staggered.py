"""Gradient and divergence on a staggered (marker-and-cell) grid in any number of dimensions (Harlow and Welch 1965).

Scalars live at the unknowns of `kernels.stencil`, normal components of vectors at its faces: one array per axis, of the
shape of the scalars but with n + 1 ("dirichlet"), n − 1 ("neumann", inner faces only: the outer ones are zero) or n
("periodic", face i between points i and i + 1 mod n) entries along its own axis.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Boundary
from .stencil import pad_axis

Faces = tuple[Float[Array, "..."], ...]


def gradient(p: Float[Array, "*n"], spacing: Sequence[float], boundaries: Sequence[Boundary]) -> Faces:
    """(∇p)_{i+½} = (p_{i+1} − p_i) / h on the faces of every axis; p = 0 beyond Dirichlet sides.

    Adjoint to the divergence, Σ_faces g · ∇p = −Σ_points p ∇·g, and ∇·(∇p) = −`stencil.apply_laplacian`(p); with the
    gradient set to zero on the faces beside solid points that is −`Diffusion.with_obstacle(solid, "neumann")`.
    """
    result = []
    for axis, (h, boundary) in enumerate(zip(spacing, boundaries, strict=True)):
        if boundary == "periodic":
            step = jnp.roll(p, -1, axis) - p
        else:
            wall = int(boundary == "dirichlet")
            step = pad_axis(p, axis, wall - 1, wall) - pad_axis(p, axis, wall, wall - 1)
        result.append(step * jnp.asarray(1 / h, p.dtype))
    return tuple(result)


def divergence(faces: Faces, spacing: Sequence[float], boundaries: Sequence[Boundary]) -> Float[Array, "*n"]:
    """(∇·g)_i = Σ_axes (g_{i+½} − g_{i−½}) / h at the points."""
    result = jnp.zeros((), faces[0].dtype)
    for axis, (g, h) in enumerate(zip(faces, spacing, strict=True)):
        left, right = _around(g, axis, boundaries[axis])
        result += (right - left) * jnp.asarray(1 / h, g.dtype)
    return result


def point_means(faces: Faces, boundaries: Sequence[Boundary]) -> Faces:
    """Every component at the points: the mean of the faces before and after, `(*n)` each."""
    around = (_around(g, axis, boundaries[axis]) for axis, g in enumerate(faces))
    return tuple((left + right) / 2 for left, right in around)


def with_walls(g: Float[Array, "..."], axis: int, boundary: Boundary) -> Float[Array, "..."]:
    """Component `axis` of a vector with the zeros on the two outer faces of a Neumann axis; others as they are."""
    return pad_axis(g, axis, 1, 1) if boundary == "neumann" else g


def without_walls(g: Float[Array, "..."], axis: int, boundary: Boundary) -> Float[Array, "..."]:
    """The inverse of `with_walls`."""
    return pad_axis(g, axis, -1, -1) if boundary == "neumann" else g


def wall_means(c: Float[Array, "*n"], axis: int, boundary: Boundary) -> Float[Array, "..."]:
    """Means of neighbours at the faces of one axis with its outer faces, which take the value of the point beside them."""
    if boundary == "periodic":
        return (c + jnp.roll(c, -1, axis)) / 2
    c = jnp.pad(c, [(1, 1) if a == axis else (0, 0) for a in range(c.ndim)], mode="edge")
    return (pad_axis(c, axis, 0, -1) + pad_axis(c, axis, -1, 0)) / 2


def _around(g: Array, axis: int, boundary: Boundary) -> tuple[Array, Array]:
    """The faces before and after every point."""
    if boundary == "periodic":
        return jnp.roll(g, 1, axis), g
    g = with_walls(g, axis, boundary)
    return pad_axis(g, axis, 0, -1), pad_axis(g, axis, -1, 0)
