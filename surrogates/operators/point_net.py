"""PointNet (Qi et al., CVPR 2017) with mean pooling: the simplest network on point clouds of any size, a baseline."""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...core.arguments import check_fields, checked, count, random_key
from ...core.storage import register
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import PointwiseMLP
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .point_features import feature_channels, point_features


@register("PointNet.Config")
@dataclass(frozen=True)
class PointNetConfig(AbstractNetworkConfig):
    """Sizes of a `PointNet`.

    **Arguments:** `width`, channels of all hidden layers; `depth`, number of layers before and after the pooling; `activation`,
    "gelu", "relu" or "tanh".

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1.

    **Example:**

        >>> sx.PointNet.config(width=64).depth
        3
    """

    width: int = 128
    depth: int = 3
    activation: Literal["gelu", "relu", "tanh"] = "gelu"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "depth"):
            count("PointNet", name, vars(self)[name])

    def build(self, signature: Signature, key: Array) -> "PoolingNetwork":
        return PoolingNetwork(self, signature, key=key)


class PoolingNetwork(AbstractNetwork):
    """The network of `PointNet`, for one sample."""

    before: PointwiseMLP
    after: PointwiseMLP
    config: PointNetConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: PointNetConfig, signature: Signature, *, key: Array):
        k1, k2 = jax.random.split(key)
        n_in, hidden = feature_channels("PointNet", signature), (config.width,) * config.depth
        self.before = PointwiseMLP(n_in, *hidden, activation=config.activation, key=k1)
        self.after = PointwiseMLP(
            2 * config.width, *hidden, signature.out_channels, activation=config.activation, key=k2
        )
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(resolution_free=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        features, _, weights = point_features(inputs)
        dtype = self.before.layers[0].weight.dtype
        local = self.before(features.astype(dtype))
        whole = jnp.broadcast_to(weights.astype(dtype) @ local, local.shape)
        y = self.after(jnp.concatenate([local, whole], -1))
        return y.reshape(*inputs.query.points.shape[:-1], -1), state


class PointNet:
    """PointNet with mean pooling, for grids, point clouds and meshes. `PointNet(task, key=key)` returns a `NetworkSurrogate`.

        u(x_i) = Q(h_i, Σ_j ω_j h_j),   h_i = P(a_i, p, x_i)

    with pointwise MLPs P and Q, input values a, parameters p, coordinates x and quadrature weights ω that sum to one. All that a
    point learns of the others is one mean. This is the baseline that operators on meshes have to beat.

    **Arguments:** `task`, the learning problem, with all fields at the same points; `width`, channels of the hidden layers, 64 to
    256; `depth`, layers before and after the pooling, 2 to 4; `activation`, "gelu", "relu" or "tanh"; `key`, the random key of
    the initial weights. `PointNet.config(width=…)` makes the frozen config only.

    **Raises:** `ValueError` for inputs at other points than the targets, and for wrong settings.

    **Source:** Qi et al., CVPR 2017, figure 2 (segmentation); they take the maximum where we take the mean.

    **Example:**

        >>> sx.PointNet(task, width=8, depth=2, key=key).predict(ds[:2])["u"].shape
        (2, 16)
    """

    config = PointNetConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        width: int = 128,
        depth: int = 3,
        activation: Literal["gelu", "relu", "tanh"] = "gelu",
        key: Array,
    ) -> NetworkSurrogate:
        config = PointNetConfig(width=width, depth=depth, activation=activation)
        return NetworkSurrogate.build(config, task, random_key("PointNet", key))
