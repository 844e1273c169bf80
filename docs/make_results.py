"""Write docs/results.md from the full results under benchmarks/results: python docs/make_results.py"""

import json
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
    lines = [f"{name}: {value}  " for name, value in values.items() if name != "cases"]
    for size, case in values["cases"].items():
        lines += ["", f"{size}, 50 modes:", "", "| | seconds | floor | orthogonality |", "| --- | ---: | ---: | ---: |"]
        for name, entry in case.items():
            cells = [f"{entry[k]:.1e}" if k in entry else "" for k in ("floor", "orthogonality")]
            lines.append(f"| {name} | {entry['seconds']:.3f} | {' | '.join(cells)} |")
    return lines


def local_bases(values: dict) -> list[str]:
    lines = [f"{name}: {value:.5g}  " for name, value in values.items() if name != "details"]
    choices = ("oracle", "network", "blend", "best of two")
    for case, found in values["details"].items():
        lines += ["", f"{case}, mean ± standard deviation over {len(next(iter(found.values())))} seeds:", ""]
        lines += [f"| K, N, basis | {' | '.join(choices)} |", "| --- |" + " ---: |" * len(choices)]
        rows = dict.fromkeys(name.removesuffix(" oracle") for name in found if name.endswith(" oracle"))
        for row in rows:
            seeds = [found.get(f"{row} {choice}", []) for choice in choices]
            cells = [f"{statistics.mean(v):.5f} ± {statistics.pstdev(v):.5f}" if v else "" for v in seeds]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def reduced_basis(values: dict) -> list[str]:
    rows = values["rows"]
    names = [name for name, value in rows[0].items() if not isinstance(value, list | dict)]
    lines = [f"{name}: {value}  " for name, value in values.items() if not isinstance(value, list | dict)]
    lines += ["", f"| {' | '.join(names)} |", "| " + "--- | " * len(names)]

    def cell(value) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return lines + ["| " + " | ".join(cell(row.get(name)) for name in names) + " |" for row in rows]


