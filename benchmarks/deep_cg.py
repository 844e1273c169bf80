"""Deep conjugate directions beside classical methods: iterations, flops, seconds, share of fallback steps.

−Δu = b at 64² (the side of the training) and 128², to 1e-4 and 1e-6 relative residual in float64 (the direction computes
in float32), on a box and two domains with obstacles that no training saw. Right-hand sides: the paper's mixes of
eigenvectors (of Ritz vectors where there are obstacles), from which the paper trains, white noise, smooth fields, ones
and point sources. The classical methods:

- CG; IC-PCG (incomplete Cholesky without fill); deflated IC-PCG with the 16 lowest eigenvectors, given for free (the paper
  takes 16 vectors too, cheaper ones);
- DST-PCG: the exact inverse of the box as preconditioner, so one step there;
- multigrid-PCG.

"untrained" is the direction as it was initialised, "paper" the paper's network with its loss and data in 2D, if it was
trained by `train_deepcg.py paper` (box only: it sees no obstacles).

    python benchmarks/deep_cg.py [--quick]

Flops per step are XLA's count of the compiled step (operator, network or preconditioner, vector operations); triangular
solves are counted by hand, set-up is not counted. Seconds are per right-hand side without set-up, median of repeats.
Last line: the smallest ratio of mean iterations, CG over deep CG, over all right-hand sides, domains and
tolerances (64² and `_2x`: 128²), the largest share of fallback steps of any case, failures, and mean iterations at
64² to 1e-6.
"""

import dataclasses
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg as spla
from common import options, record

import surrogax as sx
from surrogax.core import storage
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, DeepCG, Diffusion, FastPoisson, Multigrid, solve
from surrogax.solvers.linear.operators.sparsity_pattern import symmetric_entries
from surrogax.solvers.linear.preconditioners.incomplete_cholesky import IncompleteCholesky
from surrogax.surrogates.learned_solvers import MultilevelDirection, ritz_mix, ritz_vectors, sine_mix

DIRICHLET = ("dirichlet", "dirichlet")
PAPER = Path(__file__).parents[1] / "runs" / "deepcg-paper-2d-64.sgx"


def domains(n: int) -> dict[str, tuple[Diffusion, np.ndarray]]:
    x, y = np.meshgrid(*[(np.arange(n) + 1) / (n + 1)] * 2, indexing="ij")
    plain = Diffusion(stencil.unit_faces((n, n), DIRICHLET), (n, n), (1 / (n + 1),) * 2, DIRICHLET, jnp.zeros((n, n)))
    ring = (abs(np.hypot(x - 0.35, y - 0.4) - 0.22) < 0.03) & (y < 0.55)  # open towards high y
    bars = ((abs(x - 0.75) < 0.02) & (y > 0.25)) | ((abs(y - 0.85) < 0.03) & (x < 0.6))
    discs = np.min([np.hypot(x - a, y - b) for a in (0.2, 0.5, 0.8) for b in (0.25, 0.5, 0.75)], axis=0) < 0.07
    return {
        "box": (plain, np.zeros((n, n), bool)),
        "ring and bars, u = 0": (plain.with_obstacle(ring | bars), ring | bars),
        "nine discs, no flux": (plain.with_obstacle(discs, "neumann"), discs),
    }


def right_hand_sides(n: int, operator, solid, quick: bool) -> dict[str, np.ndarray]:
    keys, rng, count = jax.random.split(jax.random.key(2024), 4), np.random.default_rng(2024), 2 if quick else 6
    x, y = np.meshgrid(*[(np.arange(n) + 1) / (n + 1)] * 2, indexing="ij")
    if solid.any():
        _, vectors = ritz_vectors(operator, 100 if quick else 300, keys[0])
        mixes = [ritz_mix(vectors, k) for k in jax.random.split(keys[1], count)]
    else:
        mixes = [sine_mix((n, n), k) for k in jax.random.split(keys[1], count)]
    points = np.zeros((count, n, n))
    for field in points:
        field[tuple(rng.integers(0, n, (2, 3)))] = rng.normal(size=3)
    waves = [np.sin(a * x + b * y) * np.exp(c * x) for a, b, c in rng.uniform(-6, 6, (count, 3))]
    kinds = {
        "paper": np.stack([np.asarray(b) for b in mixes]),
        "noise": rng.normal(size=(count, n, n)),
        "smooth": np.stack(waves),
        "ones": np.ones((1, n, n)),
        "points": points,
    }
    kinds = {kind: np.where(solid, 0, b) for kind, b in kinds.items()}
    return {kind: b[np.abs(b).max((1, 2)) > 0] for kind, b in kinds.items()}


