"""Generative models of fields, and training of flows and bridges between distributions; `surrogax.diffusion` samples them."""

from .amortized_posterior import AmortizedPosterior as AmortizedPosterior
from .conditioned import Conditioned as Conditioned
from .denoising import Denoising as Denoising
from .field_conditions import OnField as OnField
from .field_denoiser import Denoiser as Denoiser
from .observe import Observe as Observe
from .path_objectives import AbstractPathObjective as AbstractPathObjective
from .path_objectives import BridgeObjective as BridgeObjective
from .path_objectives import FlowObjective as FlowObjective
from .path_objectives import InterpolantObjective as InterpolantObjective
from .path_objectives import WindowObjective as WindowObjective
from .path_objectives import windows as windows
from .posterior import Posterior as Posterior
from .prior import AbstractPrior as AbstractPrior
from .prior import Prior as Prior
from .refiner import Refiner as Refiner
from .refining import Refining as Refining
from .sensor_transformer import SensorTransformer as SensorTransformer
from .sensors import Sensors as Sensors
from .simplified_bridge import BridgeHalfObjective as BridgeHalfObjective
from .simplified_bridge import bridge_paths as bridge_paths
from .trainable_bridge import TrainableBridge as TrainableBridge
from .vector_field import VectorField as VectorField
