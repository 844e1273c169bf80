"""The noise levels at which a scheduler of diffusers evaluates, from its options."""

import math

import numpy as np

from ...core.arguments import real_array
from .diffusers_options import Options
from .schedule import VPDiscrete

TRAINED_STEPS = "num_train_timesteps"
# In these the network is asked at N times from the last to the first step; in the others the first step is left out.
_FULL_RANGE = ["DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"]


def discrete_schedule(options: Options) -> VPDiscrete:
    """ᾱ at the steps of training."""
    number, heun = options.taken(TRAINED_STEPS, 1000), options.scheduler == "HeunDiscreteScheduler"
    first = options.positive("beta_start", 0.00085 if heun else 1e-4)
    last = options.positive("beta_end", 0.012 if heun else 0.02)
    form = options.one_of("beta_schedule", "linear", "linear", "scaled_linear", "squaredcos_cap_v2")
    trained = options.taken("trained_betas", None)
    if trained is not None:
        betas = np.asarray(real_array(options.where, "trained_betas", trained), np.float64)
    elif form == "linear":
        betas = np.linspace(first, last, number)
    elif form == "scaled_linear":
        betas = np.linspace(math.sqrt(first), math.sqrt(last), number) ** 2
    else:
        edges = np.cos((np.arange(number + 1) / number + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - edges[1:] / edges[:-1], 0.999)
    return VPDiscrete.from_betas(betas)


def noise_levels(options: Options, schedule: VPDiscrete, steps: int) -> tuple[np.ndarray, bool]:
    """The levels s = σ/α of all evaluations, with the last one if it is not zero; and whether it is."""
    trained = schedule.level(np.arange(len(schedule.alphas_cumprod), dtype=np.float64))
    nodes = _time_steps(options, schedule, steps)
    named = {"karras": _karras, "exponential": _exponential, "lu": _exponential}
    flags = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "lu": "use_lu_lambdas"}
    chosen = [name for name, flag in flags.items() if options.taken(flag, False)]
    if len(chosen) > 1:
        raise ValueError(
            f"{options.where}: {[flags[name] for name in chosen]} exclude each other; set one of them to true"
        )
    if not 0 <= nodes[-1] <= nodes[0] <= len(trained) - 1 or (steps == 1 and 2 * nodes[0] < len(trained) - 1):
        raise ValueError(
            f"{options.where}: {steps} inference steps start at the time step {nodes[0]:g} and end at {nodes[-1]:g}; the network "
            f"was trained on 0 to {len(trained) - 1}, the last of which is noise; see steps, steps_offset and timestep_spacing"
        )
    levels = np.interp(nodes, np.arange(len(trained)), trained)
    if chosen:
        span = levels[[0, -1]] if options.scheduler in _FULL_RANGE else trained[[-1, 0]]
        largest, smallest = (
            options.positive(n, None) or float(s) for n, s in zip(("sigma_max", "sigma_min"), span, strict=True)
        )
        levels = named[chosen[0]](largest, smallest, steps)
        if levels[0] > trained[-1] * (1 + 1e-6) or levels[-1] < trained[0] * (1 - 1e-6):
            raise ValueError(f"{options.where}: sigma_min or sigma_max lie beyond the levels of training")
    else:
        options.only("sigma_min", None)
        options.only("sigma_max", None)
    if options.scheduler == "DDIMScheduler":
        zero = options.taken("set_alpha_to_one", True)
    elif options.scheduler == "DEISMultistepScheduler":
        zero = False
    else:
        zero = options.one_of("final_sigmas_type", "zero", "zero", "sigma_min") == "zero"
    levels = np.clip(levels, trained[0], trained[-1])
    if zero:
        return levels, True
    # From the smallest level to the smallest level is no step.
    return (levels if levels[-1] < trained[0] * (1 + 1e-6) else np.append(levels, trained[0])), False


def _time_steps(options: Options, schedule: VPDiscrete, steps: int) -> np.ndarray:
    """The steps of training, noisy first; whole numbers but for Euler and Heun."""
    name, number = options.scheduler, len(schedule.alphas_cumprod)
    if name == "DPMSolverMultistepScheduler":
        clipped = float(options.taken("lambda_min_clipped", -math.inf))
        number -= int((schedule.log_snr(np.arange(number, dtype=np.float64)) < clipped).sum())
    spacing = options.one_of(
        "timestep_spacing", "leading" if name == "DDIMScheduler" else "linspace", "linspace", "leading", "trailing"
    )
    offset, full = options.taken("steps_offset", 0), name in _FULL_RANGE
    if spacing == "linspace":
        nodes = np.linspace(0, number - 1, steps if full else steps + 1)[::-1][:steps]
        return nodes if full and name != "DDIMScheduler" else nodes.round()
    if spacing == "leading":
        ratio = number // (steps if full else steps + 1)
        return (np.arange(0, steps if full else steps + 1) * ratio)[::-1][:steps].astype(float) + offset
    return np.round(np.arange(number, 0, -len(schedule.alphas_cumprod) / steps))[:steps] - 1.0


def flow_times(options: Options, steps: int) -> np.ndarray:
    """The times, which are σ, of a flow model; every one is shifted once."""
    number = options.positive(TRAINED_STEPS, 1000)
    for flag in ("use_karras_sigmas", "use_exponential_sigmas"):
        options.only(flag, False)
    if options.scheduler == "FlowMatchEulerDiscreteScheduler":
        return _shifted(np.linspace(1, 1 / number, steps), options.positive("shift", 1.0))
    options.one_of("prediction_type", "flow_prediction", "flow_prediction")
    for name in ("beta_start", "beta_end", "beta_schedule", "trained_betas", "timestep_spacing", "steps_offset"):
        options.taken(name, None)  # without use here
    options.only("final_sigmas_type", "zero")
    if options.scheduler == "UniPCMultistepScheduler":
        t = _shifted(np.linspace(1, 1 / number, steps + 1)[:-1], options.positive("flow_shift", 1.0))
        t[0] -= 1e-6
        return t
    return _shifted(1 - np.linspace(1, 1 / number, steps + 1), options.positive("flow_shift", 1.0))[::-1][:-1]


def _shifted(t: np.ndarray, shift: float) -> np.ndarray:
    return shift * t / (1 + (shift - 1) * t)


def _karras(largest: float, smallest: float, steps: int) -> np.ndarray:
    return np.linspace(largest ** (1 / 7), smallest ** (1 / 7), steps) ** 7


def _exponential(largest: float, smallest: float, steps: int) -> np.ndarray:
    return np.exp(np.linspace(math.log(largest), math.log(smallest), steps))
