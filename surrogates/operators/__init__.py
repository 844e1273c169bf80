"""Neural operators."""

from .fno import FNO as FNO
from .fno import NEURALOPERATOR as NEURALOPERATOR
from .fno import ORIGINAL as ORIGINAL
from .fno import FNOConfig as FNOConfig
from .fno import FourierNetwork as FourierNetwork
from .ported import from_neuraloperator as from_neuraloperator
