"""The choice of `solver="auto"` for fields: all solvers on all grids, on mixtures of fields whose flow is known.

    cd benchmarks; python -m tools.choose_for_fields [--seeds 3000 3012] [--evaluations 5 8 10 15 20 28]

Four schedules in turn, 24 starts each. For every number of evaluations it prints the geometric mean and the maximum, over the
mixtures, of a pair's error over that of the best pair: for the best pairs, then for what `solver="auto"` takes for fields and for
vectors. The rule in `solvers/diffusion/automatic.py` is simplified from the best pairs of the default seeds.
"""

import argparse
import dataclasses

import jax
import numpy as np
from common.field_mixtures import FieldMixture
from common.sampling_beds import Bed

from surrogax.solvers import diffusion as sd
from surrogax.solvers.diffusion.automatic import automatic_grid

SCHEDULES = (sd.VPLinear(), sd.EDM(), sd.VPCosine(), sd.VE(0.01, 50.0))
SOLVERS = (
    *(sd.IPNDM(k) for k in (2, 3, 4)), *(sd.DEIS(k, "log_snr") for k in (2, 3, 4)), sd.DEIS(3), sd.DEIS(4),
    sd.DPMSolverPP(2), sd.DPMSolverPP(3), sd.ExponentialAdams(4), sd.UniPC(2), sd.UniPC(3),
)  # fmt: skip
GRIDS = {
    "log-SNR": sd.LogSNR,
    "quadratic": sd.VPQuadratic,
    "uniform": sd.UniformTime,
    **{f"rho {r:g}": lambda n, r=r, **o: sd.Rho(n, rho=r, **o) for r in (3.0, 4.0, 5.0, 7.0, 10.0)},
    **{
        f"tuned, size {s:g}": lambda n, s=s, **o: sd.Tuned(n, data_std=s, **o) for s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    },
}


def errors(seed: int, evaluations) -> dict[tuple, float]:
    """By number of evaluations and pair."""
    schedule = SCHEDULES[seed % 4]
    bed, tables = Bed.of_mixture(FieldMixture.random(seed), schedule, 24, seed + 1), {}
    for n in evaluations:
        for name, kind in GRIDS.items():
            for solver in SOLVERS:
                tables[n, f"{solver} on {name}"] = sd.plan(solver, schedule=schedule, times=kind(n, to_zero=False))
        for field in (True, False):
            grid = dataclasses.replace(automatic_grid(schedule, n, field), to_zero=False)
            name = f"auto for {'fields' if field else 'vectors'}"
            tables[n, name] = sd.plan("auto", schedule=schedule, times=grid, field=field)
    return bed.errors(tables)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=(3000, 3012))
    parser.add_argument("--evaluations", type=int, nargs="*", default=(5, 8, 10, 15, 20, 28))
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    found = [errors(seed, arguments.evaluations) for seed in range(*arguments.seeds)]
    for n in arguments.evaluations:
        best = [min(e for (m, _), e in each.items() if m == n) for each in found]
        ratios = {
            name: [each[n, name] / b for each, b in zip(found, best, strict=True)] for m, name in found[0] if m == n
        }
        scores = {name: (float(np.exp(np.mean(np.log(r)))), max(r)) for name, r in ratios.items()}
        ranked = sorted((name for name in scores if not name.startswith("auto")), key=lambda name: scores[name])[:6]
        print(f"{n} evaluations")
        for name in (*ranked, "auto for fields", "auto for vectors"):
            print(f"  {name:60} {scores[name][0]:7.2f} {scores[name][1]:7.2f}", flush=True)


if __name__ == "__main__":
    main()
