"""Training of flows and bridges between distributions; `surrogax.diffusion` samples them."""

from .path_objectives import AbstractPathObjective as AbstractPathObjective
from .path_objectives import BridgeObjective as BridgeObjective
from .path_objectives import FlowObjective as FlowObjective
from .path_objectives import InterpolantObjective as InterpolantObjective
from .path_objectives import WindowObjective as WindowObjective
from .path_objectives import windows as windows
from .simplified_bridge import BridgeHalfObjective as BridgeHalfObjective
from .simplified_bridge import bridge_paths as bridge_paths
from .trainable_bridge import TrainableBridge as TrainableBridge
from .vector_field import VectorField as VectorField
