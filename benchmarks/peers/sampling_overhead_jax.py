"""hackable-diffusion and diffuse-jax as peers for `benchmarks/sampling_overhead.py`; runs in the peer environment.

Every line of the input is "prepare NETWORK BATCH", answered by the end of the first sample (JSON), or "time", answered by the
seconds of one call of every method (JSON). All integrate the same network from the same states along the straight path, by
DDIM and by what else the library has with one call per step, each in one compiled program.
"""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common.denoising_kernels import FIRST, LAST, SIDE, STEPS, noise
from common.denoising_networks import network, repeated_calls
from diffuse.denoisers.denoiser import Denoiser
from diffuse.diffusion.sde import Flow
from diffuse.integrator.deterministic import DDIMIntegrator, EulerIntegrator
from diffuse.predictor import Predictor
from diffuse.timer.base import VpTimer
from hackable_diffusion.lib import jax_helpers
from hackable_diffusion.lib.corruption.gaussian import GaussianProcess
from hackable_diffusion.lib.corruption.schedules import RFSchedule
from hackable_diffusion.lib.sampling.gaussian_step_sampler import DDIMStep, VelocityStep
from hackable_diffusion.lib.sampling.sampling import DiffusionSampler
from hackable_diffusion.lib.sampling.time_scheduling import UniformTimeSchedule

KEY = jax.random.key(0)


def hackable(predict, stepper):
    times = UniformTimeSchedule(span=jax_helpers.SafeSpan(_minval=0.0, _maxval=1.0, safety_epsilon=LAST))
    sampler = DiffusionSampler(time_schedule=times, stepper=stepper, num_steps=STEPS + 1, store_trajectory=False)

    def infer(time, xt, conditioning):
        return {"x0": predict(xt, time[0].reshape(()))}

    return lambda x: sampler(inference_fn=infer, rng=KEY, initial_noise=x)[0].xt


def diffuse(predict, kind):
    model, timer = Flow(), VpTimer(n_steps=STEPS, eps=LAST, tf=FIRST)
    predictor = Predictor(model, lambda x, t: predict(x[None], t)[0], "x0")
    denoiser = Denoiser(kind(model=model, timer=timer), model, predictor, (SIDE, SIDE, 1))

    def run(x):
        # As its `generate`, from given states.
        state = jax.vmap(denoiser.init)(x, jax.random.split(KEY, len(x)))
        steps = jax.numpy.arange(STEPS)
        return jax.lax.scan(lambda s, _: (jax.vmap(denoiser.step)(s), None), state, steps)[0].integrator_state.position

    return run


def methods(name):
    predict, process = network(name), GaussianProcess(schedule=RFSchedule())
    return {
        "network": repeated_calls(predict, np.linspace(FIRST, LAST, STEPS + 1)[:-1]),
        "hackable DDIM": hackable(predict, DDIMStep(corruption_process=process, stoch_coeff=0.0)),
        "hackable velocity": hackable(predict, VelocityStep(corruption_process=process, stoch_coeff=0.0)),
        "diffuse-jax DDIM": diffuse(predict, DDIMIntegrator),
        "diffuse-jax Euler": diffuse(predict, EulerIntegrator),
    }


def main():
    calls = {}
    for line in sys.stdin:
        if line.startswith("prepare"):
            _, name, batch = line.split()
            x = jax.numpy.asarray(noise(int(batch)))
            calls = {k: jax.jit(f).lower(x).compile() for k, f in methods(name).items()}
            print(json.dumps({k: np.asarray(f(x))[0, 0, :4, 0].tolist() for k, f in calls.items()}), flush=True)
            continue
        seconds = {}
        for k, f in calls.items():
            start = time.perf_counter()
            f(x).block_until_ready()
            seconds[k] = time.perf_counter() - start
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
