"""Simplified diffusion Schrödinger bridges: two velocities that are fitted to each other's paths (Tang et al. 2024)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked, count, number, random_key
from ...core.arrays import AnyArray
from .path_objectives import AbstractPathObjective, matched_velocity, rows_of


class BridgeHalfObjective(AbstractPathObjective):
    """One half of a simplified diffusion Schrödinger bridge: the velocity back to where given paths came from.

    The bridge joins two distributions by the diffusion that is closest to dx = √ε dW on [0, 1]. Each direction has a velocity,
    and each is trained on paths of the other, in turn (iterative proportional fitting). A path starts at a sample x₀ and takes
    `steps` Euler-Maruyama steps dx = velocity(x, t) dt + √ε dW. The velocity v of the way back, whose time τ = 1 − t starts where
    the path ended, is the mean of (x₀ − x)/t over the paths through x, for paths of every iterate are Brownian bridges between
    their ends. The loss is the mean of t |v(x, τ) − (x₀ − x)/t|² over the points of a path.

        there, back = VectorField(2, key=k1), VectorField(2, key=k2)
        forward = None
        for _ in range(8):
            back = fit(back, objective=BridgeHalfObjective(x0, forward, epsilon=0.1), optimizer=adam, steps=1000).last
            forward = there = fit(there, objective=BridgeHalfObjective(x1, back, epsilon=0.1), optimizer=adam, steps=1000).last
        bridge_paths(there, x0, epsilon=0.1, steps=20, key=key)[:, -1]

    The first half may start from a trained flow instead of Brownian motion, which saves rounds (the paper's initialisation).
    Compare `LightBridge`, which is in closed form but needs a potential that a mixture of Gaussians describes.

    **Arguments:**

    - `starts`: samples `(n, *shape)` of the end at which the paths start.
    - `velocity`: `velocity(x, t, condition)` of the paths; None for Brownian motion.
    - `epsilon`: ε, the variance of the reference over its whole time. As it falls, more steps and rounds are needed.
    - `steps`: of a path, 20 to 100.
    - `batch`: paths per step of the training.

    **Source:** Tang, Hang, Gu, Chen and Guo, Simplified Diffusion Schrödinger Bridge (2024), in its flow form.

    **Example:**

        >>> sx.generative.BridgeHalfObjective(jnp.zeros((5, 2)), epsilon=0.1, steps=8).size
        5
    """

    starts: Float[Array, "n *shape"]
    velocity: Any
    epsilon: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)

    @checked
    def __init__(
        self, starts: AnyArray, velocity: Callable | None = None, *, epsilon: float, steps: int = 20, batch: int = 256
    ):
        self.starts = rows_of("BridgeHalfObjective", "starts", starts)
        self.velocity = velocity
        self.epsilon = number("BridgeHalfObjective", "epsilon", epsilon, above=0)
        self.steps, self.batch = (
            count("BridgeHalfObjective", name, value) for name, value in (("steps", steps), ("batch", batch))
        )

    @property
    def size(self) -> int:
        return len(self.starts)

    def losses(self, model, rows, keys):
        times = jnp.arange(1, self.steps + 1) / self.steps

        def one(row, key):
            x0 = self.starts[row]
            path = jax.lax.stop_gradient(_path(self.velocity, x0, self.epsilon, self.steps, key))

            def at(x, t):
                return t * jnp.mean((matched_velocity(model, x, 1 - t) - (x0 - x) / t) ** 2)

            return jax.vmap(at)(path[1:], times.astype(x0.dtype)).mean()

        return jax.vmap(one)(rows, keys)


@checked
def bridge_paths(
    velocity: Callable, x: AnyArray, *, epsilon: float, steps: int = 20, key: Any
) -> Float[Array, "n times *shape"]:
    """Paths `(n, steps + 1, *shape)` of dx = velocity(x, t) dt + √ε dW over [0, 1] from the states `x` `(n, *shape)`.

    Euler-Maruyama, of order one. The noise of path i depends on `fold_in(key, i)` alone.

    **Example:**

        >>> sx.generative.bridge_paths(lambda x, t, condition: 0 * x, jnp.zeros((3, 2)), epsilon=0.1, steps=4, key=key).shape
        (3, 5, 2)
    """
    x, key = rows_of("bridge_paths", "x", x), random_key("bridge_paths", key)
    epsilon, steps = number("bridge_paths", "epsilon", epsilon, above=0), count("bridge_paths", "steps", steps)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(x)))
    return _paths(velocity, x, epsilon, steps, keys)


@eqx.filter_jit
def _paths(velocity, x, epsilon, steps, keys):
    return jax.vmap(lambda x, key: _path(velocity, x, epsilon, steps, key))(x, keys)


def _path(velocity: Any, x: Array, epsilon: float, steps: int, key: Array) -> Array:
    def step(x, number):
        drift = 0.0 if velocity is None else matched_velocity(velocity, x, number.astype(x.dtype) / steps)
        noise = jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
        x = x + drift / steps + jnp.sqrt(jnp.asarray(epsilon / steps, x.dtype)) * noise
        return x, x

    return jnp.concatenate([x[None], jax.lax.scan(step, x, jnp.arange(steps))[1]])
