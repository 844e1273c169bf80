"""A configuration of diffusers: its own noise levels, its solver, and a sentence for every option that is not known."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from common.mixtures import Mixture

from surrogax.solvers import diffusion

PEER = np.load(Path(__file__).parents[2] / "fixtures" / "diffusers_samplers.npz")
MIXTURE = Mixture(PEER["means"], PEER["stds"], PEER["weights"])
COMMON = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}


def levels(made):
    """σ/α at every evaluation and at the end; σ of flow models."""
    table = diffusion.plan(made.solver, schedule=made.schedule, times=made.times)
    steps = table.levels[::2] if isinstance(made.solver, diffusion.Heun) else table.levels
    found = np.append(steps, table.end)
    if isinstance(made.schedule, diffusion.FlowMatching):
        return np.where(np.isinf(found), 1.0, np.where(np.isinf(found), 0.0, found) / (1 + found))
    return found


@pytest.mark.parametrize("i", range(len(PEER["configurations"])))
def test_noise_levels_are_those_of_diffusers(i):
    made = diffusion.from_diffusers(json.loads(str(PEER["configurations"][i])), 7)
    expected = PEER[f"levels of {i}"]
    expected = expected[: len(expected) - (expected[-2] < expected[-1] * (1 + 1e-6))]  # without a step that is none
    np.testing.assert_allclose(levels(made), expected, rtol=1e-4, atol=1e-9)


CASES = {
    "ddim": ({"_class_name": "DDIMScheduler", "clip_sample": False}, diffusion.DDIM()),
    "dpm++2m": ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 2}, diffusion.DPMSolverPP(2)),
    "dpm++2m sde": (
        {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
        diffusion.DPMSolverPP(2, eta=1.0),
    ),
    "unipc3 bh2": ({"_class_name": "UniPCMultistepScheduler", "solver_order": 3}, diffusion.UniPC(3)),
    "unipc2 bh1": (
        {"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        diffusion.UniPC(2, "bh1"),
    ),
    "deis3": (
        {"_class_name": "DEISMultistepScheduler", "solver_order": 3},
        diffusion.DEIS(3, "log_snr", lower_final=True),
    ),
    "euler": ({"_class_name": "EulerDiscreteScheduler"}, diffusion.DDIM()),
    "heun": ({"_class_name": "HeunDiscreteScheduler"}, diffusion.Heun()),
}


@pytest.mark.quick("unipc3 bh2", "heun", "dpm++2m sde")
@pytest.mark.parametrize("name", CASES)
def test_solver_and_states_are_those_of_diffusers(name):
    """The solvers are those whose states `test_parity.py` compares; here the last state of a whole call, but for the noise of
    the SDE. Diffusers asks networks at whole times and in float32; the mixture is asked at its level."""
    config, solver = CASES[name]
    made = diffusion.from_diffusers({**COMMON, **config}, 8)
    assert made.solver == solver and made.prediction is diffusion.NoisePrediction
    sigmas, states = PEER[f"{name} sigmas"], PEER[f"{name} states"]
    np.testing.assert_allclose(
        levels(made), np.append(sigmas[:1], sigmas[1::2]) if name == "heun" else sigmas, rtol=1e-4, atol=1e-9
    )
    if name == "dpm++2m sde":
        return
    initial = states[0].astype(np.float32) * made.schedule.alpha(made.times.at[0])
    found = diffusion.sample(MIXTURE.denoise, solver, schedule=made.schedule, times=made.times, initial=initial)
    size = made.schedule.alpha(made.times.at[-1]) if not made.times.to_zero else 1.0
    np.testing.assert_allclose(found / size, states[-1], rtol=0, atol=3e-5)


def test_ipndm_state_by_state():
    """Every state of the peer but its last, at its own noise levels. It begins at a finite level, because from infinite noise it
    loses its first evaluation; its step to no noise extrapolates."""
    sigmas, states = PEER["ipndm sigmas"], PEER["ipndm states"]
    made = diffusion.from_diffusers({"_class_name": "IPNDMScheduler"}, 8)
    assert made.solver == diffusion.IPNDM(4) and made.prediction is diffusion.VelocityPrediction
    u = np.sin(np.pi / 2 * np.linspace(1, 0, 9)[:-1]) ** 2
    np.testing.assert_allclose(np.sin(np.pi / 2 * np.array(made.times.at)), u, rtol=1e-9)
    found = diffusion.sample(
        MIXTURE.denoise,
        made.solver,
        schedule=diffusion.EDM(),
        times=sigmas,
        initial=states[0].astype(np.float32),
        trajectory=True,
    )
    scale = np.sqrt(1 + sigmas**2)[:, None, None]
    ours = np.concatenate([np.moveaxis(np.asarray(found.points), 1, 0), np.asarray(found.samples)[None]])
    np.testing.assert_allclose((ours / scale)[:-1], (states / scale)[:-1], rtol=0, atol=1e-5)


def test_a_flow_model_from_nothing_but_noise():
    """FlowMatchEuler without shift, every state; the network is asked at 1000 t."""
    times, states = PEER["flow euler sigmas"], PEER["flow euler states"]
    made = diffusion.from_diffusers({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0}, 8)
    np.testing.assert_allclose(levels(made), times, rtol=1e-6, atol=1e-9)
    mean = jnp.asarray(PEER["weights"] @ PEER["means"], jnp.float32)

    def network(x, t, condition):
        t = t / 1000
        inside = jnp.minimum(t, 0.9999)
        d = MIXTURE.denoise(x / (1 - inside), inside / (1 - inside))
        return (x - jnp.where(t == 1, mean, d)) / t

    found = diffusion.sample(
        made.denoiser(network),
        made.solver,
        schedule=made.schedule,
        times=made.times,
        initial=states[0].astype(np.float32),
        trajectory=True,
    )
    ours = np.moveaxis(np.asarray(found.points), 1, 0)[1:] * (1 - times[1:-1, None, None])
    np.testing.assert_allclose(ours, states[1:-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.samples, states[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"_class_name": "PNDMScheduler"}, "'PNDMScheduler' is not known"),
        ({"_class_name": "DDIMScheduler"}, "clip_sample=True .* is not supported"),
        ({"_class_name": "DDIMScheduler", "clip_sample": False, "skip_prk_steps": True}, r"\['skip_prk_steps'\]"),
        ({"_class_name": "UniPCMultistepScheduler", "thresholding": True}, "thresholding=True"),
        ({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh3"}, "solver_type='bh3'"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}, "algorithm_type='dpmsolver'"),
        ({"_class_name": "EulerDiscreteScheduler", "beta_schedule": "sigmoid"}, "beta_schedule='sigmoid'"),
        ({"_class_name": "EulerDiscreteScheduler", "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr=True"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting"),
        ({}, "None is not known"),
        ({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": "False"}, "expected true or false"),
        ({"_class_name": "EulerDiscreteScheduler", "num_train_timesteps": "1000"}, "expected a whole number"),
        (
            {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, "use_exponential_sigmas": True},
            "exclude each other",
        ),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", "steps_offset": 500},
            "start at the time step 1300",
        ),
        ({"_class_name": "EulerDiscreteScheduler", "use_flow_sigmas": True}, "use_flow_sigmas=True"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": -1.0}, "shift=-1.0 .* a number above 0"),
    ],
)
def test_what_is_not_known_is_refused_by_name(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        diffusion.from_diffusers(options, 5)


def test_from_a_file(tmp_path):
    path = tmp_path / "scheduler_config.json"
    config = {**COMMON, "_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.42.1"}
    path.write_text(json.dumps(config))
    assert diffusion.from_diffusers(tmp_path, 5) == diffusion.from_diffusers(path, 5)
    assert diffusion.from_diffusers(path, 5) == diffusion.from_diffusers(config, 5)
    path.write_text("no JSON")
    with pytest.raises(ValueError, match="found no JSON"):
        diffusion.from_diffusers(path, 5)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        diffusion.from_diffusers(tmp_path / "elsewhere.json", 5)
