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
trained by `tools/train_deepcg.py paper` (box only: it sees no obstacles).

Then deep CG, CG and multigrid-PCG on the unseen domains of `common/unseen_domains.py` (mazes, spirals, rooms, porous media,
rings, 3D), with three right-hand sides each (ones, white noise, a source and a sink), to 1e-4 and 1e-6 in float64 and to 1e-4 in
float32. A step is one direction and one update; the safeguard of deep CG takes a second product with A per step. Systems
that CG does not solve in 5000 steps count with 5000. Finished domains are kept in `runs/` until the script ends.

    python benchmarks/deep_cg.py [--quick | --smoke] [--unseen | --seen]

Flops per step are XLA's count of the compiled step (operator, network or preconditioner, vector operations); triangular
solves are counted by hand, set-up is not counted. Seconds are per right-hand side without set-up, median of repeats.
--quick: two right-hand sides per kind, no repeats, four unseen domains; --smoke: one, on 16², the box and the discs, to 1e-4,
four methods, one unseen domain; --unseen, --seen: the unseen domains alone, or all but them; the rest from the last record.
Last line: the smallest ratio of mean iterations, CG over deep CG, over all right-hand sides, domains and tolerances (64²
and `_2x`: 128²), the largest share of fallback steps of any case, failures, and mean iterations at 64² to 1e-6; of the unseen
systems the share with less than a tenth of the steps of CG, the median ratio of steps, the ratio of seconds (deep CG over CG,
median over float64 systems) and the number not solved.
"""

import dataclasses
import json
import shutil
import statistics
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg as spla
from common.command_line import RESULTS, options
from common.record import record
from common.systems import WALLS, balls, nodes, poisson
from common.timing import repeated
from common.unseen_domains import Domain, consistent, parts, unseen_domains

import surrogax as sx
from surrogax.core import storage
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, DeepCG, Diffusion, FastPoisson, IncompleteCholesky, Multigrid
from surrogax.solvers.linear.operators.sparsity_pattern import symmetric_entries
from surrogax.surrogates.learned_solvers import MultilevelDirection, ritz_mix, ritz_vectors, sine_mix

PAPER = Path(__file__).parents[1] / "runs" / "deepcg-paper-2d-64.sgx"
UNSEEN = Path(__file__).parents[1] / "runs" / "deep_cg_unseen"


class Size(NamedTuple):
    """How much to run."""

    sides: tuple[int, ...]  # from the side of the training to twice it
    domains: slice
    tolerances: tuple[float, ...]
    methods: slice
    count: int  # of right-hand sides per kind
    ritz: int
    repeats: int
    unseen: slice


FULL = Size((64, 128), slice(None), (1e-4, 1e-6), slice(None), count=6, ritz=300, repeats=5, unseen=slice(None))
QUICK = FULL._replace(count=2, ritz=100, repeats=1, unseen=slice(3, 19, 4))
SMOKE = Size((16,), slice(0, None, 2), (1e-4,), slice(4), count=1, ritz=20, repeats=1, unseen=slice(4, 5))


def domains(n: int) -> dict[str, tuple[Diffusion, np.ndarray]]:
    (x, y), plain = nodes((n, n)), poisson((n, n)).as_diffusion()
    ring = (abs(np.hypot(x - 0.35, y - 0.4) - 0.22) < 0.03) & (y < 0.55)  # open towards high y
    bars = ((abs(x - 0.75) < 0.02) & (y > 0.25)) | ((abs(y - 0.85) < 0.03) & (x < 0.6))
    discs = balls((n, n), [(a, b) for a in (0.2, 0.5, 0.8) for b in (0.25, 0.5, 0.75)], 0.07)
    # A box with an empty obstacle: so it shares the compiled programs of the others.
    obstacles = {
        "box": (np.zeros((n, n), bool), "dirichlet"),
        "ring and bars, u = 0": (ring | bars, "dirichlet"),
        "nine discs, no flux": (discs, "neumann"),
    }
    return {name: (plain.with_obstacle(solid, kind), solid) for name, (solid, kind) in obstacles.items()}


def right_hand_sides(n: int, operator, solid, size: Size) -> dict[str, np.ndarray]:
    keys, rng, count = jax.random.split(jax.random.key(2024), 4), np.random.default_rng(2024), size.count
    x, y = nodes((n, n))
    if solid.any():
        _, vectors = ritz_vectors(operator, size.ritz, keys[0])
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
    size, cycle = operator.diagonal().size, bound(operator, Multigrid())
    linear = spla.LinearOperator((size, size), matvec=lambda v: np.asarray(product(operator, v)), dtype=float)
    inverse = spla.LinearOperator((size, size), matvec=lambda v: np.asarray(direct(operator, cycle, v)), dtype=float)
    _, vectors = spla.eigsh(linear, k=16, sigma=0, OPinv=inverse)
    vectors = jnp.asarray(vectors.T)
    products = jax.vmap(lambda v: product(operator, v))(vectors)
    return Deflated(inner, vectors, products, jnp.linalg.inv(vectors @ products.T))


@jax.jit
def product(operator, v):
    return operator.mv(v.reshape(operator.shape)).ravel()


@eqx.filter_jit
def direct(operator, cycle, v):
    return sx.linear.solve(operator, v.reshape(operator.shape), CG(cycle, rtol=1e-12)).value.ravel()


@eqx.filter_jit
def bound(operator, method):
    return method.bind(operator)


def methods(operator, solid) -> dict[str, tuple]:
    """Per name the bound method, and flops per step that XLA does not count."""
    n = operator.shape[0]
    factor = IncompleteCholesky().bind(operator)
    triangles = 4 * symmetric_entries(operator)[2].size + 2 * n * n
    untrained = jax.tree.map(lambda x: x.astype(jnp.float32), MultilevelDirection(2, key=jax.random.key(0)))
    listed = {
        "deep CG": (bound(operator, DeepCG(sx.load("deepcg-poisson-64"))), 0),
        "CG": (CG(max_steps=5000), 0),
        "deflated": (CG(deflated(operator, factor)), triangles),
        "MG-PCG": (bound(operator, CG(Multigrid())), 0),
        "IC-PCG": (CG(factor), triangles),
        "DST-PCG": (CG(FastPoisson(operator.spacing, WALLS)), 0),
        "untrained": (bound(operator, DeepCG(untrained)), 0),
    }
    if PAPER.exists() and not solid.any():
        listed["paper"] = (DeepCG(storage.load(PAPER), max_steps=2000), 0)
    return listed


@eqx.filter_jit
def run(operator, method, b):
    def one(b):
        start = getattr(getattr(method, "preconditioner", None), "coarse", jnp.zeros_like)(b)
        return sx.linear.solve(operator, b, method, x0=start).stats

    return jax.lax.map(one, b)


def flops(operator, method) -> float:
    recurrence = method.recurrence(operator)
    zero = jnp.zeros(operator.shape)
    state, _ = recurrence.start(zero, zero, None)
    return jax.jit(recurrence.step).lower(state).compile().cost_analysis()["flops"]


def measure(size: Size) -> list[dict]:
    cases = []
    for n in size.sides:
        for domain, (operator, solid) in list(domains(n).items())[size.domains]:
            sides = right_hand_sides(n, operator, solid, size)
            b = jnp.asarray(np.concatenate(list(sides.values())))
            kind = np.repeat(list(sides), [len(v) for v in sides.values()])
            listed = dict(list(methods(operator, solid).items())[size.methods])
            step_flops = {name: flops(operator, method) + extra for name, (method, extra) in listed.items()}
            for rtol in size.tolerances:
                for name, (method, _) in listed.items():
                    method = dataclasses.replace(method, rtol=jnp.asarray(rtol))
                    stats = run(operator, method, b)
                    took = statistics.median(repeated(run, operator, method, b, repeats=size.repeats)) / len(b)
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


def measure_unseen(size: Size) -> list[dict]:
    """A row per domain, precision, tolerance and right-hand side, with the steps and seconds of every method."""
    rows = []
    for precision in ("float64", "float32") if size is FULL else ("float64",):
        for name, domain in list(unseen_domains().items())[size.unseen]:
            kept = UNSEEN / f"{name.replace(' ', '_')}-{precision}.json"
            if size is FULL and kept.exists():
                rows += json.loads(kept.read_text())
                continue
            found = []
            for rtol in (1e-4, 1e-6) if precision == "float64" else (1e-4,):
                found += _unseen(name, domain, precision, rtol, size.repeats)
            if size is FULL:
                UNSEEN.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(found))
            rows += found
    return rows


def _unseen(name: str, domain: Domain, precision: str, rtol: float, repeats: int) -> list[dict]:
    shape, boundaries = domain.solid.shape, domain.boundaries
    plain = Diffusion(stencil.unit_faces(shape, boundaries, precision), shape, (1.0,) * len(shape), boundaries)
    operator = plain.with_obstacle(domain.solid, domain.condition)
    zero, rng = np.zeros(shape), np.random.default_rng(2024)
    fluid = np.flatnonzero(parts(domain) == np.bincount(parts(domain)[~domain.solid]).argmax())
    zero.flat[fluid[len(fluid) // 5]], zero.flat[fluid[-len(fluid) // 7]] = 1, -1
    walls = np.asarray(operator.mv(jnp.ones(shape, precision)))
    kinds = {"ones": np.ones(shape), "noise": rng.normal(size=shape), "points": zero}
    kinds = {kind: consistent(b, domain, np.where(domain.solid, 0, walls)) for kind, b in kinds.items()}
    kinds = {kind: b for kind, b in kinds.items() if np.abs(b).max() > 1e-9}
    b = jnp.asarray(np.stack(list(kinds.values())), precision)
    found = [{"domain": name, "precision": precision, "rtol": rtol, "kind": kind} for kind in kinds]
    methods = {"CG": CG(max_steps=5000), "deep CG": DeepCG(sx.load("deepcg-poisson-64")), "MG-PCG": CG(Multigrid())}
    for method, recipe in methods.items():
        made = dataclasses.replace(bound(operator, recipe), rtol=jnp.asarray(rtol))
        stats = run(operator, made, b)
        took = statistics.median(repeated(run, operator, made, b, repeats=repeats)) / len(b)
        for row, steps, status in zip(found, np.asarray(stats.iterations), np.asarray(stats.status), strict=True):
            row[method] = {"steps": int(steps), "solved": bool(status == 0), "seconds": took}
    for row in found:
        steps = "  ".join(f"{m} {row[m]['steps']:5d}{' ' if row[m]['solved'] else '!'}" for m in methods)
        print(f"{name:42s} {precision} {rtol:.0e} {row['kind']:6s} {steps}", flush=True)
    return found


def unseen_numbers(rows: list[dict]) -> dict:
    ratios = np.array([row["deep CG"]["steps"] / row["CG"]["steps"] for row in rows])
    seconds = [row["deep CG"]["seconds"] / row["CG"]["seconds"] for row in rows if row["precision"] == "float64"]
    return {
        "unseen_share_tenth": float((ratios < 0.1).mean()),
        "unseen_median": float(np.median(ratios)),
        "unseen_systems": len(rows),
        "unseen_unsolved": sum(not row["deep CG"]["solved"] for row in rows),
        "unseen_unsolved_cg": sum(not row["CG"]["solved"] for row in rows),
        "seconds_ratio_cg": float(np.median(seconds)),
    }


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
    unseen = {"action": "store_true", "help": "the unseen domains alone, the rest from the last record"}
    seen = {"action": "store_true", "help": "all but the unseen domains, which are those of the last record"}
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, unseen=unseen, seen=seen)
    size = arguments.size
    jax.config.update("jax_enable_x64", True)
    before = json.loads((RESULTS / "deep_cg.json").read_text())["values"] if arguments.unseen or arguments.seen else {}
    rows = before["unseen"] if arguments.seen else measure_unseen(size)
    values = before if arguments.unseen else seen_numbers(size)
    if not arguments.unseen:
        shutil.rmtree(UNSEEN, ignore_errors=True)
    record("deep_cg", arguments, {**values, **unseen_numbers(rows), "unseen": rows})


def seen_numbers(size) -> dict:
    """The figures of the benchmark's own domains, and their cases."""
    cases = measure(size)
    print_losses(cases)

    def chosen(method, **where):
        return [c for c in cases if c["method"] == method and all(c[k] == v for k, v in where.items())]

    def smallest_ratio(side):
        pairs = zip(chosen("CG", side=side), chosen("deep CG", side=side), strict=True)
        return min(cg["iterations"][k] / deep["iterations"][k] for cg, deep in pairs for k in deep["iterations"])

    def mean_iterations(method):
        return float(
            np.mean(
                [list(c["iterations"].values()) for c in chosen(method, side=size.sides[0], rtol=size.tolerances[-1])]
            )
        )

    return {
        "iteration_ratio_cg": smallest_ratio(size.sides[0]),
        "iteration_ratio_cg_2x": smallest_ratio(size.sides[-1]),
        "fallback_share": max(c["fallbacks"] for c in chosen("deep CG")),
        "failures": sum(c["failures"] for c in chosen("deep CG")),
        "mgpcg_iterations": mean_iterations("MG-PCG"),
        "deepcg_iterations": mean_iterations("deep CG"),
        "cases": cases,
    }


if __name__ == "__main__":
    main()
