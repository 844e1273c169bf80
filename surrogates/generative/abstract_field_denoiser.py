"""What the denoising networks of fields have in common: their denoiser, their draws and their losses."""

import abc
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import kind
from ...core.domains import Grid
from ...datasets import Dataset
from ...solvers.diffusion import (
    EDM,
    FieldNoise,
    FlowMatching,
    FlowPrediction,
    GaussianDenoiser,
    GaussianPreconditioned,
    Preconditioned,
    sample,
)
from ...solvers.diffusion.denoiser import AbstractDenoiser, preconditioning
from ...solvers.diffusion.gaussian_denoiser import gaussian_parts
from ...solvers.random import AbstractGaussianLaw
from ..networks.abstract_network import AbstractNetwork
from ..networks.network_surrogate import applied
from ..resampling import resample
from ..surrogate import AbstractGenerative, Capabilities
from ..task.inputs import Inputs
from ..task.modes import SpaceTime, Steady
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable
from ..training.samples import DeviceData, Samples
from .denoising import Denoising
from .field_prior import AbstractFieldPrior


class AbstractFieldDenoiser(AbstractGenerative, AbstractTrainable, AbstractFieldPrior):
    """A network that sees noisy targets of a task, the level of the noise and a condition: write what the condition is.

    With the schedule `EDM()` it is preconditioned as there, D = c_skip y + c_out F(c_in y, log s/4); with `FlowMatching()` it
    predicts the velocity ε − x₀.

    **Fields:** `network`; `state`, its state; `law`, of the noise, None for white noise; `steps`, network evaluations per sample.
    """

    network: eqx.AbstractVar[AbstractNetwork]
    schedule: eqx.AbstractVar[EDM | FlowMatching]
    law: eqx.AbstractVar[AbstractGaussianLaw | None]
    steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def inputs(self, x: Float[Array, "*space c"], level: Float[Array, ""], condition: Any, place: Grid) -> Inputs:
        """What the network sees of one sample. `level` is the number by which it knows the noise, `place` the grid of space."""

    @abc.abstractmethod
    def unobserved(self, fields: Fields, grid: Grid) -> Any:
        """The condition of a draw given the inputs of one sample alone."""

    @abc.abstractmethod
    def shown(self, fields: Fields, grid: Grid, key: Array) -> Any:
        """The condition of one sample in training, which knows its targets."""

    @property
    @abc.abstractmethod
    def gaussian_law(self) -> GaussianDenoiser | None:
        """The denoiser of a Gaussian law of the normalised targets, to which the network adds; None: without."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            resolution_free=self.any_grid,
            needs_input=bool(self.task.inputs or self.task.parameters),
            has_samples=True,
            self_contained=self.network.config.self_contained,
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        fields, grid = self._moved(fields, at)
        nothing, condition = jnp.zeros(self.shape(grid)), self.unobserved(fields, grid)
        if isinstance(self.schedule, FlowMatching):  # u(ε, 1) = E[ε − x₀ | ε] there
            return self.decoded(-_OnGrid(self)(nothing, jnp.ones(()), condition), fields)
        return self.decoded(self.denoiser_on(grid)(nothing, jnp.asarray(self.schedule.sigma_max), condition), fields)

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        fields, grid = self._moved(fields, at)
        x = sample(
            self.denoiser_on(grid), "auto", schedule=self.schedule, times=self.steps, shape=self.shape(grid), n=n, key=key,
            noise=self.noise_on(grid), condition=self.unobserved(fields, grid),
        )  # fmt: skip
        return jax.vmap(lambda x: self.decoded(x, fields))(x)

    # What samplers need ----------------------------------------------------------------------------------------------

    @property
    def any_grid(self) -> bool:
        return self.network.abilities.resolution_free and self.gaussian_law is None

    def denoiser_on(self, grid: Grid) -> AbstractDenoiser:
        """The denoiser of one sample of normalised targets `(*grid, c)`."""
        network = _OnGrid(self)
        if isinstance(self.schedule, FlowMatching):
            return FlowPrediction(network=network, schedule=self.schedule)
        gaussian = self.gaussian_law
        if gaussian is None:
            return Preconditioned(network, 1.0)
        if gaussian.mean.shape != self.shape(grid):
            raise ValueError(
                f"{type(self).__name__}: its Gaussian law is one of samples of shape {gaussian.mean.shape}, {grid!r} has "
                f"{self.shape(grid)}; give it the law of data on that grid, model.with_gaussian(data)"
            )
        return GaussianPreconditioned(network, gaussian)

    def noise_on(self, grid: Grid) -> FieldNoise | None:
        """The noise of samples on a grid; None: white."""
        return None if self.law is None else FieldNoise(self.law, grid)

    def encoded(self, fields: Fields) -> Float[Array, "*space c"]:
        """The normalised targets of one sample."""
        frames = self.task.encode_targets(self.task.wanted(fields))
        return frames[0] if self.task.mode.single else frames

    # Training --------------------------------------------------------------------------------------------------------

    def outputs(
        self,
        x: Float[Array, "batch *space s"],
        level: Float[Array, " batch"],
        conditions: PyTree,
        *,
        key=None,
        train: bool = False,
    ) -> tuple[Float[Array, "batch *space c"], PyTree]:
        """The output of the network for a batch of noisy targets and its new state. `level` is the number by which it knows the
        noise: log s/4, or the time of flow matching."""
        place = self._place(x.shape[1:-1])

        def packed(one):
            x, level, condition = one
            return self.inputs(x, level, condition, place)

        return applied(self.network, packed, (x, level, conditions), key=key, state=self.state, train=train)

    def losses(
        self,
        batch: Fields,
        shares: Float[Array, " batch"],
        keys: Array,
        levels: tuple[float, float],
        *,
        key=None,
        train=False,
    ) -> tuple[Float[Array, " batch"], PyTree]:
        """The loss of every sample, with levels at the quantiles `shares` of their distribution and noise from `keys`; and the
        new state of the network. See `Denoising`."""
        batch = dict(batch)
        clean = jax.vmap(self.encoded)(batch)
        grid = self.grid(jax.tree.map(lambda x: x[0], batch))
        conditions = jax.vmap(lambda fields, k: self.shown(fields, grid, jax.random.fold_in(k, 1)))(batch, keys)
        noise = self.noise_on(grid)
        shape = clean.shape[1:]
        eps = jax.vmap(lambda k: jax.random.normal(k, shape) if noise is None else noise(k, shape))(keys)
        wide = (slice(None), *(None,) * len(shape))
        shares = jnp.clip(shares, 1e-6, 1 - 1e-6)
        if isinstance(self.schedule, FlowMatching):
            t = shares[wide]
            seen, number, wanted = (1 - t) * clean + t * eps, shares, eps - clean
        else:
            sigma = jnp.exp(levels[0] + levels[1] * jax.scipy.special.ndtri(shares))
            skip, size_out, size_in, number = preconditioning(sigma, 1.0)
            noisy, gaussian = clean + sigma[wide] * eps, self.gaussian_law
            seen, base, size = size_in[wide] * noisy, skip[wide] * noisy, size_out[wide]
            if gaussian is not None:
                base, size, seen = jax.vmap(gaussian_parts, (None, 0, 0, 0))(gaussian, seen, size_in, sigma * size_in)
                size = size.reshape(len(size), *(1,) * (len(shape) - 1), shape[-1])
            # With the weight 1/c_out², (s² + 1)/s² without a Gaussian law, the loss is that of F alone.
            wanted = (clean - base) / size
        found, state = self.outputs(seen, number, conditions, key=key, train=train)
        return jnp.mean((found - wanted) ** 2, tuple(range(1, found.ndim))), state

    def objective(self, data: Any, **options: Any) -> Denoising:
        """The default objective of `fit`: `Denoising` with these options. **Warns** of data whose mean varies from sample to
        sample, where the noise has no constant part."""
        if isinstance(data, Dataset) and self.law is not None and len(data):
            _warn_of_means(self, data.select(slice(0, 64)))
        return Denoising(**options)

    def _moved(self, fields: Fields, at: Place | None) -> tuple[Fields, Grid]:
        """The inputs at the points that are asked for, and their grid."""
        if at is not None and self.task.inputs:
            fields = resample(self.task, fields, at)
        return fields, self.grid(fields, at)

    def _place(self, shape: tuple[int, ...]) -> Grid:
        """The grid of space with the resolution of an array of targets."""
        domain = self.task.domain.as_grid(type(self).__name__)
        return domain.at_shape(shape[len(shape) - domain.ndim :])


def _warn_of_means(model: AbstractFieldDenoiser, data: Dataset) -> None:
    spectrum = model.law.spectrum(model.grid({})) if model.law is not None else {}
    if spectrum.get("boundary") == "dirichlet" or not spectrum or spectrum["std"](np.zeros(1))[0] > 0:
        return
    samples = Samples.of(model.task, data)
    x = jax.vmap(model.encoded)(DeviceData.load(samples).take(jnp.arange(len(samples))))
    spread = float(jnp.max(jnp.std(jnp.mean(x, tuple(range(1, x.ndim - 1))), 0)))
    if spread > 0.05:
        warnings.warn(
            f"fit: the noise {model.law} has no constant part, but means of samples differ by {spread:.2g} of a standard "
            "deviation: such samples cannot be drawn; use mean_mode=True, or Matern",
            stacklevel=2,
        )


def check_whole(call: str, task: Task) -> None:
    """**Raises:** `TypeError` for tasks that predict frame by frame."""
    kind(
        call,
        "task.mode",
        task.mode,
        (Steady, SpaceTime),
        f"{'an' if call[0] == 'A' else 'a'} {call} draws whole samples; use mode=Steady() or SpaceTime(…)",
    )


class _OnGrid(eqx.Module):
    """The network of a denoiser as a function of one sample, its level and its condition."""

    model: AbstractFieldDenoiser

    def __call__(self, x, level, condition):
        level = jnp.asarray(level, x.dtype)[None]
        one = jax.tree.map(lambda f: jnp.asarray(f)[None], {} if condition is None else condition)
        return self.model.outputs(x[None], level, one)[0][0]
