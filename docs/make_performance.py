"""Write docs/performance.md, floor, peer and ours per hot path, from benchmarks/results/: python docs/make_performance.py"""

import json

from make_results import RESULTS, ROOT, table


def values(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["values"] if path.exists() else None


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def fno(what: str, passes: int) -> list[str]:
    found = values("fno_training")
    if found is None:
        return ["not run"]
    rows = []
    for case in found["cases"]:
        peers = [case[f"{mode} {what}"] for mode in ("eager", "compile") if f"{mode} {what}" in case]
        floor = ms(case["floor"]) * passes / 3
        rows.append(
            [case["case"], floor, ms(min(peers, default=None)), ms(case[f"ours {what}"]), case[f"{what}_ratio"]]
        )
    return table(["ms", "products alone", "neuraloperator 2.0", "ours", "peer / ours"], rows)


def darcy() -> list[str]:
    found = values("darcy_solver")
    if found is None:
        return ["not run"]
    rows = []
    for n, law in dict.fromkeys((row["n"], row["law"]) for row in found["cases"]):
        case = [r for r in found["cases"] if (r["n"], r["law"]) == (n, law) and r["seconds"] is not None]
        best = {kind: min((r for r in case if "error" in r and ("float32" in r["solver"]) == kind), key=lambda r: r["seconds"])
                for kind in (False, True)}  # fmt: skip
        peers = {r["solver"]: ms(r["seconds"]) for r in case if "error" not in r}
        pyamg, direct = (next((v for k, v in peers.items() if word in k), None) for word in ("pyamg", "spsolve"))
        ours = best[False]
        ratio = None if pyamg is None else round(pyamg / ms(ours["seconds"]), 1)
        rows.append(
            [f"{n}², {law}", direct, pyamg, ms(ours["seconds"]), ours["solver"], ms(best[True]["seconds"]), ratio]
        )
    names = ["ms per sample", "spsolve", "pyamg", "ours, float64", "by", "float32, refined", "pyamg / ours"]
    return table(names, rows)


def solvers() -> list[str]:
    found = values("linear_solvers")
    if found is None:
        return ["not run"]
    rows = []
    for case in dict.fromkeys(row["case"] for row in found["cases"]):
        total = {}
        for row in found["cases"]:
            if row["case"] == case and row["target"] == 1e-6 and row.get("solve") is not None:
                kind = row["solver"].split()[0]
                seconds = row["solve"] + (row.get("setup") or 0)
                total[kind] = min(total.get(kind, seconds), seconds)
        rows.append([case, ms(total.get("pyamg")), ms(total.get("ours")), round(total["pyamg"] / total["ours"], 1)])
    return table(["ms to 1e-6, set-up included", "pyamg, the better", "ours, automatic", "pyamg / ours"], rows)


def unstructured() -> list[str]:
    found = values("unstructured")
    if found is None:
        return ["not run"]
    rows = []
    for case in dict.fromkeys(row["case"] for row in found["cases"]):
        by_name = {row["solver"]: row for row in found["cases"] if row["case"] == case}
        ours, direct = by_name["ours SA"], by_name["ours LU"]
        peers = [row for name, row in by_name.items() if name.startswith("pyamg SA")]
        pyamg = min(peers, key=lambda row: row["solve"], default=None)
        theirs = [None, None, None] if pyamg is None else [pyamg["iterations"], ms(pyamg["setup"]), ms(pyamg["solve"])]
        ratio = None if pyamg is None else round(pyamg["solve"] / ours["solve"], 1)
        mine = [ours["iterations"], ms(ours["setup"]), ms(ours["solve"])]
        rows.append([f"{case}, {ours['unknowns']}", *theirs, *mine, ratio, ms(direct["solve"])])
    names = [
        "ms to 1e-8, one core",
        "pyamg SA-CG: iterations",
        "set-up",
        "solve",
        "ours: iterations",
        "set-up",
        "solve",
    ]
    return table([*names, "pyamg / ours", "LU, factors known"], rows)


def pod() -> list[str]:
    found = values("pod")
    if found is None:
        return ["not run"]
    rows = []
    for size, case in found["cases"].items():
        named = ("one Gram product, float64", "pymor method_of_snapshots", "auto, float64")
        rows.append([size, *(case.get(name, {}).get("seconds") for name in named)])
    return table(["seconds", "one Gram product", "pymor, default", "ours"], rows)


def scaling() -> list[str]:
    found = values("scaling")
    if found is None:
        return ["not run"]
    lines = [
        f"- The loss on 2, 4, 8 devices and on two processes differs from that of one device by "
        f"{found['max_loss_difference']:.1e} (relative).",
        f"- A step divided by samples has {found['reductions_per_step']} reduction: gradient and loss together.",
        f"- Streamed from a file, an epoch of the demo takes {found['stream_over_resident']:.2f} times as long as from the "
        f"device; training waits {100 * found['waiting']:.1f} % of it for batches.",
        "",
        "Seconds per sample over those of one device at 20 samples per device (the simulated devices share the same cores, so 1 "
        "is the floor), and bytes per device of a training step on one divided field over those of one device:",
    ]
    rows = [[n, found["weak_scaling"][n], found["space_memory"].get(n)] for n in found["weak_scaling"]]
    return [*lines, *table(["devices", "time per sample", "memory, field divided in space"], rows)]


def physics() -> list[str]:
    found = values("pinn_speed")
    if found is None:
        return ["not run"]
    rows = []
    for problem, row in found["rows"].items():
        steps = [row.get(f"{who}step") for who in ("deepxde_", "jinns_", "")]
        ratios = [None if peer is None else round(peer / steps[2], 1) for peer in steps[:2]]
        theirs = row.get("deepxde_accuracy")
        theirs = theirs if theirs is None or row["deepxde_reached"] else f"over {theirs:.0f}"
        rows.append([problem, *map(ms, steps), *ratios, theirs, row["accuracy"]])
    names = ["ms per step", "DeepXDE", "jinns", "ours", "DeepXDE / ours", "jinns / ours", "s to 1e-3, DeepXDE", "ours"]
    return table(names, rows)


def tpu() -> list[str]:
    found = values("tpu_check")
    if found is None:
        return ["not run"]
    rows = [
        [
            r["case"],
            r["chips"],
            r["needed"] / 2**30,
            r["products"] / 1e9,
            r["bytes"] / 1e9,
            ms(r["roofline"]),
            ms(r["estimate"]),
        ]
        for r in found["cases"]
        if "error" not in r and r["case"].startswith(("FNO step", "spectral round trip, 256"))
    ]
    return table(["per chip", "chips", "GiB", "Gflop", "GB", "roofline, ms", "compiler's estimate, ms"], rows)


SECTIONS = [
    (
        "FNO: a training step",
        lambda: fno("train", 3),
        """Floor: the matrix products alone, at the rate of a large product measured in the same run. Tried, on two cores: space
in front of batch and channels against channels first and last (5.4, 7.4, 8.1 ms per spectral convolution at 64²); erf against
erfc in the GELU (a third of the time, no denormal numbers); GELU derivatives kept, kept as one array, or computed again (the
last: a fifth less memory, 0 to 10 % less time); frequencies k and −k with shared products (3 to 25 % of a convolution);
training in parts of the batch (1.5 times slower: every part touches all weights); other matrix libraries of XLA by compiler
options (no difference). What is left is that products of these shapes run at 80 to 110 Gflop/s where a large one reaches 250.""",
    ),
    (
        "FNO: inference",
        lambda: fno("infer", 1),
        """Tried: the batch at once (its 42 to 168 MB of intermediate results are fresh pages of memory in every call: a third of
the time), and parts of it by `lax.map`, as many samples as keep an intermediate result within 2 MiB (1.1 to 1.7 times faster
than at once, 1.1 to 1.4 times faster than within 1 MiB). Under differentiation the batch is computed at once.""",
    ),
    (
        "Darcy solve, batch of 16",
        darcy,
        """All to 1e-6 of a direct solve, set-up included. Tried: transforms in float32 inside float64 conjugate gradients (half
the time of a transform, the same iterations); `vmap`, `lax.map` and batches of 2 to 8 within it (128²: `vmap`; 421²: one at a
time); even and odd modes kept apart between the axes of a transform instead of interleaved, and batches that freeze
finished systems by zero step lengths instead of choosing between arrays in every iteration (together 1.4 times faster at
128²); float32 solves refined in float64 (a row of its own: faster at 128², slower at 421²).""",
    ),
    (
        "Linear solvers",
        solvers,
        "Floors (bytes moved) and all methods: docs/results.md. What was tried: docs/decisions.md, Linear solvers.",
    ),
    (
        "Sparse matrices without a grid",
        unstructured,
        "Linear triangles on Delaunay meshes. A direct solve with known factors is fast in the plane; factorising is not. Other "
        "processes shared the core: ratios hold, as solves took turns, milliseconds do not. What was tried: docs/decisions.md, "
        "Linear solvers.",
    ),
    ("POD, 50 modes", pod, "Floor: one Gram product. What was tried: docs/decisions.md, Reduced-order bases."),
    (
        "Several devices",
        scaling,
        """The FNO runs under `shard_map`: every device computes its samples in the layout of one device, and the parameters
enter as one vector, so that their gradient is one all-reduce. Left to the compiler, products over flattened points would lose the
sharding of the batch, which is not the outermost axis. Divided in space, transforms run along the undivided axes, then an
all-to-all gives every device all points of a part of the frequencies, and back. Networks that know nothing of meshes
are divided by samples by the compiler.""",
    ),
    (
        "Training without data",
        physics,
        """One step of Adam on the same perceptron (3 × 20) and points, float32; and seconds until the error is 1e-3, by
DeepXDE's own recipe (Adam, then L-BFGS) and by Levenberg-Marquardt, compilation included.""",
    ),
    (
        "TPU v5e, compiled without one",
        tpu,
        """An FNO at 256² with 64 channels and 32 modes in float32; nothing runs (`docs/tpu.md`). Bytes, not operations, bound
the step. Divided by `shard_map` it needs a quarter of the time and a third of the memory of a division left to the compiler,
which gathers the batch again (both are from before `fit` divided anything by itself; it now does what the first one did).
Transforms by matrix products are never slower than FFTs there, and those need more memory than a chip has at a batch of 64.""",
    ),
]


def main():
    lines = [
        "# Performance",
        "",
        "Generated by `docs/make_performance.py` from the recorded runs (`docs/results.md` has all numbers and machines). Times "
        "on one machine vary by tens of percent from run to run; ratios are of turns within one run.",
    ]
    for title, body, tried in SECTIONS:
        lines += ["", f"## {title}", *body(), "", tried]
    (ROOT / "docs" / "performance.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
