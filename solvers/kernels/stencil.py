"""Second-order finite-volume stencils for −∇·(a∇u) on a regular grid in any number of dimensions.

Unknowns per axis, for n unknowns with spacing h:

- "dirichlet": the n interior nodes of n + 2 nodes; the two boundary nodes hold zero (see `boundary_lift` otherwise).
- "neumann": n cell centres; no flux crosses the outer faces.
- "periodic": n points, the last a neighbour of the first.

Face coefficients are a tuple with one array per axis: of the shape of the unknowns, but with n + 1 ("dirichlet"), n - 1
("neumann", inner faces only) or n ("periodic", face i between points i and i + 1 mod n) entries along its own axis.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Literal

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from ...core.domains import Boundary

_EXTRA_FACES = {"dirichlet": 1, "neumann": -1, "periodic": 0}


def face_means(
    a: Float[Array, "..."], boundaries: Sequence[Boundary], kind: Literal["harmonic", "arithmetic"]
) -> tuple[Float[Array, "..."], ...]:
    """Face coefficients from a coefficient at the points.

    "harmonic", 2ab/(a + b), is exact for layered media and needs a positive coefficient (0/0 is NaN where two
    neighbours are zero); "arithmetic" is (a + b)/2.

    **Arguments:**

    - `a`: the coefficient at the n unknowns of each axis, and on the two boundary nodes too (n + 2) along Dirichlet
        axes.

    Raises `ValueError` for an unknown kind or boundary, or boundaries that do not match the axes.
    """
    if kind not in ("harmonic", "arithmetic"):
        raise ValueError(f"kind must be 'harmonic' or 'arithmetic', got {kind!r}")
    _check_boundaries(a.ndim, boundaries)
    faces = []
    for axis, boundary in enumerate(boundaries):
        inner = _interior(a, boundaries, skip=axis)
        left, right = (inner, jnp.roll(inner, -1, axis)) if boundary == "periodic" else _neighbours(inner, axis)
        faces.append((left + right) / 2 if kind == "arithmetic" else 2 * left * right / (left + right))
    return tuple(faces)


def unit_faces(
    shape: tuple[int, ...], boundaries: Sequence[Boundary], dtype: DTypeLike | None = None
) -> tuple[Float[Array, "..."], ...]:
    """Face coefficients of a = 1 for unknowns of `shape`; XLA folds them away."""
    return tuple(jnp.ones(face_shape, dtype) for face_shape in _face_shapes(shape, boundaries))


def open_faces(fluid: Float[Array, "*n"], boundaries: Sequence[Boundary]) -> tuple[Float[Array, "..."], ...]:
    """1 on faces between two fluid points, and between a fluid point and a Dirichlet side; 0 on all others.

    **Arguments:** `fluid`: 1 at fluid points and 0 at solid ones, `(*n)`.
    """
    _check_boundaries(fluid.ndim, boundaries)
    faces = []
    for axis, boundary in enumerate(boundaries):
        if boundary == "dirichlet":
            wall = [(1, 1) if a == axis else (0, 0) for a in range(fluid.ndim)]
            padded = jnp.pad(fluid, wall, constant_values=1)
            left, right = _neighbours(padded, axis)
        elif boundary == "neumann":
            left, right = _neighbours(fluid, axis)
        else:
            left, right = fluid, jnp.roll(fluid, -1, axis)
        faces.append(left * right)
    return tuple(faces)


def apply_diffusion(
    u: Float[Array, "*n"],
    faces: Sequence[Float[Array, "..."]],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
) -> Float[Array, "*n"]:
    """(−∇·(a∇u))_i = Σ_axes (a_{i−½}(u_i − u_{i−1}) − a_{i+½}(u_{i+1} − u_i)) / h².

    Symmetric, and positive definite for positive `faces` and at least one Dirichlet axis; otherwise constants are its
    null space. Truncation error O(h²) for smooth a.

    Neighbours are shifted copies made by `lax.pad` alone (negative widths cut, zeros come in). XLA turns that into one
    loop, and its transpose too, which `jnp.roll` and `jnp.pad(mode="wrap")` prevent. The Neumann and periodic form
    difference n − 1 fluxes; doing that for Dirichlet axes as well costs 2.7 times as much.

    **Arguments:**

    - `u`: unknowns.
    - `faces`: face coefficients, see `face_means`.
    - `spacing`: grid spacing h per axis.

    Raises `ValueError` for an unknown boundary, or where the lengths or the shapes of the faces do not match.
    """
    _check_faces(u.shape, faces, boundaries)
    result = jnp.zeros_like(u)
    for axis, (a, h, boundary) in enumerate(zip(faces, spacing, boundaries, strict=True)):
        n = u.shape[axis]
        if boundary == "dirichlet":
            left, right = pad_axis(u, axis, 1, -1), pad_axis(u, axis, -1, 1)
            outflow = pad_axis(a, axis, 0, -1) * (u - left) - pad_axis(a, axis, -1, 0) * (right - u)
        else:
            left, right = _neighbours(u, axis)
            flux = pad_axis(a, axis, 0, -1 if boundary == "periodic" else 0) * (right - left)
            outflow = pad_axis(flux, axis, 1, 0) - pad_axis(flux, axis, 0, 1)
            if boundary == "periodic":
                wrap = pad_axis(a, axis, 1 - n, 0) * (pad_axis(u, axis, 0, 1 - n) - pad_axis(u, axis, 1 - n, 0))
                outflow += pad_axis(wrap, axis, 0, n - 1) - pad_axis(wrap, axis, n - 1, 0)
        result += outflow * jnp.asarray(1 / h**2, u.dtype)
    return result


def apply_laplacian(
    u: Float[Array, "*n"], spacing: Sequence[float], boundaries: Sequence[Boundary]
) -> Float[Array, "*n"]:
    """(−Δ_h u)_i = Σ_axes (2u_i − u_{i−1} − u_{i+1}) / h²: `apply_diffusion` with a = 1."""
    return apply_diffusion(u, unit_faces(u.shape, boundaries, u.dtype), spacing, boundaries)


def diffusion_diagonal(
    faces: Sequence[Float[Array, "..."]], spacing: Sequence[float], boundaries: Sequence[Boundary]
) -> Float[Array, "*n"]:
    """Diagonal of `apply_diffusion`, Σ_axes (a_{i−½} + a_{i+½}) / h² over the faces that exist, on the unknowns."""
    return reduce(add, (left + right for left, right in couplings(faces, spacing, boundaries)))


def couplings(
    faces: Sequence[Float[Array, "..."]], spacing: Sequence[float], boundaries: Sequence[Boundary]
) -> tuple[tuple[Float[Array, "*n"], Float[Array, "*n"]], ...]:
    """Per axis (a_{i−½}/h², a_{i+½}/h²) on the unknowns, 0 where there is no face.

    They are minus the off-diagonal entries of `apply_diffusion`, except beside a Dirichlet side: its boundary node holds
    zero and has no column.
    """
    _check_boundaries(len(faces), boundaries)
    result = []
    for axis, (a, h, boundary) in enumerate(zip(faces, spacing, boundaries, strict=True)):
        if boundary == "dirichlet":
            left, right = _neighbours(a, axis)
        elif boundary == "neumann":
            left, right = pad_axis(a, axis, 1, 0), pad_axis(a, axis, 0, 1)
        else:
            # A single point is its own neighbour and exchanges nothing.
            left, right = (jnp.roll(a, 1, axis), a) if a.shape[axis] > 1 else (0 * a, 0 * a)
        scale = jnp.asarray(1 / h**2, a.dtype)
        result.append((left * scale, right * scale))
    return tuple(result)


def boundary_lift(
    g: Float[Array, "..."],
    faces: Sequence[Float[Array, "..."]],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
) -> Float[Array, "*n"]:
    """What nonzero Dirichlet values add to the right-hand side: a_{½} g_0 / h² beside each boundary node, else zero.

    −∇·(a∇u) = f with u = g on the boundary becomes `apply_diffusion(u, …) = f + boundary_lift(g, …)`.

    **Arguments:**

    - `g`: n + 2 values along Dirichlet axes, n along the others; only boundary entries matter (no corners).
    - `faces`: face coefficients, see `face_means`; `unit_faces` for the Laplacian.

    Linear in `g` and `faces`, differentiable in both. Raises `ValueError` as `apply_diffusion` does.
    """
    _check_boundaries(g.ndim, boundaries)
    result = jnp.zeros_like(_interior(g, boundaries))
    _check_faces(result.shape, faces, boundaries)
    for axis, (a, h, boundary) in enumerate(zip(faces, spacing, boundaries, strict=True)):
        if boundary == "dirichlet":
            n = result.shape[axis]
            nodes = _interior(g, boundaries, skip=axis)
            first = pad_axis(a, axis, 0, -n) * pad_axis(nodes, axis, 0, -n - 1)
            last = pad_axis(a, axis, -n, 0) * pad_axis(nodes, axis, -n - 1, 0)
            inflow = pad_axis(first, axis, 0, n - 1) + pad_axis(last, axis, n - 1, 0)
            result += inflow * jnp.asarray(1 / h**2, g.dtype)
    return result


def pad_axis(x: Shaped[Array, "..."], axis: int, low: int, high: int) -> Shaped[Array, "..."]:
    """Adds zeros before and after an axis; negative widths cut."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)])


