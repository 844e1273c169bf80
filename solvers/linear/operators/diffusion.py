"""−∇·(a∇u) + shift · u on a box, with obstacles."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ....core.arrays import AnyArray
from ....core.domains import Boundary
from ...kernels import stencil
from .field_operator import AbstractFieldOperator


class Diffusion(AbstractFieldOperator):
    """u ↦ −∇·(a∇u) + shift · u on a box by finite volumes, symmetric.

    Unknowns `(*n)`: interior nodes on Dirichlet axes, cell centres on Neumann axes, all points on periodic ones.

    **Arguments:**

    - `faces`: per axis the coefficient at the faces (`kernels.stencil.face_means`).
    - `shift`: a scalar or a field `(*n)`.

    **Example:**

        >>> operator = A.as_diffusion()
        >>> bool(jnp.allclose(operator.mv(b), A.mv(b), atol=1e-2))
        True
    """

    faces: tuple[Float[Array, "..."], ...]
    shift: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    spacing: tuple[float, ...] = eqx.field(static=True)
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    symmetric: ClassVar[bool] = True

    def __init__(self, faces, shape, spacing, boundaries, shift: Any = 0.0):
        self.faces = tuple(faces)
        self.shape, self.spacing, self.boundaries = tuple(shape), tuple(spacing), tuple(boundaries)
        self.shift = jnp.asarray(shift, self.faces[0].dtype)
        if self.shift.shape not in ((), self.shape):
            raise ValueError(f"Diffusion: shift must be a scalar or of shape {self.shape}, got {self.shift.shape}")

    def with_obstacle(
        self, solid: Bool[AnyArray, "*n"], condition: Literal["dirichlet", "neumann"] = "dirichlet"
    ) -> "Diffusion":
        """The operator on the unknowns outside an obstacle: u = 0 on the solid points ("dirichlet") or no flux through their
        faces ("neumann").

        Solid points decouple: their rows keep the diagonal alone, so that b = 0 there gives u = 0. The result is again
        (faces, shift): faces beside solid points are closed, and a Dirichlet obstacle leaves a/h² of each closed face in the
        shift of the fluid point.
        """
        if condition not in ("dirichlet", "neumann"):
            raise ValueError(f"with_obstacle: condition must be 'dirichlet' or 'neumann', got {condition!r}")
        if solid.shape != self.shape:
            raise ValueError(f"with_obstacle: solid has shape {solid.shape}, the unknowns have {self.shape}")
        fluid = (~jnp.asarray(solid)).astype(self._dtype)
        open_faces = stencil.open_faces(fluid, self.boundaries)
        faces = tuple(a * o for a, o in zip(self.faces, open_faces, strict=True))
        before = stencil.diffusion_diagonal(self.faces, self.spacing, self.boundaries)
        kept = before if condition == "dirichlet" else stencil.diffusion_diagonal(faces, self.spacing, self.boundaries)
        lost = jnp.where(solid, before, kept) - stencil.diffusion_diagonal(faces, self.spacing, self.boundaries)
        return Diffusion(faces, self.shape, self.spacing, self.boundaries, self.shift + lost)

    def mv(self, vector):
        return stencil.apply_diffusion(vector, self.faces, self.spacing, self.boundaries) + self.shift * vector

    def transpose(self):
        return self

    def diagonal(self) -> Float[Array, "*n"]:
        return stencil.diffusion_diagonal(self.faces, self.spacing, self.boundaries) + self.shift

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.shape, self._dtype)

    @property
    def _dtype(self):
        return self.faces[0].dtype
