"""POD with regression: targets in a POD basis, their coefficients by Gaussian-process regression on reduced inputs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...datasets.dataset import Dataset
from ...solvers.domains import Grid
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.precision import in_double
from ...solvers.storage import register
from ..network import Buffer
from ..surrogate import AbstractSurrogate, Capabilities, interpolation, resample
from ..task import Fields, Task
from ..training.result import DirectFit
from .pod import pod

_LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
_RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)
_NOISE = 2e-5  # largest relative error of a prediction by rounding its kernel values to float32


class PODRegression(DirectFit):
    """u ≈ ū + Φ c(z): Φ the POD basis of the centred, normalised targets; z the POD coefficients of the inputs and the
    parameters; c by the mean of a Gaussian process with the kernel exp(−|z − z'|²/2ℓ²) (`regressor="gp"`), or by ridge
    regression ("linear").

    Steady tasks on grids. Length ℓ and noise level are chosen among 20 pairs by the error on `val` (on a tenth of the
    training set without it). Pairs are left out whose weights are so large that float32 could not evaluate them: of a
    map that is nearly linear "gp" reaches about 1e-3, "linear" more.

    **Arguments:** `rank` of the output basis, `input_rank` of the joint basis of all input fields; 32 to 128.
    """

    task: Task
    rank: int = eqx.field(static=True, default=64)
    input_rank: int = eqx.field(static=True, default=64)
    regressor: str = eqx.field(static=True, default="gp")

    def __check_init__(self):
        if self.task.grid is None or self.task.history:
            raise ValueError("PODRegression serves steady tasks on grids")
        if self.regressor not in ("gp", "linear"):
            raise ValueError(f"PODRegression: unknown regressor {self.regressor!r}; use 'gp' or 'linear'")
        if not self.task.inputs + self.task.parameters:
            raise ValueError("PODRegression needs inputs")

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedPODRegression":
        task = self.task
        task.check(train)
        if val is None:
            cut = max(len(train) // 10, 1)
            train, val = train.select(slice(cut, None)), train.select(slice(0, cut))
        targets = _targets(task, train)
        output_weights = _weights(task, task.out_channels)
        mean = targets.mean(0)
        modes, _ = pod(targets - mean, output_weights, self.rank)
        input_mean = input_modes = None
        if task.inputs:
            fields = np.asarray(jax.jit(jax.vmap(lambda f: task.pack(f).fields.ravel()))(_inputs(task, train)))
            input_mean = fields.mean(0, dtype=np.float64)
            input_modes, _ = pod(fields - input_mean, _weights(task, task.in_channels), self.input_rank)
        reduction = Reduction(task, Buffer(input_modes), Buffer(input_mean), Buffer(np.ones(())))
        z = reduction.all(train)
        # One common scale: the decay of the coefficients is what tells important directions from others.
        reduction = eqx.tree_at(lambda r: r.scale.value, reduction, z.std(0).max() + 1e-12)
        z, z_val = reduction.all(train), reduction.all(val)
        coefficients = ((targets - mean) * output_weights) @ modes
        truth = _targets(task, val) - mean
        size = np.sqrt((coefficients**2).sum(1).mean()) + 1e-300
        best_score, best = (True, np.inf), None
        for length in _LENGTHS if self.regressor == "gp" else (1.0,):
            for ridge in _RIDGES:
                alpha = _ridge(z, coefficients, np.asarray(length), np.asarray(ridge), self.regressor)
                c = np.asarray(_kernel(z_val, z, length, self.regressor, np)) @ alpha
                error = np.sqrt(((c @ modes.T - truth) ** 2 * output_weights).sum(1)).mean()
                noise = 2.0**-24 * np.linalg.norm(alpha) / size
                score = (self.regressor == "gp" and noise > _NOISE, error)
                if best is None or score < best_score:
                    best_score, best = score, (length, alpha)
        length, alpha = best
        if self.regressor == "linear":  # the sum over samples is done here, once and in float64
            z, alpha = np.zeros((0, z.shape[1])), np.concatenate([z.T @ alpha, alpha.sum(0, keepdims=True)])
        single = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float32), (reduction, z, alpha, np.asarray(length), modes, mean)
        )
        reduction, *arrays = single
        centres, weights, length, modes, mean = map(Buffer, arrays)
        return FittedPODRegression(task, reduction, centres, weights, length, modes, mean, self.regressor)


@register("Reduction")
class Reduction(eqx.Module):
    """The inputs of a sample as a short vector: weighted projections of its fields, then its parameters, over `scale`."""

    task: Task
    modes: Buffer
    mean: Buffer
    scale: Buffer

    def __call__(self, fields: Fields) -> Float[Array, " z"]:
        inputs = self.task.pack(fields)
        parts = []
        if inputs.fields is not None:
            weights = jnp.asarray(_weights(self.task, self.task.in_channels), jnp.float32)
            parts.append(self.modes.value.T @ (weights * (inputs.fields.ravel() - self.mean.value)))
        if inputs.params is not None:
            parts.append(inputs.params)
        return jnp.concatenate(parts) / self.scale.value

    def all(self, data: Dataset) -> np.ndarray:
        single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), self)
        return np.asarray(jax.jit(jax.vmap(single))(_inputs(self.task, data)), np.float64)


@register("FittedPODRegression")
class FittedPODRegression(AbstractSurrogate):
    """See `PODRegression`; `alpha` `(samples, rank)` weighs the kernel at the `centres`, or is the matrix `(z + 1, rank)` of
    the linear map with its offset in the last row."""

    task: Task
    reduction: Reduction
    centres: Buffer
    alpha: Buffer
    length: Buffer
    modes: Buffer
    mean: Buffer
    regressor: str = eqx.field(static=True)
    capabilities = Capabilities(resolution_free=True)

    def __call__(self, fields: Fields, at: Grid | None = None) -> dict[str, Array]:
        task = self.task
        z = self.reduction(resample(task, fields, task.grid))
        if self.regressor == "linear":
            features = jnp.append(z, 1)
        else:  # by differences: in float32 the expansion of the square that `_kernel` uses would cancel
            features = jnp.exp(-((z - self.centres.value) ** 2).sum(1) / (2 * self.length.value**2))
        c = jnp.matmul(features, self.alpha.value, precision="highest")
        y = (self.mean.value + self.modes.value @ c).reshape(*task.grid.shape, task.out_channels)
        matrices = interpolation(task.uniform_grid, at or task.grid_of(fields))
        return {k: apply_along_axes(v, matrices) for k, v in task.unpack(y, fields).items()}


def _inputs(task: Task, data: Dataset) -> dict[str, np.ndarray]:
    return data.read(list(task.inputs + task.parameters))


def _targets(task: Task, data: Dataset) -> Float[np.ndarray, "n points"]:
    """Normalised targets, a row per sample with channels innermost, float64."""
    encode = jax.jit(jax.vmap(lambda f: task.encode_targets(task.pack_targets(f)).ravel()))
    return np.asarray(encode(data.read(list(task.targets))), np.float64)


def _weights(task: Task, channels: int) -> Float[np.ndarray, " points"]:
    return np.repeat(task.grid.weights.ravel(), channels)


def _kernel(x, centres, length, regressor: str, xp):
    if regressor == "linear":
        return x @ centres.T + 1
    squared = (x**2).sum(1)[:, None] + (centres**2).sum(1)[None] - 2 * x @ centres.T
    return xp.exp(-xp.maximum(squared, 0) / (2 * length**2))


@in_double
def _ridge(z, coefficients, length, ridge, regressor: str):
    gram = _kernel(z, z, length, regressor, jnp)
    return jnp.linalg.solve(gram + ridge * jnp.trace(gram) / len(gram) * jnp.eye(len(gram)), coefficients)
