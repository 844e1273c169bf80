"""The dataset interface: what is read, what views keep, and what is refused."""

import inspect

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid, Mesh, PointCloud, PointCloudLayout
from surrogax.datasets import Dataset, FieldSpec, MemorySource, from_arrays, generate
from surrogax.datasets.opening import open_dataset
from surrogax.datasets.source import Source
from surrogax.solvers import random
from surrogax.solvers.pde import problems
from surrogax.surrogates.baselines import MeanField
from surrogax.surrogates.evaluation.evaluate import evaluate
from surrogax.surrogates.task.modes import Autoregressive, Steady
from surrogax.surrogates.task.task import Task
from surrogax.surrogates.training.samples import Samples

RNG = np.random.default_rng(0)
GRID = Box(x=(0, 1), y=(-1, 1, "periodic")).grid((5, 8))
TIMES = np.linspace(0, 3, 7)
ARRAYS = {
    "a": RNG.random((10, 5, 8), np.float32),
    "u": RNG.random((10, 7, 5, 8), np.float32),
    "v": RNG.random((10, 7, 5, 8, 2), np.float32),
    "nu": RNG.random(10, np.float32),
    "k": RNG.random((10, 3)),
}


@pytest.fixture
def data():
    parameters = {name: ARRAYS[name] for name in ("nu", "k")}
    return from_arrays({"a": ARRAYS["a"]}, {n: ARRAYS[n] for n in "uv"}, grid=GRID, parameters=parameters, times=TIMES)


def steady(n=10):
    return from_arrays({"u": np.arange(n * 9.0).reshape(n, 9)}, grid=Grid.unit_interval(9))


# Reading --------------------------------------------------------------------------------------------------------------


def test_what_it_holds(data):
    assert len(data) == 10 and list(data.fields) == ["a", "u", "v", "nu", "k"] and data.grid == GRID
    assert isinstance(data.source, Source)
    assert data.spec("a") == FieldSpec() and data.spec("u") == FieldSpec(time=True)
    assert data.spec("v") == FieldSpec(components=(2,), time=True) and data.spec("v").channels == 2
    assert data.spec("nu") == FieldSpec("parameter") and data.spec("k") == FieldSpec("parameter", (3,), dtype="float64")
    np.testing.assert_array_equal(data.times, TIMES)


def test_indexing(data):
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(data[name], values)
        for i in (0, 3, -1, np.int64(2)):
            np.testing.assert_array_equal(data[i][name], values[i], strict=True)
    mask = np.arange(10) % 4 == 1
    for item in (slice(2, 5), slice(None, None, -3), [4, 4, 1], np.array([-1, 0]), mask, []):
        part = data[item]
        assert isinstance(part, Dataset) and isinstance(part.source, MemorySource)
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(part[name], values[item], strict=True)
        assert part.grid == GRID and part.ids.tolist() == np.arange(10)[item].tolist()


def test_wrong_indices_are_named(data):
    for i in (10, -11):
        with pytest.raises(IndexError, match=f"sample {i} of a dataset of 10"):
            data[i]
    with pytest.raises(IndexError):
        data[[10]]
    for read in (lambda: data["w"], lambda: data.spec("w"), lambda: data.read(["a", "w"])):
        with pytest.raises(KeyError, match=r"no field 'w' in this dataset; it has \['a', 'k', 'nu', 'u', 'v'\]"):
            read()


def test_one_read_per_field_and_none_before_values_are_asked_for(data):
    class Counting:
        """Property-based, as sources of files are."""

        def __init__(self, inner):
            self.inner, self.reads = inner, []
            self.fields, self.domains, self.times = inner.fields, inner.domains, inner.times
            self.attributes = inner.attributes

        def __len__(self):
            return len(self.inner)

        def read(self, name, indices, window=()):
            self.reads.append((name, len(indices)))
            return self.inner.read(name, indices, window)

    source = Counting(data.source)
    view = Dataset.of(source).subsample(2, 3).select([1, 2, 3]).split(train=2)[0]
    assert source.reads == [] and len(view) == 2
    view[:]
    assert source.reads == [(name, 2) for name in data.fields]


def test_iteration_ends(data):
    assert [sample["nu"] for sample in data] == ARRAYS["nu"].tolist()


# Views ----------------------------------------------------------------------------------------------------------------