def linear_solvers(values: dict) -> list[str]:
    lines = [f"{name}: {value}  " for name, value in values.items() if name != "cases"]
    names = ("solver", "target", "iterations", "setup", "solve", "floor")
    for case in dict.fromkeys(row["case"] for row in values["cases"]):
        lines += ["", f"{case}:", "", f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
        for row in (r for r in values["cases"] if r["case"] == case):
            label = row["solver"] + (f": {row['method']}" if "method" in row else "")
            numbers = [row["iterations"] if (row["iterations"] or -1) > 0 else "", *(row.get(k) for k in names[3:])]
            cells = ["" if x is None else f"{x:.3g}" if isinstance(x, float) else str(x) for x in numbers]
            lines.append(f"| {label} | {row['target']:.0e} | {' | '.join(cells)} |")
    return lines


def numbers_of(values: dict) -> list[str]:
    """A line per number at the top level."""
    found = {name: value for name, value in values.items() if not isinstance(value, list | dict)}
    return [
        f"{name}: {value:.4g}  " if isinstance(value, float) else f"{name}: {value}  " for name, value in found.items()
    ]


def table(names: list[str], rows: list[list]) -> list[str]:
    def cell(x) -> str:
        return "" if x is None else f"{x:.3g}" if isinstance(x, float) else str(x)

    lines = [f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
    return ["", *lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)]


def deep_cg(values: dict) -> list[str]:
    names = ["side, domain, residual", "method", *values["cases"][0]["iterations"], "Mflop", "ms", "fallbacks"]
    rows = []
    for c in values["cases"]:
        label = f"{c['side']}², {c['domain']}, {c['rtol']:.0e}"
        cost = (c["flops"] / 1e6, 1e3 * c["seconds"], c["fallbacks"])
        rows.append([label, c["method"], *c["iterations"].values(), *cost])
    lines = [*numbers_of(values), "", "Mean iterations by right-hand side:", *table(names, rows)]
    methods = ["CG", "deep CG", "MG-PCG"]
    unseen: dict[tuple, list] = {}
    for row in values["unseen"]:
        found = unseen.setdefault((row["domain"], row["precision"], row["rtol"]), [])
        found.append([f"{row[m]['steps']}{'' if row[m]['solved'] else ' (not solved)'}" for m in methods])
    rows = [[f"{name}, {precision}, {rtol:.0e}", *("; ".join(x) for x in zip(*found, strict=True))]
            for (name, precision, rtol), found in unseen.items()]  # fmt: skip
    return [*lines, "", "Unseen domains, steps for each right-hand side:", *table(["domain", *methods], rows)]


def learning_to_relax(values: dict) -> list[str]:
    lines = numbers_of(values)
    for case, found in values["cases"].items():
        rows = [[name, statistics.mean(v), min(v), max(v), len(v)] for name, v in found.items()]
        rows = [[name, *(x if name == "its value" else round(x) for x in row), n] for name, *row, n in rows]
        lines += ["", f"{case}, iterations in total:", *table(["", "mean", "least", "most", "seeds"], rows)]
    return lines


def learned_preconditioner(values: dict) -> list[str]:
    others = {name: column for name, column in values.items() if isinstance(column, dict)}
    first = {name.removeprefix("iterations_"): x for name, x in values.items() if name not in others}
    rows = [[name, x, *(column[name] for column in others.values())] for name, x in first.items()]
    return ["Mean iterations to 1e-8:", *table(["preconditioner", "unseen", *others], rows)]


def diffusion_samplers(values: dict) -> list[str]:
    lines = numbers_of(values)
    for bed, found in values["beds"].items():
        names = ["median error", *map(str, found["evaluations"])]
        for kind in ("free", "fitted"):
            for grid, solvers in found.get(kind, {}).items():
                fitted = ", fitted" if kind == "fitted" else ""
                rows = [[name, *("–" if e is None else f"{e:.1e}" for e in errors)] for name, errors in solvers.items()]
                lines += ["", f"{bed}, {grid}{fitted}:", "", *table(names, rows)]
        if "offline_evaluations" in found:
            spent = [[name, f"{count:,}"] for name, count in found["offline_evaluations"].items()]
            lines += ["", "Network evaluations that the fitted cost once:", "", *table(["", "evaluations"], spent)]
    ratios = [
        [bed, *(f"{values[kind][bed]:.2f}" for kind in ("auto_vs_oracle", "auto_vs_classical")),
         *([f"{tried['ratio']:.2f}", f"{tried['evaluations']:,}"] if (tried := values["chosen"].get(bed)) else ["–", "–"])]
        for bed in values["auto_vs_oracle"]
    ]  # fmt: skip
    heads = [
        "bed, evaluations",
        "auto / best",
        "auto / best on usual grids",
        "chosen / best",
        "evaluations of the choice",
    ]
    lines += ["", "Errors over that of the best of all solvers and grids on the bed itself:", "", *table(heads, ratios)]
    best = sorted(values["peer"].items(), key=lambda pair: pair[1])[:12]
    rows = [[*name.split("|"), f"{error:.1e}"] for name, error in best]
    return [
        *lines,
        "",
        "The best of diffusers:",
        "",
        *table(["scheduler and grid", "evaluations", "median error"], rows),
    ]


def sampling_overhead(values: dict) -> list[str]:
    lines = numbers_of(values)
    for case in values["cases"]:
        rows = [[name, case["us_per_step"].get(name), ms] for name, ms in case["total_ms"].items()]
        lines += ["", f"{case['network']} network, batch {case['batch']}:", ""]
        lines += table(["", "overhead, µs per step", "ms in all"], rows)
    return lines


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
    lines = [f"drag of the flat inflow {drag['drag_start']:.5f}, after optimisation {drag['drag']:.5f} ", ""]
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
    return [*numbers_of(values), *table(names, [[row.get(name) for name in names] for row in values["cases"]])]


darcy_solver = fno_training = scaling = tpu_check = unstructured = rows_of


def plain(values: dict) -> list[str]:
    return ["```json", json.dumps(values, indent=1), "```"]


def main():
    lines = [
        "# Results",
        "",
        "Generated by `docs/make_results.py` from full runs; how to read them: `docs/decisions.md`.",
        "",
    ]
    for name in BENCHMARKS:
        lines += [f"## {name}", ""]
        path = RESULTS / f"{name}.json"
        if not path.exists():
            lines += ["not run", ""]
            continue
        saved = json.loads(path.read_text())
        lines += globals().get(name, plain)(saved["values"])
        versions = ", ".join(f"{k} {v}" for k, v in saved["versions"].items())
        lines += [
            "",
            f"`{saved['command']}`, commit {saved['commit']}, {saved['date']}, {saved['machine']}, {versions}.",
            "",
        ]
    (ROOT / "docs" / "results.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
