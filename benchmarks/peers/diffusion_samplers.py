"""diffusers' schedulers on a Gaussian mixture, as a peer for `benchmarks/diffusion_samplers.py`; runs in the peer environment.

    python diffusion_samplers.py IN.npz OUT.npz

IN holds `means`, `stds`, `weights`, the noise `z` `(n, d)` and `evaluations`. OUT holds, as "scheduler, grid, evaluations",
the noise levels at which a method starts and ends and its last states in the frame x₀ + s ε. Every method is called through
the public interface with the grids that it offers; network outputs are exact, states are float64 where the scheduler keeps
them.
"""

import sys

import diffusers
import numpy as np
import torch

COMMON = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
GRIDS = {
    "linspace": {},
    "trailing": {"timestep_spacing": "trailing"},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
}


def denoised(mixture, y, s):
    means, stds, weights = mixture
    total = stds**2 + s**2
    offsets = y[:, None] - means
    scores = np.log(weights) - 0.5 * (offsets**2).sum(-1) / total - 0.5 * y.shape[1] * np.log(total)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    posterior = means + (stds**2 / total)[:, None] * offsets
    return np.einsum("nk,nkd->nd", scores / scores.sum(1, keepdims=True), posterior)


def run(scheduler, mixture, z, preserving):
    """The levels of start and end and the last states y."""
    sigmas = scheduler.sigmas.double().numpy()
    x = torch.from_numpy(z if preserving else z * sigmas[0])
    for k, t in enumerate(scheduler.timesteps):
        s = sigmas[k]
        y = x.numpy() * (np.sqrt(1 + s**2) if preserving else 1.0)
        if not preserving:
            scheduler.scale_model_input(x, t)
        x = scheduler.step(torch.from_numpy((y - denoised(mixture, y, s)) / s), t, x).prev_sample.double()
    end = sigmas[-1]
    return sigmas[0], end, x.numpy() * (np.sqrt(1 + end**2) if preserving else 1.0)


def methods(evaluations):
    """Name, scheduler that is ready to run, and whether its state preserves the variance."""
    multistep = {
        "DPM++2M": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 2}),
        "DPM++3M": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 3}),
        "UniPC-2": (diffusers.UniPCMultistepScheduler, {"solver_order": 2}),
        "UniPC-3": (diffusers.UniPCMultistepScheduler, {"solver_order": 3}),
        "DEIS-3": (diffusers.DEISMultistepScheduler, {"solver_order": 3}),
    }
    for name, (kind, options) in multistep.items():
        lu = {"log-SNR": {"use_lu_lambdas": True}} if name.startswith("DPM") else {}
        for grid, extra in (GRIDS | lu).items():
            for final in ("zero", "sigma_min") if name != "DEIS-3" else (None,):
                ends = {"final_sigmas_type": final} if final else {}
                scheduler = kind(**COMMON, **options, **extra, **ends)
                scheduler.set_timesteps(evaluations)
                yield f"{name}, {grid} {final or ''}", scheduler, True
        if name.startswith("DPM"):  # whole steps of one's own: quadratic
            for final in ("zero", "sigma_min"):
                scheduler = kind(**COMMON, **options, final_sigmas_type=final)
                nodes = np.linspace(np.sqrt(999), 0, evaluations + (final == "sigma_min"))[:evaluations] ** 2
                steps = np.round(nodes).astype(int)
                if len(set(steps)) == len(steps):
                    scheduler.set_timesteps(timesteps=steps.tolist())
                    yield f"{name}, quadratic {final}", scheduler, True
    for name, kind in {"Euler": diffusers.EulerDiscreteScheduler, "Heun": diffusers.HeunDiscreteScheduler}.items():
        if name == "Heun" and evaluations % 2 == 0:
            continue
        for grid, extra in {"linspace": {}, "karras": {"use_karras_sigmas": True}}.items():
            scheduler = kind(**COMMON, **extra)
            scheduler.set_timesteps((evaluations + 1) // 2 if name == "Heun" else evaluations)
            yield f"{name}, {grid}", scheduler, False


def main():
    given = np.load(sys.argv[1])
    mixture, found = (given["means"], given["stds"], given["weights"]), {}
    for evaluations in given["evaluations"].tolist():
        for name, scheduler, preserving in methods(evaluations):
            start, end, y = run(scheduler, mixture, given["z"], preserving)
            found[f"{name}|{evaluations}|levels"], found[f"{name}|{evaluations}|states"] = np.array([start, end]), y
    np.savez(sys.argv[2], **found)
    print("done")


if __name__ == "__main__":
    main()