def test_split_is_disjoint_and_by_key(data, key):
    train, val = data.split(train=6, val=3, key=key)
    assert len(train) == 6 and len(val) == 3 and len({*train.ids, *val.ids}) == 9
    assert train.ids.tolist() != sorted(train.ids)
    old = data.split(train=6, key=np.asarray(jax.random.PRNGKey(0)))[0]
    np.testing.assert_array_equal(old.ids, data.split(train=6, key=jax.random.key(0))[0].ids)
    again, other = data.split(train=6, val=3, key=key), data.split(train=6, val=3, key=jax.random.key(1))
    np.testing.assert_array_equal(again[0].ids, train.ids)
    assert other[0].ids.tolist() != train.ids.tolist()
    np.testing.assert_array_equal(train["nu"], ARRAYS["nu"][train.ids])
    first, second, rest = data.split(first=4, second=1, rest=0)
    assert (first.ids.tolist(), second.ids.tolist(), len(rest)) == ([0, 1, 2, 3], [4], 0)


def test_wrong_splits_are_named(data):
    with pytest.raises(ValueError, match=r"\{'train': 8, 'val': 3\} asks for 11 samples; the dataset has 10"):
        data.split(train=8, val=3)
    with pytest.raises(ValueError, match=r"split\(val=-1\): expected 0 or more"):
        data.split(train=5, val=-1)
    with pytest.raises(ValueError, match="needs named sizes"):
        data.split()


def test_ids_survive_every_view(data, key):
    part = data.select([7, 2, 5, 9]).select(slice(1, None))
    assert part.ids.tolist() == [2, 5, 9]
    memory = part[[2, 0]]
    assert memory.ids.tolist() == [9, 2] and memory[1:].ids.tolist() == [2]
    assert memory.subsample(2).in_memory().ids.tolist() == [9, 2]
    (shuffled,) = memory.split(all=2, key=key)
    np.testing.assert_array_equal(shuffled["nu"], ARRAYS["nu"][shuffled.ids])


def test_subsamples_are_nested(data):
    coarse = data.subsample((4, 2), 3)
    assert coarse.grid == GRID.subsample((4, 2)) and coarse.grid.shape == (2, 4)
    np.testing.assert_array_equal(coarse.times, TIMES[::3])
    expected = {
        "a": ARRAYS["a"][:, ::4, ::2],
        "u": ARRAYS["u"][:, ::3, ::4, ::2],
        "v": ARRAYS["v"][:, ::3, ::4, ::2],
        "nu": ARRAYS["nu"],
        "k": ARRAYS["k"],
    }
    twice = data.subsample(2, 3).subsample((2, 1)).select(slice(None))
    for view in (coarse, twice, coarse[:]):
        assert view.grid == coarse.grid
        for name, values in expected.items():
            np.testing.assert_array_equal(view[name], values, strict=True)
    with pytest.raises(ValueError, match=r"'x' with 5 points \(nodes\) cannot be subsampled by 3"):
        data.subsample(3)
    with pytest.raises(ValueError, match=r"subsample by \(2,\): expected one stride or one for each of the axes"):
        data.subsample((2,))
    with pytest.raises(ValueError, match="needs a time axis; this dataset is steady"):
        steady().subsample(time=2)


def test_parameters_that_vary_in_time_are_subsampled_too():
    inflow, u = RNG.random((4, 7)), RNG.random((4, 7, 9))
    specs = {"inflow": FieldSpec("parameter", time=True, dtype="float64"), "u": FieldSpec(time=True, dtype="float64")}
    source = MemorySource({"inflow": inflow, "u": u}, specs, {"": Grid.unit_interval(9)}, TIMES, {})
    coarse = Dataset.of(source).subsample(4, 2)
    np.testing.assert_array_equal(coarse["inflow"], inflow[:, ::2])
    np.testing.assert_array_equal(coarse["u"], u[:, ::2, ::4])
    assert coarse[1]["inflow"].shape == coarse.times.shape == (4,)


# Consumers ------------------------------------------------------------------------------------------------------------


