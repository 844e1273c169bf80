"""The range of the parameters that a reduced model was trained on, and a warning outside it."""

import warnings

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree


def training_range(parameters: PyTree) -> tuple[PyTree, PyTree]:
    """Smallest and largest values of a tree of arrays with the samples along the first axis."""
    return jax.tree.map(lambda x: np.min(x, 0), parameters), jax.tree.map(lambda x: np.max(x, 0), parameters)


def warn_outside(parameters: PyTree, lower: PyTree, upper: PyTree, advice: str) -> None:
    """Warns of parameters outside [lower, upper] by more than float32 rounding; says nothing where they are traced."""
    leaves, lower, upper = (jax.tree.leaves(t) for t in (parameters, lower, upper))
    if any(isinstance(x, Tracer) for x in (*leaves, *lower, *upper)):
        return
    for x, low, high in zip(leaves, lower, upper, strict=True):
        slack = 1e-6 * np.maximum(abs(np.asarray(low)), abs(np.asarray(high)))
        if (np.asarray(x) < low - slack).any() or (np.asarray(x) > high + slack).any():
            message = f"a parameter {np.asarray(x)} is outside the training range [{low}, {high}]; {advice}"
            warnings.warn(message, stacklevel=3)
