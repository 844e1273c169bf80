"""`TrainableBridge`: a light Schrödinger bridge that `fit` trains."""

from typing import Any

from jaxtyping import Array

from ...core.arguments import checked
from ...core.storage import register
from ...solvers.diffusion.light_bridge import LightBridge
from ..trainable import AbstractTrainable
from .path_objectives import BridgeObjective


@register("TrainableBridge")
class TrainableBridge(AbstractTrainable):
    """A `LightBridge` as a model of `fit`; the trained one is its field `bridge`.

    found = sx.fit(TrainableBridge(LightBridge(2, 10, epsilon=0.1, key=key)), starts=x0, ends=x1, optimizer=optax.adam(1e-2),
                   steps=2000)

    **Example:**

        >>> bridge = sx.generative.TrainableBridge(sx.diffusion.LightBridge(2, components=3, key=key))
        >>> sx.count_parameters(bridge)
        15
    """

    bridge: LightBridge

    @checked
    def __init__(self, bridge: LightBridge):
        self.bridge = bridge

    @property
    def state(self) -> None:
        return None

    def objective(self, data: None = None, **options: Any) -> BridgeObjective:
        """The default objective of `fit`: `BridgeObjective` with these options, `starts=…` and `ends=…`."""
        return BridgeObjective(**options)

    def renewed(self, key: Array) -> "TrainableBridge":
        components, dim = self.bridge.centres.shape
        return TrainableBridge(LightBridge(dim, components, self.bridge.epsilon, key=key))
