"""Certified reduced basis of the thermal block: bounds against true errors, and time against our own full solvers.

    python benchmarks/reduced_basis.py [--quick]

−∇·(a∇u) = 1 on the unit square, a one number on each of 2 × 2 blocks, log-uniform in [0.1, 10]: four parameters, contrast
100. The truth is the discrete solution on one grid, 257² nodes (65² with --quick), by conjugate gradients in float64 to their
floor of about 1e-13. Errors are relative, in the energy norm, over 1000 (100) random parameters that the greedy has not seen.

- A violation is a bound below the true error. It counts, and so does the effectivity (bound over true error, proven to be
  at most √100), for true errors of 1e-10 and more; `violations_at_floor` are those below, where the truth itself is in doubt.
- Full solvers at equal error: for every basis the fastest of those whose mean error over 8 parameters is not larger than
  that of the basis: our preconditioned conjugate gradients (plain and scaled preconditioner, float32 and float64, up to 13
  tolerances a decade or two apart, and half decades next to the error of the headline basis, so that no solver has to do
  much more than is asked there), the same on coarser grids with bilinear interpolation, and scipy's sparse LU.
- Times are medians per query after compilation. Of the full solver: of the solution on all nodes, alone and 8 at once (by
  vmap, or one by one where that is faster). Of the reduced basis in float64: "field", the solution Σ c_i φ_i on all nodes
  with its bound, alone and 8 at once; "output", coefficients, bound and compliance alone, alone and 1000 at once.

Last line: JSON, of the headline basis, the first with a mean error below 1e-6. `speedup_equal_error` compares field with
field in single queries, `speedup_equal_error_batch` the same 8 at once; `speedup_output_only` and `speedup_output_only_batch`
(1000 at once) are for who needs no field. `full_solver_error` tells how far the fastest single full solver over-solves.
"""

import statistics
import time
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from common import options, record
from scipy.sparse.linalg import splu

import surrogax as sx
from surrogax.solvers.kernels.interpolate import apply_along_axes
from surrogax.solvers.linear import CG, FastPoisson, solve
from surrogax.solvers.pde.affine import interior
from surrogax.surrogates.reduced.certified.greedy import CertifiedBasis, weak_greedy
from surrogax.surrogates.surrogate import interpolation

PROBLEM = sx.problem("thermal_block")
NAMES = tuple(PROBLEM.parameters)
TIMED = 8
TARGET = 1e-6


def draw(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: 10 ** rng.uniform(-1, 1, n) for name in NAMES}


