"""Periodic problems by exponax and by a pseudo-spectral code in NumPy and SciPy, as peers for `benchmarks/generation.py`.

Runs in an environment of its own (`benchmarks/peers/requirements-exponax.txt`). Every line on the standard input is a JSON
object. With a "problem" it prepares that case: it reads the initial states from "file", runs both codes once and saves their
final states beside it. With "time" it runs the one of that name again and answers with its seconds: {"wall": …, "cpu": …}.
"""

import json
import sys
import time
from functools import partial

import exponax as ex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

WORKERS = 2


def stepper(case, n: int, dt: float):
    """The fastest form that exponax offers, with the same modes kept as ours."""
    name, length = case["problem"], case["length"]
    kept = (n - 1) // (case["degree"] + 1)
    options = {"order": 4, "dealiasing_fraction": (kept + 1.001) / (n // 2)}
    ndim, s = case["ndim"], ex.stepper
    if name == "navier_stokes":
        return s.NavierStokesVorticity(2, length, n, dt, diffusivity=case["nu"], **options)
    if name == "burgers":
        return s.Burgers(1, length, n, dt, diffusivity=case["nu"], conservative=True, **options)
    if name == "kuramoto_sivashinsky":
        return s.KuramotoSivashinskyConservative(1, length, n, dt, conservative=True, **options)
    if name == "kuramoto_sivashinsky_2d":
        return s.KuramotoSivashinsky(2, length, n, dt, **options)
    if name == "korteweg_de_vries":
        coefficients = {"convection_scale": 1.0, "dispersivity": case["mu"] ** 2, "hyper_diffusivity": 0.0}
        return s.KortewegDeVries(1, length, n, dt, conservative=True, **coefficients, **options)
    assert name == "gray_scott"
    numbers = {"feed_rate": case["feed"], "kill_rate": case["kill"]}
    return s.reaction.GrayScott(ndim, length, n, dt, diffusivity_1=2e-5, diffusivity_2=1e-5, **numbers, **options)


def by_exponax(case, starts):
    """`() -> final states`, stepped in Fourier space; exponax's vorticity turns the other way."""
    n, ndim = starts.shape[-1], case["ndim"]
    sign = -1 if case["problem"] == "navier_stokes" else 1
    step = stepper(case, n, case["dt"]).step_fourier
    axes = tuple(range(-ndim, 0))

    def trajectory(u):
        v, _ = jax.lax.scan(lambda v, _: (step(v), None), jnp.fft.rfftn(u, axes=axes), None, case["steps"])
        return jnp.fft.irfftn(v, u.shape[-ndim:], axes=axes)

    run = jax.jit(trajectory if len(starts) == 1 else jax.vmap(trajectory))
    u = sign * jnp.asarray(starts[0] if len(starts) == 1 else starts)
    return lambda: sign * np.asarray(run(u)).reshape(starts.shape)


def coefficients(linear, dt: float):
    """e^z, e^(z/2) and the weights of ETDRK4 as means over 32 points round z = L dt (Kassam and Trefethen, 2005), complex."""
    z = dt * linear
    r = z[..., None] + np.exp(2j * np.pi * (np.arange(32) + 0.5) / 32)
    e = np.exp(r)
    weights = [
        (np.exp(r / 2) - 1) / r,
        (-4 - r + e * (4 - 3 * r + r**2)) / r**3,
        2 * (2 + r + e * (-2 + r)) / r**3,
        (-4 - 3 * r - r**2 + e * (4 - r)) / r**3,
    ]
    weights = [dt * w.mean(-1) for w in weights]
    found = [np.exp(z), np.exp(z / 2), *weights]
    return [c.real if np.isrealobj(linear) else c for c in found]


def by_numpy(case, starts):
    n, ndim, dt = starts.shape[-1], case["ndim"], case["dt"]
    axes, shape = tuple(range(-ndim, 0)), (n,) * ndim
    to = partial(scipy.fft.rfftn, axes=axes, workers=WORKERS)
    back = partial(scipy.fft.irfftn, s=shape, axes=axes, workers=WORKERS)
    modes = np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * (ndim - 1), np.arange(n // 2 + 1.0), indexing="ij")
    kept = np.all([abs(m) * (case["degree"] + 1) < n for m in modes], 0)
    k = [2 * np.pi / case["length"] * m for m in modes]
    square = sum(x**2 for x in k)
    real = starts.dtype
    cast = lambda x: x.astype(np.result_type(real, np.complex64) if np.iscomplexobj(x) else real)  # noqa: E731
    name = case["problem"]
    slopes = [cast(1j * x * kept) for x in k]
    mask = cast(kept)
    if name == "navier_stokes":
        inverse = np.where(square == 0, 0, 1 / np.where(square == 0, 1, square))
        linear, first, second = (
            -case["nu"] * square,
            cast(1j * k[1] * inverse * kept),
            cast(-1j * k[0] * inverse * kept),
        )
        mixed, difference = cast(-k[0] * k[1] * kept), cast((k[0] ** 2 - k[1] ** 2) * kept)

        def act(v):
            x, y = back(first * v), back(second * v)
            return mixed * to(x * x - y * y) + difference * to(x * y)
    elif name == "kuramoto_sivashinsky_2d":
        linear = square - square**2
        act = lambda v: -0.5 * mask * to(back(slopes[0] * v) ** 2 + back(slopes[1] * v) ** 2)  # noqa: E731
    elif name == "gray_scott":
        feed, kill = case["feed"], case["kill"]
        linear = np.stack([-2e-5 * square, -1e-5 * square])
        decay = np.array([feed, feed + kill], real).reshape(2, *[1] * len(shape))
        source = np.zeros((2, *shape), real)
        source[0] = feed
        source = to(source)

        def act(v):
            a, b = np.moveaxis(back(mask * v), 1, 0)
            gained = mask * to(a * b * b)
            return np.stack([-gained, gained], 1) - decay * v + source
    else:
        linear = {
            "burgers": lambda: -case["nu"] * square,
            "kuramoto_sivashinsky": lambda: square - square**2,
            "korteweg_de_vries": lambda: 1j * case["mu"] ** 2 * k[0] ** 3,
        }[name]()
        act = lambda v: -0.5 * slopes[0] * to(back(mask * v) ** 2)  # noqa: E731
    whole, half, q, w_start, w_middle, w_end = (cast(c) for c in coefficients(linear, dt))

    def run():
        v = to(starts)
        for _ in range(case["steps"]):
            n_u = act(v)
            a = half * v + q * n_u
            n_a = act(a)
            b = half * v + q * n_a
            n_b = act(b)
            c = half * a + q * (2 * n_b - n_u)
            v = whole * v + w_start * n_u + w_middle * (n_a + n_b) + w_end * act(c)
        return back(v)

    return run


def main():
    runs = {}
    for line in sys.stdin:
        case = json.loads(line)
        if "time" in case:
            wall, cpu = time.perf_counter(), time.process_time()
            runs[case["time"]]()
            print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}), flush=True)
            continue
        jax.config.update("jax_enable_x64", case["dtype"] == "float64")
        starts = np.load(case["file"])
        runs = {"exponax": by_exponax(case, starts), "numpy": by_numpy(case, starts)}
        for name, run in runs.items():
            np.save(f"{case['file'].removesuffix('.npy')}-{name}.npy", np.asarray(run()))
        print(json.dumps({"ready": True}), flush=True)


if __name__ == "__main__":
    main()
