"""surrogax: scientific surrogate models in JAX.

Neural operators, reduced-order bases and differentiable solvers on one dataset interface.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from .core.known_faults import avoid_wrong_sums as _avoid_wrong_sums

_avoid_wrong_sums()

# Each of these is imported when it is first used (`core/lazy_names.py`).
if TYPE_CHECKING:
    from .core.domains import AbstractDomain as AbstractDomain
    from .core.domains import Box as Box
    from .core.domains import Grid as Grid
    from .core.domains import Mesh as Mesh
    from .core.domains import PointCloud as PointCloud
    from .core.storage import register as register
    from .datasets.arrays import from_arrays as from_arrays
    from .datasets.concatenation import concat as concat
    from .datasets.dataset import Dataset as Dataset
    from .datasets.formats.registry import AbstractFormat as AbstractFormat
    from .datasets.formats.registry import register_format as register_format
    from .datasets.generation import generate as generate
    from .datasets.opening import open_dataset as open  # noqa: F401
    from .datasets.opening import open_splits as open_splits
    from .datasets.source import FieldSpec as FieldSpec
    from .solvers import diffusion as diffusion
    from .solvers import linear as linear
    from .solvers import pde as pde
    from .solvers import random as random
    from .solvers.pde import Dihedral as Dihedral
    from .solvers.pde import Problem as Problem
    from .solvers.pde import problem as problem
    from .solvers.pde import register_problem as register_problem
    from .surrogates import generative as generative
    from .surrogates import learned_solvers as learned_solvers
    from .surrogates import reduced as reduced
    from .surrogates.baselines import LinearSpectral as LinearSpectral
    from .surrogates.baselines import MeanField as MeanField
    from .surrogates.baselines import Persistence as Persistence
    from .surrogates.baselines import SolverSurrogate as SolverSurrogate
    from .surrogates.baselines import UNet as UNet
    from .surrogates.batching import Batch as Batch
    from .surrogates.conformal import ConformalBand as ConformalBand
    from .surrogates.conformal import conformal as conformal
    from .surrogates.contract import check_surrogate as check_surrogate
    from .surrogates.ensemble import Ensemble as Ensemble
    from .surrogates.evaluation import metrics as metrics
    from .surrogates.evaluation import plots as plots
    from .surrogates.evaluation import report as report
    from .surrogates.evaluation.calibration import Calibration as Calibration
    from .surrogates.evaluation.calibration import calibration as calibration
    from .surrogates.evaluation.evaluate import evaluate as evaluate
    from .surrogates.evaluation.table import Table as Table
    from .surrogates.generative.amortized_posterior import AmortizedPosterior as AmortizedPosterior
    from .surrogates.generative.field_denoiser import Denoiser as Denoiser
    from .surrogates.generative.observe import Observe as Observe
    from .surrogates.generative.prior import Prior as Prior
    from .surrogates.generative.refiner import Refiner as Refiner
    from .surrogates.learned_solvers.learned_solver import LearnedSolver as LearnedSolver
    from .surrogates.model_registry import register_model as register_model
    from .surrogates.networks.abstract_network import Abilities as Abilities
    from .surrogates.networks.abstract_network import AbstractNetwork as AbstractNetwork
    from .surrogates.networks.abstract_network import AbstractNetworkConfig as AbstractNetworkConfig
    from .surrogates.networks.network_surrogate import NetworkSurrogate as NetworkSurrogate
    from .surrogates.networks.warm_start import warm_start as warm_start
    from .surrogates.networks.wrap import wrap as wrap
    from .surrogates.operators.cape import CAPE as CAPE
    from .surrogates.operators.deeponet import DeepONet as DeepONet
    from .surrogates.operators.ffno import FFNO as FFNO
    from .surrogates.operators.fno import FNO as FNO
    from .surrogates.operators.gino import GINO as GINO
    from .surrogates.operators.mode_growth import mode_gradients as mode_gradients
    from .surrogates.operators.mode_growth import with_modes as with_modes
    from .surrogates.operators.neural_spectral import NeuralSpectral as NeuralSpectral
    from .surrogates.operators.pod_deeponet import PODDeepONet as PODDeepONet
    from .surrogates.operators.point_net import PointNet as PointNet
    from .surrogates.operators.spectral_space import InverseLaplacian as InverseLaplacian
    from .surrogates.operators.transolver import Transolver as Transolver
    from .surrogates.operators.uno import UNO as UNO
    from .surrogates.physics.causal_sampling import CausalR3 as CausalR3
    from .surrogates.physics.gaussian_growth import with_gaussians as with_gaussians
    from .surrogates.physics.models import PIG as PIG
    from .surrogates.physics.models import PINN as PINN
    from .surrogates.physics.models import SPINN as SPINN
    from .surrogates.physics.models import RandomFeatures as RandomFeatures
    from .surrogates.physics.residual import Residual as Residual
    from .surrogates.physics.sampling import R3 as R3
    from .surrogates.physics.sampling import RAD as RAD
    from .surrogates.physics.sampling import RAR as RAR
    from .surrogates.physics.sampling import FixedPoints as FixedPoints
    from .surrogates.physics.sampling import UniformSampler as UniformSampler
    from .surrogates.physics.time_windows import march as march
    from .surrogates.physics.weights import Attention as Attention
    from .surrogates.physics.weights import Causal as Causal
    from .surrogates.physics.weights import GradientNorm as GradientNorm
    from .surrogates.physics.weights import TangentKernel as TangentKernel
    from .surrogates.reduced import GalerkinRB as GalerkinRB
    from .surrogates.reduced import LocalPOD as LocalPOD
    from .surrogates.reduced import PODRegression as PODRegression
    from .surrogates.saving import load as load
    from .surrogates.surrogate import AbstractBatchFirst as AbstractBatchFirst
    from .surrogates.surrogate import AbstractGenerative as AbstractGenerative
    from .surrogates.surrogate import AbstractProbabilistic as AbstractProbabilistic
    from .surrogates.surrogate import AbstractRelative as AbstractRelative
    from .surrogates.surrogate import AbstractSurrogate as AbstractSurrogate
    from .surrogates.surrogate import Capabilities as Capabilities
    from .surrogates.task.inputs import FieldValues as FieldValues
    from .surrogates.task.inputs import Inputs as Inputs
    from .surrogates.task.modes import Autoregressive as Autoregressive
    from .surrogates.task.modes import SpaceTime as SpaceTime
    from .surrogates.task.modes import Steady as Steady
    from .surrogates.task.signature import Signature as Signature
    from .surrogates.task.task import Task as Task
    from .surrogates.trainable import AbstractTrainable as AbstractTrainable
    from .surrogates.trainable import Buffer as Buffer
    from .surrogates.trainable import count_parameters as count_parameters
    from .surrogates.trainable import trainable as trainable
    from .surrogates.training import log as log
    from .surrogates.training import losses as losses
    from .surrogates.training.fit import fit as fit
    from .surrogates.training.gauss_newton import GaussNewton as GaussNewton
    from .surrogates.training.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
    from .surrogates.training.objective import AbstractLeastSquares as AbstractLeastSquares
    from .surrogates.training.objective import AbstractObjective as AbstractObjective
    from .surrogates.training.objective import Outcome as Outcome
    from .surrogates.training.quasi_newton import LBFGS as LBFGS
    from .surrogates.training.quasi_newton import SSBroyden as SSBroyden
    from .surrogates.training.result import AbstractDirectFit as AbstractDirectFit
    from .surrogates.training.result import FitResult as FitResult
    from .surrogates.training.sketched import SketchedLevenbergMarquardt as SketchedLevenbergMarquardt
    from .surrogates.training.soap import soap as soap
    from .surrogates.training.solver_source import SolverSource as SolverSource
    from .surrogates.training.spring import SPRING as SPRING
    from .surrogates.training.steps import AbstractStep as AbstractStep
    from .surrogates.training.steps import Taken as Taken
    from .surrogates.training.supervised import Supervised as Supervised
    from .surrogates.training.supervised import Unroll as Unroll
else:
    from .core.lazy_names import LazyNames
    from .core.registry import register_by

    _names = LazyNames(__name__)
    __getattr__, __dir__, __all__ = _names.find, _names.listed, list(_names.homes)
    register_by(_names.load)
    del LazyNames, register_by

__version__ = _version("surrogax")
