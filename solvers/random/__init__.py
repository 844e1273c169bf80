"""Laws of the inputs of a PDE: random fields on a grid and random numbers.

Each is a frozen dataclass with `sample(key, grid)`: an array `(*grid.shape)` for a field, `()` for a number. A field
depends on the key alone, not on the resolution (see `kernels.gaussian_field`).
"""

from .bumps import Bumps as Bumps
from .bumps import Clusters as Clusters
from .functions_of_fields import Lognormal as Lognormal
from .functions_of_fields import Threshold as Threshold
from .functions_of_fields import UnitRange as UnitRange
from .gaussian_laws import AbstractGaussianLaw as AbstractGaussianLaw
from .gaussian_laws import GaussianField as GaussianField
from .gaussian_laws import Matern as Matern
from .gaussian_laws import PeriodicGP as PeriodicGP
from .laws import AbstractLaw as AbstractLaw
from .laws import Distribution as Distribution
from .laws import JointLaw as JointLaw
from .laws import Part as Part
from .laws import TimedDistribution as TimedDistribution
from .number_laws import Beta as Beta
from .number_laws import LogUniform as LogUniform
from .number_laws import Uniform as Uniform
from .waves_and_noise import InterpolatedNoise as InterpolatedNoise
from .waves_and_noise import SquareWave as SquareWave
from .waves_and_noise import SumOfWaves as SumOfWaves
from .waves_and_noise import TruncatedNoise as TruncatedNoise
