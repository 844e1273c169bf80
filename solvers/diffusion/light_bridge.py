"""Light Schrödinger bridges: the entropic transport between two distributions with a mixture as potential (Korotin et al.)."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked, count, number, random_key, real_array
from ...core.arrays import AnyArray


class LightBridge(eqx.Module):
    """The bridge with reference dx = √ε dW on [0, 1] and the adjusted potential v(x₁) = Σ_k a_k N(x₁ | r_k, ε S_k), S_k diagonal.

    (Korotin et al. 2024, Light Schrödinger bridge). Its plan is a mixture in closed form, π(x₁ | x₀) = Σ_k w_k(x₀) N(x₁ | r_k +
    S_k x₀, ε S_k) with w_k ∝ a_k e^((x₀ᵀS_k x₀ + 2 r_kᵀx₀)/(2ε)), and so is the drift of its SDE. Training needs samples of both
    ends, unpaired, and minimises E log c(x₀) − E log v(x₁) with the normalisation c(x₀) = Σ_k a_k e^(…), whose minimum is that of
    the Kullback-Leibler divergence to the true bridge.

    **Arguments:**

    - `dim`: number of entries of a sample.
    - `components`: K; 10 in the paper.
    - `epsilon`: ε, the entropy. Plans become deterministic as ε → 0, and harder to fit.
    - `key`: random key of the initial centres r_k, N(0, 1).

    **Example:**

        >>> bridge = sx.diffusion.LightBridge(2, components=3, key=key)
        >>> bridge.centres.shape
        (3, 2)
    """

    log_weights: Float[Array, " k"]
    centres: Float[Array, "k d"]
    log_scales: Float[Array, "k d"]
    epsilon: float = eqx.field(static=True)

    @checked
    def __init__(self, dim: int, components: int = 10, epsilon: float = 0.1, *, key: Any):
        dim, components = count("LightBridge", "dim", dim), count("LightBridge", "components", components)
        self.epsilon = number("LightBridge", "epsilon", epsilon, above=0)
        self.log_weights = jnp.full((components,), -math.log(components))
        self.centres = jax.random.normal(random_key("LightBridge", key), (components, dim))
        self.log_scales = jnp.full((components, dim), math.log(0.1))

    def log_potential(self, x1: Float[Array, " d"]) -> Float[Array, ""]:
        """log v(x₁)."""
        variance = self.epsilon * jnp.exp(self.log_scales)
        square = (x1 - self.centres) ** 2 / variance + jnp.log(2 * jnp.pi * variance)
        return jax.nn.logsumexp(self.log_weights - 0.5 * square.sum(-1))

    def log_shares(self, x0: Float[Array, " d"]) -> Float[Array, " k"]:
        """log (a_k e^(…)) of every component at x₀, whose logarithmic sum is log c(x₀)."""
        scales = jnp.exp(self.log_scales)
        return self.log_weights + ((scales * x0 + 2 * self.centres) * x0).sum(-1) / (2 * self.epsilon)

    def loss(self, x0: Float[Array, "n d"], x1: Float[Array, "m d"]) -> Float[Array, ""]:
        """E log c(x₀) − E log v(x₁) over samples of both ends."""
        norm = jax.vmap(lambda x: jax.nn.logsumexp(self.log_shares(x)))(x0).mean()
        return norm - jax.vmap(self.log_potential)(x1).mean()

    def sample(self, x0: AnyArray, key: Any) -> Float[Array, "n d"]:
        """x₁ of every x₀ `(n, d)` from the plan; sample i depends on `fold_in(key, i)`."""
        x0, key = self._states(x0), random_key("LightBridge.sample", key)

        def one(x, i):
            which, normal = jax.random.split(jax.random.fold_in(key, i))
            k = jax.random.categorical(which, self.log_shares(x))
            scale = jnp.exp(self.log_scales[k])
            z = jax.random.normal(normal, x.shape, x.dtype)
            return self.centres[k] + scale * x + jnp.sqrt(self.epsilon * scale) * z

        return jax.vmap(one)(x0, jnp.arange(len(x0)))

    def drift(self, x: Float[Array, " d"], t: Any, condition: Any = None) -> Float[Array, " d"]:
        """Of dx = drift dt + √ε dW, t < 1: ε ∇ₓ log ∫ N(x₁ | x, ε (1 − t)) e^(|x₁|²/(2ε)) v(x₁) dx₁."""
        rest, scales = 1 - t, jnp.exp(self.log_scales)
        # Per component and entry: A = t/(ε(1 − t)) + 1/(ε S), h = x/(ε(1 − t)) + r/(ε S), the integral e^(h²/2A)/√(S A).
        precision = t / (self.epsilon * rest) + 1 / (self.epsilon * scales)

        def log_integral(x):
            h = x / (self.epsilon * rest) + self.centres / (self.epsilon * scales)
            exponent = h**2 / precision - self.centres**2 / (self.epsilon * scales) - jnp.log(scales * precision)
            return jax.nn.logsumexp(self.log_weights + 0.5 * exponent.sum(-1))

        return self.epsilon * jax.grad(log_integral)(x) - x / rest

    def _states(self, x0: AnyArray):
        x0 = jnp.asarray(real_array("LightBridge", "x0", x0), float)
        if x0.ndim != 2 or x0.shape[1] != self.centres.shape[1]:
            raise ValueError(f"LightBridge: expected samples (n, {self.centres.shape[1]}), got the shape {x0.shape}")
        return x0
