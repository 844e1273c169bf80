"""`evaluate` and the views of its table, against errors computed by hand."""

import inspect
import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.solvers.pde import Solved
from surrogax.surrogates.evaluation import plots
from surrogax.surrogates.evaluation.report import Heading, Paragraph, Picture, Results, Settings, write_report
from surrogax.surrogates.evaluation.table import Row, Table
from surrogax.surrogates.training.history import History

N, SAMPLES = 9, 5
METRICS = ("rel_l2", "rmse")


class Scaled(sx.AbstractSurrogate):
    """A factor times the last frame of the field of the same name, or of `a`."""

    task: sx.Task
    factor: float = eqx.field(converter=jnp.asarray)
    free: bool = eqx.field(static=True, default=False)

    @property
    def capabilities(self):
        return sx.Capabilities(resolution_free=self.free, autoregressive=self.task.mode.rolls_out, savable=False)

    def __call__(self, fields, at=None):
        if self.task.mode.rolls_out:
            return {k: self.factor * fields[k][self.task.mode.history - 1] for k in self.task.targets}
        return {k: self.factor * (fields["a"] if self.task.spec(k).components == () else jnp.stack([fields["a"]] * 2, -1))
                for k in self.task.targets}  # fmt: skip


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def steady():
    """On nodes, so that the quadrature weights matter; a scalar target u and a vector target v."""
    grid = sx.Grid.unit(N, 1)
    data = sx.from_arrays(
        {"a": noise(SAMPLES, N)}, {"u": noise(SAMPLES, N, 1)[..., 0], "v": noise(SAMPLES, N, 2)}, grid=grid
    )
    return data, sx.Task.fit(data, "a", ("u", "v"))


@pytest.fixture(scope="module")
def timed():
    data = sx.from_arrays({"w": noise(SAMPLES, 6, N)}, grid=sx.Grid.unit(N, 1, "periodic"), times=np.arange(6) / 2)
    return data, sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(2))


def seeds(task, *factors):
    members = tuple(Scaled(task, f) for f in factors)
    return sx.FitResult(members, members, History(seeds=len(members)))


@pytest.fixture(scope="module")
def table(steady):
    data, task = steady
    surrogates = {"half": Scaled(task, 0.5, free=True), "two": seeds(task, 0.9, 1.1)}
    finer = sx.from_arrays({"a": noise(3, 17)}, {"u": noise(3, 17), "v": noise(3, 17, 2)}, grid=sx.Grid.unit(17, 1))
    return sx.evaluate(surrogates, {"here": data, "fine": finer}, metrics=METRICS, batch_size=2)


def by_hand(factor: float, data) -> dict[tuple[str, str], np.ndarray]:
    """Per (field, metric) the value of every sample, in float64."""
    a, w = data["a"].astype(np.float64), data.grid.weights
    result = {}
    for name, truth in {"u": data["u"], "v_0": data["v"][..., 0], "v_1": data["v"][..., 1]}.items():
        error = ((factor * a - truth.astype(np.float64)) ** 2 * w).sum(1)
        result[name, "rel_l2"] = np.sqrt(error / (truth.astype(np.float64) ** 2 * w).sum(1))
        result[name, "rmse"] = np.sqrt(error)  # of the unit interval
    return result


def test_values_are_those_computed_by_hand(table, steady):
    data, _ = steady
    expected = by_hand(0.5, data)
    rows = [r for r in table.rows if r.surrogate == "half" and r.dataset == "here"]
    assert {(r.field, r.metric) for r in rows} == set(expected) and len(rows) == 6
    for row in rows:
        values = expected[row.field, row.metric]
        np.testing.assert_allclose(row.mean, values.mean(), rtol=1e-5)
        np.testing.assert_allclose(row.stderr, values.std(ddof=1) / np.sqrt(SAMPLES), rtol=1e-4)
        np.testing.assert_allclose(table.samples["half", 0, "here", row.field, row.metric][:, 0], values, rtol=1e-5)
        assert row.step is None and row.seed == 0 and row.label_error is None


def test_every_seed_has_its_rows_and_the_summary_their_spread(table, steady):
    data, _ = steady
    means = [by_hand(f, data)["u", "rel_l2"].mean() for f in (0.9, 1.1)]
    rows = [r for r in table.rows if (r.surrogate, r.field, r.metric) == ("two", "u", "rel_l2")]
    assert [r.seed for r in rows] == [0, 1]
    np.testing.assert_allclose([r.mean for r in rows], means, rtol=1e-5)
    record = next(r for r in table.summary() if (r["surrogate"], r["field"], r["metric"]) == ("two", "u", "rel_l2"))
    np.testing.assert_allclose(
        (record["mean"], record["std_seeds"]), (np.mean(means), np.std(means, ddof=1)), rtol=1e-4
    )
    assert record["seeds"] == 2
    np.testing.assert_allclose(table.value("two", "here", field="u"), np.mean(means), rtol=1e-5)


