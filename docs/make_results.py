"""Write docs/results.md from the runs recorded under benchmarks/results: python docs/make_results.py"""

import ast
import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# Every benchmark of the repository, so that one that never ran is listed as such.
BENCHMARKS = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py"))


def percent(value) -> str:
    return "not run" if value is None else f"{100 * value:.2f} %"


def neuraloperator_darcy(values: dict) -> list[str]:
    def errors(who: str) -> str:
        return " and ".join(percent(values[f"{who}_{n}"]) for n in (16, 32))

    headline = (
        f"Without symmetry augmentation on either side: ours {errors('ours_no_symmetry')} at 16² and 32², peer {errors('peer')}. "
        f"With augmentation, which the peer was not given: ours {errors('ours')}."
    )
    rows = [("surrogax FNO, symmetry augmentation", "ours"), ("surrogax FNO, none", "ours_no_symmetry")]
    rows += [("neuraloperator 2.0 FNO", "peer"), ("harmonic finite volumes, values read off the data", "solver")]
    lines = [headline, "", "| | 16² | 32² (zero-shot) |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {percent(values[f'{k}_16'])} | {percent(values[f'{k}_32'])} |" for name, k in rows]
    for name, of in (("ours", "paired_difference"), ("ours without augmentation", "paired_difference_no_symmetry")):
        for n, difference in values.get(of, {}).items():
            if difference:
                mean, error = difference
                shown = f"{100 * mean:.2f} % ± {100 * error:.2f} % (standard error, paired by sample)."
                lines += ["", f"{n}²: peer − {name} = {shown}"]
    lines += [
        "",
        f"Parameters counted as reals: {values['parameters']:,}, peer {values['peer_parameters'] or 0:,}; epochs "
        f"{values['epochs']}, peer {values['peer_epochs'] or 'not run'}; means over {len(values['runs']['ours'])} seeds, peer "
        f"{values['peer_seeds']}. Trials of settings of both: docs/decisions.md, External Darcy data.",
    ]
    return lines


def pod(values: dict) -> list[str]:
    rows = [
        [f"{size}: {name}", *(entry.get(k) for k in ("seconds", "floor", "orthogonality"))]
        for size, case in values["cases"].items() for name, entry in case.items()
    ]  # fmt: skip
    return [*numbers_of(values), *table(["50 modes", "seconds", "floor", "orthogonality"], rows)]


def local_bases(values: dict) -> list[str]:
    """Mean errors over seeds with the network's choice of the basis; the oracle's for the two global bases."""
    kinds = ("global N", "global K·N", "kmeans", "normalized_kmeans", "l2", "normalized_l2", "sine")
    rows = []
    for case, found in values["details"].items():
        for size in dict.fromkeys(re.match(r"K=\d+ N=\d+", name)[0] for name in found):
            seeds = [found[f"{size} {k} {'oracle' if k.startswith('global') else 'network'}"] for k in kinds]
            best = f"{size} sine oracle"
            rows.append([f"{case}, {size}", *(percent(statistics.mean(v)) for v in (*seeds, found[best]))])
    return [*numbers_of(values), *table(["K bases of N modes", *kinds, "sine, best basis"], rows)]


def reduced_basis(values: dict) -> list[str]:
    names = {
        "N": "N", "mean_error": "mean error", "max_error": "largest", "max_bound": "largest bound", "violations": "violations",
        "output_us": "output, µs", "field_us": "field, µs", "full_solver": "full solver of equal error", "full_ms": "its ms",
        "speedup_equal_error": "speed-up",
    }  # fmt: skip
    rows = [[row.get(name) for name in names] for row in values["rows"]]
    return [*numbers_of(values), *table(list(names.values()), rows)]


def linear_solvers(values: dict) -> list[str]:
    """Milliseconds to 1e-6, set-up included: the best of each library."""
    kinds, rows = ("ours", "pyamg", "scipy", "lineax", "jax.scipy"), []
    for case in dict.fromkeys(row["case"] for row in values["cases"]):
        best: dict[str, dict] = {}
        for row in values["cases"]:
            kind = row["solver"].split()[0].rstrip(",")
            if row["case"] == case and row["target"] == 1e-6 and row.get("solve") is not None:
                row = {**row, "ms": 1e3 * (row["solve"] + (row.get("setup") or 0))}
                best[kind] = min(best.get(kind, row), row, key=lambda r: r["ms"])
        by = best.get("ours", {})
        rows.append([case, *(best.get(k, {}).get("ms") for k in kinds), by.get("method", by.get("solver"))])
    return [*numbers_of(values), *table(["ms to 1e-6", *kinds, "ours by"], rows)]


