"""What operators on scattered points see of a sample: values, parameters and coordinates point by point, and weights."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..task.inputs import Inputs
from ..task.signature import Signature


def feature_channels(name: str, signature: Signature) -> int:
    """Number of channels of `point_features`.

    **Raises:** `ValueError`, which begins with `name`, if the input fields live at other points than the output.
    """
    for source in signature.sources:
        if source.domain != signature.domain:
            raise ValueError(
                f"{name}: the inputs live on {source.domain!r}, the targets on {signature.domain!r}; {name} needs all fields at "
                "the same points"
            )
    return sum(source.channels for source in signature.sources) + signature.params + signature.ndim


def point_features(inputs: Inputs) -> tuple[Float[Array, "n c"], Float[Array, "n d"], Float[Array, " n"]]:
    """Features, coordinates and weights of all points of a sample in one row each, whatever the axes of its domain.

    The features are the input fields, the parameters and the coordinates, these with mean 0 and deviation 1 where points fill
    their box, as fields have. The weights are those of the quadrature, divided by their sum. At padded points all are zero.
    """
    points = inputs.query.points
    points = jnp.asarray(points).reshape(-1, points.shape[-1])
    weights = jnp.asarray(inputs.query.weights, points.dtype).reshape(-1)
    parts = [source.values.reshape(len(points), -1) for source in inputs.sources]
    if inputs.params is not None:
        parts.append(jnp.broadcast_to(inputs.params, (len(points), inputs.params.shape[-1])))
    coordinates = np.sqrt(12).astype(points.dtype) * (points - 0.5)
    features = jnp.concatenate([*parts, coordinates.astype(jnp.result_type(*parts, points))], -1)
    if inputs.query.mask is not None:
        real = inputs.query.mask.reshape(-1)
        features, points = (jnp.where(real[:, None], x, 0) for x in (features, points))
        weights = jnp.where(real, weights, 0)
    return features, points, weights / weights.sum()
