"""POD with regression: targets in a POD basis, their coefficients from reduced inputs."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count
from ...core.precision import Double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ..parameter_range import ParameterRange
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from ..training.result import AbstractDirectFit
from .abstract_fitted import AbstractFitted
from .basis.left_out_projection import left_out_rest
from .basis.truncation import Truncation
from .basis_points import basis_points
from .reduced_coordinates import (
    LogNames,
    ReducedErrors,
    Reduction,
    centred_pod,
    fit_reduction,
    ranges_of,
    single,
    targets_of,
)
from .regression.gaussian_process import GaussianProcess
from .regression.input_scaling import InputScaling
from .regression.regressors import check_kind, fit_with_left_out

_FOLDS = 5


class PODRegression(AbstractDirectFit):
    """u ≈ ū + Φ c(z): Φ the POD basis of the centred, normalised targets; z the POD coefficients of the input fields and
    the scaled parameters; c by regression (Hesthaven and Ubbiali 2018; Guo and Hesthaven 2018 with "gp").

    Steady tasks, on grids, or on point clouds and meshes that all samples share. Every choice of the regression is made on the
    training data (likelihood, leave-one-out); validation data serve for the `errors` of the fitted surrogate, which tell
    projection
    from regression, and for the truncation in its `std`. Without them both come from training samples that are left out.

    **Arguments:**

    - `rank` of the output basis, 32 to 128; with `energy` (0.9999, say) the fewest modes up to `rank` that hold that
      share of Σσ².
    - `input_rank` of the joint basis of all input fields, 32 to 128.
    - `regressor`: "gp", "rbf", "linear" or "network"; see `fit_regressor`.
    - `log`: the parameters that enter by their logarithm. "auto" takes those that the problem draws from `LogUniform`, and of
      unknown
      laws those that spread over decades; or a tuple of names, `()` for none. The repr of the fitted surrogate tells the choice.
    - `key`: of the network's initial weights.

    **Example:**

        >>> t = np.linspace(1, 2, 12)
        >>> data = sx.from_arrays(targets={"u": np.exp(-t[:, None] * np.linspace(0, 1, 16))}, parameters={"t": t}, grid=ds.grid)
        >>> fit = sx.fit(sx.PODRegression(sx.Task.fit(data, "t", "u"), rank=3, regressor="rbf"), data)
        >>> fit.predict({"t": np.array([1.23])})["u"].shape
        (1, 16)
    """

    task: Task
    rank: int = eqx.field(static=True, default=64)
    input_rank: int = eqx.field(static=True, default=64)
    regressor: str = eqx.field(static=True, default="gp")
    energy: float | None = eqx.field(static=True, default=None)
    log: LogNames = eqx.field(static=True, default="auto")
    key: Array | None = None

    def __check_init__(self):
        check_fields(self)
        check_reducible(self.task, "PODRegression")
        check_kind(self.regressor)
        for name in ("rank", "input_rank"):
            count(type(self).__name__, name, vars(self)[name])
        Truncation(energy=self.energy)

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedPODRegression":
        task = self.task
        task.check(train)
        check_samples("PODRegression", self.regressor, len(train))
        points = basis_points(task, train, "PODRegression")
        reduction = fit_reduction(task, train, self.input_rank, points, self.log)
        z, weights = reduction.all(train), points.of_rows(task.out_channels)
        mean, centred, basis = centred_pod(targets_of(task, train, points), weights, self.rank, self.energy)
        modes, coefficients = np.asarray(basis.modes, np.float64), np.asarray(basis.coefficients, np.float64)
        regressor, missed = fit_with_left_out(
            self.regressor, z, coefficients, InputScaling.identity(z.shape[1]), self.key
        )
        if val is not None:
            centred = targets_of(task, val, points) - mean
            coefficients = (centred * weights) @ modes
            rest = centred - coefficients @ modes.T
            missed = np.asarray(regressor(reduction.all(val)), np.float64) - coefficients
        else:
            rest = left_out_rest(centred, weights, basis.rank, _FOLDS)
            centred = centred * len(centred) / max(len(centred) - 1, 1)
        return FittedPODRegression(
            task=task,
            reduction=reduction,
            modes=Buffer(single(modes)),
            mean=Buffer(Double.of(mean)),
            regressor=Buffer(regressor),
            variances=Buffer(_variances(regressor, modes, rest)),
            ranges=ranges_of(task, train),
            errors=None if missed is None else _errors(rest, missed, centred, weights, left_out=val is None),
        )


def _variances(regressor, modes: Float[np.ndarray, "points r"], rest: Float[np.ndarray, "n points"]):
    if not isinstance(regressor, GaussianProcess):
        return None
    signal = np.einsum("pi,ij,pj->p", modes, regressor.covariance, modes)
    return single(np.stack([np.maximum(signal, 0), (rest**2).mean(0)]))


def _errors(rest, missed, centred, weights, left_out: bool) -> ReducedErrors:
    total = (centred**2 @ weights).sum()
    projection, regression = (rest**2 @ weights).sum(), (missed**2).sum()
    parts = np.array([projection, regression, projection + regression])
    if not total > 0:
        return ReducedErrors(*(0.0 if part == 0 else np.inf for part in parts), left_out=left_out)
    return ReducedErrors(*map(float, np.sqrt(parts / total)), left_out=left_out)


@register("FittedPODRegression")
class FittedPODRegression(AbstractFitted):
    """See `PODRegression`.

    **Fields:** `modes` `(points, rank)` and `mean` `(points,)` of the normalised targets, `regressor`, `variances` `(2, points)`
    (of the Gaussian process per unit of its spread, and of the truncation), `ranges` of the training parameters, and
    `errors` (`ReducedErrors`; None for a network without validation data).
    """

    task: Task
    reduction: Reduction
    modes: Buffer
    mean: Buffer
    regressor: Buffer
    variances: Buffer
    ranges: ParameterRange
    errors: ReducedErrors | None = eqx.field(static=True)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        c = self.regressor.value(self.reduction(fields))
        row = self.mean.value.added_to(jnp.matmul(self.modes.value, c, precision="highest"))
        return self.task.absolute(self.reduction.points.expand(self.task, row, fields, at))

    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """√(diag Φ C(z) Φᵀ + τ²): C the predictive covariance of the coefficients, τ² the mean square of what the basis
        truncates. Between the points of the training grid it is interpolated."""
        signal, truncation = self.variances.value
        spread = self.regressor.value.spread(self.reduction(fields))
        return self.reduction.points.expand(self.task, jnp.sqrt(spread * signal + truncation), fields, at)

    def __repr__(self) -> str:
        kind = type(self.regressor.value).__name__
        size = f"{self.modes.value.shape[1]} modes of {self.modes.value.shape[0]} values"
        return f"FittedPODRegression({self.reduction.described()} → {size}; {kind}; {self.errors})"


def check_samples(name: str, regressor: str, n: int):
    """**Raises:** `ValueError`, which names the surrogate, for fewer samples than the regressor needs."""
    least = {"gp": 3, "rbf": 2}.get(regressor, 1)
    if n < least:
        raise ValueError(f"{name}: regressor {regressor!r} needs at least {least} samples, got {n}")


def check_reducible(task: Task, name: str):
    """**Raises:** `ValueError`, which names the surrogate, unless the task is steady and has an input."""
    if task.mode.ahead:
        raise ValueError(f"{name} serves steady tasks, not {task!r}")
    if not task.inputs + task.parameters:
        raise ValueError(f"{name} needs inputs: fields or parameters")
