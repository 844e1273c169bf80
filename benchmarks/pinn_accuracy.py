"""How exactly equations are solved without data, and how long that takes: problems times methods, the final relative L2 error.

    python benchmarks/pinn_accuracy.py [--quick | --smoke] [--only helmholtz:lm,burgers:features] [--seeds 3]

The problems, each stated in full:

- helmholtz: u_xx + u_yy + u = q on [−1, 1]², periodic, with u = sin πx sin 4πy. The reference is this closed form. The problem on
  periodic sides is the one of the published records, whose networks are periodic by construction.
- helmholtz_dirichlet: the same equation with u = 0 on all sides.
- burgers: u_t + u u_x = (.01/π) u_xx on [−1, 1] × [0, 1], u = −sin πx at t = 0 and 0 on both sides. The reference is the
  Cole-Hopf integral by Gauss-Hermite quadrature of 200 points; 100 points and the trapezoidal rule agree with it to 1e-15.
- convection: u_t + 50 u_x = 0 on [0, 2π] × [0, 1], periodic, u = sin x at t = 0. The reference is sin(x − 50 t).
- allen_cahn: u_t = 1e-4 u_xx + 5 u − 5 u³ on [−1, 1] × [0, 1], periodic, u = x² cos πx at t = 0. The reference is a Fourier
  series of 4096 modes with ETDRK4 steps of 1/4000; its error, against 2048 modes and steps of 1/2000, is printed.

Methods: "features", random features with (Gauss-)Newton least squares; "lm", a perceptron with Levenberg-Marquardt in float64;
"broyden" and "adam", the same network with SSBroyden in float64 and with Adam in float32; "pig", Gaussians with
Levenberg-Marquardt. Conditions on Dirichlet sides and initial values hold by construction. Errors are final ones, not the
best during training, on 101² points (of the box, or of space and time); mean and standard deviation over seeds. Seconds contain
compilation.

Every row is recorded when it ends, and a full run takes up the rows that are missing: rows that were measured before stay. --only
measures the named rows again.

--quick: random features on all problems, one seed; --smoke: two steps of every method on one problem.

Last line: JSON: per problem the lowest mean error of any method, "rows" with all errors and seconds, "seconds" of the best row.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.command_line import options
from common.record import record

import surrogax as sx
from surrogax.core.precision import in_double


@dataclass(frozen=True)
class Case:
    """A problem, its solution at points `(n, d)` with time last, and how it is trained."""

    problem: sx.Problem
    exact: Callable[[np.ndarray], np.ndarray]
    features: dict
    network: dict
    sampler: Callable
    feature_steps: int = 1


def helmholtz(boundary: str, scale: float) -> Case:
    def residual(u, p):
        q = (1 - 17 * jnp.pi**2) * jnp.sin(jnp.pi * u.at["x"]) * jnp.sin(4 * jnp.pi * u.at["y"])
        return u.xx + u.yy + u.value - q

    return Case(
        sx.Problem("u", sx.Box(x=(-1, 1, boundary), y=(-1, 1, boundary)), residual=residual),
        lambda z: np.sin(np.pi * z[:, 0]) * np.sin(4 * np.pi * z[:, 1]),
        {"features": 500, "scale": scale},
        {"width": 20, "depth": 3},
        sx.UniformSampler,
    )


def burgers() -> Case:
    nu = 0.01 / np.pi
    return Case(
        sx.Problem(
            "u", sx.Box(x=(-1, 1)), time=(0, 1), residual=lambda u, p: u.t + u * u.x - nu * u.xx,
            initial=lambda x: -jnp.sin(jnp.pi * x),
        ),
        lambda z: cole_hopf(z, nu, 200),
        {"features": 1000, "scale": 25.0},
        {"width": 20, "depth": 3},
        sx.RAD,
        15,
    )  # fmt: skip


def cole_hopf(z: np.ndarray, nu: float, order: int) -> np.ndarray:
    """The solution of Burgers' equation from −sin πx on the line: a mean of −sin πy over the weights of Cole and Hopf."""
    nodes, weights = np.polynomial.hermite.hermgauss(order)
    x, t = z[:, :1], z[:, 1:]
    y = x - 2 * np.sqrt(nu * t) * nodes
    exponent = -np.cos(np.pi * y) / (2 * np.pi * nu)
    density = weights * np.exp(exponent - exponent.max(1, keepdims=True))
    return -(density * np.sin(np.pi * y)).sum(1) / density.sum(1)


