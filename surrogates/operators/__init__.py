"""Neural operators."""

from .cape import CAPE as CAPE
from .cape import CAPEConfig as CAPEConfig
from .deeponet import DeepONet as DeepONet
from .deeponet import DeepONetConfig as DeepONetConfig
from .ffno import FFNO as FFNO
from .ffno import FFNOConfig as FFNOConfig
from .fno import FNO as FNO
from .fno import NEURALOPERATOR as NEURALOPERATOR
from .fno import ORIGINAL as ORIGINAL
from .fno import FNOConfig as FNOConfig
from .fno import FourierNetwork as FourierNetwork
from .gino import GINO as GINO
from .gino import GINOConfig as GINOConfig
from .neural_spectral import NeuralSpectral as NeuralSpectral
from .neural_spectral import NeuralSpectralSurrogate as NeuralSpectralSurrogate
from .pod_deeponet import PODDeepONet as PODDeepONet
from .pod_deeponet import PODDeepONetConfig as PODDeepONetConfig
from .point_net import PointNet as PointNet
from .point_net import PointNetConfig as PointNetConfig
from .ported import from_neuraloperator as from_neuraloperator
from .ported import to_neuraloperator as to_neuraloperator
from .spectral_residual import SpectralResidual as SpectralResidual
from .transolver import Transolver as Transolver
from .transolver import TransolverConfig as TransolverConfig
from .uno import UNO as UNO
from .uno import UNOConfig as UNOConfig
