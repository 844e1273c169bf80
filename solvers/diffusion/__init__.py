"""Samplers of diffusion and flow models: any solver, schedule, time grid and kind of network in one compiled scan.

- `sample(denoiser, solver, schedule=, times=, shape=, n=, key=)` draws; `plan` gives the coefficient table that it runs.
- Solvers: `UniPC`, `DPMSolverPP`, `ExponentialAdams`, `DDIM`, `DEIS`, `IPNDM`, `Heun`, `DPMSolver`;
  `DPMSolverV3` with `ModelStatistics` of a denoiser.
- Schedules: `EDM`, `VE`, `VPLinear`, `VPCosine`, `VPDiscrete`, `FlowMatching`, `MeanReverting`; `from_diffusers` reads a
  scheduler_config.json.
- Time grids: `LogSNR`, `Rho`, `Quadratic`, `VPQuadratic`, `UniformTime`, `Shifted`, `GivenTimes`, `Tuned`.
- Networks as denoisers: `NoisePrediction`, `DataPrediction`, `VelocityPrediction`, `ScorePrediction`, `FlowPrediction`,
  `Preconditioned`; `GaussianDenoiser` of samples and `GaussianPreconditioned`, a network beside it; `InSpectrum` for solvers
  with weights per wavenumber.
- `choose`: the best classical solver and grid for one denoiser, by trying. `unrolled`: a sampler as a triangular matrix.
- Other processes: `StudentNoise` (PFGM++), `FlowMap` (any-step maps), `transport` between two distributions along the
  interpolants `Linear` and `Trigonometric`, `LightBridge`.
- `Gaussian`: the jump over the noisy end. `log_likelihood`: densities by the ODE; `likelihood_bound` for training; `curvature`.
"""

from .choice import Chosen as Chosen
from .choice import choose as choose
from .coloured_noise import AbstractColouredNoise as AbstractColouredNoise
from .conditions import AbstractCondition as AbstractCondition
from .conditions import Equation as Equation
from .conditions import KnownValues as KnownValues
from .conditions import LinearCondition as LinearCondition
from .conditions import Mass as Mass
from .conditions import Together as Together
from .constraint import Constraint as Constraint
from .denoiser import AbstractDenoiser as AbstractDenoiser
from .denoiser import AbstractPrediction as AbstractPrediction
from .denoiser import DataPrediction as DataPrediction
from .denoiser import FlowPrediction as FlowPrediction
from .denoiser import Level as Level
from .denoiser import NoisePrediction as NoisePrediction
from .denoiser import Preconditioned as Preconditioned
from .denoiser import ScorePrediction as ScorePrediction
from .denoiser import VelocityPrediction as VelocityPrediction
from .denoiser import as_denoiser as as_denoiser
from .diffusers_config import FromDiffusers as FromDiffusers
from .diffusers_config import from_diffusers as from_diffusers
from .divergence_free import DivergenceFree as DivergenceFree
from .dpm_solver_v3 import DPMSolverV3 as DPMSolverV3
from .field_noise import FieldNoise as FieldNoise
from .flow_map import FlowMap as FlowMap
from .gaussian_denoiser import GaussianDenoiser as GaussianDenoiser
from .gaussian_denoiser import GaussianPreconditioned as GaussianPreconditioned
from .guidance import AbstractGuidance as AbstractGuidance
from .guidance import Guided as Guided
from .guidance_covariance import PriorCovariance as PriorCovariance
from .guidance_ensemble import EnKG as EnKG
from .guidance_ensemble import SketchedMoments as SketchedMoments
from .guidance_ensemble import WithoutDerivatives as WithoutDerivatives
from .guidance_events import EventProbability as EventProbability
from .guidance_events import event_probability as event_probability
from .guidance_loss import TrainingFree as TrainingFree
from .guidance_moments import DMPS as DMPS
from .guidance_moments import DPS as DPS
from .guidance_moments import MCG as MCG
from .guidance_moments import MomentMatched as MomentMatched
from .guidance_moments import PiGDM as PiGDM
from .guidance_split import DAPS as DAPS
from .guidance_split import DiffPIR as DiffPIR
from .guidance_split import Renoised as Renoised
from .in_spectrum import InSpectrum as InSpectrum
from .in_spectrum import hartley as hartley
from .interpolant import AbstractInterpolant as AbstractInterpolant
from .interpolant import Linear as Linear
from .interpolant import Trigonometric as Trigonometric
from .interpolant import transport as transport
from .light_bridge import LightBridge as LightBridge
from .likelihood import log_likelihood as log_likelihood
from .mean_reverting import MeanReverting as MeanReverting
from .model_statistics import ModelStatistics as ModelStatistics
from .model_statistics import schedule_hash as schedule_hash
from .model_statistics import wavenumber_shells as wavenumber_shells
from .multistep import DDIM as DDIM
from .multistep import DPMSolverPP as DPMSolverPP
from .multistep import ExponentialAdams as ExponentialAdams
from .noise_multistep import DEIS as DEIS
from .noise_multistep import IPNDM as IPNDM
from .observation import AbstractEvidence as AbstractEvidence
from .observation import AbstractObservation as AbstractObservation
from .observation import Event as Event
from .observation import JointObservation as JointObservation
from .observation import LogLikelihood as LogLikelihood
from .observation import Observation as Observation
from .planning import plan as plan
from .sampling import Trajectory as Trajectory
from .sampling import sample as sample
from .schedule import EDM as EDM
from .schedule import VE as VE
from .schedule import AbstractSchedule as AbstractSchedule
from .schedule import FlowMatching as FlowMatching
from .schedule import VPCosine as VPCosine
from .schedule import VPDiscrete as VPDiscrete
from .schedule import VPLinear as VPLinear
from .single_step import DPMSolver as DPMSolver
from .single_step import Heun as Heun
from .solver import AbstractFixedSolver as AbstractFixedSolver
from .solver import AbstractMultistep as AbstractMultistep
from .solver import AbstractSolver as AbstractSolver
from .student_noise import StudentNoise as StudentNoise
from .table import Row as Row
from .table import Table as Table
from .table import Update as Update
from .table import assemble as assemble
from .table import noise_record as noise_record
from .teleportation import Gaussian as Gaussian
from .times import AbstractGrid as AbstractGrid
from .times import GivenTimes as GivenTimes
from .times import LogSNR as LogSNR
from .times import Quadratic as Quadratic
from .times import Rho as Rho
from .times import Shifted as Shifted
from .times import UniformTime as UniformTime
from .times import VPQuadratic as VPQuadratic
from .trajectory_curvature import curvature as curvature
from .triangular_form import from_unrolled as from_unrolled
from .triangular_form import unrolled as unrolled
from .tuned_times import Tuned as Tuned
from .unipc import UniPC as UniPC
from .variational_bound import likelihood_bound as likelihood_bound
