"""The tasks of Mosaic, a benchmark of differentiable solvers, for our incompressible flows.

    python benchmarks/differentiable_solvers.py [--quick | --smoke]

Mosaic (github.com/pasteurlabs/mosaic at a535cb3; arXiv 2606.27895) runs solvers in containers; its tasks are made again here with
its numbers, on `problem("navier_stokes_velocity")` (Fourier series) and, below it, `problem("channel_flow")` (staggered grid):

- Taylor-Green: 64² points on (0, 2π)², dt 0.05, 20 steps; the mean of the relative errors for six viscosities, 1e-4 to 5e-2.
- Gradient: 16² points, ν 0.001, dt 0.05, 20 steps from a ring of waves with |k| about 2 and speed 0.3; Σ v² differentiated with
  respect to the start, against central differences along 20 directions with the best of six step lengths: the largest
  relative error over the directions, and the cosine of the two vectors of slopes. Mosaic's pass is 1e-3 and 0.99.
- Horizons: the same after 5 to 320 steps; the longest at which, and at all shorter ones, the gradient is finite.
- Drag: a unit channel of 32² cells, ν 0.0025, dt 0.02, 200 steps, a cylinder of radius 0.05 in the middle, mean inflow 0.5;
  Adam (rate 5e-4) on |drag| + 50 (mean inflow − 0.5)² over the inflow's profile within [0, 1.5], 250 iterations; drag is the
  mean of the last 100 steps. Our channel has an inflow, an outflow and walls without slip. Those of Mosaic's solvers that can
  run it wrap round along the channel and set the inflow in every step, and their drag is a sum over cells beside the
  cylinder, so that values compare in size only. Theirs are negative (force on the fluid), ours positive (on the cylinder).

--quick: 10 iterations of the drag and horizons to 40; --smoke: the smallest case of every part.

Last line: JSON. `taylor_green`, `gradient_rel_error`, `gradient_cosine` and `longest_finite_horizon` are those of the Fourier
solver in float64, `drag` the drag after optimisation, beside `drag_start`, that of the flat inflow; `details` has all rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.record import record

import surrogax as sx

# Printed beside ours: relative errors, from Mosaic's results at the commit above.
MOSAIC = {
    "Taylor-Green": {"Warp-NS": 6.20e-4, "INS.jl": 2.39e-3, "PhiFlow": 2.43e-3, "PICT": 3.52e-3, "OpenFOAM": 3.88e-3,
                     "jax-cfd": 1.41e-2, "XLB": 0.263},
    "gradient": {"PhiFlow": 7.07e-6, "jax-cfd": 5.46e-4, "PICT": 8.84e-4},
    "drag": {"XLB": -4.78e-2, "PICT": -1.77e-2, "PhiFlow": -7.09e-4},
}  # fmt: skip
VISCOSITIES = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2)
STEPS_OF_DIFFERENCES = (5.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)  # times the root mean square of the start
BOX = sx.Box(x=(0, 2 * np.pi, "periodic"), y=(0, 2 * np.pi, "periodic"))
MEAN_INFLOW = 0.5


class Size(NamedTuple):
    """How much to run."""

    points: int
    points_of_gradient: int
    directions: int
    horizons: tuple[int, ...]
    cells: int
    steps_of_drag: int
    iterations: int
    rows: tuple[tuple[str, bool], ...] = (
        ("Fourier", True),
        ("Fourier", False),
        ("staggered", True),
    )  # whether in float64


FULL = Size(64, 16, 20, (5, 10, 20, 40, 80, 160, 320), 32, 200, 250)
QUICK = FULL._replace(horizons=(5, 10, 20, 40), iterations=10)
SMOKE = Size(8, 8, 2, (2, 3), 8, 4, 1, (("Fourier", True),))


def flow(solver: str, points: int, steps: int):
    """`(velocity, nu) -> velocities` after every one of some steps of length 0.05 on points² of the torus."""
    grid, dt = BOX.grid(points), 0.05
    times = dt * np.arange(1, steps + 1)
    if solver == "Fourier":
        declared = sx.problem("navier_stokes_velocity", nu=1e-3, box=BOX, dt=dt)
        return lambda v, nu: declared.solve({"velocity0": v, "nu": nu}, grid, times=times)["velocity"]
    declared = sx.problem("channel_flow", grid=grid)
    return lambda v, nu: declared.solve({"velocity0": v, "nu": nu}, steps=steps, dt=dt)["velocity"]


def vortices(points: int) -> np.ndarray:
    x, y = np.moveaxis(BOX.grid(points).points, -1, 0)
    return np.stack([np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)], -1)


def ring(points: int) -> np.ndarray:
    """Random phases, energy at wavenumbers 2 ± 0.5, largest speed 0.3."""
    k = np.fft.fftfreq(points, 1 / points)
    kx, ky = np.meshgrid(k, k, indexing="ij")
    phases = np.asarray(jax.random.uniform(jax.random.key(42), (points, points), jnp.float32)) * 2 * np.pi
    psi = np.exp(-((np.hypot(kx, ky) - 2) ** 2) / 0.5 + 1j * phases)
    v = np.stack([np.fft.ifft2(1j * ky * psi).real, np.fft.ifft2(-1j * kx * psi).real], -1)
    return 0.3 * v / np.linalg.norm(v, axis=-1).max()


def taylor_green(solver: str, points: int) -> float:
    run = jax.jit(flow(solver, points, 20))
    start, errors = jnp.asarray(vortices(points), float), []
    for nu in VISCOSITIES:
        exact = np.exp(-2 * nu) * start
        errors.append(float(jnp.linalg.norm(run(start, nu)[-1] - exact) / jnp.linalg.norm(exact)))
    return float(np.mean(errors))


def gradients(solver: str, size: Size) -> dict[int, dict]:
    """By horizon: the largest relative error of slopes, their cosine, and whether the gradient is finite."""
    run, frames = flow(solver, size.points_of_gradient, size.horizons[-1]), np.array(size.horizons) - 1
    value = lambda v: (run(v, 1e-3)[frames] ** 2).sum((1, 2, 3))  # noqa: E731
    start = jnp.asarray(ring(size.points_of_gradient), float)
    slopes = np.asarray(jax.jit(jax.jacrev(value))(start), np.float64)
    directions = np.random.default_rng(42).normal(size=(size.directions, *start.shape))
    directions /= np.sqrt((directions**2).sum((1, 2, 3), keepdims=True))
    ours, scale = np.tensordot(slopes, directions, ((1, 2, 3), (1, 2, 3))), float(jnp.sqrt((start**2).mean()))
    values, found = jax.jit(jax.vmap(value)), []
    for e in STEPS_OF_DIFFERENCES:
        h = e * scale
        theirs = np.asarray(values(start + h * directions) - values(start - h * directions), np.float64).T / (2 * h)
        error = (abs(theirs - ours) / np.maximum(np.maximum(abs(theirs), abs(ours)), 1e-30)).max(1)
        cosine = (theirs * ours).sum(1) / (np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1) + 1e-300)
        found.append(np.stack([np.nan_to_num(error, nan=np.inf), cosine], -1))
    best = np.argmin([f[:, 0] for f in found], axis=0)
    return {
        steps: {
            "rel_error": float(found[best[i]][i, 0]),
            "cosine": float(found[best[i]][i, 1]),
            "finite": bool(np.isfinite(slopes[i]).all()),
        }
        for i, steps in enumerate(size.horizons)
    }


def drag(size: Size) -> dict:
    """Drag of the flat inflow and of the best profile found, and that profile."""
    n = size.cells
    grid = sx.Box(x=(0, 1, "neumann"), y=(0, 1, "neumann")).grid(n)
    solid = ((grid.points - 0.5) ** 2).sum(-1) < max(0.05, 0.8 / n) ** 2
    channel = sx.problem("channel_flow", grid=grid, solid=solid, nu=0.0025)

    def loss(profile):
        force = channel.solve(inflow=profile, steps=size.steps_of_drag, dt=0.02, rtol=1e-6).diagnostics["force"]
        drag = force[-min(100, size.steps_of_drag // 2) :, 0].mean()
        return abs(drag) + 50 * (profile.mean() - MEAN_INFLOW) ** 2, drag

    slopes = jax.jit(jax.value_and_grad(loss, has_aux=True))
    optimizer, profile = optax.adam(5e-4), jnp.full(n, MEAN_INFLOW)
    state, drags, flows = optimizer.init(profile), [], []
    for i in range(size.iterations + 1):
        (_, value), slope = slopes(profile)
        drags.append(float(value))
        flows.append(float(profile.mean()))
        if i % 25 == 0:
            print(f"  drag after {i} iterations: {drags[-1]:.5f} at a mean inflow of {flows[-1]:.4f}", flush=True)
        step, state = optimizer.update(slope, state)
        profile = jnp.clip(optax.apply_updates(profile, step), 0, 3 * MEAN_INFLOW)
    return {
        "drag_start": drags[0],
        "drag": drags[-1],
        "mean_inflow": flows[-1],
        "profile": [round(float(p), 4) for p in profile],
    }


def main():
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE)
    size: Size = arguments.size
    details: dict[str, dict] = {}
    for solver, double in size.rows:
        row = f"{solver}, float{64 if double else 32}"
        with jax.enable_x64(double):
            found = {"taylor_green": taylor_green(solver, size.points)}
            checks = gradients(solver, size)
        finite = [check["finite"] for check in checks.values()] + [False]
        at = 20 if 20 in checks else size.horizons[-1]
        found |= {"gradient_rel_error": checks[at]["rel_error"], "gradient_cosine": checks[at]["cosine"]}
        found["longest_finite_horizon"] = ([0, *size.horizons])[finite.index(False)]
        found["horizons"] = {str(steps): check for steps, check in checks.items()}
        details[row] = found
        print(f"{row}: Taylor-Green {found['taylor_green']:.2e}; gradient {found['gradient_rel_error']:.2e}, cosine "
                  f"{found['gradient_cosine']:.9f}; finite to {found['longest_finite_horizon']} steps", flush=True)  # fmt: skip
        for steps, check in checks.items():
            print(
                f"  {steps} steps: relative error {check['rel_error']:.2e}, cosine {check['cosine']:.9f}",
                flush=True,
            )
    with jax.enable_x64(True):
        details["drag"] = drag(size)
    details["Mosaic"] = MOSAIC
    for task, values in MOSAIC.items():
        print(f"Mosaic, {task}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    best = details["Fourier, float64"]
    names = ("taylor_green", "gradient_rel_error", "gradient_cosine", "longest_finite_horizon")
    ends = {name: details["drag"][name] for name in ("drag", "drag_start")}
    record("differentiable_solvers", arguments, {**{name: best[name] for name in names}, **ends, "details": details})


if __name__ == "__main__":
    main()