def _check_boundaries(ndim: int, boundaries: Sequence[str]) -> None:
    if len(boundaries) != ndim or not set(boundaries) <= set(_EXTRA_FACES):
        raise ValueError(f"need one of {tuple(_EXTRA_FACES)} for each of {ndim} axes, got {tuple(boundaries)}")


def _face_shapes(shape: tuple[int, ...], boundaries: Sequence[str]) -> list[tuple[int, ...]]:
    _check_boundaries(len(shape), boundaries)
    return [(*shape[:i], shape[i] + _EXTRA_FACES[b], *shape[i + 1 :]) for i, b in enumerate(boundaries)]


def _check_faces(shape: tuple[int, ...], faces: Sequence[Array], boundaries: Sequence[str]) -> None:
    expected, given = _face_shapes(shape, boundaries), [a.shape for a in faces]
    if given != expected:
        raise ValueError(f"unknowns of shape {shape} with {tuple(boundaries)} need faces {expected}, got {given}")


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
    """All entries but the last, and all but the first."""
    return pad_axis(x, axis, 0, -1), pad_axis(x, axis, -1, 0)


def _interior(x: Array, boundaries: Sequence[str], skip: int | None = None) -> Array:
    """Without the boundary nodes of the Dirichlet axes other than `skip`."""
    for axis, boundary in enumerate(boundaries):
        if boundary == "dirichlet" and axis != skip:
            x = pad_axis(x, axis, -1, -1)
    return x
