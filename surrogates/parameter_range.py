"""The range of the parameters that a surrogate was trained on, and the one warning outside it."""

import warnings

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ..core.storage import register

_MARGIN = 0.05  # of the width of the range: new draws from the law of the training set exceed it by a little
_ROUNDING = 1e-6  # of the size of the ends: parameters come in float32


@register("ParameterRange")
class ParameterRange(eqx.Module):
    """Smallest and largest value of every parameter over a training set.

    **Fields:** `lower`, `upper`: trees of arrays like the parameters of ONE sample (a number, an array, a dict by name, …).
    """

    lower: PyTree
    upper: PyTree

    @classmethod
    def of(cls, parameters: PyTree) -> "ParameterRange":
        """The range of a tree of arrays with the training samples along the first axis."""
        arrays = jax.tree.map(np.asarray, parameters)
        return cls(jax.tree.map(lambda x: x.min(0), arrays), jax.tree.map(lambda x: x.max(0), arrays))

    def warn_outside(self, parameters: PyTree, advice: str) -> None:
        """Warn of parameters that are outside the range by more than 5 % of its width; say nothing where they are traced,
        as under jit.

        **Arguments:**

        - `parameters`: a tree like `lower`, of one sample, or of many along a first axis.
        - `advice`: the end of the warning, what to do about it or what it means.
        """
        named = jax.tree_util.tree_leaves_with_path(parameters)
        ends = jax.tree.leaves(self.lower), jax.tree.leaves(self.upper)
        if any(isinstance(x, Tracer) for x in (*(value for _, value in named), *ends[0], *ends[1])):
            return
        for (path, value), *range_ in zip(named, *ends, strict=True):
            value, low, high = map(np.asarray, (value, *range_))
            margin = np.maximum(_MARGIN * (high - low), _ROUNDING * np.maximum(abs(low), abs(high)))
            samples = value.reshape(-1, *low.shape)  # one sample becomes a batch of one
            outside = ((samples < low - margin) | (samples > high + margin)).reshape(len(samples), -1).any(1)
            if outside.any():
                name = jax.tree_util.keystr(path, simple=True, separator=".") or "the parameter"
                worst = samples[np.argmax(outside)]
                many = f"{outside.sum()} of {len(samples)} samples have " if value.ndim > low.ndim else ""
                found = f"{many}{name} outside" if many else f"{name} = {worst} is outside"
                warnings.warn(f"{found} the training range [{low}, {high}]; {advice}", stacklevel=3)
