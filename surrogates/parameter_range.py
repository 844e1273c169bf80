"""The range of the parameters on which a surrogate was trained, and the warning for parameters outside it."""

import warnings

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ..core.storage import register

_MARGIN = 0.05  # relative to the width of the range, which new draws from the same law exceed a little
_ROUNDING = 1e-6  # relative to the ends of the range, because parameters are float32


@register("ParameterRange")
class ParameterRange(eqx.Module):
    """Smallest and largest value of every parameter over a training set.

    **Fields:** `lower`, `upper`: pytrees with the structure and shapes of the parameters of one sample (a number, an array, a
    dict by name, …).
    """

    lower: PyTree
    upper: PyTree

    @classmethod
    def of(cls, parameters: PyTree) -> "ParameterRange":
        """The range over the first axis, the sample axis, of every array of a pytree."""
        arrays = jax.tree.map(np.asarray, parameters)
        return cls(jax.tree.map(lambda x: x.min(0), arrays), jax.tree.map(lambda x: x.max(0), arrays))

    def warn_outside(self, parameters: PyTree, advice: str) -> None:
        """Warn if parameters are outside the range by more than 5 % of its width. Traced parameters (under jit) are not checked.

        **Arguments:**

        - `parameters`: the parameters of one sample, a pytree like `lower`; or of many samples, with a leading sample axis.
        - `advice`: the end of the warning: what it means, or what to do.
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
