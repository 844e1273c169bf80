"""`Denoiser`: a diffusion or flow model of fields, with any network of this library, trained by `fit`."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, PyTree

from ...core.arguments import checked, random_key
from ...core.storage import register
from ...solvers.diffusion import EDM, FlowMatching
from ...solvers.random import AbstractGaussianLaw
from ..networks.abstract_network import AbstractNetwork, AbstractNetworkConfig
from ..task.task import Task
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
        check_whole("Denoiser", task)
        self.network = network.build(noisy_signature("Denoiser", task), random_key("Denoiser", key))
        self.task, self.schedule, self.law, self.steps = task, schedule, noise, steps
        self.state = self.network.initial_state()

    def inputs(self, x, level, condition, place):
        return noisy_inputs(self.task, condition, place, x, level)

    def unobserved(self, fields, grid):
        return dict(fields)

    def shown(self, fields, grid, key):
        return fields

    def renewed(self, key: Array) -> "Denoiser":
        return Denoiser(
            self.task, network=self.network.config, schedule=self.schedule, noise=self.law, key=key, steps=self.steps
        )