def test_what_cannot_run_at_a_resolution_is_listed_as_missing(table):
    assert {r.surrogate for r in table.rows if r.dataset == "fine"} == {"half"}
    assert len(table.missing) == 2 and all(m.startswith("two on fine: fitted on Grid(") for m in table.missing)
    with pytest.raises(KeyError, match="no row for 'two', dataset 'fine'"):
        table.value("two", "fine")


def test_times_and_sizes_are_measured(table):
    timed = [r for r in table.rows if r.seed == 0]
    assert all(0 < r.ms_per_sample < 1e4 and 0 < r.ms_per_sample_1 < 1e4 for r in timed)
    assert all(r.ms_per_sample is None for r in table.rows if r.seed == 1)
    assert all(r.parameters == 1 for r in table.rows), "the factor"


def test_rollout_rows_count_steps_after_the_context_frames(timed):
    data, task = timed
    table = sx.evaluate({"half": Scaled(task, 0.5)}, data, rollout=3, timing=False)
    frame = data["w"][:, 1].astype(np.float64)
    for step, row in enumerate(table.rows):
        frame = 0.5 * frame
        truth = data["w"][:, 2 + step].astype(np.float64)
        values = np.linalg.norm(frame - truth, axis=1) / np.linalg.norm(truth, axis=1)
        assert row.step == step
        np.testing.assert_allclose(row.mean, values.mean(), rtol=1e-5)
    assert len(table.rows) == 3 and table.rows[0].ms_per_sample is None
    frames = Scaled(task, 0.5).rollout(data, 3)
    np.testing.assert_allclose(frames["w"][:, 2], frame, rtol=1e-5)
    np.testing.assert_array_equal(frames.times, [1.0, 1.5, 2.0])
    assert [row.time for row in table.rows] == [0.5, 1.0, 1.5], "since the last frame that is given"
    for x, places in (("t", [0.5, 1.0, 1.5]), ("step", [1, 2, 3])):
        (axes,) = table.plot("rel_l2", x=x).axes
        (line,) = axes.lines
        assert list(line.get_xdata()) == places and axes.get_xlabel() == x
        np.testing.assert_allclose(line.get_ydata(), [r.mean for r in table.rows])
    without = replace(table, rows=[replace(row, time=None) for row in table.rows])
    (axes,) = without.plot("rel_l2", x="t").axes
    assert list(axes.lines[0].get_xdata()) == [1, 2, 3] and axes.get_xlabel() == "step"
    with pytest.raises(ValueError, match="expected 't' or 'step'"):
        inspect.unwrap(sx.Table.plot)(table, x="frame")
    with pytest.raises(ValueError, match="plot: no row has a frame and y='rmse'"):
        table.plot("rmse")


def test_without_rollout_every_frame_that_can_be_predicted_is_measured(timed):
    data, task = timed
    table = sx.evaluate(Scaled(task, 0.5), data, timing=False)
    (row,), w = table.rows, data["w"].astype(np.float64)
    errors = np.linalg.norm(0.5 * w[:, 1:-1] - w[:, 2:], axis=2) / np.linalg.norm(w[:, 2:], axis=2)
    np.testing.assert_allclose(row.mean, errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(table.samples["Scaled", 0, "test", "w", "rel_l2"][:, 0], errors.mean(1), rtol=1e-5)
    assert (row.surrogate, row.dataset, row.step, row.starts) == ("Scaled", "test", None, 4)
    assert table.cells()[0][1] == "rel_l2, one prediction @ test"


def test_validation_and_evaluation_measure_the_same(timed):
    data, task = timed
    model = sx.FNO(task, width=4, modes=2, depth=1, key=jax.random.key(0))
    result = sx.fit(model, data, val=data, optimizer=optax.adam(1e-3), epochs=1, progress=False)
    assert sx.evaluate(result, data, timing=False).value("NetworkSurrogate") == pytest.approx(
        result.history.best_error[0], rel=1e-4
    )


def test_surrogates_that_are_given_other_frames_are_named(timed):
    data, task = timed
    one = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(1))
    surrogates = {"two": sx.Persistence(task), "one": sx.Persistence(one)}
    table = sx.evaluate(surrogates, data, rollout=2, timing=False)
    assert "Numbers of given frames: two 2, one 1. Errors are of" in str(table)
    assert "given frames" not in str(sx.evaluate({"two": sx.Persistence(task)}, data, timing=False))


