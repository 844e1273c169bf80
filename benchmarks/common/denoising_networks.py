"""The denoisers of `benchmarks/sampling_overhead.py` in JAX: of our samplers and of their peers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .denoising_kernels import kernels


def network(name: str) -> Callable:
    """`predict(x (batch, 64, 64, 1), t) -> x₀`, "trivial" or "convolutional"."""
    if name == "trivial":
        return lambda x, t: 0.5 * x
    weights = [jnp.asarray(k) for k in kernels()]

    def convolutional(x, t):
        h = jnp.concatenate([x, jnp.full_like(x, t)], -1)
        for i, kernel in enumerate(weights):
            h = h if i == 0 else jax.nn.silu(h)
            h = jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return 0.5 * x + 0.1 * h

    return convolutional


def repeated_calls(predict: Callable, times) -> Callable:
    """`x ↦ x` after one call of the network at every time: what a sampler costs at least."""

    def run(x):
        return jax.lax.scan(lambda x, t: (predict(x, t), None), x, jnp.asarray(times, jnp.float32))[0]

    return run
