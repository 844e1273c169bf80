"""diffuse-jax and diffusionjax on a Gaussian posterior, peers for `benchmarks/guidance.py`; runs in the peer environment.

    python guidance.py IN.npz OUT.npz

IN holds the `variances` of the Fourier modes of the prior, `rows` and `values` of the sensors, `std`, the numbers of `steps`
and of `samples`. OUT holds samples by "method|setting|steps", and as JSON in `calls` the network calls and derivative products
of each.
Every method is called through the public interface with the exact score; its knobs and the schedules and integrators of its
library are the settings, from which the benchmark takes the best.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from diffuse.base_forward_model import MeasurementState
from diffuse.denoisers.cond import DPSDenoiser, FPSDenoiser, TMPDenoiser
from diffuse.diffusion.sde import SDE, Flow, LinearSchedule
from diffuse.integrator.deterministic import DPMpp2sIntegrator, HeunIntegrator
from diffuse.integrator.stochastic import EulerMaruyamaIntegrator
from diffuse.predictor import Predictor
from diffuse.timer.base import VpTimer
from diffusionjax import inverse_problems
from diffusionjax.sde import VE, VP
from diffusionjax.solvers import EDMEuler, EulerMaruyama
from diffusionjax.utils import get_sampler, get_times

KEY = jax.random.key(0)


class Bed:
    def __init__(self, given):
        self.variances, self.rows = jnp.asarray(given["variances"], jnp.float32), given["rows"]
        self.values, self.std = jnp.asarray(given["values"], jnp.float32), float(given["std"])
        self.samples, self.size = int(given["samples"]), len(given["variances"])

    def denoise(self, x, alpha, sigma):
        """E[x₀ | x = α x₀ + σ ε]."""
        c = self.variances
        return jnp.fft.ifft(alpha * c / (alpha**2 * c + sigma**2) * jnp.fft.fft(x)).real


class Sensors:
    """The forward model of diffuse-jax."""

    def __init__(self, bed):
        self.bed, self.std = bed, bed.std

    def apply(self, x, state):
        return x[self.bed.rows]

    def adjoint(self, y, state):
        return jnp.zeros(self.bed.size, y.dtype).at[self.bed.rows].set(y)

    def restore(self, x, state):
        return x


def diffuse_methods(bed, n):
    models = {
        "flow": (Flow(), 1e-3, 0.999),
        "VP": (SDE(LinearSchedule(b_min=0.1, b_max=20.0, t0=0.0, T=1.0)), 1e-3, 1.0),
    }
    integrators = {"Heun": HeunIntegrator, "DPM++2S": DPMpp2sIntegrator, "Euler-Maruyama": EulerMaruyamaIntegrator}
    guidances = {"TMP": (TMPDenoiser, {}), "FPS": (FPSDenoiser, {})}
    guidances |= {f"DPS ζ {z:g}": (DPSDenoiser, {"zeta": z}) for z in (0.03, 0.1, 0.3, 1.0)}
    products = {"TMP": 5, "FPS": 0}
    state = MeasurementState(y=bed.values, mask_history=jnp.ones(bed.size))
    for model_name, (model, first, last) in models.items():

        def predict(x, t, model=model):
            return bed.denoise(x, model.signal_level(t), model.noise_level(t))

        for integrator_name, kind in integrators.items():
            timer = VpTimer(n_steps=n, eps=first, tf=last)
            for name, (made, options) in guidances.items():
                denoiser = made(
                    kind(model=model, timer=timer),
                    model,
                    Predictor(model, predict, "x0"),
                    Sensors(bed),
                    (bed.size,),
                    **options,
                )
                twice = integrator_name in ("Heun", "DPM++2S")
                calls = n * (1 + twice + (name != "TMP"))
                counts = {"calls": calls, "products": n * products.get(name, 1)}
                setting = f"{model_name}, {integrator_name}{name[3:]}"

                def run(denoiser=denoiser):
                    return denoiser.generate(KEY, state, n, bed.samples)[0].integrator_state.position

                yield f"diffuse-jax {name[:3]}", setting, run, counts


class Euler(EDMEuler):
    """`EDMEuler`, whose update returns no mean of the noise-free step, which its own sampler then refuses."""

    def update(self, rng, x, t):
        moved = super().update(rng, x, t)[0]
        return moved, moved


def diffusionjax_methods(bed, n):
    h = jnp.eye(bed.size)[bed.rows]
    y = jnp.tile(bed.values, (bed.samples, 1))
    shape = (bed.samples, bed.size)

    def at_sensors(x):
        return x[bed.rows]

    guidances = {
        "moment matched": (inverse_problems.get_vjp_guidance, h, (y, bed.std, shape), n * len(bed.rows), ""),
        "moment matched, diagonal": (
            inverse_problems.get_diag_vjp_guidance,
            h,
            (y, bed.std, shape),
            n * len(bed.rows),
            "",
        ),
        "PiGDM": (
            inverse_problems.get_pseudo_inverse_guidance,
            at_sensors,
            (y, bed.std, jnp.eye(len(bed.rows))),
            n,
            "",
        ),
        "DPS by its equation 11": (inverse_problems.get_diffusion_posterior_sampling, at_sensors, (y, bed.std), n, ""),
    }
    for scale in (0.4, 4.0):
        guidances[f"DPS {scale}"] = inverse_problems.get_dps, at_sensors, (y, bed.std, scale), n, f", {scale:g}"

    def score(alpha, sigma):
        def of(x, t):
            a, s = alpha(t)[:, None], sigma(t)[:, None]
            found = jax.vmap(bed.denoise)(x, a[:, 0], s[:, 0])
            return (a * found - x) / s**2

        return of

    for name, (guidance, operator, rest, products, knob) in guidances.items():
        counts = {"calls": n, "products": products}
        method = "diffusionjax " + ("DPS" if knob else name)

        def euler(guidance=guidance, operator=operator, rest=rest):
            sde = VE(sigma=lambda t: t)
            guided = sde.reverse(score(jnp.ones_like, lambda t: t)).guide(guidance, operator, *rest)

            def denoise(x, sigma):
                return x + sigma[:, None] ** 2 * guided.score(x, sigma)

            with jax.ensure_compile_time_eval():  # it asserts values of its times
                times = get_times(n, t0=0.0)[0]
                # Without any churn √(σ̂² − σ²) is the root of a negative rounding error.
                solver = Euler(denoise, gamma=lambda sigmas: jnp.full_like(sigmas, 1e-6), ts=times)
            return get_sampler(shape, solver, denoise=False)(KEY)[0]

        def stochastic(guidance=guidance, operator=operator, rest=rest):
            sde = VP()
            reverse = sde.reverse(score(sde.mean_coeff, sde.std))
            guided = reverse.guide(guidance, operator, *rest)
            with jax.ensure_compile_time_eval():
                solver = EulerMaruyama(guided, ts=get_times(n, t0=1e-3)[0])
            return get_sampler(shape, solver, denoise=True)(KEY)[0]

        yield method, f"EDM, Euler{knob}", euler, counts
        yield method, f"VP, Euler-Maruyama{knob}", stochastic, counts


def main():
    given = dict(np.load(sys.argv[1]))
    bed, found, calls = Bed(given), {}, {}
    for n in given["steps"].tolist():
        for method, setting, run, counts in [*diffuse_methods(bed, n), *diffusionjax_methods(bed, n)]:
            name = f"{method}|{setting}|{n}"
            start = time.perf_counter()
            found[name] = np.asarray(jax.jit(run)())
            calls[name] = {**counts, "seconds": time.perf_counter() - start}
    np.savez(sys.argv[2], calls=json.dumps(calls), **found)


if __name__ == "__main__":
    main()
