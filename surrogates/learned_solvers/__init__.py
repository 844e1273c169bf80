"""Models that `fit` trains and that run inside solvers: search directions for `linear.DeepCG`, preconditioners for `CG`,
coefficient tables for `diffusion.sample`.

- `MultilevelDirection`, `DirectionNetwork`: search directions. `DirectionObjective` trains them on an `AbstractSystems`
  (`MixedDomains`, `RandomDomains`, `SineSystems`). `DirectionFamily` joins trained directions of several space dimensions.
- `GraphPreconditioner`: a preconditioner by a `GraphNetwork`. `PreconditionerObjective` trains it.
- `LearnedSolver`: a sampler of diffusion models. `SolverMatching` trains it, `EndError` measures it; `FreeTable`, `DODE`, `IIA`,
  `SolverSearch`, `TimeAlignment`, `StepChoices` say what of it is free.
"""

from .direction_family import DirectionFamily as DirectionFamily
from .direction_network import DirectionNetwork as DirectionNetwork
from .direction_objective import DirectionObjective as DirectionObjective
from .direction_systems import AbstractSystems as AbstractSystems
from .direction_systems import MixedDomains as MixedDomains
from .direction_systems import RandomDomains as RandomDomains
from .direction_systems import SineSystems as SineSystems
from .direction_systems import mixed_domain as mixed_domain
from .direction_systems import random_domain as random_domain
from .direction_systems import ritz_mix as ritz_mix
from .direction_systems import ritz_vectors as ritz_vectors
from .direction_systems import sine_mix as sine_mix
from .graph_network import GraphNetwork as GraphNetwork
from .graph_preconditioner import GraphPreconditioner as GraphPreconditioner
from .learned_solver import LearnedSolver as LearnedSolver
from .multilevel_direction import MultilevelDirection as MultilevelDirection
from .preconditioner_objective import PreconditionerObjective as PreconditionerObjective
from .probability_flow import ProbabilityFlow as ProbabilityFlow
from .solver_forms import DODE as DODE
from .solver_forms import IIA as IIA
from .solver_forms import AbstractForm as AbstractForm
from .solver_forms import FreeTable as FreeTable
from .solver_forms import SolverSearch as SolverSearch
from .solver_forms import TimeAlignment as TimeAlignment
from .solver_objective import EndError as EndError
from .solver_objective import SolverMatching as SolverMatching
from .step_search import StepChoice as StepChoice
from .step_search import StepChoices as StepChoices
