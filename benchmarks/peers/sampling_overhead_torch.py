"""diffusers as a peer for `benchmarks/sampling_overhead.py`; runs in the peer environment.

Every line of the input is "prepare NETWORK BATCH", answered by "ready", or "time", answered by the seconds of one call of every
method (JSON). Every scheduler is called as in diffusers' pipelines, in a loop without gradients; the network predicts x₀.
"""

import json
import sys
import time
from pathlib import Path

import diffusers
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from common.denoising_kernels import STEPS, kernels, noise

SCHEDULERS = {
    "diffusers DDIM": (diffusers.DDIMScheduler, {"clip_sample": False}),
    "diffusers 2M": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 2}),
    "diffusers UniPC-3": (diffusers.UniPCMultistepScheduler, {"solver_order": 3}),
}


def network(name):
    if name == "trivial":
        return lambda x, t: 0.5 * x
    weights = [torch.from_numpy(k).permute(3, 2, 0, 1).contiguous() for k in kernels()]

    def convolutional(x, t):
        h = torch.cat([x, torch.full_like(x, float(t))], 1)
        for i, kernel in enumerate(weights):
            h = h if i == 0 else torch.nn.functional.silu(h)
            h = torch.nn.functional.conv2d(h, kernel, padding=1)
        return 0.5 * x + 0.1 * h

    return convolutional


def sampler(kind, options, predict):
    scheduler = kind(prediction_type="sample", **options)

    def run(x):
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            x = scheduler.step(predict(scheduler.scale_model_input(x, t), t), t, x).prev_sample
        return x

    return run


def methods(name):
    predict = network(name)

    def repeated_calls(x):
        for t in torch.linspace(1, 0, STEPS + 1)[:-1]:
            x = predict(x, t)
        return x

    samplers = {key: sampler(kind, options, predict) for key, (kind, options) in SCHEDULERS.items()}
    return {"network": repeated_calls, **samplers}


@torch.no_grad()
def main():
    calls = {}
    for line in sys.stdin:
        if line.startswith("prepare"):
            _, name, batch = line.split()
            x = torch.from_numpy(noise(int(batch))).permute(0, 3, 1, 2).contiguous()
            calls = methods(name)
            for call in calls.values():
                call(x)
            print("ready", flush=True)
            continue
        seconds = {}
        for key, call in calls.items():
            start = time.perf_counter()
            call(x)
            seconds[key] = time.perf_counter() - start
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
