"""Neural operators."""

from .deeponet import DeepONet as DeepONet
from .deeponet import DeepONetConfig as DeepONetConfig
from .fno import FNO as FNO
from .fno import NEURALOPERATOR as NEURALOPERATOR
from .fno import ORIGINAL as ORIGINAL
from .fno import FNOConfig as FNOConfig
from .fno import FourierNetwork as FourierNetwork
from .neural_spectral import NeuralSpectral as NeuralSpectral
from .neural_spectral import NeuralSpectralSurrogate as NeuralSpectralSurrogate
from .pod_deeponet import PODDeepONet as PODDeepONet
from .pod_deeponet import PODDeepONetConfig as PODDeepONetConfig
from .ported import from_neuraloperator as from_neuraloperator
from .spectral_residual import SpectralResidual as SpectralResidual