def convection() -> Case:
    return Case(
        sx.Problem(
            "u", sx.Box(x=(0, 2 * np.pi, "periodic")), time=(0, 1), residual=lambda u, p: u.t + 50 * u.x,
            initial=lambda x: jnp.sin(x),
        ),
        lambda z: np.sin(z[:, 0] - 50 * z[:, 1]),
        {"features": 500, "scale": 36.0},
        {"width": 20, "depth": 3},
        sx.UniformSampler,
    )  # fmt: skip


def allen_cahn() -> Case:
    def exact(z):
        times = np.unique(z[:, 1])
        fine = fourier_solution(times, 4096, 4000)
        coarse = fourier_solution(times, 2048, 2000)
        print(f"  the reference changes by {np.abs(fine[:, ::2] - coarse).max():.1e} when it is coarsened twice")
        modes = np.fft.fft(fine, axis=1) / 4096
        k = np.fft.fftfreq(4096, 1 / 4096)
        found = [(modes[np.searchsorted(times, t)] @ np.exp(1j * np.pi * k * (x + 1))).real for x, t in z]
        return np.array(found)

    return Case(
        sx.Problem(
            "u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), residual=lambda u, p: u.t - 1e-4 * u.xx + 5 * u**3 - 5 * u,
            initial=lambda x: x**2 * jnp.cos(jnp.pi * x),
        ),
        exact,
        {"features": 1000, "scale": 60.0},
        {"width": 24, "depth": 3, "harmonics": 5},
        sx.RAD,
        15,
    )  # fmt: skip


