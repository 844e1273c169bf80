"""Choice of the snapshots of a reduced basis by its own error bound, before and during use."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ....solvers.pde.affine import AffineSystem
from ..parameter_range import training_range
from .coercivity import MinTheta
from .full_order import FullOrder
from .reduced_basis import Norm, ReducedBasis
from .reduced_space import ReducedSpace
from .residual_bound import GramResidual, OrthonormalResidual

Form = Literal["orthonormal", "gram"]


@dataclass(frozen=True, eq=False)
class CertifiedBasis:
    """A reduced basis with what it takes to make it larger; made by `weak_greedy`.

    **Fields:** `space`; `training`, parameters as a pytree whose leaves have a leading axis; `solved`, the positions in it of
    the snapshots in their order; `bounds`, the largest bound over it with 0, 1, … snapshots; the options of `weak_greedy`.
    """

    space: ReducedSpace
    training: Any
    coercivity: Callable
    functionals: Float[np.ndarray, "l m"]
    dual_norms: Float[np.ndarray, " l"]
    norm: Norm = "energy"
    relative: bool = True
    residual: Form = "orthonormal"
    solved: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()

    @classmethod
    def of(cls, space: ReducedSpace, training: Any, *, coercivity: Callable | None = None, functionals: Sequence[Any] = (),
           **options) -> "CertifiedBasis":  # fmt: skip
        """From a space, however its vectors were found; see `weak_greedy` for the options."""
        full = space.full
        coercivity = MinTheta(full.reference) if coercivity is None else coercivity
        rows = np.reshape([np.asarray(f, np.float64) for f in functionals], (-1, full.size))
        dual_norms = np.array([(row @ full.riesz(row[None])[0]) ** 0.5 for row in rows])
        training = jax.tree.map(lambda x: np.asarray(x, np.float64), training)
        return cls(space, training, coercivity, rows, dual_norms, **options)

    def model(self, n: int | None = None) -> ReducedBasis:
        """The online model of the first n snapshots, all by default; its arrays are float64 on the host, see `astype`."""
        space = self.space if n is None else self.space.truncated(n)
        lower, upper = training_range(self.training)
        system = space.full.system
        return ReducedBasis(
            basis=space.basis.reshape(len(space), *space.full.shape),
            matrices=space.matrices,
            rhs=space.rhs,
            functionals=self.functionals @ space.basis.T,
            dual_norms=self.dual_norms,
            residual=OrthonormalResidual(space.factor) if self.residual == "orthonormal" else GramResidual.of(space),
            coercivity=self.coercivity,
            coefficients=system.coefficients,
            rhs_coefficients=system.rhs_coefficients,
            lower=lower,
            upper=upper,
            norm=self.norm,
        )

    def errors(self, parameters: Any) -> Float[np.ndarray, " n"]:
        """Bounds at many parameters, relative to the norm of the reduced solution if `relative`."""
        theta, phi = self.space.full.coefficients(parameters)
        return self._errors(theta, phi, np.asarray(self.coercivity(theta)))

    def enriched(self, parameters: Any, tolerance: float) -> "CertifiedBasis":
        """Go through `parameters` (leaves with a leading axis) in their order, and where the bound exceeds `tolerance` solve in
        full and add the snapshot, so that later ones profit: an adaptive model drives itself with this, its error indicator
        being the bound. Those added join `training`.

        **Warns** when a snapshot adds nothing, the space being at its floor at this tolerance; nothing is solved after it.
        """
        parameters = jax.tree.map(lambda x: np.asarray(x, np.float64), parameters)
        theta, phi = self.space.full.coefficients(parameters)
        alpha = np.asarray(self.coercivity(theta))
        result, start = self, 0
        while start < len(theta):
            above = np.flatnonzero(result._errors(theta[start:], phi[start:], alpha[start:]) > tolerance)
            if not len(above):
                break
            i = start + int(above[0])
            space = result.space.extended(result.space.full.solve(theta[i], phi[i]))
            if space is result.space:
                warnings.warn(f"enriched: the bound exceeds {tolerance} at a snapshot of the space, its floor; "
                              f"parameters from position {i} on are left as they are", stacklevel=2)  # fmt: skip
                break
            added = jax.tree.map(lambda all_, x, i=i: np.append(all_, x[i : i + 1], 0), result.training, parameters)
            result = replace(
                result,
                space=space,
                training=added,
                solved=(*result.solved, len(jax.tree.leaves(added)[0]) - 1),
            )
            start = i + 1
        return result

    def _errors(self, theta, phi, alpha) -> Float[np.ndarray, " n"]:
        model = eqx.tree_at(lambda m: m.coercivity, self.model(), replace_fn=lambda _: lambda _: alpha)
        with warnings.catch_warnings():  # the Gram form is at its floor at the snapshots themselves, which are no news
            warnings.simplefilter("ignore", UserWarning)
            solution = model.at(theta, phi)
        # Without a snapshot, and for a solution of zero, there is nothing to compare with.
        compared = self.relative & (solution.norm > 0)
        return solution.bound / np.where(compared, solution.norm, 1)


def weak_greedy(
    system: AffineSystem,
    training: Any,
    *,
    tolerance: float = 1e-6,
    max_basis: int = 50,
    norm: Norm = "energy",
    relative: bool = True,
    residual: Form = "orthonormal",
    coercivity: Callable | None = None,
    reference: Sequence[float] | np.ndarray | None = None,
    inverse: Callable | None = None,
    functionals: Sequence[Any] = (),
) -> CertifiedBasis:
    """A reduced basis whose error bound is below `tolerance` on a training set: again and again solve where the bound is
    largest (Veroy, Prud'homme, Rovas and Patera 2003).

    A snapshot costs one full solve and Q applications of X⁻¹, in float64; the cost of the bounds over the training set does
    not grow with the full size.

    The bound is against the solution of the affine system handed in: where that interpolates another problem (EIM), the
    error of the interpolation is not in it.

    **Arguments:**

    - `training`: parameters, a pytree whose leaves have a leading axis; thousands are affordable.
    - `tolerance`, `relative`, `norm`: of the bound, relative to the norm of the reduced solution; see `ReducedBasis`.
    - `residual`: "orthonormal"; "gram" for comparison, refused below its floor.
    - `coercivity`: θ ↦ lower bound of α; by default `MinTheta(reference)`, for positive coefficients of positive semidefinite
      parts.
    - `reference`: θ̄ of the product X = Σ_q θ̄_q A_q, ones by default; the middle of the parameter range is a good choice.
    - `inverse`: X⁻¹, see `FullOrder`.
    - `functionals`: outputs ⟨ℓ, u⟩, arrays of the shape of the unknowns.

    **Warns** when `max_basis` snapshots do not reach the tolerance, or the bound stops at its floor before. **Raises**
    `ValueError` for residual="gram" with a tolerance below its floor, and where the coercivity bound is positive at no
    training parameter; `RuntimeError` where a full solve or X⁻¹ fails.
    """
    if residual == "gram" and tolerance < np.finfo(float).eps ** 0.5:
        raise ValueError(
            f"weak_greedy: tolerance={tolerance} is below the floor 1.5e-8 of the Gram form; take residual='orthonormal'"
        )
    full = FullOrder.of(system, reference, inverse)
    options = {"norm": norm, "relative": relative, "residual": residual}
    empty = ReducedSpace.empty(full)
    basis = CertifiedBasis.of(empty, training, coercivity=coercivity, functionals=functionals, **options)
    theta, phi = full.coefficients(basis.training)
    alpha = np.asarray(basis.coercivity(theta))
    if not (alpha > 0).any():
        raise ValueError(f"weak_greedy: the coercivity bound is positive at no training parameter, {alpha.max():.3g} at most; "
                         "pass coercivity=successive_constraints(…), or a function of θ that can be traced")  # fmt: skip
    while True:
        errors = basis._errors(theta, phi, alpha)
        worst = int(errors.argmax())
        basis = replace(basis, bounds=(*basis.bounds, float(errors[worst])))
        if errors[worst] <= tolerance:
            return basis
        space, room = basis.space, len(basis.space) < max_basis
        if room and worst not in basis.solved:
            space = space.extended(full.solve(theta[worst], phi[worst]))
        if space is basis.space:
            reason = f"after {len(space)} snapshots" + " (its floor)" * room
            warnings.warn(f"weak_greedy: the bound is {errors[worst]:.2g} {reason}, above {tolerance}", stacklevel=2)
            return basis
        basis = replace(basis, space=space, solved=(*basis.solved, worst))
