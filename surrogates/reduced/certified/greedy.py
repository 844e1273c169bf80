"""Choice of the snapshots of a reduced basis by its own error bound, before and during use."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ....core.arguments import checked
from ....solvers.pde.affine import AffineSystem
from ...parameter_range import ParameterRange
from .coercivity import MinTheta
from .full_order import full_order
from .reduced_basis import Norm, ReducedBasis
from .reduced_space import ReducedSpace
from .residual_bound import GramResidual, OrthonormalResidual


@dataclass(frozen=True, eq=False)
class ErrorBound:
    """What the error bound of a reduced basis measures, and how.

    **Arguments:**

    - `norm`: "energy" or "X", the norm of the error; see `ReducedBasis`.
    - `relative`: over the norm of the reduced solution.
    - `residual`: the form of ‖r‖_X', `OrthonormalResidual`; `GramResidual` for comparison, refused below its floor.
    - `coercivity`: θ ↦ lower bound of α, for example `successive_constraints(…)`; by default `MinTheta(reference)`, for
      positive coefficients of positive semidefinite parts.

    **Example:**

        >>> sx.reduced.ErrorBound(norm="X").norm
        'X'
    """

    norm: Norm = "energy"
    relative: bool = True
    residual: type[OrthonormalResidual] | type[GramResidual] = OrthonormalResidual
    coercivity: Callable | None = None


@dataclass(frozen=True, eq=False)
class CertifiedBasis:
    """A reduced basis in its offline form, which can be made larger; made by `weak_greedy`.

    **Fields:** `space`; `training`, parameters as a pytree whose leaves have a leading axis; `bound`, what is bounded and how;
    `coercivity`, θ ↦ lower bound of α; `functionals` and `dual_norms`, the outputs ⟨ℓ, u⟩ and ‖ℓ‖_X'; `solved`, the positions in
    `training` of the snapshots in their order; `bounds`, the largest bound over it with 0, 1, … snapshots.

    **Example:**

        >>> block = sx.problem("thermal_block", blocks=(2, 1))
        >>> training = {name: np.array([0.1, 1.0, 10.0]) for name in block.laws}
        >>> basis = sx.reduced.weak_greedy(block.affine(block.box.grid(9)), training, tolerance=1e-2)
        >>> len(basis.solved) == len(basis.bounds) - 1
        True
    """

    space: ReducedSpace
    training: Any
    bound: ErrorBound
    coercivity: Callable
    functionals: Float[np.ndarray, "l m"]
    dual_norms: Float[np.ndarray, " l"]
    solved: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, space: ReducedSpace, training: Any, bound: ErrorBound = ErrorBound(), functionals: Sequence[Any] = ()
    ) -> "CertifiedBasis":
        """A basis of a space, however its vectors were found; see `weak_greedy` for the arguments."""
        full = space.full
        coercivity = MinTheta(full.reference) if bound.coercivity is None else bound.coercivity
        rows = np.reshape([np.asarray(f, np.float64) for f in functionals], (-1, full.size))
        dual_norms = np.array([(row @ full.riesz(row[None])[0]) ** 0.5 for row in rows])
        training = jax.tree.map(lambda x: np.asarray(x, np.float64), training)
        return cls(space, training, bound, coercivity, rows, dual_norms)

    def model(self, n: int | None = None) -> ReducedBasis:
        """The online model of the first n snapshots, all by default; its arrays are float64 on the host, see `astype`."""
        space = self.space if n is None else self.space.truncated(n)
        system = space.full.system
        return ReducedBasis(
            basis=space.basis.reshape(len(space), *space.full.shape),
            matrices=space.matrices,
            rhs=space.rhs,
            functionals=self.functionals @ space.basis.T,
            dual_norms=self.dual_norms,
            residual=self.bound.residual.of(space),
            coercivity=self.coercivity,
            coefficients=system.coefficients,
            rhs_coefficients=system.rhs_coefficients,
            training_range=ParameterRange.of(self.training),
            norm=self.bound.norm,
        )

    def errors(self, parameters: Any) -> Float[np.ndarray, " n"]:
        """Bounds at many parameters, relative to the norm of the reduced solution if `bound.relative`."""
        theta, phi = self.space.full.coefficients(parameters)
        return self._errors(theta, phi, np.asarray(self.coercivity(theta)))

    def enriched(self, parameters: Any, tolerance: float) -> "CertifiedBasis":
        """The basis with more snapshots: go through `parameters` (leaves with a leading axis) in their order, and where the
        bound of the basis so far exceeds `tolerance`, solve in full and add the solution. An adaptive model improves itself
        this way while it is used, with the bound as its error indicator. The parameters of added snapshots join `training`.

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
        compared = self.bound.relative & (solution.norm > 0)
        return solution.bound / np.where(compared, solution.norm, 1)


@checked
def weak_greedy(
    system: AffineSystem,
    training: Any,
    *,
    tolerance: float = 1e-6,
    max_basis: int = 50,
    bound: ErrorBound = ErrorBound(),
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
    - `tolerance`: of the bound, 1e-3 to 1e-9; by default relative, in the energy norm.
    - `max_basis`: largest number of snapshots.
    - `bound`: another norm, coercivity bound or form of the residual; see `ErrorBound`.
    - `reference`: θ̄ of the product X = Σ_q θ̄_q A_q, ones by default; the middle of the parameter range is a good choice.
    - `inverse`: X⁻¹, see `full_order`.
    - `functionals`: outputs ⟨ℓ, u⟩, arrays of the shape of the unknowns.

    **Warns** when `max_basis` snapshots do not reach the tolerance, or the bound stops at its floor before. **Raises**
    `ValueError` for `GramResidual` with a tolerance below its floor, and where the coercivity bound is positive at no
    training parameter; `RuntimeError` where a full solve or X⁻¹ fails.

    **Example:**

        >>> block = sx.problem("thermal_block", blocks=(2, 1))
        >>> names = tuple(block.laws)
        >>> training = {name: np.random.default_rng(i).uniform(0.1, 10, 20) for i, name in enumerate(names)}
        >>> basis = sx.reduced.weak_greedy(block.affine(block.box.grid(9)), training, tolerance=1e-3)
        >>> solution = basis.model()(dict.fromkeys(names, 1.0))
        >>> bool(solution.bound < 1e-2)
        True
    """
    if tolerance < bound.residual.floor:
        raise ValueError(
            f"weak_greedy: tolerance={tolerance} is below the floor {bound.residual.floor:.1e} of the Gram form; "
            "take residual=OrthonormalResidual"
        )
    full = full_order(system, reference, inverse)
    basis = CertifiedBasis.of(ReducedSpace.empty(full), training, bound, functionals)
    theta, phi = full.coefficients(basis.training)
    alpha = np.asarray(basis.coercivity(theta))
    if not (alpha > 0).any():
        raise ValueError(
            f"weak_greedy: the coercivity bound is positive at no training parameter, {alpha.max():.3g} at most; "
            "pass bound=ErrorBound(coercivity=successive_constraints(…)), or a function of θ that can be traced"
        )
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