def shown(x) -> str:
    """A number or word in a cell: three digits, thousands apart."""
    if isinstance(x, str):
        return " ".join(x.split()).replace("|", "\\|")
    if x is None or isinstance(x, bool):
        return {None: "", True: "yes", False: "no"}[x]
    if isinstance(x, list | dict):
        return ", ".join(f"{k} {shown(v)}" for k, v in x.items()) if isinstance(x, dict) else " to ".join(map(shown, x))
    if isinstance(x, int) or 1000 <= abs(x) < 1e7:
        return f"{round(x):,}"
    return f"{x:.3g}" if 1e-3 <= abs(x) < 1e3 or x == 0 else f"{x:.1e}"


def numbers_of(values: dict) -> list[str]:
    """The numbers at the top level, which later runs are compared with, as a table of two columns; "not run" for null."""
    found = {
        k: "not run" if x is None else x
        for k, x in values.items()
        if (x is None or isinstance(x, int | float | str)) and not isinstance(x, bool)
    }
    lines = [
        "",
        "| headline | |",
        "| --- | ---: |",
        *(f"| {k.replace('_', ' ')} | {shown(x)} |" for k, x in found.items()),
    ]
    return lines if found else []


def table(names: list[str], rows: list[list]) -> list[str]:
    """Rows below names; columns of words to the left, of numbers to the right."""
    words = [
        any(isinstance(x, str) and not x[:1].isdigit() and x != "not run" for x in column)
        for column in zip(*rows, strict=True)
    ]
    lines = [f"| {' | '.join(names)} |", "|" + "".join(" --- |" if is_word else " ---: |" for is_word in words)]
    return ["", *lines, *("| " + " | ".join(map(shown, row)) + " |" for row in rows)]


def deep_cg(values: dict) -> list[str]:
    """Iterations by domain, mean over right-hand sides; the steps in unseen domains, median."""
    methods = list(dict.fromkeys(c["method"] for c in values["cases"]))
    seen: dict[str, dict] = {}
    for c in values["cases"]:
        label = f"{c['side']}², {c['domain']}, {c['rtol']:.0e}"
        seen.setdefault(label, {})[c["method"]] = (
            f"{statistics.mean(c['iterations'].values()):.3g} ({1e3 * c['seconds']:.3g})"
        )
    lines = [*numbers_of(values), "", "Mean iterations over five right-hand sides (milliseconds):"]
    lines += table(
        ["side, domain, residual", *methods], [[k, *(row.get(m) for m in methods)] for k, row in seen.items()]
    )
    three = ("CG", "deep CG", "MG-PCG")
    unseen: dict[str, list] = {}
    for row in values["unseen"]:
        if row["rtol"] == 1e-4:
            unseen.setdefault(row["domain"], []).append(row)
    rows = [
        [name, *(statistics.median(row[m]["steps"] for row in found) for m in three),
         *(1e3 * statistics.median(row[m]["seconds"] for row in found) for m in three)]
        for name, found in unseen.items()
    ]  # fmt: skip
    names = ["domain, to 1e-4", *(f"{m}, steps" for m in three), *(f"{m}, ms" for m in three)]
    return [*lines, "", "Unseen domains, medians over right-hand sides:", *table(names, rows)]


def learning_to_relax(values: dict) -> list[str]:
    """Iterations in total, mean over seeds."""
    cases = values["cases"]
    names = dict.fromkeys(name for found in cases.values() for name in found if name != "its value")

    def cell(found: list | None) -> str | None:
        if found is None:
            return None
        spread = f" ({min(found):,.0f} to {max(found):,.0f})" if max(found) > min(found) else ""
        return f"{statistics.mean(found):,.0f}{spread}"

    rows = [[name, *(cell(found.get(name)) for found in cases.values())] for name in names]
    return [
        *numbers_of(values),
        "",
        "Iterations in total, mean over seeds (least to most):",
        *table(["", *cases], rows),
    ]