def test_snapshots_are_blocks_of_the_array(data):
    for name, rows in {"a": 10, "u": 70, "v": 70}.items():
        blocks = list(data.snapshots(name, block=3))
        assert len(blocks) == 4
        np.testing.assert_array_equal(np.concatenate(blocks), ARRAYS[name].reshape(rows, -1))
    coarse = np.concatenate(list(data.subsample(4, 3).snapshots("u")))
    np.testing.assert_array_equal(coarse, ARRAYS["u"][:, ::3, ::4, ::4].reshape(30, -1))
    with pytest.raises(ValueError, match=r"snapshots\('nu'\): needs a field, this is a parameter"):
        next(data.snapshots("nu"))


def test_describe(data):
    text = data.describe()
    assert "10 samples on Grid(x∈[0, 1] 5 nodes" in text and "7 instants, t = 0 … 3" in text
    assert f"min {ARRAYS['u'].min():.4g}" in text and "not finite" not in text
    assert repr(data).startswith("Dataset(10 samples on Grid")
    values = ARRAYS["a"].copy()
    values[3, 2, 1], values[4, 0, 0] = np.nan, np.inf
    empty = np.full((10, 5, 8), np.nan, np.float32)
    odd = from_arrays({"a": values, "b": empty, "c": np.ones((10, 5, 8))}, grid=GRID).describe()
    a, b, c = odd.splitlines()[1:]
    assert "!! 2 values are not finite" in a and f"max {np.max(values, where=np.isfinite(values), initial=0):.4g}" in a
    assert "!! 400 values are not finite" in b and "min" not in b
    assert "(constant)" in c
    assert repr(data[[]]).startswith("Dataset(0 samples") and data[[]].describe().startswith("0 samples")


def test_to_xarray(data):
    array = data.select([3, 1]).subsample(2, 3).to_xarray()
    assert dict(array.sizes) == {"sample": 2, "time": 3, "x": 3, "y": 4, "v_component": 2, "k_component": 3}
    assert array["v"].dims == ("sample", "time", "x", "y", "v_component") and array["nu"].dims == ("sample",)
    np.testing.assert_array_equal(array["u"].sel(sample=1, time=1.5), ARRAYS["u"][1, 3, ::2, ::2])
    np.testing.assert_allclose(array["y"], GRID.coordinates[1][::2])


def test_systems_are_those_of_the_problem():
    problem = problems.darcy.darcy(random.Threshold(), random.GaussianField(), 0.0, box=Box.unit(1))
    a, f = (1 + RNG.random((3, 9), np.float32) for _ in range(2))
    data = from_arrays({"a": a, "f": f}, grid=problem.box.grid(9))
    with pytest.raises(ValueError, match="does not know its problem"):
        data.systems()
    operators, b = Dataset.of(data.source, problem).select([2, 0]).systems().assembled()
    one, rhs = problem.operator({"a": a[2], "f": f[2]}, data.grid)
    np.testing.assert_allclose(b[0], rhs, rtol=1e-6)
    x = jnp.arange(7.0)
    product = jax.vmap(lambda operator: operator.mv(x))(operators)
    assert product.shape == (2, 7)
    np.testing.assert_allclose(product[0], one.mv(x), rtol=1e-5, atol=1e-3)


def test_any_dataset_is_a_grain_source(data):
    batches = list(grain.MapDataset.source(data).shuffle(seed=0).batch(4))
    assert len(batches) == 3 and batches[0]["v"].shape == (4, 7, 5, 8, 2)
    assert sorted(np.concatenate([b["nu"] for b in batches])) == sorted(ARRAYS["nu"])


def test_one_instant_is_a_steady_view(data):
    last = data.subsample(2, 3).frame(-1)
    assert last.times is None and last.spec("u") == FieldSpec() and last.spec("v") == FieldSpec(components=(2,))
    np.testing.assert_array_equal(last["u"], ARRAYS["u"][:, 6, ::2, ::2])
    np.testing.assert_array_equal(last[[3, 1]]["v"], ARRAYS["v"][[3, 1], 6, ::2, ::2])
    np.testing.assert_array_equal(last["a"], ARRAYS["a"][:, ::2, ::2])
    assert last.attributes["time"] == 3.0 and data.frame(2).attributes["time"] == TIMES[2]
    np.testing.assert_array_equal(data.select([5]).frame(np.int64(0))[0]["u"], ARRAYS["u"][5, 0])
    assert "7 instants" not in last.describe()
    for index in (7, -8):
        with pytest.raises(IndexError, match=f"frame {index} of 7 instants"):
            data.frame(index)
    with pytest.raises(ValueError, match="frame: this dataset is steady"):
        steady().frame(0)
    with pytest.raises(TypeError, match=r"0\.5"):
        data.frame(0.5)