def test_the_standard_error_belongs_to_the_mean_of_the_summary(timed):
    data, task = timed
    table = sx.evaluate({"two": seeds(task, 0.9, 1.1)}, data, rollout=3, timing=False)
    (record,) = table.summary()
    each = np.mean([table.samples["two", seed, "test", "w", "rel_l2"].mean(1) for seed in (0, 1)], 0)
    assert record["mean"] == pytest.approx(each.mean())
    assert record["stderr"] == pytest.approx(each.std(ddof=1) / np.sqrt(SAMPLES))
    assert table.cells()[0][1] == "rel_l2, rollout of 3 @ test"


def test_metrics_of_huge_and_tiny_values_are_finite(steady):
    data, _ = steady
    for scale in (1e19, 1e-20):
        scaled = sx.from_arrays({"a": scale * data["a"]}, {"u": scale * data["u"].astype(float)}, grid=data.grid)
        table = sx.evaluate({"half": Scaled(sx.Task.fit(scaled, "a", "u"), 0.5)}, scaled, metrics=METRICS, timing=False)
        expected = by_hand(0.5, data)
        assert table.value("half") == pytest.approx(expected["u", "rel_l2"].mean(), rel=1e-4)
        assert table.value("half", metric="rmse") == pytest.approx(scale * expected["u", "rmse"].mean(), rel=1e-4)


def test_what_cannot_be_evaluated_is_named(timed, steady):
    data, task = timed
    with pytest.raises(
        ValueError,
        match=r"unknown metrics \['mape'\]; known: \['band_90', 'blow_up', 'correlation', 'coverage_90', 'crps', 'data_misfit'",
    ):
        sx.evaluate({"half": Scaled(task, 0.5)}, data, metrics=("rel_l2", "mape"))
    with pytest.raises(ValueError, match="rollout=5 needs 7 instants, the dataset has 6"):
        sx.evaluate({"half": Scaled(task, 0.5)}, data, rollout=5)
    still, task = steady
    table = sx.evaluate({"half": Scaled(task, 0.5)}, still, rollout=2, timing=False)
    assert table.rows == [] and table.missing == ["half on test: not autoregressive"]
    with pytest.raises(KeyError, match="no field 'a'"):
        sx.evaluate({"half": Scaled(task, 0.5)}, sx.from_arrays({"b": noise(2, N)}, grid=still.grid))


def test_a_prediction_from_numbers_alone_is_made_where_the_data_are():
    """A solver on its own grid, asked at two resolutions without an input field that could tell it the resolution."""

    def solve(inputs, grid, *, rtol=None):
        u = inputs["c"] * jnp.asarray(grid.coordinates[0], jnp.float32)
        return Solved({"u": u}, sx.linear.Stats(jnp.asarray(0), jnp.asarray(0), jnp.asarray(0.0)))

    problem = sx.Problem("u", sx.Box.unit(1), inputs={"c": sx.random.Uniform(1, 2)}, solve=solve)
    surrogate = sx.SolverSurrogate(problem, 5)
    for n in (5, 9):
        grid, c = problem.box.grid(n), np.float32([1.0, 2.0])
        data = sx.from_arrays(
            targets={"u": np.float32(c[:, None] * grid.coordinates[0])}, parameters={"c": c}, grid=grid
        )
        assert sx.evaluate({"s": surrogate}, data, timing=False).value("s") < 1e-6
        np.testing.assert_allclose(surrogate.predict(data)["u"], data["u"], atol=1e-6)


# Views ----------------------------------------------------------------------------------------------------------------


def test_markdown_has_a_row_per_surrogate_and_a_column_per_dataset_field_and_metric(table):
    lines = table.to_markdown().splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0][:2] == ["surrogate", "u: rel_l2 @ here"] and len(cells[0]) == 1 + 12 + 3
    assert [c[0] for c in cells[2:]] == ["half", "two"] and len({len(c) for c in cells}) == 1
    assert cells[2][1] == f"{100 * table.value('half', 'here', field='u'):.3g} %"
    assert cells[3][1].endswith("(2 seeds)") and cells[3][cells[0].index("u: rel_l2 @ fine")] == "–"
    assert lines[-1].startswith("Not run: two on fine: ") and str(table) == table.to_markdown()


def test_the_error_of_the_labels_is_printed_below_the_table(steady):
    data, task = steady
    data = sx.Dataset.of(replace(data.source, attributes={"label_error": {"u": 0.0123}}))
    table = sx.evaluate({"half": Scaled(task, 0.5)}, data, timing=False)
    assert [r.label_error for r in table.rows] == [0.0123, None, None]
    assert table.to_markdown().endswith("Error of the labels themselves: 1.23 % (u @ test).")