def learned_preconditioner(values: dict) -> list[str]:
    others = {name: column for name, column in values.items() if isinstance(column, dict)}
    first = {name.removeprefix("iterations_"): x for name, x in values.items() if name not in others}
    rows = [[name, x, *(column[name] for column in others.values())] for name, x in first.items()]
    return ["Mean iterations to 1e-8:", *table(["preconditioner", "unseen", *others], rows)]


def diffusion_samplers(values: dict) -> list[str]:
    """Per bed and number of evaluations the best solver and grid, and what "auto" and `choose` lose against it."""
    rows = []
    for label, ratio in values["auto_vs_oracle"].items():
        bed, calls = label.rsplit(", ", 1)
        found = values["beds"][bed]
        at = found["evaluations"].index(int(calls))
        best = {}
        for kind in ("free", "fitted"):
            tried = {f"{solver}, {grid}": errors[at] for grid, solvers in found.get(kind, {}).items()
                     for solver, errors in solvers.items() if errors[at] is not None}  # fmt: skip
            best[kind] = min(tried.items(), key=lambda pair: pair[1], default=(None, None))
        chosen = (values["chosen"].get(label) or {}).get("ratio")
        rows.append([label, *best["free"], *best["fitted"], ratio, chosen])
    names = [
        "bed, evaluations",
        "best solver and grid",
        "median error",
        "best fitted",
        "error",
        "auto / best",
        "chosen / best",
    ]
    known = [pair for pair in values["peer"].items() if pair[1] is not None]  # null: diverged
    peers = sorted(known, key=lambda pair: pair[1])[:8]
    theirs = [[*name.split("|"), error] for name, error in peers]
    lines = [*numbers_of(values), *table(names, rows), "", "The best of diffusers on bed A smooth:"]
    return lines + table(["scheduler and grid", "evaluations", "median error"], theirs)


def bridges(values: dict) -> list[str]:
    rows = [
        [label, *((row, row) if isinstance(row, str) else (row["mean"], row["ends"]))]
        for label, row in values["cases"].items()
    ]
    return [*numbers_of(values), "", *table(["bed, method", "error of the mean", "ends, %"], rows)]


def sampling_overhead(values: dict) -> list[str]:
    cases = [f"{case['network']}, batch {case['batch']}" for case in values["cases"]]
    names = dict.fromkeys(name for case in values["cases"] for name in case["us_per_step"])
    rows = [[name, *(case["us_per_step"].get(name) for case in values["cases"])] for name in names]
    return [*numbers_of(values), "", "Overhead, µs per step, by network:", *table(["", *cases], rows)]


def operators_compared(values: dict) -> list[str]:
    lines = []
    for problem, rows in values.items():
        found = [[name, percent(row["rel_l2"]), row["parameters"], round(row["seconds"])] for name, row in rows.items()]
        lines += ["", f"{problem}:", *table(["", "relative L2", "parameters", "s"], found)]
    return lines


def mesh_operators(values: dict) -> list[str]:
    def cells(row: dict | str) -> list:
        if isinstance(row, str):
            return [row, None, None, None]
        return [percent(row["rel_l2"]), row.get("parameters"), row.get("epochs"), row.get("seconds")]

    rows = [[name, *cells(row)] for name, row in values["rows"].items()]
    return [*numbers_of(values), *table(["", "relative L2", "parameters", "epochs", "s"], rows)]


def conformal(values: dict) -> list[str]:
    lines = []
    for problem in ("burgers", "darcy"):
        bands = values[problem]
        if isinstance(bands, str):
            lines += ["", f"{problem}: {bands}"]
            continue
        names = list(next(iter(bands.values())))
        rows = [[kind, *band.values()] for kind, band in bands.items()]
        lines += ["", f"{problem}:", *table(["band", *(name.replace("_", " ") for name in names)], rows)]
    apart = ", ".join(f"{peer} {value}" for peer, value in values["quantile_difference"].items())
    return [*lines, "", f"Largest difference of scalar half widths, relative: {apart}."]