def test_from_the_initial_field_to_the_end(key):
    """The task of the Fourier neural operator's Burgers data, from generated trajectories."""
    problem = problems.heat.heat(0.1, random.GaussianField(boundary="periodic"), box=Box.unit(1, "periodic"))
    data = generate(problem, 12, 16, key, times=[0.0, 0.1], cache=False, progress=False).frame(-1)
    task = Task.fit(data, "u0", "u")
    assert task.mode == Steady()
    wave = 2 * np.pi * np.fft.rfftfreq(16, 1 / 16)
    exact = np.fft.irfft(np.fft.rfft(data["u0"]) * np.exp(-0.1 * wave**2 * 0.1), 16)
    np.testing.assert_allclose(data["u"], exact, atol=1e-5)


def test_k_trajectories_are_k_distinct_ones_with_all_their_windows():
    frames = np.arange(5.0)[:, None, None] * 100 + np.arange(6.0)[None, :, None] + np.zeros((5, 6, 9))
    data = from_arrays({"w": frames}, grid=Grid.unit_interval(9), times=np.arange(6.0))
    samples = Samples.of(Task.fit(data, "w", "w", mode=Autoregressive(2)), data.select(slice(3)))
    assert len(samples) == 3 * 4
    starts = samples.read(np.arange(12))["w"][:, 0, 0]
    np.testing.assert_array_equal(starts, [100 * k + i for k in range(3) for i in range(4)])


def test_withheld_targets_are_reported_and_the_inputs_can_be_used(tmp_path):
    """A published test set without its outputs."""
    a = RNG.random((6, 9))
    whole = from_arrays({"a": a}, {"u": 2 * a}, grid=Grid.unit_interval(9))
    from_arrays({"a": a[:2]}, grid=Grid.unit_interval(9)).save(tmp_path / "test.hdf5")
    inputs, task = open_dataset(tmp_path / "test.hdf5"), Task.fit(whole, "a", "u")
    for use in (lambda: Task.fit(inputs, "a", "u"), lambda: evaluate({"mean": MeanField(task)}, inputs)):
        with pytest.raises(KeyError, match=r"no field 'u' in this dataset; it has \['a'\]"):
            use()
    np.testing.assert_allclose(MeanField(task).predict(inputs)["u"], np.tile(2 * a.mean(0), (2, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda d: d["nope"], r"no field 'nope' in this dataset; it has \['a', 'k', 'nu'"),
        (lambda d: d[1.5], r"a dataset has no item 1\.5: ask for a field by its name"),
        (lambda d: d[True], "a dataset has no item True"),
        (lambda d: d["a", "u"], r"a dataset has no item \('a', 'u'\): .*several fields by read"),
        (lambda d: d[["a", "u"]], r"samples \['a', 'u'\]: expected a slice, positions or a boolean per sample"),
        (lambda d: d["a":"u"], r"samples slice\('a', 'u', None\): expected whole numbers as ends"),
        (lambda d: d[None], "a dataset has no item None"),
        (lambda d: d.select([0.2, 0.4]), r"samples \[0\.2, 0\.4\]: expected"),
        (
            lambda d: d.select(np.ones(9, bool)),
            r"a boolean array of shape \(9,\) chooses among 10 samples; expected \(10,\)",
        ),
        (lambda d: d.select([0, 10]), "sample 10 of a dataset of 10"),
        (lambda d: d.read(positions=[3, -11]), "sample -11 of a dataset of 10"),
        (lambda d: d.read(["w"]), "no field 'w'"),
        (lambda d: d.split(train=0.8), r"split\(train=0\.8\): expected a whole number, 0 or more"),
        (lambda d: d.split(train=-1), r"split\(train=-1\): expected 0 or more"),
        (lambda d: d.split(5, train=5), r"split\(key=5\): expected a random key"),
        (
            lambda d: d.split(train=5, key=0),
            r"split\(key=0\): expected a random key, for example jax\.random\.key\(0\)",
        ),
        (lambda d: d.subsample(space=0), "cannot be subsampled by 0"),
        (lambda d: d.subsample(space=-1), "cannot be subsampled by -1"),
        (lambda d: d.subsample(space=2.0), r"subsample\(space=…\): got 2\.0, expected a whole number"),
        (lambda d: d.subsample(time=0), r"subsample\(time=0\): expected 1 or more"),
        (lambda d: d.subsample(time=-1), r"subsample\(time=-1\): expected 1"),
        (lambda d: d.subsample(time=0.5), r"subsample\(time=0\.5\): expected a whole number"),
        (lambda d: d.plot("nu"), r"plot: 'nu' is a parameter; the fields are \['a', 'u', 'v'\]"),
        (lambda d: d.plot("w"), "no field 'w'"),
        (lambda d: d.plot(n=0), r"plot\(n=0\): expected 1 or more"),
        (lambda d: d[[]].plot(), r"plot: nothing to show .* the dataset has 0"),
    ],
)
def test_wrong_views_are_named(data, use, message, monkeypatch):
    for name in ("split", "subsample", "plot"):  # without the annotations that the suite checks, as people call them
        monkeypatch.setattr(Dataset, name, inspect.unwrap(getattr(Dataset, name)))
    with pytest.raises((KeyError, IndexError, ValueError, TypeError), match=message):
        use(data)


