"""Baselines that every other surrogate should beat: the mean, persistence, a linear spectral map, and the solver itself."""

from .linear_spectral import LinearSpectral as LinearSpectral
from .mean_field import MeanField as MeanField
from .persistence import Persistence as Persistence
from .solver import SolverSurrogate as SolverSurrogate
from .unet import UNet as UNet
from .unet import UNetConfig as UNetConfig