def paper_rows(values: dict) -> list[str]:
    def error(seeds: list[float] | None) -> str:
        if seeds is None:
            return "–"
        spread = f" ± {100 * statistics.stdev(seeds):.2g}" if len(seeds) > 1 else ""
        return f"{100 * statistics.mean(seeds):.3g} %{spread}"

    known = [row for row in values["rows"].values() if not isinstance(row, str)]
    tests = list(known[0]["rel_l2"]) if known else []
    rows = [
        [name, row]
        if isinstance(row, str)
        else [name, *(error(row["rel_l2"][n]) for n in tests), row["parameters"], round(row["seconds"])]
        for name, row in values["rows"].items()
    ]
    rows = [[*row, *[None] * (len(tests) + 3 - len(row))] for row in rows]
    published = ", ".join(f"{name} {100 * value:.2f} %" for name, value in values["published"].items())
    return [*table(["", *tests, "parameters", "s"], rows), "", f"Published: {published}."]


burgers_paper = darcy_paper = paper_rows


def navier_stokes_paper(values: dict) -> list[str]:
    rows = [
        [name, row, None, None, None]
        if isinstance(row, str)
        else [name, percent(row["rel_l2"]), percent(row["last"]), row["parameters"], round(row["seconds"])]
        for name, row in values["rows"].items()
    ]
    published = ", ".join(f"{name} {percent(value)}" for name, value in values["published"].items())
    lines = [f"{values['epochs']} epochs; error of the labels {percent(values['label_error'])}.", ""]
    lines += table(["", "ten instants", "t = 20", "parameters", "s"], rows)
    return [*lines, "", f"Published after 500 epochs: {published}."]


def neural_spectral(values: dict) -> list[str]:
    rows = [
        [name, row, None, None, None]
        if isinstance(row, str)
        else [name, *(row[k] for k in ("rel_l2", "steps", "seconds", "ms"))]
        for name, row in values["rows"].items()
    ]
    rows = [["FFT, float32", values["fft"]["rel_l2"], None, None, values["fft"]["ms"]], *rows]
    lines = numbers_of({name: value for name, value in values.items() if name.startswith("ratio")})
    return [*lines, *table(["", "relative L2", "steps", "training, s", "ms per source"], rows)]


def differentiable_solvers(values: dict) -> list[str]:
    details = dict(values["details"])
    drag, mosaic = details.pop("drag"), details.pop("Mosaic")
    columns = ("taylor_green", "gradient_rel_error", "gradient_cosine", "longest_finite_horizon")
    rows = [[name, *(row[k] for k in columns)] for name, row in details.items()]
    theirs = sorted({name for found in mosaic.values() for name in found})
    lines = [f"drag of the flat inflow {drag['drag_start']:.5f}, after optimisation {drag['drag']:.5f}", ""]
    lines += table(["", "Taylor-Green", "error of the gradient", "cosine", "finite to"], rows)
    lines += ["", "Errors of the gradient by horizon:", ""]
    horizons = list(next(iter(details.values()))["horizons"])
    lines += table(
        ["", *horizons], [[name, *(row["horizons"][h]["rel_error"] for h in horizons)] for name, row in details.items()]
    )
    lines += ["", "Mosaic's solvers, by its own results (drag in other settings, with the opposite sign):", ""]
    return lines + table(["", *mosaic], [[name, *(found.get(name) for found in mosaic.values())] for name in theirs])


def rows_of(values: dict) -> list[str]:
    names = list(dict.fromkeys(key for row in values["cases"] for key in row))
    rows = [[row.get(name) for name in names] for row in values["cases"]]
    return [*numbers_of(values), *table([name.replace("_", " ") for name in names], rows)]


fno_training = scaling = tpu_check = unstructured = rows_of


def darcy_solver(values: dict) -> list[str]:
    """Milliseconds per sample by solver."""
    cases, found = [], {}
    for row in values["cases"]:
        case = f"{row['n']}², {row['law']}"
        cases += [case] if case not in cases else []
        error = f" ({row['error']:.0e})" if "error" in row else ""
        found.setdefault(row["solver"], {})[case] = f"{shown(1e3 * row['seconds'])}{error}" if row["seconds"] else None
    rows = [[solver, *(by.get(case) for case in cases)] for solver, by in found.items()]
    return [*numbers_of(values), *table(["ms per sample (error)", *cases], rows)]