def test_json_holds_the_rows_and_null_for_what_is_not_finite(table, steady, tmp_path):
    table.to_json(tmp_path / "table.json")
    read = json.loads((tmp_path / "table.json").read_text())
    assert len(read["rows"]) == len(table.rows) and read["missing"] == table.missing
    assert read["rows"][0]["mean"] == table.rows[0].mean and read["rows"][0]["surrogate"] == "half"
    data, task = steady
    zero = sx.from_arrays({"a": data["a"]}, {"u": 0 * data["u"], "v": data["v"]}, grid=data.grid)
    broken = sx.evaluate({"half": Scaled(task, 0.5)}, zero, timing=False)
    broken.to_json(tmp_path / "broken.json")
    assert [r["mean"] is None for r in json.loads((tmp_path / "broken.json").read_text())["rows"]] == [
        True,
        False,
        False,
    ]


def test_the_pareto_front_goes_through_what_nothing_beats(table):
    figure = table.pareto(dataset="here")
    assert [axes.get_title() for axes in figure.axes] == ["u @ here", "v_0 @ here", "v_1 @ here"]
    figure = table.pareto(dataset="here", field="v_1")
    axes = figure.axes[0]
    assert {t.get_text() for t in axes.texts} == {"half", "two"} and axes.get_title() == "here"
    points = [line.get_ydata()[0] for line in axes.lines if line.get_label() != "front"]
    assert sorted(points) == pytest.approx(sorted(table.value(s, "here", field="v_1") for s in ("half", "two")))
    (front,) = [line for line in axes.lines if line.get_label() == "front"]
    heights = front.get_ydata()
    assert len(heights) >= 1 and (np.diff(heights) < 0).all()
    with pytest.raises(ValueError, match=r"pareto: no row has x='ms_per_sample', y='rel_h1'.*timing=True"):
        table.pareto(y="rel_h1")


def test_pictures_of_predictions_show_what_was_asked(steady, timed):
    data, task = steady
    figure = plots.plot_predictions(Scaled(task, 0.5), data, n=2)
    assert len(figure.axes) == 2 * 3, "in 1D truth and prediction share a panel"
    input_, truth, error = (cell.lines[0].get_ydata() for cell in figure.axes[:3])
    predicted = figure.axes[1].lines[1].get_ydata()
    low, high = figure.axes[1].get_ylim()
    assert low < min(data["u"][:2].min(), 0.5 * data["a"][:2].min())
    assert high > max(data["u"][:2].max(), 0.5 * data["a"][:2].max())
    np.testing.assert_array_equal(input_, data["a"][0])
    np.testing.assert_array_equal(truth, data["u"][0])
    np.testing.assert_allclose(predicted, 0.5 * data["a"][0], rtol=1e-6)
    np.testing.assert_allclose(error, predicted - truth, rtol=1e-6)
    data, task = timed
    figure = plots.plot_predictions(Scaled(task, 0.5), data, n=1)
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), data["w"][0, 2])
    assert figure.axes[1].get_title() == "w, t = 1"


def test_histograms_count_every_sample_once_also_exact_predictions(table, steady):
    figure = plots.plot_error_histogram(table, dataset="here")
    assert len(figure.axes[0].patches) == 2
    data, task = steady
    exact = sx.from_arrays({"a": data["a"]}, {"u": data["a"], "v": data["v"]}, grid=data.grid)
    plots.plot_error_histogram(sx.evaluate({"exact": Scaled(task, 1.0)}, exact, timing=False))


def test_the_spectrum_of_a_wave_stands_at_its_wavenumber(steady, timed):
    x = np.arange(32) / 32
    k, energy = plots.radial_spectrum(np.cos(2 * np.pi * 5 * x)[None], sx.Grid.unit(32, 1, "periodic"))
    np.testing.assert_allclose(k[4], 10 * np.pi)
    np.testing.assert_allclose(energy, 0.5 * (np.arange(1, 16) == 5), atol=1e-12)
    k, energy = plots.radial_spectrum(np.cos(2 * np.pi * 5 * x)[None], sx.Grid.unit(32, 1))
    assert np.argmax(energy) == 4 and energy.sum() == pytest.approx(0.5, rel=0.05)
    long = sx.Box(x=(0, 4, "periodic"), y=(0, 1, "periodic")).grid((32, 32))
    waves = np.cos(np.pi * long.points[..., 0]) + np.cos(2 * np.pi * long.points[..., 1])
    k, energy = plots.radial_spectrum(waves[None], long)
    peaks = energy > 1e-9
    np.testing.assert_allclose(k[peaks], [np.pi, 2 * np.pi])
    np.testing.assert_allclose(energy[peaks], 0.5)
    for data, task in (steady, timed):
        figure = plots.plot_spectrum({"half": Scaled(task, 0.5)}, data)
        assert len(figure.axes[0].lines) == 3, "truth, prediction, error"


