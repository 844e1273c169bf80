"""`Refiner`: predictions of an autoregressive surrogate, refined by removing small noise from them (PDE-Refiner)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from ...core.arguments import checked, count, number, random_key
from ...core.storage import register
from ..batching import Batch, over_batches
from ..given_data import Given, given_data
from ..networks.abstract_network import AbstractNetwork, AbstractNetworkConfig
from ..networks.network_surrogate import applied
from ..rollout import split_frames, unroll
from ..surrogate import AbstractGenerative, AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable, Buffer
from ..training.result import FitResult, members_of
from .noisy_inputs import noisy_inputs, noisy_signature
from .refining import Refining


@register("Refiner")
class Refiner(AbstractGenerative, AbstractTrainable):
    """A surrogate of the next frame whose prediction y is refined K times: for k = 1, …, K

        y ← y + σ_k ε,   y ← y − σ_k F(y, u, k),   σ_k = σ_min^(k/K),

    where u are the inputs of the prediction and F is a network that was trained to find the noise ε in true frames (Lippe et al.
    2023). Each round removes errors of the size σ_k; so also waves of small amplitude become right, which a mean squared error
    does not see and on which long rollouts depend.

        plain = sx.fit(sx.FNO(task, key=key), train, val=val, optimizer=opt, epochs=100)
        refined = sx.fit(sx.Refiner(plain.best, network=sx.FNO.config(), key=key), train, val=val, optimizer=opt, epochs=100)
        refined.best.rollout(test, steps=200)

    The surrogate inside is any that predicts one next frame, a coarse solver too; it is not trained any more. One prediction
    costs it and K network evaluations. The refinement is random: `samples` draws predictions, `ensemble_rollout` draws
    trajectories. A call takes its noise
    from the bits of its input, so that equal inputs have equal predictions; its derivative is that with the noise held.

    **Arguments:**

    - `base`: a surrogate or a result of `fit`.
    - `network`: the config of a network on grids.
    - `refinements`: K, 1 to 8; 3 in the paper.
    - `smallest`: σ_min in units of the normalised targets (of increments, if the task has them); about the size of the smallest
      amplitudes that matter, 1e-5 to 1e-2. Below the accuracy that the network can reach rounds do harm.
    - `key`: random key of the initial weights.

    **Raises:** `ValueError` for tasks that do not predict one next frame, and those not on a grid.

    **Example:**

        >>> w = np.stack([a * t for t in range(4)], 1)
        >>> data = sx.from_arrays({"w": w}, grid=ds.grid, times=np.arange(4.0))
        >>> step = sx.Task.fit(data, inputs="w", targets="w", mode=sx.Autoregressive())
        >>> config = sx.FNO.config(width=4, modes=4, depth=1)
        >>> refined = sx.Refiner(sx.FNO(step, width=4, modes=4, depth=1, key=key), network=config, key=key)
        >>> refined.task.targets
        ('w',)
    """

    network: AbstractNetwork
    task: Task
    base: Buffer
    refinements: int = eqx.field(static=True)
    smallest: float = eqx.field(static=True)
    state: PyTree

    @checked
    def __init__(
        self, base: Any, *, network: AbstractNetworkConfig, refinements: int = 3, smallest: float = 1e-3, key: Any
    ):
        if not isinstance(base, AbstractSurrogate | FitResult):
            raise TypeError(f"Refiner(base=…) is of type {type(base).__name__}; pass a surrogate or a result of fit")
        surrogate = members_of(base)[0]
        task = surrogate.task
        if not (task.mode.rolls_out and task.mode.single):
            raise ValueError(
                f"Refiner: the surrogate must predict one next frame, Autoregressive(history=…), not {task!r}"
            )
        self.refinements = count("Refiner", "refinements", refinements)
        self.smallest = number("Refiner", "smallest", smallest, above=0, below=1)
        self.network = network.build(noisy_signature("Refiner", task), random_key("Refiner", key))
        self.task, self.base, self.state = task, Buffer(surrogate), self.network.initial_state()

    @property
    def capabilities(self) -> Capabilities:
        inner = self.base.value.capabilities
        return Capabilities(
            resolution_free=False,
            needs_input=True,
            has_samples=True,
            autoregressive=True,
            differentiable=False,  # another input has other noise
            savable=inner.savable,
            self_contained=inner.self_contained and self.network.config.self_contained,
        )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        # The first value decides: a sum of all would round differently in a batch.
        first = jnp.ravel(jnp.asarray(fields[self.task.targets[0]], jnp.float32))[0]
        return self._refined(
            fields, at, jax.random.fold_in(jax.random.key(0), lax.bitcast_convert_type(first, jnp.uint32))
        )

    def samples(self, fields: Fields, n: int, *, key: Array, at: Place | None = None) -> dict[str, Array]:
        return jax.vmap(lambda k: self._refined(fields, at, k))(jax.random.split(key, n))

    @checked
    def ensemble_rollout(
        self, data: Given, steps: int, n: int, *, key: Array, batch_size: int = 16
    ) -> dict[str, np.ndarray]:
        """`n` random trajectories after the first `history` frames of every given one: arrays `(sample, n, steps, *space,
        [component])` by name. The draws of sample i depend on `key` and i only."""
        steps, n, key = count("rollout", "steps", steps), count("rollout", "n", n), random_key("rollout", key)
        task, data = self.task, given_data(self.task, data)
        task.check(data, targets=False)
        forced = any(task.is_timed(name) and name not in task.targets for name in task.inputs)
        frames = task.mode.history + (steps - 1) * forced
        return over_batches(
            lambda batch: _trajectories(self, batch, steps, n, key), data, task.input_names(), batch_size, frames
        )

    def _refined(self, fields: Fields, at: Place | None, key: Array) -> dict[str, Array]:
        start = self.encoded(self.task.join(self.base.value(fields, at)), fields)

        def round_(y, k):
            sigma = self.level(k)
            noisy = y + sigma * jax.random.normal(jax.random.fold_in(key, k), y.shape, y.dtype)
            found = self.noise_in(noisy[None], k[None], jax.tree.map(lambda f: jnp.asarray(f)[None], dict(fields)))[0][
                0
            ]
            return noisy - sigma * found, None

        y = lax.scan(round_, start, jnp.arange(1, self.refinements + 1))[0]
        return self.task.split(self.task.decode(y, fields))

    def level(self, k: Any) -> Any:
        """σ_k."""
        return self.smallest ** (k / self.refinements)

    def encoded(self, frames: Float[Array, "frames *space c"], fields: Fields) -> Float[Array, "*space c"]:
        """The inverse of `task.decode`, which is affine in every value: a frame as a network returns it."""
        shape = (*frames.shape[1:-1], self.task.out_channels)
        zero, one = (self.task.decode(jnp.full(shape, value), fields) for value in (0.0, 1.0))
        return ((frames - zero) / (one - zero))[0]

    def noise_in(
        self, y: Float[Array, "batch *space c"], k: Array, fields: Fields, *, key: Any = None, train: bool = False
    ) -> tuple[Float[Array, "batch *space c"], PyTree]:
        """The noise that the network finds in a batch of noisy frames in round k, and its new state."""

        def packed(one):
            y, k, fields = one
            return noisy_inputs(self.task, fields, None, y, k / self.refinements * jnp.ones((), y.dtype))

        return applied(self.network, packed, (y, k, fields), key=key, state=self.state, train=train)

    def objective(self, data: Any, **options: Any) -> Refining:
        """The default objective of `fit`: `Refining`."""
        return Refining(**options)

    def renewed(self, key: Array) -> "Refiner":
        return Refiner(
            self.base.value, network=self.network.config, refinements=self.refinements, smallest=self.smallest, key=key
        )


@eqx.filter_jit
def _trajectories(model: Refiner, batch: Batch, steps: int, n: int, key: Array) -> dict[str, Array]:
    def draw(number):
        def predict(carry, fields, call):
            keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, i), number), call))(
                batch.numbers
            )
            found = jax.vmap(lambda fields, k: model._refined(fields, None, k))(fields, keys)
            return carry, jax.vmap(model.task.join)(found)

        _, parts = unroll(predict, model.task, batch.fields, steps)
        return split_frames(model.task, jnp.moveaxis(parts, 0, 1)[:, :, 0])

    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), lax.map(draw, jnp.arange(n)))