def test_datasets_without_samples_answer(data):
    assert len(data.split(all=10, none=0)[1]) == 0
    for none in (data[[]], data.select(slice(0)), data.select(np.zeros(10, bool)), data.split(a=3, b=0)[1]):
        assert len(none) == 0 and none["u"].shape == (0, 7, 5, 8) and none.ids.shape == (0,)
        assert list(none.blocks()) == list(none.snapshots("u")) == [] and none.describe().startswith("0 samples on")
        assert none.subsample(2, 3).in_memory()["v"].shape == (0, 3, 3, 4, 2) and len(none.frame(0)) == 0
        assert none.to_xarray()["nu"].shape == (0,)


def test_pictures_of_trajectories_name_their_instants_and_axes(data):
    figure = data.plot("u", n=2)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 6 and [axes.get_title() for axes in panels[:3]] == ["u, t = 0", "u, t = 1.5", "u, t = 3"]
    np.testing.assert_allclose(panels[4].images[0].get_array(), ARRAYS["u"][1, 3].T)
    assert panels[3].get_xlabel() == "x" and panels[3].get_ylabel() == "y"
    assert [text.get_text() for text in panels[3].texts] == ["sample 1"]
    (lines,) = [axes for axes in steady(1).plot().axes]
    np.testing.assert_array_equal(lines.lines[0].get_xydata()[:, 1], np.arange(9))
    assert lines.get_xlabel() == "x"


def test_pictures_of_clouds_and_meshes():
    points, values = RNG.random((6, 2)), RNG.random((2, 6))
    mesh = Mesh(points, [[0, 1], [1, 2]], mask=[True] * 5 + [False])
    lines, places = RNG.random((2, 3)), RNG.random((3, 1))
    figure = from_arrays({"u": values, "p": lines}, points=mesh, elsewhere={"p": places}).plot()
    dots = [axes.collections[1] for axes in figure.axes if len(axes.collections) == 2]
    np.testing.assert_allclose(dots[1].get_offsets(), points[:5], rtol=1e-6)
    np.testing.assert_allclose(dots[1].get_array(), values[1, :5])
    assert len(figure.axes[0].collections[0].get_segments()) == 2
    np.testing.assert_allclose(figure.axes[3].lines[0].get_ydata(), lines[1])


# Arrays ---------------------------------------------------------------------------------------------------------------