def test_the_report_is_one_file_that_loads_nothing(table, tmp_path):
    picture = Picture("picture", table.pareto(dataset="here"))
    parts = [Heading("Head & tail"), Paragraph("a < b"), Results(table), picture, Settings({"width": 4})]
    write_report(tmp_path / "report.html", "Title <1>", parts)
    page = (tmp_path / "report.html").read_text()
    assert "http" not in page and " src=" in page and page.count("src=") == page.count('src="data:image/png;base64,')
    for text in (
        "<h1>Title &lt;1&gt;</h1>",
        "<h2>Head &amp; tail</h2>",
        "<p>a &lt; b</p>",
        "<td>half</td>",
        "width: 4",
    ):
        assert text in page, text
    assert page.count("<tr>") == 3 and "<p>Not run: two on fine" in page


def test_correlation_time_and_blow_ups_of_rollouts():
    """Frames that drift away from the truth by a known angle per step, and a sample that explodes."""
    x, angle = 2 * np.pi * np.arange(32) / 32, np.arange(9)
    start = np.array([0.1, 0.7, 1.9])
    w = np.sin(x + start[:, None, None] + 0 * angle[:, None])
    grid = sx.Grid.unit(32, 1, "periodic")
    data = sx.from_arrays({"w": w}, grid=grid, times=0.5 * angle)
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(1))

    class Turned(sx.AbstractSurrogate):
        task: sx.Task
        factor: float
        capabilities = sx.Capabilities(autoregressive=True, savable=False)

        def __call__(self, fields, at=None):
            # A shift by two points is an angle of 2 · 2π/32 per step.
            return {"w": self.factor * jnp.roll(fields["w"][0], 2)}

    models = {"turned": Turned(task, 1.0), "exploding": Turned(task, 20.0)}
    table = sx.evaluate(models, data, metrics=("correlation", "blow_up"), rollout=8, timing=False)
    found = [r.mean for r in table.rows if r.surrogate == "turned" and r.metric == "correlation"]
    np.testing.assert_allclose(found, np.cos(4 * np.pi / 32 * np.arange(1, 9)), atol=1e-5)
    # cos(s π/8) is 0.92 after one step and 0.71 after two.
    assert table.correlation_time("turned") == pytest.approx(0.5)
    assert table.correlation_time("turned", below=0.5) == pytest.approx(1.0)
    assert table.correlation_time("turned", below=-2.0) == pytest.approx(4.0)
    blown = [r.mean for r in table.rows if r.surrogate == "exploding" and r.metric == "blow_up"]
    assert blown == [0, 1, 1, 1, 1, 1, 1, 1]
    with pytest.raises(KeyError, match="no correlations of a rollout of 'other'"):
        table.correlation_time("other")


# Break-even -----------------------------------------------------------------------------------------------------------


def test_a_surrogate_pays_off_against_the_fastest_solver_of_its_error():
    def row(name, error, ms, dataset="test"):
        return Row(name, 0, dataset, "u", "rel_l2", None, error, None, 9.0, ms, 0, None)

    here = {
        "net": (0.02, 1.0), "coarse": (0.05, 2.0), "fine": (0.02, 5.0), "finest": (0.001, 50.0), "exact": (1e-4, 1.0),
        "fast": (0.01, 0.5),
    }  # fmt: skip
    there = {"net": (0.9, 1.0), "fine": (0.9, 5.0)}
    table = Table(
        [row(name, *found, place) for place, rows in (("test", here), ("other", there)) for name, found in rows.items()]
    )
    solvers = ("coarse", "fine", "finest")
    found = table.break_even("net", solvers, 100.0, dataset="test")
    assert found.solver == "fine" and found.queries == pytest.approx(100 / 4e-3)
    assert table.break_even("exact", solvers, 100.0).queries is None
    never = table.break_even("net", (*solvers, "fast"), 100.0, dataset="test")
    assert never.queries == np.inf and str(never) == "never, fast is faster"
    assert table.break_even("net", solvers, 0.0, dataset="test").queries == 0
    with pytest.raises(KeyError, match="no row for 'absent'"):
        table.break_even("absent", solvers, 1.0)
    with pytest.raises(ValueError, match="seconds=-1"):
        table.break_even("net", solvers, -1.0)