class Deflated(eqx.Module):
    """r ↦ Pᵀ M⁻¹ r + Z E⁻¹ Zᵀ r, P = I − A Z E⁻¹ Zᵀ, E = Zᵀ A Z: deflated PCG if x0 is made likewise (A-DEF2 of Tang et
    al. 2009)."""

    inner: eqx.Module
    vectors: jax.Array
    products: jax.Array
    inverse: jax.Array

    def __call__(self, r):
        z = self.inner(r).ravel()
        z = z - self.vectors.T @ (self.inverse @ (self.products @ z))
        return z.reshape(r.shape) + self.coarse(r)

    def coarse(self, r):
        return (self.vectors.T @ (self.inverse @ (self.vectors @ r.ravel()))).reshape(r.shape)


def deflated(operator, inner) -> Deflated:
    shape = operator.in_structure().shape
    product = jax.jit(lambda v: operator.mv(v.reshape(shape)).ravel())
    linear = spla.LinearOperator((np.prod(shape),) * 2, matvec=lambda v: np.asarray(product(v)), dtype=float)
    cycle = eqx.filter_jit(Multigrid().bind)(operator)
    direct = jax.jit(lambda v: solve(operator, v.reshape(shape), CG(cycle, rtol=1e-12)).value.ravel())
    inverse = spla.LinearOperator(linear.shape, matvec=lambda v: np.asarray(direct(v)), dtype=float)
    _, vectors = spla.eigsh(linear, k=16, sigma=0, OPinv=inverse)
    vectors = jnp.asarray(vectors.T)
    products = jax.vmap(product)(vectors)
    return Deflated(inner, vectors, products, jnp.linalg.inv(vectors @ products.T))


def methods(operator, solid) -> dict[str, tuple]:
    """Per name the bound method, and flops per step that XLA does not count."""
    n = operator.shape[0]
    factor = IncompleteCholesky().bind(operator)
    triangles = 4 * symmetric_entries(operator)[2].size + 2 * n * n
    untrained = jax.tree.map(lambda x: x.astype(jnp.float32), MultilevelDirection(2, 4, 8, key=jax.random.key(0)))
    bound = eqx.filter_jit(lambda method: method.bind(operator))
    listed = {
        "deep CG": (bound(DeepCG(sx.load("deepcg-poisson-64"))), 0),
        "CG": (CG(max_steps=5000), 0),
        "IC-PCG": (CG(factor), triangles),
        "deflated": (CG(deflated(operator, factor)), triangles),
        "DST-PCG": (CG(FastPoisson(operator.spacing, DIRICHLET)), 0),
        "MG-PCG": (bound(CG(Multigrid())), 0),
        "untrained": (bound(DeepCG(untrained)), 0),
    }
    if PAPER.exists() and not solid.any():
        listed["paper"] = (DeepCG(storage.load(PAPER), max_steps=2000), 0)
    return listed


@eqx.filter_jit
def run(operator, method, b):
    def one(b):
        start = getattr(getattr(method, "preconditioner", None), "coarse", jnp.zeros_like)(b)
        return solve(operator, b, method, x0=start).stats

    return jax.lax.map(one, b)


def flops(operator, method) -> float:
    recurrence = method.recurrence(operator)
    zero = jnp.zeros(operator.shape)
    state, _ = recurrence.start(zero, zero)
    return jax.jit(recurrence.step).lower(state).compile().cost_analysis()["flops"]