def test_point_clouds():
    cloud = PointCloud.stack([PointCloud(RNG.random((n, 2), np.float32)) for n in (3, 5, 4)])
    values = RNG.random((3, 5), np.float32)
    data = from_arrays({"u": values}, points=cloud)
    assert data.domain == PointCloudLayout(2, 5) and not data.domain.fixed and "point clouds" in repr(data)
    assert data.spec("points") == FieldSpec("domain", (2,))
    with pytest.raises(ValueError, match=r"`Dataset.grid` needs a uniform grid; these data live on point clouds"):
        _ = data.grid
    back = data.clouds([2, 0])
    np.testing.assert_array_equal(back.points, np.asarray(cloud.points)[[2, 0]])
    assert back.mask.sum(1).tolist() == [4, 3]
    np.testing.assert_array_equal(data[1:]["u"], values[1:])
    with pytest.raises(ValueError, match=r"snapshots\('u'\): needs a field at the same points in all samples"):
        next(data.snapshots("u"))
    for refused in (lambda: data.subsample(2), data.to_xarray):
        with pytest.raises(ValueError, match="needs a uniform grid; these data live on point clouds"):
            refused()
    with pytest.raises(ValueError, match=r"lives on a grid, see `.grid`"):
        steady().clouds()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": {"u": np.zeros((2, 9))}}, "exactly one of grid=… and points=…"),
        ({"grid": Grid.unit_interval(9)}, "got no arrays"),
        (
            {"inputs": {"u": np.zeros((2, 8))}, "grid": Grid.unit_interval(9)},
            r"'u' has shape \(2, 8\); .*\(sample, 9\)",
        ),
        (
            {"inputs": {"u": np.zeros((2, 9))}, "targets": {"v": np.zeros((3, 9))}, "grid": Grid.unit_interval(9)},
            r"different numbers of samples: \{'u': 2, 'v': 3\}",
        ),
        (
            {"parameters": {"c": np.zeros((2, 3, 4))}, "grid": Grid.unit_interval(9)},
            r"parameter 'c' has shape \(2, 3, 4\)",
        ),
        ({"inputs": {"u": np.zeros((2, 9, 1, 1))}, "grid": Grid.unit_interval(9)}, r"'u' has shape \(2, 9, 1, 1\)"),
        (
            {"inputs": {"u": np.zeros((2, 4, 9))}, "grid": Grid.unit_interval(9), "times": np.arange(3.0)},
            r"expected \(sample, time=3, 9\)",
        ),
    ],
)
def test_arrays_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(**options)


def sensors(n, seed):
    return PointCloud(np.random.default_rng(seed).random((n, 2), np.float32))


def test_fields_elsewhere_keep_their_own_points():
    """Values on a grid, two fields at one set of sensors, one at another that differs by sample."""
    first = sensors(4, 0)
    second = PointCloud.stack([sensors(n, n) for n in (3, 6, 2)])
    values = {name: RNG.random((3, *shape), np.float32) for name, shape in
              {"u": (5, 8), "p": (4,), "q": (4, 2), "s": (6,)}.items()}  # fmt: skip
    data = from_arrays(values, grid=GRID, elsewhere={"p": first, "q": first, "s": second})
    assert {name: data.spec(name).domain for name in "upqs"} == {"u": "", "p": "p", "q": "p", "s": "s"}
    assert data.spec("q").components == (2,)
    assert data.domains == {"": GRID, "p": PointCloudLayout(2, 4, "p"), "s": PointCloudLayout(2, 6, "s")}
    assert {n for n, spec in data.fields.items() if spec.role == "domain"} == {
        f"{place}.{array}" for place in "ps" for array in ("points", "weights", "mask")
    }
    sample = data[1]
    np.testing.assert_array_equal(data.domains["p"].sites(sample).points, first.points)
    np.testing.assert_array_equal(data.domains["s"].sites(sample).points, second.points[1])
    coarse = data.subsample((2, 4))
    assert coarse["u"].shape == (3, 3, 2) and coarse["p"].shape == (3, 4) and coarse["s"].shape == (3, 6)
    np.testing.assert_array_equal(coarse["s.points"], second.points)
    kept = data[[2, 0]]
    np.testing.assert_array_equal(kept.domains["s"].sites(kept[0]).mask, second.mask[2])
    with pytest.raises(ValueError, match=r"snapshots\('s'\): needs a field at the same points"):
        next(data.snapshots("s"))
    assert next(data.snapshots("u")).shape == (3, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elsewhere": {"w": sensors(4, 0)}}, r"elsewhere names \['w'\], which are no fields; there are \['p', 'u'\]"),
        ({"elsewhere": {"p": sensors(5, 0)}}, r"'p' has shape \(3, 4\); expected \(sample, 5\)"),
        (
            {"elsewhere": {"p": PointCloud.stack([sensors(4, 0), sensors(3, 1)])}},
            r"different numbers of samples: .*'p.points': 2",
        ),
    ],
)
def test_points_elsewhere_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays({"u": np.zeros((3, 9)), "p": np.zeros((3, 4))}, grid=Grid.unit_interval(9), **options)
