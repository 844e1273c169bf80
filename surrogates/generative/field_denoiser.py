"""`Denoiser`: a diffusion or flow model of fields, with any network of this library, trained by `fit`."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...core.arguments import checked, random_key
from ...core.storage import register
from ...datasets import Dataset
from ...solvers.diffusion import EDM, FlowMatching, GaussianDenoiser, MomentMatched, PriorCovariance
from ...solvers.random import AbstractGaussianLaw
from ..networks.abstract_network import AbstractNetwork, AbstractNetworkConfig
from ..task.task import Task
from ..trainable import Buffer, with_state
from ..training.samples import DeviceData, Samples
from .abstract_field_denoiser import AbstractFieldDenoiser, check_whole
from .noisy_inputs import noisy_inputs, noisy_signature
from .prior import AbstractPrior


@register("Denoiser")
class Denoiser(AbstractFieldDenoiser, AbstractPrior):
    """The distribution of the target fields of a task, given its inputs if it has any, as a diffusion or flow model.

        joint = sx.Task.fit(train, targets=("a", "u"))
        model = sx.Denoiser(joint, network=sx.FNO.config(width=32), noise=sx.random.Matern(0.1), key=key)
        prior = sx.fit(model, train, val=val, optimizer=optax.adam(1e-3), epochs=300, ema=0.999)
        prior.samples({}, 16, key=key)["u"]
        prior.posterior(sx.Observe("u", at=xy, values=y, std=0.01), n=64, key=key).mean["a"]

    The network sees the noisy targets in normalised units, the inputs of the task, its parameters and the noise level. With the
    schedule `EDM()` it is preconditioned as there, D = c_skip y + c_out F(c_in y, log s/4); with `FlowMatching()` it predicts the
    velocity ε − x₀. `fit` minimises the loss `Denoising`; its options are `level_mean` and `level_std`.

    With `gaussian=train` D = G + c_out F([c_in y, G], log s/4), where G is the denoiser of the Gaussian law with the mean and
    covariance of these data (`diffusion.GaussianPreconditioned`): the network learns what is not Gaussian, in fewer steps, and
    posteriors of a joint prior are guided by that covariance (`diffusion.PriorCovariance`) unless they are told otherwise. It is
    for fields of some thousand numbers, of which there are more samples than that; such a model is one of fields on their grid,
    and `with_gaussian` moves it to another.

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
    - `gaussian`: the training data, for a network beside their Gaussian law; None: without. With `EDM()` only.

    **Raises:** `ValueError` for autoregressive tasks, points that are no grid, and `gaussian` with flow matching; `TypeError` for
    settings of another kind. **Warns** of fewer data in `gaussian` than they have independent numbers.

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
    gaussian: Buffer | None = None

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
        gaussian: Dataset | None = None,
    ):
        check_whole("Denoiser", task)
        if gaussian is not None and not isinstance(schedule, EDM):
            raise ValueError(
                "Denoiser(gaussian=…): only with schedule=EDM(); flow matching has another form of network"
            )
        more = 0 if gaussian is None else task.target_channels
        self.network = network.build(noisy_signature("Denoiser", task, more), random_key("Denoiser", key))
        self.task, self.schedule, self.law, self.steps = task, schedule, noise, steps
        self.state = self.network.initial_state()
        self.gaussian = None if gaussian is None else Buffer(self._law_of("Denoiser(gaussian=…)", gaussian))

    @property
    def gaussian_law(self) -> GaussianDenoiser | None:
        return None if self.gaussian is None else self.gaussian.value

    @checked
    def with_gaussian(self, data: Dataset) -> "Denoiser":
        """The same network beside the Gaussian law of other data, such as the training data on a finer grid.

        **Raises:** `ValueError` for a model without a Gaussian law, and for another grid than that of training if the network
        knows this one only.
        """
        if self.gaussian is None:
            raise ValueError("with_gaussian: this model was made without gaussian=…; its network has no place for it")
        law = self._law_of("with_gaussian", data)
        if not self.network.abilities.resolution_free and law.mean.shape != self.gaussian.value.mean.shape:
            raise ValueError(
                f"with_gaussian: samples of shape {law.mean.shape}; the network knows {self.gaussian.value.mean.shape} only"
            )
        return eqx.tree_at(lambda m: m.gaussian, self, Buffer(law))

    def usual_guidance(self, evidence):
        gaussian = self.gaussian_law
        given = self.task.inputs or self.task.parameters  # the law is that of all samples, whatever their inputs
        if gaussian is not None and not given and isinstance(evidence, PriorCovariance.uses):
            return PriorCovariance(gaussian)
        return MomentMatched()

    def inputs(self, x, level, condition, place):
        return noisy_inputs(self.task, condition, place, x, level)

    def unobserved(self, fields, grid):
        return dict(fields)

    def shown(self, fields, grid, key):
        return fields

    def renewed(self, key: Array) -> "Denoiser":
        network = self.network.config.build(self.network.signature, key)
        return with_state(eqx.tree_at(lambda m: m.network, self, network), network.initial_state())

    def _law_of(self, call: str, data: Dataset) -> GaussianDenoiser:
        """Of the normalised targets."""
        samples = Samples.of(self.task, data)
        if len(samples) < 2:
            raise ValueError(f"{call}: one sample has no covariance")
        fields = DeviceData.load(samples).take(jnp.arange(len(samples)))
        grid = self.grid({}, data.domains[data.spec(self.task.targets[0]).domain].as_grid("Denoiser"))
        return GaussianDenoiser(jax.vmap(self.encoded)(fields), noise=self.noise_on(grid))