def pinn_accuracy(values: dict) -> list[str]:
    rows: list[list] = []
    for name, row in values["rows"].items():
        problem, method = name.split(":")[:2]
        solver = values["solver"].get(problem) or {}
        settings = row["settings"]
        details = [settings.get(k) for k in ("parameters", "steps", "points", "optimizer")]
        rows.append(
            [f"{problem}, {method}", row["error"], row["seconds"], *details, solver.get("error"), solver.get("seconds")]
        )
    names = ["", "relative L2", "s", "parameters", "steps", "points", "optimiser", "classical solver", "its s"]
    rows += [[name, "not run", *[None] * 7] for name, x in values.items() if x is None]
    return table(names, rows)


def generation(values: dict) -> list[str]:
    rows = [
        [f"{c['problem']}, {c['n']}, batch {c['batch']}, {c['dtype']}", *(1e3 * c[f"{who}_wall"] if c.get(f"{who}_wall") else None
         for who in ("ours", "exponax", "numpy")), c["ratio_exponax"], c["ours_error"], c["exponax_error"]]
        for c in values["cases"]
    ]  # fmt: skip
    names = ["ms per step", "ours", "exponax", "NumPy", "exponax / ours", "our error", "exponax' error"]
    return [*numbers_of(values), *table(names, rows)]


def readable(values: dict) -> list[str]:
    """What has no table of its own: numbers, then a table for every list of rows and every row by name."""
    lines = numbers_of(values)
    for name, found in values.items():
        if isinstance(found, dict) and found and not any(isinstance(x, list | dict) for x in found.values()):
            lines += table([name.replace("_", " "), ""], [[k, x] for k, x in found.items()])
        rows = (
            list(found.items())
            if isinstance(found, dict)
            else [("", row) for row in found]
            if isinstance(found, list)
            else []
        )
        rows = [(label, row) for label, row in rows if isinstance(row, dict)]
        names = dict.fromkeys(k for _, row in rows for k, x in row.items() if not isinstance(x, list | dict))
        if names:
            cells = [[*([label] if label else []), *(row.get(k) for k in names)] for label, row in rows]
            heads = [k.replace("_", " ") for k in names]
            lines += table(heads if isinstance(found, list) else [name.replace("_", " "), *heads], cells)
    return lines


def purpose(name: str) -> str:
    """The first sentence of a benchmark's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def section(name: str) -> list[str]:
    """A benchmark that ran: what it measures, its table, and where the run and all its numbers are.

    **Raises:** `ValueError` that names the record, for one that lacks what its table shows.
    """
    try:
        return _section(name, json.loads((RESULTS / f"{name}.json").read_text()))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"benchmarks/results/{name}.json has not what its table shows: {error!r}") from error


def _section(name: str, saved: dict) -> list[str]:
    versions = ", ".join(f"{k} {v}" for k, v in saved["versions"].items())
    machine = saved["machine"]
    if isinstance(machine, dict):
        machine = ", ".join(f"{value} core(s)" if key == "cores" else str(value) for key, value in machine.items())
    run = f"`{saved['command']}`, commit {saved['commit']}, {saved['date']}, {machine}, {versions}"
    values = globals().get(name, readable)(saved["values"])
    numbers = f"{run}. All numbers: [{name}.json](../benchmarks/results/{name}.json)."
    return [f"## {name}", "", purpose(name), "", *values, "", numbers, ""]


def main():
    ran = [name for name in BENCHMARKS if (RESULTS / f"{name}.json").exists()]
    missing = [name for name in BENCHMARKS if name not in ran]
    lines = [
        "# Results",
        "",
        f"Generated by `docs/make_results.py` from recorded runs, {len(ran)} of {len(BENCHMARKS)} benchmarks; how to read them: "
        "[decisions](decisions.md). Ratios are peer over ours: above 1 we are faster. Times on one machine vary by tens of "
        "percent from run to run; ratios are of turns within one run.",
        "",
        *(line for name in ran for line in section(name)),
        *(["## Not run", "", *(f"- {name}: {purpose(name)}" for name in missing)] if missing else []),
    ]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    (ROOT / "docs" / "results.md").write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
