"""The small network of classifiers and regressors: the library's MLP with tanh and initial weights for inputs of known size."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...networks.layers import PointwiseMLP


def tanh_network(*sizes: int, energy: float, key: Array) -> PointwiseMLP:
    """x ↦ W tanh(… tanh(W x + b) …) + b for `sizes` (inputs, widths …, outputs), with biases zero and weights
    N(0, 1/`energy`) in the first layer, N(0, 1/inputs of the layer) in the others, so that every unit sees numbers of
    order one.

    **Arguments:** `energy`: mean of ‖x‖² over the samples; the number of inputs where they are standardised.
    """
    network = PointwiseMLP(*sizes, activation="tanh", key=key)
    variances = [energy, *sizes[1:-1]]
    keys = jax.random.split(key, len(variances))
    weights = [
        jax.random.normal(k, layer.weight.shape) / variance**0.5
        for k, layer, variance in zip(keys, network.layers, variances, strict=True)
    ]
    biases = [jnp.zeros(size) for size in sizes[1:]]
    return eqx.tree_at(lambda n: [x for layer in n.layers for x in (layer.weight, layer.bias)], network,
                       [x for pair in zip(weights, biases, strict=True) for x in pair])  # fmt: skip
