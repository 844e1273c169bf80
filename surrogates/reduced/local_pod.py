"""Local POD with regression: a dictionary of bases, a classifier that blends them, a regressor for each."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count
from ...core.storage import register
from ...datasets.dataset import Dataset
from ..parameter_range import ParameterRange
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from ..training.result import AbstractDirectFit
from .abstract_fitted import AbstractFitted
from .basis_points import basis_points
from .local.classifier import KINDS as CLASSIFIERS
from .local.classifier import fit_classifier
from .local.local_bases import CLUSTERINGS, LocalBases, local_bases
from .pod_regression import check_reducible, check_samples
from .reduced_coordinates import LogNames, ReducedErrors, Reduction, fit_reduction, ranges_of, single, targets_of
from .regression.gaussian_process import GaussianProcess
from .regression.input_scaling import InputScaling
from .regression.regressors import check_kind, fit_with_left_out

_OVERLAP = 1.5  # samples that a regressor learns from, over those of the largest cluster


class LocalPOD(AbstractDirectFit):
    """u ≈ Σ_k p_k(z) Φ_k c_k(z) over the `top` most probable of K local bases: snapshots are clustered, each cluster has its
    own POD basis Φ_k and regressor c_k, and a classifier gives p_k(z) from the reduced inputs z (the ROM-net of Daniel,
    Casenave, Akkari, Ryckelynck 2020, with regression in place of a Galerkin model).

    Worth it where a global basis needs many modes and each snapshot few: transport, fronts, changes of regime.
    Steady tasks, on grids, or on point clouds and meshes that all samples share. Every regressor learns from the members of
    its cluster and, up to 1.5 times the size of the largest one, from the samples that its basis represents best, so that it
    knows its surroundings.

    **Arguments:**

    - `clusters`: K, 5 to 20; `rank` of each basis: members ≥ 5 × `rank`. `input_rank` as in `PODRegression`.
    - `regressor`: "gp", "rbf", "linear", "network"; `classifier`: "network", "logistic", "nearest".
    - `clustering`: of `local_bases`; "sine" by default.
    - `top`: bases that are blended; 2 costs little and softens the borders, 1 is a hard choice.
    - `log`: the parameters that enter by their logarithm, as in `PODRegression`.
    - `key`: of the networks' initial weights.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> bumps = np.exp(-200 * (np.linspace(0, 1, 16) - t[:, None]) ** 2)
        >>> data = sx.from_arrays(targets={"u": bumps}, parameters={"t": t}, grid=ds.grid)
        >>> model = sx.LocalPOD(sx.Task.fit(data, "t", "u"), clusters=2, rank=4)            # sx.fit(model, data)
        >>> model.clusters
        2
    """

    task: Task
    clusters: int = eqx.field(static=True, default=5)
    rank: int = eqx.field(static=True, default=16)
    input_rank: int = eqx.field(static=True, default=64)
    regressor: str = eqx.field(static=True, default="gp")
    classifier: str = eqx.field(static=True, default="network")
    clustering: str = eqx.field(static=True, default="sine")
    top: int = eqx.field(static=True, default=2)
    log: LogNames = eqx.field(static=True, default="auto")
    key: Array | None = None

    def __check_init__(self):
        check_fields(self)
        check_reducible(self.task, "LocalPOD")
        check_kind(self.regressor)
        if self.clustering not in CLUSTERINGS:
            raise ValueError(f"LocalPOD: unknown clustering {self.clustering!r}; use one of {CLUSTERINGS}")
        if self.classifier not in CLASSIFIERS:
            raise ValueError(f"LocalPOD: unknown classifier {self.classifier!r}; use one of {CLASSIFIERS}")
        for name in ("clusters", "rank", "input_rank"):
            count(type(self).__name__, name, vars(self)[name])
        if not 1 <= self.top <= self.clusters:
            raise ValueError(f"LocalPOD: top={self.top}; expected 1 to clusters={self.clusters}")

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedLocalPOD":
        task = self.task
        task.check(train)
        k_classes, k_networks = jax.random.split(jax.random.key(0) if self.key is None else self.key)
        check_samples("LocalPOD", self.regressor, len(train))
        points = basis_points(task, train, "LocalPOD")
        reduction = fit_reduction(task, train, self.input_rank, points, self.log)
        z, targets = reduction.all(train), targets_of(task, train, points)
        weights = points.of_rows(task.out_channels)
        bases = local_bases(targets, self.clusters, self.rank, weights, clustering=self.clustering, key=k_classes)
        errors, k = np.asarray(bases.projection_errors(targets)), len(bases.bases)
        classifier = fit_classifier(self.classifier, z, bases.labels, k=k, errors=errors, key=k_classes)  # pyright: ignore[reportArgumentType]
        size = np.bincount(bases.labels).max()
        size = min(len(z), max(int(_OVERLAP * size), 2 * z.shape[1] + 4))
        regressors = []
        for j, basis in enumerate(np.asarray(bases.bases)):
            # The same number for all: one compiled program fits them, and their arrays can be stacked.
            chosen = np.lexsort((errors[:, j], bases.labels != j))[:size]
            coefficients = (targets[chosen] * weights) @ basis
            key = jax.random.fold_in(k_networks, j)
            scaling = InputScaling.identity(z.shape[1])
            regressors.append(fit_with_left_out(self.regressor, z[chosen], coefficients, scaling, key)[0])
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *regressors)
        variances = None
        if isinstance(stacked, GaussianProcess):
            modes, covariance = np.asarray(bases.bases), np.stack([r.covariance for r in regressors])
            signal = np.einsum("kpi,kij,kpj->kp", modes, covariance, modes)
            rest = [targets - ((targets * weights) @ b) @ b.T for b in modes]
            truncation = [(r[bases.labels == j] ** 2).mean(0) for j, r in enumerate(rest)]
            variances = single(np.stack([np.maximum(signal, 0), np.stack(truncation)]))
        fitted = FittedLocalPOD(
            task=task,
            reduction=reduction,
            modes=Buffer(single(np.asarray(bases.bases))),
            classifier=Buffer(classifier),
            regressors=Buffer(stacked),
            variances=Buffer(variances),
            ranges=ranges_of(task, train),
            top=min(self.top, k),
            errors=None,
        )
        return fitted if val is None else replace(fitted, errors=_errors(fitted, bases, targets.mean(0), val))


def _errors(fitted: "FittedLocalPOD", bases: LocalBases, mean, val: Dataset) -> ReducedErrors:
    task = fitted.task
    points = fitted.reduction.points
    weights, targets = points.of_rows(task.out_channels), targets_of(task, val, points)
    z = single(fitted.reduction.all(val))
    shares = np.asarray(jax.jit(jax.vmap(fitted.shares))(z), np.float64)
    predicted = np.asarray(jax.jit(jax.vmap(fitted.blended))(z), np.float64)
    modes = np.asarray(bases.bases)
    projections = np.stack([((targets * weights) @ basis) @ basis.T for basis in modes])
    blend = np.einsum("nk,knp->np", shares, projections)
    best = np.argmin([((targets - p) ** 2) @ weights for p in projections], axis=0)
    oracle = projections[best, np.arange(len(best))]
    size = ((targets - mean) ** 2 @ weights).sum()
    parts = (targets - oracle, predicted - blend, targets - predicted, targets - blend)
    projection, regression, total, classification = (float(np.sqrt((part**2 @ weights).sum() / size)) for part in parts)
    return ReducedErrors(projection, regression, total, classification)


@register("FittedLocalPOD")
class FittedLocalPOD(AbstractFitted):
    """See `LocalPOD`.

    **Fields:** `modes` `(K, points, rank)`, `classifier`, `regressors` (one, its arrays with a leading axis K), `variances`
    `(2, K, points)` (of the Gaussian processes per unit of their spread, and of the truncation), `ranges` of the training
    parameters, `top`, `errors` (`ReducedErrors`; None without validation data).
    """

    task: Task
    reduction: Reduction
    modes: Buffer
    classifier: Buffer
    regressors: Buffer
    variances: Buffer
    ranges: ParameterRange
    top: int = eqx.field(static=True)
    errors: ReducedErrors | None = eqx.field(static=True)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        row = self.blended(self.reduction(fields))
        return self.task.absolute(self.reduction.points.expand(self.task, row, fields, at))

    def std(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        """Standard deviation of the mixture, √Σ_k p_k (diag Φ_k C_k(z) Φ_kᵀ + τ_k² + (u_k − u)²)."""
        z = self.reduction(fields)
        shares, candidates = self.shares(z), self.candidates(z)
        signal, truncation = self.variances.value
        spreads = jax.vmap(lambda regressor: regressor.spread(z))(self.regressors.value)
        variance = spreads[:, None] * signal + truncation + (candidates - shares @ candidates) ** 2
        return self.reduction.points.expand(self.task, jnp.sqrt(shares @ variance), fields, at)

    def shares(self, z: Float[Array, " z"]) -> Float[Array, " k"]:
        """Probabilities of the bases, zero but for the `top` ones, with sum one."""
        probabilities = self.classifier.value(z)
        # All regressors together cost as much as one global one, so nothing is gathered.
        kept = jnp.where(probabilities >= jax.lax.top_k(probabilities, self.top)[0][-1], probabilities, 0)
        return kept / kept.sum()

    def candidates(self, z: Float[Array, " z"]) -> Float[Array, "k points"]:
        """What each basis predicts."""
        c = jax.vmap(lambda regressor: regressor(z))(self.regressors.value)
        return jnp.einsum("kpr,kr->kp", self.modes.value, c, precision="highest")

    def blended(self, z: Float[Array, " z"]) -> Float[Array, " points"]:
        """The normalised prediction, a row of `targets_of`."""
        c = jax.vmap(lambda regressor: regressor(z))(self.regressors.value)
        return jnp.einsum("kpr,kr->p", self.modes.value, self.shares(z)[:, None] * c, precision="highest")