def fourier_solution(times: np.ndarray, n: int, steps: int) -> np.ndarray:
    """Allen-Cahn at n points of the period and at `times`, by ETDRK4 (Cox & Matthews; coefficients by contour integrals)."""
    x, h = -1 + 2 * np.arange(n) / n, 1 / steps
    linear = -1e-4 * (np.pi * np.fft.rfftfreq(n, 1 / n)) ** 2 + 5
    circle = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)
    z = h * linear[:, None] + circle
    mean = lambda f: h * f.mean(1).real  # noqa: E731
    q = mean((np.exp(z / 2) - 1) / z)
    f1 = mean((-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3)
    f2 = mean((2 + z + np.exp(z) * (z - 2)) / z**3)
    f3 = mean((-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3)
    whole, half = np.exp(h * linear), np.exp(h * linear / 2)
    nonlinear = lambda v: -5 * np.fft.rfft(np.fft.irfft(v, n) ** 3)  # noqa: E731
    v, found = np.fft.rfft(x**2 * np.cos(np.pi * x)), {}
    wanted = {round(t * steps) for t in times}
    assert np.allclose(times * steps, np.round(times * steps)), "an instant of the reference lies between its steps"
    for number in range(steps + 1):
        if number in wanted:
            found[number] = np.fft.irfft(v, n)
        nv = nonlinear(v)
        a = half * v + q * nv
        na = nonlinear(a)
        b = half * v + q * na
        nb = nonlinear(b)
        c = half * a + q * (2 * nb - nv)
        v = whole * v + f1 * nv + 2 * f2 * (na + nb) + f3 * nonlinear(c)
    return np.stack([found[number] for number in sorted(found)])


CASES = {
    "helmholtz": lambda: helmholtz("periodic", 18.0),
    "helmholtz_dirichlet": lambda: helmholtz("dirichlet", 14.0),
    "burgers": burgers,
    "convection": convection,
    "allen_cahn": allen_cahn,
}
METHODS = ("features", "lm", "pig", "broyden", "adam")


@dataclass(frozen=True)
class Size:
    seeds: int
    points: int
    steps: int
    methods: tuple[str, ...] = METHODS
    cases: tuple[str, ...] = tuple(CASES)


FULL, QUICK, SMOKE = Size(3, 3000, 300), Size(1, 2000, 300, ("features",)), Size(1, 50, 2, cases=("burgers",))


def trained(case: Case, method: str, size: Size, key):
    if method == "features":
        sizes = case.features if size.steps > 2 else {**case.features, "features": 20}
        model, steps = sx.RandomFeatures(case.problem, **sizes, key=key), min(case.feature_steps, size.steps)
        return model, sx.GaussNewton(), steps, sx.UniformSampler(size.points)
    if method == "pig":
        gaussians = 40 if size.steps > 2 else 3
        model = sx.PIG(case.problem, gaussians=gaussians, spread=0.2, key=key)
        return model, sx.LevenbergMarquardt(), size.steps, case.sampler(size.points)
    network = case.network if size.steps > 2 else {"width": 4, "depth": 1}
    model = sx.PINN(case.problem, **network, key=key)
    step, factor = {
        "lm": (sx.LevenbergMarquardt(), 1),
        "broyden": (sx.SSBroyden(), 20),
        "adam": (optax.adam(optax.exponential_decay(1e-2, 1000, 0.85)), 50),
    }[method]
    return model, step, size.steps * factor if size.steps > 2 else 2, case.sampler(size.points)


def measure(case: Case, method: str, size: Size) -> dict:
    box, instants = case.problem.space_time, 101 if size.steps > 2 else 5
    axes = [np.linspace(axis.start, axis.stop, instants) for axis in box.axes]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    exact = case.exact(points)
    asked = points if case.problem.time is None else points[:, [1, 0]]
    errors, seconds, steps, parameters = [], [], 0, 0
    for seed in range(size.seeds):
        model, step, steps, sampler = trained(case, method, size, jax.random.key(seed))
        start = time.perf_counter()
        found = sx.fit(
            model,
            sampler=sampler,
            optimizer=step,
            steps=steps,
            key=jax.random.key(seed),
            check_every=steps,
            progress=False,
        )
        seconds.append(time.perf_counter() - start)
        values = in_double(jax.jit(lambda m, p: m.at_points({}, p)))(found.last, asked)[:, 0]
        errors.append(float(np.linalg.norm(values - exact) / np.linalg.norm(exact)))
        parameters = found.last.parameters
        print(f"  seed {seed}: {errors[-1]:.2e} in {seconds[-1]:.0f} s, {parameters} parameters", flush=True)
    return {
        "error": float(np.mean(errors)),
        "spread": float(np.std(errors)),
        "errors": errors,
        "seconds": float(np.median(seconds)),
        "parameters": parameters,
        "steps": steps,
        "points": size.points,
    }


def main():
    arguments = options(
        __doc__, full=FULL, quick=QUICK, smoke=SMOKE,
        only={"default": "", "help": "rows to measure again, problem:method, separated by commas"},
        seeds={"type": int, "default": None, "help": "number of seeds"},
    )  # fmt: skip
    size, file = arguments.size, arguments.folder / "pinn_accuracy.json"
    if arguments.seeds:
        size = replace(size, seeds=arguments.seeds)
    rows = json.loads(file.read_text())["values"]["rows"] if file.exists() else {}
    names = [f"{case}:{method}" for method in size.methods for case in size.cases]
    wanted = arguments.only.split(",") if arguments.only else [name for name in names if name not in rows]
    if unknown := set(wanted) - {f"{case}:{method}" for method in METHODS for case in CASES}:
        raise SystemExit(f"unknown rows {sorted(unknown)}; problems {list(CASES)}, methods {list(METHODS)}")
    for name in wanted:
        print(name, flush=True)
        case, method = name.split(":")
        rows[name] = measure(CASES[case](), method, size)
        best = {
            c: min((n for n in rows if n.startswith(f"{c}:")), key=lambda n: rows[n]["error"], default=None)
            for c in CASES
        }
        record(
            "pinn_accuracy",
            arguments,
            {
                **{case: None if name is None else rows[name]["error"] for case, name in best.items()},
                "kdv": None,
                "cavity": None,
                "seconds": {case: None if name is None else rows[name]["seconds"] for case, name in best.items()},
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
