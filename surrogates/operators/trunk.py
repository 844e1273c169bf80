"""Trunks of DeepONets: basis functions of the query points."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..networks.layers import PointwiseMLP
from ..task.inputs import Inputs
from ..task.signature import Signature


class Trunk(eqx.Module):
    """Functions t_1 … t_n of the coordinates x.

    The MLP sees every coordinate of a box as 2x − 1 with x in [0, 1], and along periodic axes sin 2πjx and cos 2πjx for
    j ≤ `frequencies` instead, so that the functions are periodic. On clouds and meshes x runs over the bounding box of the input
    fields' points.
    """

    network: PointwiseMLP
    signature: Signature = eqx.field(static=True)
    frequencies: int = eqx.field(static=True)

    def __init__(
        self, signature: Signature, hidden: tuple[int, ...], out: int, activation: str, frequencies: int, *, key: Array
    ):
        periodic = signature.domain.periodic
        features = sum(2 * frequencies if wrap else 1 for wrap in periodic)
        self.network = PointwiseMLP(features, *hidden, out, activation=activation, key=key)
        self.signature, self.frequencies = signature, frequencies

    def __call__(self, inputs: Inputs) -> Float[Array, "*query out"]:
        points = inputs.query.points
        x = points if self.signature.domain.fixed else _in_box_of_sensors(points, inputs)
        features = []
        for axis, wrap in enumerate(self.signature.domain.periodic):
            own = x[..., axis : axis + 1]
            if wrap:
                angles = own * (2 * np.pi * np.arange(1, self.frequencies + 1)).astype(own.dtype)
                features += [jnp.sin(angles), jnp.cos(angles)]
            else:
                features.append(2 * own - 1)
        dtype = self.network.layers[0].weight.dtype
        return self.network(jnp.concatenate(features, -1).astype(dtype))


def _in_box_of_sensors(points: Float[Array, "*query d"], inputs: Inputs) -> Float[Array, "*query d"]:
    """`points` scaled to [0, 1] along every axis of the bounding box of the input fields' points of their dimension; as they are
    without such fields."""
    sites = [source.sites for source in inputs.sources if source.sites.points.shape[-1] == points.shape[-1]]
    if not sites:
        return points
    low, high = (
        end(
            jnp.stack([
                end(jnp.where(_real(s)[..., None], s.points, fill), tuple(range(s.points.ndim - 1))) for s in sites
            ]),
            0,
        )
        for end, fill in ((jnp.min, jnp.inf), (jnp.max, -jnp.inf))
    )  # fmt: skip
    return (points - low) / jnp.where(high > low, high - low, 1)


def _real(sites):
    return jnp.ones(sites.points.shape[:-1], bool) if sites.mask is None else sites.mask
