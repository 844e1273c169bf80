"""Galerkin projection as a surrogate: the problem's own equations on a reduced basis, with a certified error."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.precision import in_double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.pde.boundary_nodes import interior, with_zero_boundary
from ...solvers.pde.declaration import Problem
from ..parameter_range import ParameterRange
from ..resampling import interpolation
from ..surrogate import AbstractRanged, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from ..training.result import AbstractDirectFit
from .basis.pod import pod
from .certified.full_order import full_order
from .certified.greedy import CertifiedBasis, weak_greedy
from .certified.reduced_space import ReducedSpace


class GalerkinRB(AbstractDirectFit):
    """u(μ) ≈ Σ_i c_i(μ) φ_i, c from the problem's equations projected on the basis: needs `Problem.affine`, zero values on
    Dirichlet sides, and a steady task from all parameters of the problem to its unknown.

    Errors come from the basis alone: the prediction is the best one in the space up to √(γ/α) in the energy norm, so that no
    regression error is added. `FittedGalerkinRB.bound` certifies it. Inaccurate labels (another grid, a loose tolerance,
    float32) harm the basis alone, down to their own error.

    **Arguments:**

    - `rank`: largest number of basis vectors, 10 to 50.
    - `basis`: "pod" of the training fields; or "greedy", which uses the training parameters alone and solves for what it needs.
    - `tolerance`: of the greedy bound, relative in the energy norm.

    **Example:**

        >>> block = sx.problem("thermal_block", blocks=(2, 1))
        >>> data = sx.generate(block, n=6, grid=9, key=key, cache=False, progress=False)
        >>> model = sx.GalerkinRB(sx.Task.fit(data, tuple(block.laws), "u"), block, rank=4)
        >>> sx.fit(model, data).predict(data[:2])["u"].shape
        (2, 9, 9)
    """

    task: Task
    problem: Problem = eqx.field(static=True)
    rank: int = eqx.field(static=True, default=32)
    basis: str = eqx.field(static=True, default="pod")
    tolerance: float = eqx.field(static=True, default=1e-6)

    def __check_init__(self):
        task, problem = self.task, self.problem
        problem.needs("affine", "GalerkinRB")
        if self.basis not in ("pod", "greedy"):
            raise ValueError(f"GalerkinRB: unknown basis {self.basis!r}; use 'pod' or 'greedy'")
        task.domain.as_grid("GalerkinRB")
        if task.mode.ahead or task.targets != problem.unknowns or len(task.targets) > 1:
            raise ValueError(f"GalerkinRB predicts the unknown {problem.unknowns} of a steady problem, not {task!r}")
        if task.inputs or set(task.parameters) != set(problem.laws):
            raise ValueError(
                f"GalerkinRB needs the inputs {tuple(problem.laws)}, the task has {task.inputs + task.parameters}"
            )

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedGalerkinRB":
        self.task.check(train)
        system = self.problem.affine(self.task.domain.as_grid("GalerkinRB"))
        parameters = {name: np.asarray(train[name], np.float64) for name in self.task.parameters}
        if self.basis == "greedy":
            basis = weak_greedy(system, parameters, tolerance=self.tolerance, max_basis=self.rank)
        else:
            full = full_order(system)
            rows = self._unknowns(train)
            modes = pod(rows, full.product_of_columns, rank=min(self.rank, *rows.shape)).modes
            space = ReducedSpace.empty(full)
            for mode in np.asarray(modes, np.float64).T:
                space = space.extended(mode)
            basis = CertifiedBasis.of(space, parameters)
        error = _projection_error(basis.space, self._unknowns(train if val is None else val))
        model = basis.model()  # its small arrays stay in float64, which `bound` needs
        stored = Buffer(eqx.tree_at(lambda m: m.basis, model, np.float32(model.basis)))
        return FittedGalerkinRB(self.task, stored, error)  # pyright: ignore[reportCallIssue]

    def _unknowns(self, data: Dataset) -> Float[np.ndarray, "n m"]:
        fields = np.asarray(data[self.task.targets[0]], np.float64)
        return np.stack([interior(u, self.problem.box).ravel() for u in fields])


@register("FittedGalerkinRB")
class FittedGalerkinRB(AbstractRanged):
    """See `GalerkinRB`. **Fields:** `model`, the `ReducedBasis`; `projection_error`, mean relative error in the norm of X of
    the best approximation of the validation fields (the training fields without them) in the space."""

    task: Task
    model: Buffer
    projection_error: float = eqx.field(static=True)

    @property
    def capabilities(self) -> Capabilities:
        functions = (self.model.value.coefficients, self.model.value.rhs_coefficients)
        return Capabilities(resolution_free=True, savable=all(isinstance(f, eqx.Module) for f in functions))

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        model, grid = self.model.value, self.task.domain.as_grid("GalerkinRB")
        parameters = {name: jnp.asarray(fields[name], jnp.float32) for name in self.task.parameters}
        unknowns = model.field(model(parameters).coefficients)
        u = with_zero_boundary(unknowns, grid.box)
        return {
            self.task.targets[0]: apply_along_axes(
                u, interpolation(grid, grid if at is None else at.as_grid("GalerkinRB"))
            )
        }

    @property
    def ranges(self) -> ParameterRange:
        """Least and greatest value of every training parameter."""
        known = self.model.value.training_range
        return ParameterRange(
            {name: known.lower[name] for name in self.task.parameters},
            {name: known.upper[name] for name in self.task.parameters},
        )

    def bound(self, fields: Fields) -> Float[Array | np.ndarray, ""]:
        """Bound of ‖u − u_N‖_μ against the solution of the discrete problem on the task's grid, for one sample, in float64
        on the host. u_N is that of exact fields: the prediction rounds them to float32.

        **Raises:** `TypeError` when traced (jit, vmap, grad) while x64 is off.
        """
        return _bound(self.model.value, {name: fields[name] for name in self.task.parameters})


@in_double(promote=False)
def _bound(model, parameters):
    return model({name: jnp.asarray(value, jnp.float64) for name, value in parameters.items()}).bound


def _projection_error(space: ReducedSpace, rows: Float[np.ndarray, "n m"]) -> float:
    errors = []
    for u in rows:
        image = space.full.product(u)
        rest = u - (space.basis @ image) @ space.basis
        errors.append(space.full.norm(rest) / max(np.sqrt(u @ image), np.finfo(float).tiny))
    return float(np.mean(errors))