def median_time(repeats: int, call: Callable, *arguments) -> float:
    jax.block_until_ready(call(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def energies(full, theta, errors) -> np.ndarray:
    return np.sqrt([max(e @ full.combination(t, e), 0) for t, e in zip(theta, errors, strict=True)])


# Bounds ---------------------------------------------------------------------------------------------------------------


def certify(basis: CertifiedBasis, sizes: list[int], n: int) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per size of the basis true errors, bounds and norms of the truth at n parameters."""
    full = basis.space.full
    theta, phi = full.coefficients(draw(n, 1))
    models = {size: basis.model(size) for size in sizes}
    parts = {size: [] for size in sizes}
    for start in range(0, n, 50):
        part = slice(start, start + 50)
        truth = np.stack([full.solve(*c) for c in zip(theta[part], phi[part], strict=True)])
        norms = energies(full, theta[part], truth)
        for size, model in models.items():
            solution = model.at(theta[part], phi[part])
            errors = energies(full, theta[part], truth - solution.coefficients @ basis.space.basis[:size])
            parts[size].append(np.stack([errors, solution.bound, norms]))
    return {size: tuple(np.concatenate(p, 1)) for size, p in parts.items()}


# Full solvers ---------------------------------------------------------------------------------------------------------


def conjugate_gradients(n: int, scaled: bool, dtype) -> Callable:
    """`(parameters, rtol) -> unknowns` on n² nodes."""
    grid = PROBLEM.box.grid(n)

    def run(parameters, rtol):
        parameters = {k: v.astype(dtype) for k, v in parameters.items()}
        operator, b = PROBLEM.operator(parameters, grid)
        scaling = (operator.diagonal() * grid.spacing[0] ** 2 / 4) ** -0.5 if scaled else None
        method = CG(FastPoisson(grid.spacing, PROBLEM.box.conditions, scaling), rtol=rtol.astype(dtype), norm="natural")
        return solve(operator, b, method).value

    return run


def interpolated(run: Callable, n: int, fine) -> Callable:
    matrices = interpolation(PROBLEM.box.grid(n), fine)
    return lambda p, rtol: interior(apply_along_axes(jnp.pad(run(p, rtol), 1), matrices), PROBLEM.box)


def sparse_lu(full) -> Callable:
    """The same system, assembled and factorised by SuperLU."""
    n = int(full.size**0.5)
    grid = PROBLEM.box.grid(n + 2)

    def run(parameters):
        operator, _ = PROBLEM.operator({k: jnp.asarray(v) for k, v in parameters.items()}, grid)
        fx, fy = (np.asarray(f, np.float64) / grid.spacing[0] ** 2 for f in operator.faces)
        main = (fx[:-1] + fx[1:] + fy[:, :-1] + fy[:, 1:]).ravel()
        along = fy[:, 1:].copy()
        along[:, -1] = 0
        offsets = (-along.ravel()[:-1], -fx[1:-1].ravel())
        matrix = sp.diags_array([main, offsets[0], offsets[0], offsets[1], offsets[1]], offsets=(0, 1, -1, n, -n))
        return splu(sp.csc_array(matrix), permc_spec="MMD_AT_PLUS_A").solve(full.rhs[0])

    return run


def measure_full_solvers(full, n: int, truth, theta, target: float, quick: bool) -> list[dict]:
    """Mean error and seconds per query, alone and in a batch, of every candidate; tolerances are finest where the error
    passes `target`."""
    parameters = draw(TIMED, 2)
    norms = energies(full, theta, truth)
    fine = PROBLEM.box.grid(n)
    candidates = {
        f"CG {name}, {np.dtype(dtype).name}": conjugate_gradients(n, scaled, dtype)
        for name, scaled in (("plain", False), ("scaled", True))
        for dtype in (np.float32, np.float64)
    }
    for coarse in (n // 2 + 1, n // 4 + 1):
        run = conjugate_gradients(coarse, False, np.float32)
        candidates[f"CG plain, float32, {coarse}²"] = interpolated(run, coarse, fine)
    rows = []

    def error(u) -> float:
        return float((energies(full, theta, np.asarray(u, np.float64).reshape(TIMED, -1) - truth) / norms).mean())

    for name, run in candidates.items():
        single, batch = jax.jit(run), jax.jit(jax.vmap(run, in_axes=(0, None)))
        on_device = jax.tree.map(jnp.asarray, parameters)
        queries = [{k: v[i] for k, v in on_device.items()} for i in range(TIMED)]
        levels, last, step = [], np.inf, 2 if quick or "scaled" in name else 1
        for digits in range(1, 14, step):
            found = error(batch(on_device, jnp.asarray(10.0**-digits)))
            if found > 0.7 * last:  # its floor
                break
            if found <= target < last:
                halves = 10.0 ** -np.arange(digits - step + 0.5, digits, 0.5)
                levels += [(rtol, error(batch(on_device, jnp.asarray(rtol)))) for rtol in halves]
            levels.append((10.0**-digits, found))
            last = found
        for rtol, found in levels:
            one = statistics.mean(median_time(3, single, query, jnp.asarray(rtol)) for query in queries[:4])
            many = median_time(3, batch, on_device, jnp.asarray(rtol)) / TIMED
            rows.append({"solver": f"{name}, rtol {rtol:.0e}", "error": found, "single": one, "batch": min(many, one)})
            print(
                f"  {rows[-1]['solver']:<44} error {found:.1e}   {1e3 * one:8.2f} ms   {1e3 * many:8.2f} ms in a batch",
                flush=True,
            )
    lu = sparse_lu(full)
    found = error(np.stack([lu({k: v[i] for k, v in parameters.items()}) for i in range(TIMED)]))
    seconds = median_time(3, lu, {k: v[0] for k, v in parameters.items()})
    rows.append({"solver": "sparse LU", "error": found, "single": seconds, "batch": seconds})
    print(f"  {'sparse LU':<44} error {found:.1e}   {1e3 * seconds:8.2f} ms", flush=True)
    return rows


# The reduced basis ----------------------------------------------------------------------------------------------------


def time_reduced(basis: CertifiedBasis, size: int) -> dict[str, float]:
    """Seconds per query with the field on all nodes, alone and of 8 at once, and without, alone and of 1000 at once."""
    model = basis.model(size).astype(jnp.float64)
    query = jax.jit(lambda p: model(p)._replace(outputs=None, output_bounds=None))
    field = jax.jit(lambda p: (model.field(model(p).coefficients), model(p).bound))
    many = jax.tree.map(jnp.asarray, draw(1000, 3))
    one = {k: v[0] for k, v in many.items()}
    return {
        "field": median_time(21, field, one),
        "field_batch": median_time(7, jax.jit(jax.vmap(field)), {k: v[:TIMED] for k, v in many.items()}) / TIMED,
        "output": median_time(51, query, one),
        "output_batch": median_time(7, jax.jit(jax.vmap(query)), many) / 1000,
    }


def main() -> None:
    quick = options(__doc__, "65² nodes, 100 test parameters").quick
    n, tests = (65, 100) if quick else (257, 1000)

    system = PROBLEM.affine(PROBLEM.box.grid(n))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it runs into its floor, which is wanted here
        basis = weak_greedy(system, draw(2000, 0), tolerance=1e-14, max_basis=60)
    offline = time.perf_counter() - start
    full, largest = basis.space.full, len(basis.space)
    print(
        f"{n}² nodes: {largest} snapshots in {offline:.1f} s, bound over the training set down to {min(basis.bounds):.1e}"
    )

    sizes = [*range(4, largest - 8, 4), *range(largest - 8, largest + 1, 2 if quick else 1)]
    certified = certify(basis, sizes, tests)
    parameters = draw(TIMED, 2)
    theta, phi = full.coefficients(parameters)
    truth = np.stack([full.solve(*c) for c in zip(theta, phi, strict=True)])
    norms = energies(full, theta, truth)
    means = {}
    for size in sizes:
        missed = truth - basis.model(size).at(theta, phi).coefficients @ basis.space.basis[:size]
        means[size] = float((energies(full, theta, missed) / norms).mean())
    chosen = next(size for size in sizes if means[size] < TARGET)
    with jax.enable_x64(True):
        solvers = measure_full_solvers(full, n, truth, theta, means[chosen], quick)
        timings = {size: time_reduced(basis, size) for size in sizes}

    line = "{:>3} {:>9} {:>9} {:>9} {:>6} {:>6} {:>5} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}  {}".format
    print(line("N", "mean err", "max err", "max bound", "eff ≥", "eff ≤", "viol", "field µs", "8 fields", "output µs",
               "1000 outp.", "× field", "× output", "full solver at equal error"))  # fmt: skip
    rows, violations, effectivity = [], 0, 0.0
    for size in sizes:
        errors, bounds, sizes_of_truth = certified[size]
        relative = errors / sizes_of_truth
        counted = relative >= 1e-10
        violated = bounds < errors
        effectivities = (bounds / errors)[counted]
        allowed = [s for s in solvers if s["error"] <= max(means[size], min(s["error"] for s in solvers))]
        single, batch = (min(allowed, key=lambda s, k=k: s[k]) for k in ("single", "batch"))
        times = timings[size]
        row = {
            "N": size,
            "mean_error": means[size],
            "max_error": float(relative.max()),
            "max_bound": float((bounds / sizes_of_truth).max()),
            "effectivity": [float(effectivities.min()), float(effectivities.max())] if counted.any() else None,
            "violations": int(violated[counted].sum()),
            "violations_at_floor": int(violated[~counted].sum()),
            "counted": int(counted.sum()),
            **{f"{k}_us": 1e6 * v for k, v in times.items()},
            "full_solver": single["solver"],
            "full_solver_error": single["error"],
            "full_ms": 1e3 * single["single"],
            "full_batch_ms": 1e3 * batch["batch"],
            "speedup_equal_error": single["single"] / times["field"],
            "speedup_equal_error_batch": batch["batch"] / times["field_batch"],
            "speedup_output_only": single["single"] / times["output"],
            "speedup_output_only_batch": batch["batch"] / times["output_batch"],
        }
        rows.append(row)
        violations += row["violations"]
        effectivity = max(effectivity, *(row["effectivity"] or [0.0]))
        print(line(size, *(f"{row[k]:.1e}" for k in ("mean_error", "max_error", "max_bound")),
                   *(f"{x:.2f}" for x in row["effectivity"] or (np.nan, np.nan)), row["violations"],
                   *(f"{1e6 * seconds:.1f}" for seconds in times.values()),
                   *(f"{row[k]:.1f}" for k in ("speedup_equal_error", "speedup_output_only")), row["full_solver"]),
              flush=True)  # fmt: skip
    headline = next(row for row in rows if row["N"] == chosen)
    shared = ("speedup_equal_error", "speedup_equal_error_batch", "speedup_output_only", "speedup_output_only_batch",
              "full_solver", "full_solver_error", "mean_error")  # fmt: skip
    record(
        "reduced_basis",
        quick,
        {
            **{name: headline[name] for name in shared},
            "effectivity_max": effectivity,
            "bound_violations": violations,
            "violations_at_floor": sum(row["violations_at_floor"] for row in rows),
            "smallest_max_error": min(row["max_error"] for row in rows),
            "floor_of_bound": min(row["max_bound"] for row in rows),
            "offline_seconds": offline,
            "nodes": n,
            "headline_basis": headline["N"],
            "rows": rows,
            "full_solvers": solvers,
        },
    )


if __name__ == "__main__":
    main()
