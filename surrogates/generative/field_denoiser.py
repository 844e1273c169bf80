"""`Denoiser`: a diffusion or flow model of fields, with any network of this library, trained by `fit`."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import checked, kind, random_key
from ...core.domains import Grid
from ...core.storage import register
from ...solvers.diffusion import EDM, FieldNoise, FlowMatching, FlowPrediction, Preconditioned, sample
from ...solvers.diffusion.denoiser import AbstractDenoiser, preconditioning
from ...solvers.random import AbstractGaussianLaw
from ..networks.abstract_network import AbstractNetwork, AbstractNetworkConfig
from ..networks.network_surrogate import applied
from ..resampling import resample
from ..surrogate import AbstractGenerative, Capabilities
from ..task.modes import SpaceTime, Steady
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable
from .denoising import Denoising
from .noisy_inputs import noisy_inputs, noisy_signature
from .prior import AbstractPrior


@register("Denoiser")
class Denoiser(AbstractGenerative, AbstractTrainable, AbstractPrior):
    """The distribution of the target fields of a task, given its inputs if it has any, as a diffusion or flow model.

        joint = sx.Task.fit(train, targets=("a", "u"))
        model = sx.Denoiser(joint, network=sx.FNO.config(width=32), noise=sx.random.Matern(0.1), key=key)
        prior = sx.fit(model, train, val=val, optimizer=optax.adam(1e-3), epochs=300, ema=0.999)
        prior.samples({}, 16, key=key)["u"]
        prior.posterior(sx.Observe("u", at=xy, values=y, std=0.01), n=64, key=key).mean["a"]

    The network sees the noisy targets in normalised units, the inputs of the task, its parameters and the noise level. With the
    schedule `EDM()` it is preconditioned as there, D = c_skip y + c_out F(c_in y, log s/4); with `FlowMatching()` it predicts the
    velocity ε − x₀. `fit` minimises the loss `Denoising`; its options are `level_mean` and `level_std`.

    With noise drawn from a law of Gaussian fields and a network that is an operator (FNO) the model is one of functions, and
    draws samples on grids that it was not trained on, `samples(…, at=grid)`. White noise has no such limit.

    As a surrogate it returns the mean of the targets given the inputs, one evaluation of the network without any signal, and
    `samples` draws.

    **Arguments:**

    - `task`: steady or space-time, on a grid. Without inputs the model is a joint prior of the targets; with inputs a conditional
      one.
    - `network`: the config of a network on grids, `sx.FNO.config(width=32, modes=12)` or `sx.UNet.config(…)`.
    - `schedule`: `EDM()`, with levels for data of unit variance, or `FlowMatching()`.
    - `noise`: a law of Gaussian fields of about unit variance, such as `sx.random.Matern(0.1)`; None: white noise.
    - `key`: random key of the initial weights.
    - `steps`: network evaluations per sample, by the automatic solver (UniPC of order three on the grid of EDM would
      lose 10 % of the variance of waves at 20).

    **Raises:** `ValueError` for autoregressive tasks and points that are no grid; `TypeError` for settings of another kind.

    **Example:**

        >>> joint = sx.Task.fit(ds, targets=("a", "u"))
        >>> model = sx.Denoiser(joint, network=sx.FNO.config(width=4, modes=4, depth=1), key=key)       # fit(model, ds, …)
        >>> model.task.targets
        ('a', 'u')
    """

    network: AbstractNetwork
    task: Task
    schedule: EDM | FlowMatching = eqx.field(static=True)
    law: AbstractGaussianLaw | None = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    state: PyTree

    @checked
    def __init__(
        self,
        task: Task,
        *,
        network: AbstractNetworkConfig,
        schedule: EDM | FlowMatching = EDM(),  # noqa: B008 (frozen)
        noise: AbstractGaussianLaw | None = None,
        key: Any,
        steps: int = 20,
    ):
        kind(
            "Denoiser",
            "task.mode",
            task.mode,
            (Steady, SpaceTime),
            "a Denoiser draws whole samples; use mode=Steady() or SpaceTime(…)",
        )
        self.network = network.build(noisy_signature("Denoiser", task), random_key("Denoiser", key))
        self.task, self.schedule, self.law, self.steps = task, schedule, noise, steps
        self.state = self.network.initial_state()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            resolution_free=self.network.abilities.resolution_free,
            needs_input=bool(self.task.inputs or self.task.parameters),
            has_samples=True,
            self_contained=self.network.config.self_contained,
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        fields, grid = self._moved(fields, at)
        nothing = jnp.zeros(self.shape(grid))
        if isinstance(self.schedule, FlowMatching):  # u(ε, 1) = E[ε − x₀ | ε] there
            return self.decoded(-_OnGrid(self, grid)(nothing, jnp.ones(()), fields), fields)
        return self.decoded(self.denoiser_on(grid)(nothing, jnp.asarray(self.schedule.sigma_max), fields), fields)

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        fields, grid = self._moved(fields, at)
        x = sample(
            self.denoiser_on(grid), "auto", schedule=self.schedule, times=self.steps, shape=self.shape(grid), n=n, key=key,
            noise=self.noise_on(grid), condition=fields,
        )  # fmt: skip
        return jax.vmap(lambda x: self.decoded(x, fields))(x)

    # What samplers need ----------------------------------------------------------------------------------------------

    @property
    def any_grid(self) -> bool:
        return self.network.abilities.resolution_free

    def denoiser_on(self, grid: Grid) -> AbstractDenoiser:
        """The denoiser of one sample of normalised targets `(*grid, c)`; its condition are the inputs by name, in physical
        units."""
        network = _OnGrid(self, grid)
        if isinstance(self.schedule, FlowMatching):
            return FlowPrediction(network=network, schedule=self.schedule)
        return Preconditioned(network, 1.0)

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
        x: Float[Array, "batch *space c"],
        level: Float[Array, " batch"],
        fields: Fields,
        *,
        key=None,
        train: bool = False,
    ) -> tuple[Float[Array, "batch *space c"], PyTree]:
        """The output of the network for a batch of noisy targets and its new state. `level` is the number by which it knows the
        noise: log s/4, or the time of flow matching."""
        place = self._place(x.shape[1:-1])

        def packed(one):
            x, level, fields = one
            return noisy_inputs(self.task, fields, place, x, level)

        return applied(self.network, packed, (x, level, dict(fields)), key=key, state=self.state, train=train)

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
        clean = jax.vmap(self.encoded)(batch)
        noise = self.noise_on(self.grid(jax.tree.map(lambda x: x[0], dict(batch))))
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
            noisy = clean + sigma[wide] * eps
            # With the weight (s² + 1)/s² = 1/c_out² the loss is that of F alone.
            seen, wanted = size_in[wide] * noisy, (clean - skip[wide] * noisy) / size_out[wide]
        found, state = self.outputs(seen, number, batch, key=key, train=train)
        return jnp.mean((found - wanted) ** 2, tuple(range(1, found.ndim))), state

    def objective(self, data: Any, **options: Any) -> Denoising:
        """The default objective of `fit`: `Denoising` with these options."""
        return Denoising(**options)

    def renewed(self, key: Array) -> "Denoiser":
        return Denoiser(
            self.task, network=self.network.config, schedule=self.schedule, noise=self.law, key=key, steps=self.steps
        )

    def _moved(self, fields: Fields, at: Place | None) -> tuple[Fields, Grid]:
        """The inputs at the points that are asked for, and their grid."""
        if at is not None and self.task.inputs:
            fields = resample(self.task, fields, at)
        return fields, self.grid(fields, at)

    def _place(self, shape: tuple[int, ...]) -> Grid:
        """The grid of space with the resolution of an array of targets."""
        domain = self.task.domain.as_grid("Denoiser")
        return domain.at_shape(shape[len(shape) - domain.ndim :])


class _OnGrid(eqx.Module):
    """The network of a denoiser as a function of one sample and its level."""

    model: Denoiser
    grid: Grid = eqx.field(static=True)

    def __call__(self, x, level, condition):
        fields = jax.tree.map(lambda f: jnp.asarray(f)[None], dict(condition or {}))
        level = jnp.asarray(level, x.dtype)[None]
        return self.model.outputs(x[None], level, fields)[0][0]
