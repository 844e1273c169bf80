"""POD with regression: targets in a POD basis, their coefficients from reduced inputs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.storage import register
from ...datasets.dataset import Dataset
from ..parameter_range import ParameterRange
from ..resampling import resample
from ..surrogate import AbstractProbabilistic, AbstractRanged, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from ..training.result import AbstractDirectFit
from .basis.pod import pod
from .reduced_coordinates import (
    ReducedErrors,
    Reduction,
    expand,
    fit_reduction,
    grid_of,
    ranges_of,
    single,
    targets_of,
    weights_of,
)
from .regression.gaussian_process import GaussianProcess
from .regression.regressors import check_kind, fit_regressor


class PODRegression(AbstractDirectFit):
    """u ≈ ū + Φ c(z): Φ the POD basis of the centred, normalised targets; z the POD coefficients of the input fields and
    the standardised parameters; c by regression (Hesthaven and Ubbiali 2018; Guo and Hesthaven 2018 with "gp").

    Steady tasks on grids. Every choice of the regression is made on the training data (likelihood, leave-one-out);
    validation data serve for the `errors` of the fitted surrogate, which tell projection from regression, and for the
    truncation in its `std`.

    **Arguments:**

    - `rank` of the output basis, 32 to 128; with `energy` (0.9999, say) the fewest modes up to `rank` that hold that
      share of Σσ².
    - `input_rank` of the joint basis of all input fields, 32 to 128.
    - `regressor`: "gp", "rbf", "linear" or "network"; see `fit_regressor`.
    - `key`: of the network's initial weights.
    """

    task: Task
    rank: int = eqx.field(static=True, default=64)
    input_rank: int = eqx.field(static=True, default=64)
    regressor: str = eqx.field(static=True, default="gp")
    energy: float | None = eqx.field(static=True, default=None)
    key: Array | None = None

    def __check_init__(self):
        check_reducible(self.task, "PODRegression")
        check_kind(self.regressor)

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedPODRegression":
        task = self.task
        task.check(train)
        reduction = fit_reduction(task, train, self.input_rank)
        weights = weights_of(task, task.out_channels)
        targets = targets_of(task, train)
        mean = targets.mean(0)
        basis = pod(targets - mean, weights, rank=min(self.rank, *targets.shape), energy=self.energy)
        fitted = fit_regressor(self.regressor, reduction.all(train), np.asarray(basis.coefficients), self.key)
        regressor = single(fitted)
        errors, rest = None, targets - mean - basis.coefficients @ basis.modes.T
        if val is not None:
            centred = targets_of(task, val) - mean
            coefficients = (centred * weights) @ basis.modes
            rest = centred - coefficients @ basis.modes.T
            predicted = np.asarray(jax.jit(jax.vmap(regressor))(single(reduction.all(val))), np.float64)
            projection, total = (rest**2 @ weights).sum(), (centred**2 @ weights).sum()
            regression = ((predicted - coefficients) ** 2).sum()
            shares = np.sqrt(np.array([projection, regression, projection + regression]) / total)
            errors = ReducedErrors(*map(float, shares))
        variances = None
        if isinstance(fitted, GaussianProcess):
            signal = np.einsum("pi,ij,pj->p", basis.modes, fitted.covariance, basis.modes)
            variances = single(np.stack([np.maximum(signal, 0), (rest**2).mean(0)]))
        return FittedPODRegression(
            task=task,
            reduction=reduction,
            modes=Buffer(single(basis.modes)),
            mean=Buffer(single(mean)),
            regressor=Buffer(regressor),
            variances=Buffer(variances),
            ranges=ranges_of(task, train),
            errors=errors,
        )


@register("FittedPODRegression")
class FittedPODRegression(AbstractProbabilistic, AbstractRanged):
    """See `PODRegression`.

    **Fields:** `modes` `(points, rank)` and `mean` `(points,)` of the normalised targets, `regressor`, `variances` `(2, points)`
    (of the Gaussian process per unit of its spread, and of the truncation), `ranges` of the training parameters, and
    `errors` (`ReducedErrors`; None without validation data).
    """

    task: Task
    reduction: Reduction
    modes: Buffer
    mean: Buffer
    regressor: Buffer
    variances: Buffer
    ranges: ParameterRange
    errors: ReducedErrors | None = eqx.field(static=True)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=True, has_std=self.variances.value is not None)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        c = self.regressor.value(self._reduced(fields))
        row = self.mean.value + jnp.matmul(self.modes.value, c, precision="highest")
        return expand(self.task, row, fields, at)

    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """√(diag Φ C(z) Φᵀ + τ²): C the predictive covariance of the coefficients, τ² the mean square of what the basis
        truncates. Between the points of the training grid it is interpolated."""
        signal, truncation = self.variances.value
        spread = self.regressor.value.spread(self._reduced(fields))
        return expand(self.task, jnp.sqrt(spread * signal + truncation), fields, at)

    def _reduced(self, fields: Fields):
        return self.reduction(resample(self.task, fields, grid_of(self.task)))


def check_reducible(task: Task, name: str):
    """**Raises:** `ValueError`, which names the surrogate, unless the task is steady, on a grid, and has an input."""
    task.domain.as_grid(name)
    if task.mode.ahead:
        raise ValueError(f"{name} serves steady tasks, not {task!r}")
    if not task.inputs + task.parameters:
        raise ValueError(f"{name} needs inputs: fields or parameters")
