"""Step by step like diffusers 0.42, which reads nothing of ours, and like the published updates written down in NumPy."""

import itertools
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from common.mixtures import Mixture

from surrogax.solvers import diffusion
from surrogax.solvers.diffusion.exponential_adams import adams_weights, noise_weights

PEER = np.load(Path(__file__).parents[2] / "fixtures" / "diffusers_samplers.npz")
MIXTURE = Mixture(PEER["means"], PEER["stds"], PEER["weights"])
DENOISE = MIXTURE.denoise


def on_host(y, s):
    """The denoiser of a batch in NumPy."""
    total = MIXTURE.stds**2 + s**2
    offsets = y[:, None] - MIXTURE.means
    scores = np.log(MIXTURE.weights) - 0.5 * (offsets**2).sum(-1) / total - 0.5 * y.shape[1] * np.log(total)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    posterior = MIXTURE.means + (MIXTURE.stds**2 / total)[:, None] * offsets
    return np.einsum("nk,nkd->nd", scores / scores.sum(1, keepdims=True), posterior)


SOLVERS = {
    "ddim": diffusion.DDIM(),
    "euler": diffusion.DDIM(),
    "heun": diffusion.Heun(),
    "dpm++2m": diffusion.DPMSolverPP(2),
    "unipc3 bh2": diffusion.UniPC(3),
    "unipc2 bh1": diffusion.UniPC(2, "bh1"),
    "deis3": diffusion.DEIS(3, "log_snr", lower_final=True),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_state_is_that_of_diffusers(name):
    """Read at the peer's own noise levels, in float32."""
    sigmas, states = PEER[f"{name} sigmas"], PEER[f"{name} states"]
    levels = np.concatenate([sigmas[:1], sigmas[1::2]]) if name == "heun" else sigmas
    found = diffusion.sample(
        DENOISE,
        SOLVERS[name],
        schedule=diffusion.EDM(),
        times=levels,
        initial=states[0].astype(np.float32),
        trajectory=True,
    )
    assert found.points.shape[1] == len(states) - 1
    # A state is data and noise: its unit is √(1 + s²).
    scale = np.sqrt(1 + np.append(found.levels, levels[-1]) ** 2)[:, None, None]
    ours = np.concatenate([np.moveaxis(np.asarray(found.points), 1, 0), np.asarray(found.samples)[None]])
    np.testing.assert_allclose(ours / scale, states / scale, rtol=0, atol=1e-5)


def run_on_host(table, y, noises):
    """A table without corrections and its states y, in NumPy, with given noise."""
    v, history, states = y / np.sqrt(1 + table.start**2), [np.zeros_like(y)] * table.memory, []
    for k, s in enumerate(table.levels):
        y = v * np.sqrt(1 + s**2)
        states.append(y)
        denoised = on_host(y, s)
        older = sum(w * h for w, h in zip(table.advance[k, 4:], history, strict=True))
        v = (table.advance[k, 0] + table.advance[k, 1]) * v + table.advance[k, 2] * denoised + older
        v = v + table.noise[k] * noises[k]
        history = [denoised, *history[:-1]]
    return np.array([*states, v * np.sqrt(1 + table.end**2)])


def test_the_stochastic_solver_is_that_of_diffusers_for_given_noise():
    sigmas, states = PEER["dpm++2m sde sigmas"], PEER["dpm++2m sde states"]
    table = diffusion.plan(diffusion.DPMSolverPP(2, eta=1.0), schedule=diffusion.EDM(), times=sigmas)
    assert table.stochastic and table.evaluations == 8
    scale = np.sqrt(1 + sigmas**2)[:, None, None]
    np.testing.assert_allclose(run_on_host(table, states[0], PEER["noise"]) / scale, states / scale, rtol=0, atol=1e-5)


# The published updates from s to t in y, with h = log(s/t); `past` holds (s, D, ε) of earlier evaluations, the newest first.


def published_2m(y, s, t, past):
    h = math.log(s / t)
    d = past[0][1]
    if len(past) > 1:
        r = math.log(past[1][0] / s) / h
        d = (1 + 1 / (2 * r)) * d - 1 / (2 * r) * past[1][1]
    return t / s * y + (1 - math.exp(-h)) * d


def published_2s(y, s, t, past):
    middle = math.sqrt(s * t)
    u = y + (middle - s) * past[0][2]
    return y + (t - s) * (u - on_host(u, middle)) / middle


def published_3s(y, s, t, past):
    h, e = math.log(s / t), past[0][2]
    one, two = s * math.exp(-h / 3), s * math.exp(-2 * h / 3)
    u = y - one * math.expm1(h / 3) * e
    first = (u - on_host(u, one)) / one - e
    u = y - two * math.expm1(2 * h / 3) * e - 2 * two * (math.expm1(2 * h / 3) / (2 * h / 3) - 1) * first
    second = (u - on_host(u, two)) / two - e
    return y - t * math.expm1(h) * e - 1.5 * t * (math.expm1(h) / h - 1) * second


def published_heun(y, s, t, past):
    e = past[0][2]
    u = y + (t - s) * e
    return y + (t - s) * (e + (u - on_host(u, t)) / t) / 2


def published_ipndm(y, s, t, past):
    e = [p[2] for p in past]
    combinations = {
        1: lambda: e[0],
        2: lambda: (3 * e[0] - e[1]) / 2,
        3: lambda: (23 * e[0] - 16 * e[1] + 5 * e[2]) / 12,
    }
    last = (55 * e[0] - 59 * e[1] + 37 * e[2] - 9 * e[3]) / 24 if len(e) > 3 else combinations[len(e)]()
    return y + (t - s) * last


def published_tab2(y, s, t, past):
    """tAB-DEIS with two evaluations in the time of VPLinear: both integrals by a fine midpoint rule."""
    if len(past) == 1:
        return y + (t - s) * past[0][2]
    time = diffusion.VPLinear().time
    edges = np.linspace(s, t, 20_001)
    at = time(-np.log((edges[1:] + edges[:-1]) / 2))
    now, before = time(-np.log(np.float64(s))), time(-np.log(np.float64(past[1][0])))
    share = (at - before) / (now - before) * np.diff(edges)
    return y + share.sum() * past[0][2] + (t - s - share.sum()) * past[1][2]


PUBLISHED = {
    "2M": (diffusion.DPMSolverPP(2, lower_final=False), published_2m, 1e-12),
    "2S": (diffusion.DPMSolver(2), published_2s, 1e-12),
    "3S": (diffusion.DPMSolver(3), published_3s, 1e-12),
    "Heun": (diffusion.Heun(), published_heun, 1e-12),
    "iPNDM": (diffusion.IPNDM(4), published_ipndm, 1e-12),
    "tAB": (diffusion.DEIS(2), published_tab2, 1e-8),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_updates(name, x64):
    solver, update, tolerance = PUBLISHED[name]
    times = np.array([1.0, 0.85, 0.6, 0.45, 0.3, 0.12, 0.01])
    schedule = diffusion.VPLinear()
    levels = schedule.level(times)
    y = levels[0] * np.random.default_rng(3).standard_normal((5, 4))
    initial = jnp.asarray(y * schedule.alpha(1.0))
    found = diffusion.sample(DENOISE, solver, schedule=schedule, times=times, initial=initial)
    past = []
    for s, t in itertools.pairwise(levels):
        d = on_host(y, s)
        past = [(s, d, (y - d) / s), *past][:4]
        y = update(y, s, t, past)
    np.testing.assert_allclose(found, y * schedule.alpha(0.01), rtol=0, atol=tolerance)


def test_unipc_of_order_two_as_published(x64):
    """Predictor, then the corrector of the same step once the new point is evaluated, B = 1 − e^(−h)."""
    schedule, times = diffusion.VPLinear(), np.array([1.0, 0.7, 0.4, 0.2, 0.01])
    s = schedule.level(times)
    start = s[0] * np.random.default_rng(3).standard_normal((5, 4))
    x, point, m = start, start, []
    for i in range(4):
        m.append(on_host(point, s[i]))
        if i > 0:  # correct the step from i − 1 to i
            h = math.log(s[i - 1] / s[i])
            b = -math.expm1(-h)
            first = s[i] / s[i - 1] * x + b * m[i - 1]
            if i == 1:
                x = first + b * (m[1] - m[0]) / 2
            else:
                r = -math.log(s[i - 2] / s[i - 1]) / h
                phi = [(-math.expm1(-h) - h) / -h, 0.0]  # φ₂ and φ₃ of the paper, times h
                phi[1] = (1 - b / h) / h - 0.5
                moments = np.array([1 - b / h, -2 * phi[1]])  # ∫ of u and u²
                rho = np.linalg.solve([[1.0, 1.0], [r, 1.0]], moments)
                x = first + rho[0] * (m[i - 2] - m[i - 1]) / r + rho[1] * (m[i] - m[i - 1])
        h = math.log(s[i] / s[i + 1])
        point = s[i + 1] / s[i] * x - math.expm1(-h) * m[i]
        if 0 < i < 3:
            r = -math.log(s[i - 1] / s[i]) / h
            point = point - math.expm1(-h) / 2 * (m[i - 1] - m[i]) / r
    found = diffusion.sample(
        DENOISE, diffusion.UniPC(2), schedule=schedule, times=times, initial=jnp.asarray(start * schedule.alpha(1.0))
    )
    np.testing.assert_allclose(found, point * schedule.alpha(0.01), rtol=0, atol=1e-12)


def test_exact_weights_agree_with_quadrature(x64):
    """One step of exponential Adams is the integral of the polynomial through D, by SciPy's quadrature rule."""
    nodes, stop = np.array([0.3, -0.4, -1.5, -1.9]), 0.9
    u, q = np.polynomial.legendre.leggauss(30)
    at = nodes[0] + (stop - nodes[0]) * (u + 1) / 2
    values = np.sin(nodes)
    polynomial = np.polyval(np.polyfit(nodes, values, 3), at)
    for speed in (1.0, 2.0):
        integral = (polynomial * speed * np.exp(-speed * (stop - at)) * q).sum() * (stop - nodes[0]) / 2
        np.testing.assert_allclose(adams_weights(nodes, nodes[0], stop, speed) @ values, integral, rtol=1e-11)
    integral = -(polynomial * np.exp(-at) * q).sum() * (stop - nodes[0]) / 2
    np.testing.assert_allclose(noise_weights(nodes, nodes[0], stop) @ values, integral, rtol=1e-11)