def seconds(call, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def measure(quick: bool) -> list[dict]:
    cases = []
    for n in (64, 128):
        for domain, (operator, solid) in domains(n).items():
            sides = right_hand_sides(n, operator, solid, quick)
            b = jnp.asarray(np.concatenate(list(sides.values())))
            kind = np.repeat(list(sides), [len(v) for v in sides.values()])
            listed = methods(operator, solid)
            step_flops = {name: flops(operator, method) + extra for name, (method, extra) in listed.items()}
            for rtol in (1e-4, 1e-6):
                for name, (method, _) in listed.items():
                    method = dataclasses.replace(method, rtol=jnp.asarray(rtol))
                    stats = run(operator, method, b)
                    took = seconds(lambda o=operator, m=method, b=b: run(o, m, b), 1 if quick else 5) / len(b)
                    each = np.asarray(stats.iterations)
                    relative = np.asarray(stats.residual) / np.linalg.norm(b, axis=(1, 2))
                    replaced = np.zeros_like(each) if stats.fallbacks is None else np.asarray(stats.fallbacks)
                    case = {
                        "side": n,
                        "domain": domain,
                        "rtol": rtol,
                        "method": name,
                        "iterations": {k: float(each[kind == k].mean()) for k in sides},
                        "flops": float(each.mean() * step_flops[name]),
                        "seconds": took,
                        "fallbacks": float(replaced.sum() / max(each.sum(), 1)),
                        "failures": int((~(relative <= rtol * (1 + 1e-9)) | (np.asarray(stats.status) != 0)).sum()),
                    }
                    cases.append(case)
                    line = "  ".join(f"{k} {v:6.1f}" for k, v in case["iterations"].items())
                    print(
                        f"{n:4d} {domain:21s} {rtol:.0e} {name:10s} {line}  {case['flops'] / 1e6:8.1f} Mflop "
                        f"{1e3 * took:8.2f} ms  fallbacks {100 * case['fallbacks']:4.1f} %  failures {case['failures']}",
                        flush=True,
                    )
    return cases


def print_losses(cases: list[dict]) -> None:
    """Every classical method that needs fewer iterations, flops or seconds than deep CG in a case."""
    print("\nLosses of deep CG to classical methods (its value / theirs, where theirs is smaller):")
    for deep in (c for c in cases if c["method"] == "deep CG"):
        where = [c for c in cases if all(c[k] == deep[k] for k in ("side", "domain", "rtol"))]
        for other in where:
            if other["method"] in ("deep CG", "untrained", "paper"):
                continue
            mean = lambda c: float(np.mean(list(c["iterations"].values())))  # noqa: E731
            pairs = {k: (deep[k], other[k]) for k in ("flops", "seconds")} | {"iterations": (mean(deep), mean(other))}
            lost = [f"{k} {ours / max(theirs, 1e-9):.1f}" for k, (ours, theirs) in pairs.items() if theirs < ours]
            if lost:
                print(
                    f"  {deep['side']:4d} {deep['domain']:21s} {deep['rtol']:.0e} {other['method']:9s} {', '.join(lost)}"
                )


def main() -> None:
    quick = options(__doc__, "two right-hand sides per kind, no repeats").quick
    jax.config.update("jax_enable_x64", True)
    cases = measure(quick)
    print_losses(cases)

    def chosen(method, **where):
        return [c for c in cases if c["method"] == method and all(c[k] == v for k, v in where.items())]

    def smallest_ratio(side):
        pairs = zip(chosen("CG", side=side), chosen("deep CG", side=side), strict=True)
        return min(cg["iterations"][k] / deep["iterations"][k] for cg, deep in pairs for k in deep["iterations"])

    def mean_iterations(method):
        return float(np.mean([list(c["iterations"].values()) for c in chosen(method, side=64, rtol=1e-6)]))

    values = {
        "iteration_ratio_cg": smallest_ratio(64),
        "iteration_ratio_cg_2x": smallest_ratio(128),
        "fallback_share": max(c["fallbacks"] for c in chosen("deep CG")),
        "failures": sum(c["failures"] for c in chosen("deep CG")),
        "mgpcg_iterations": mean_iterations("MG-PCG"),
        "deepcg_iterations": mean_iterations("deep CG"),
    }
    record("deep_cg", quick, values if quick else {**values, "cases": cases})


if __name__ == "__main__":
    main()
