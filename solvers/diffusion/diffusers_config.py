"""A `scheduler_config.json` of diffusers as schedule, solver and times."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ...core.arguments import checked, count
from .denoiser import (
    AbstractPrediction,
    DataPrediction,
    FlowPrediction,
    NoisePrediction,
    VelocityPrediction,
)
from .diffusers_levels import TRAINED_STEPS, discrete_schedule, flow_times, noise_levels
from .diffusers_options import Options
from .multistep import DDIM, DPMSolverPP
from .noise_multistep import DEIS, IPNDM
from .schedule import AbstractSchedule, FlowMatching, VPCosine
from .single_step import Heun
from .solver import AbstractSolver
from .times import GivenTimes, check_levels
from .unipc import UniPC

_WITH_FLOW = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler")


class FromDiffusers(NamedTuple):
    """What a configuration of diffusers means here.

    **Fields:** `schedule`, `solver` and `times`, for `sample`; `prediction`, what the network predicts; `time_unit`, the time of
    the network per time of the schedule, 1000 for flow models.

    **Example:**

        >>> config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
        ...           "beta_schedule": "linear", "prediction_type": "epsilon", "clip_sample": False}
        >>> made = sx.diffusion.from_diffusers(config, steps=10)
        >>> isinstance(made, sx.diffusion.FromDiffusers), made.time_unit
        (True, 1.0)
    """

    schedule: AbstractSchedule
    solver: AbstractSolver
    times: GivenTimes
    prediction: type[AbstractPrediction]
    time_unit: float

    def denoiser(self, network: Any) -> AbstractPrediction:
        """The denoiser of a network that was trained with this configuration: `network(x, t, condition)` of one sample, at the
        times that diffusers hands to it."""
        make: Any = self.prediction  # its constructor is not that of the abstract class
        return make(_InTimeOf(network, self.time_unit), self.schedule)


class _InTimeOf(eqx.Module):
    network: Any
    unit: float = eqx.field(static=True)

    def __call__(self, x, t, condition):
        return self.network(x, self.unit * t, condition)


@checked
def from_diffusers(config: str | Path | dict, steps: int) -> FromDiffusers:
    """Schedule, solver and times of a scheduler of diffusers (as of version 0.42) for `steps` inference steps.

        made = sx.diffusion.from_diffusers("scheduler/scheduler_config.json", 20)
        x = sx.diffusion.sample(made.denoiser(network), made.solver, schedule=made.schedule, times=made.times, …)

    Known are DDIM, DPMSolverMultistep (dpmsolver++ and its SDE form), UniPCMultistep, DEISMultistep, EulerDiscrete,
    EulerAncestralDiscrete, HeunDiscrete, IPNDM and FlowMatchEulerDiscrete; their noise levels are those of diffusers. The states
    agree step by step, but for what diffusers does otherwise than its papers, which is not copied:

    - DPMSolverMultistep of order 3 halves the term of the second difference and has order two; here it has order three.
    - UniPC with bh1 is NaN in the step to no noise; here that step has order one.
    - IPNDM starts where α = 0 and divides by 1e-8, so that its first evaluation is lost; here it counts.
    - FlowMatchEuler applies `shift` to the smallest level twice (diffusers issue 13243); here every level is shifted once.
    - DDIM with "linspace" steps does not go to the next of its own times but T // N below; here it goes to the next one.
    - IPNDM extrapolates in the step to no noise, too; here that step has order one, as in all solvers.
    - A last step between equal levels (Karras, exponential and log-SNR grids that end at "sigma_min") is left out.
    - DEISMultistep repeats the last level of flow models, a step of length zero; here the last step goes to no noise.
    - Time steps are rounded to whole numbers also where noise levels are not (issue 12771); here the network is asked at the
      time of its noise level.

    **Arguments:** `config`: the file, its folder, or its contents. `steps`: the number of inference steps, N; Heun makes 2N − 1
    evaluations.

    **Raises:** `ValueError` for a scheduler or an option that is not known here, and for one whose value would change the
    samples in a way that is not; `FileNotFoundError`.

    **Example:**

        >>> config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
        ...           "beta_schedule": "linear", "prediction_type": "epsilon", "clip_sample": False}
        >>> found = sx.diffusion.from_diffusers(config, steps=10)
        >>> type(found.solver).__name__, found.prediction.__name__
        ('DDIM', 'NoisePrediction')
    """
    steps, options = count("from_diffusers", "steps", steps), Options.read(config)
    name, with_flow = options.scheduler, options.taken("use_flow_sigmas", False)
    heun = name == "HeunDiscreteScheduler"
    unit, zero = 1.0, True
    if name == "IPNDMScheduler":
        schedule, predicted = VPCosine(offset=0.0, start=1.0, end=1e-3), VelocityPrediction
        options.only("trained_betas", None)
        at = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * np.linspace(1, 0, steps + 1)[:-1]) ** 2)
    elif with_flow or name == "FlowMatchEulerDiscreteScheduler":
        schedule, predicted, unit = FlowMatching(), FlowPrediction, float(options.positive(TRAINED_STEPS, 1000))
        if with_flow and name not in _WITH_FLOW:
            options.only("use_flow_sigmas", False)
        at = flow_times(options, steps)
    else:
        schedule = discrete_schedule(options)
        levels, zero = noise_levels(options, schedule, steps)
        at = np.asarray(schedule.time(-np.log(levels)))
        predicted = _prediction(options)
    solver = _solver(options, steps)
    options.check_rest()
    check_levels(at, np.asarray(schedule.level(at), np.float64), schedule)
    evaluations = (2 * steps - zero if heun else steps) if zero else (2 if heun else 1) * (len(at) - 1)
    times = GivenTimes(evaluations, to_zero=zero, at=tuple(float(t) for t in at))
    return FromDiffusers(schedule, solver, times, predicted, unit)


def _prediction(options: Options) -> type[AbstractPrediction]:
    kinds = {"epsilon": NoisePrediction, "sample": DataPrediction, "v_prediction": VelocityPrediction}
    return kinds[options.one_of("prediction_type", "epsilon", *kinds)]


def _solver(options: Options, steps: int) -> AbstractSolver:
    order, few = options.taken("solver_order", 2), steps < 15
    match options.scheduler:
        case "DDIMScheduler":
            options.only("clip_sample", False, default=True)
            return DDIM()
        case "EulerDiscreteScheduler" | "FlowMatchEulerDiscreteScheduler":
            return DDIM()
        case "EulerAncestralDiscreteScheduler":
            return DDIM(eta=1.0)
        case "HeunDiscreteScheduler":
            options.only("clip_sample", False)
            return Heun()
        case "IPNDMScheduler":
            return IPNDM(4)
        case "UniPCMultistepScheduler":
            options.only("predict_x0", True)
            options.only("disable_corrector", [])
            variant = options.one_of("solver_type", "bh2", "bh1", "bh2")
            return UniPC(order, variant, lower_final=options.taken("lower_order_final", True))
        case "DEISMultistepScheduler":
            options.only("algorithm_type", "deis")
            options.only("solver_type", "logrho")
            return DEIS(order, "log_snr", lower_final=options.taken("lower_order_final", True) and few)
        case _:
            options.only("solver_type", "midpoint")
            form = options.one_of("algorithm_type", "dpmsolver++", "dpmsolver++", "sde-dpmsolver++")
            lower = options.taken("lower_order_final", True) and few
            return DPMSolverPP(order, eta=float(form.startswith("sde")), lower_final=lower)
