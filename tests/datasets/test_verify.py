"""`describe` and `verify`: what they find in data whose faults are known."""

import json

import h5py
import numpy as np
import pytest

import surrogax as sx
from surrogax.cli import main
from surrogax.datasets.description import described

N, T, X = 3, 12, 32
RNG = np.random.default_rng(0)
TIMES = 0.05 * np.arange(T)


def travelling(speed, waves=(1, 2, 3), end=1.0):
    """Waves of several lengths on [0, 1) that travel at one speed, or at `speed(k)`."""
    x = np.linspace(0, end, X, endpoint=False) if end == 1 else np.linspace(0, 1, X)
    shift = RNG.random((N, len(waves)))
    parts = [
        np.sin(2 * np.pi * k * (x - speed * TIMES[:, None]) + 6 * shift[:, i, None, None]) / k
        for i, k in enumerate(waves)
    ]
    return sum(parts)


def advection(speed, stored):
    grid = sx.Box(x=(0, 1, "periodic")).grid(X)
    return sx.from_arrays({"u": travelling(speed)}, grid=grid, times=TIMES, parameters={"beta": np.full(N, stored)})


def heat(nu, stored, boundary, ndim=1):
    """Decaying eigenfunctions of the Laplacian with some boundary condition."""
    box = sx.Box(**{name: (0, 2, boundary) for name in "xy"[:ndim]})
    grid = box.grid((X, 20)[:ndim])
    u = np.zeros((N, T, *grid.shape))
    for k in (1, 2, 3):
        wave = (2 if boundary == "periodic" else 1) * np.pi * k / 2
        along = {"periodic": np.cos, "neumann": np.cos, "dirichlet": np.sin}[boundary](wave * grid.coordinates[0])
        square, shape = wave**2, along
        if ndim == 2:
            other = np.pi / 2 if boundary == "dirichlet" else 0.0
            across = np.sin(other * grid.coordinates[1]) if boundary == "dirichlet" else np.ones(20)
            square, shape = square + other**2, along[:, None] * across
        u += RNG.uniform(0.5, 1, (N, 1, *[1] * ndim)) * np.exp(-nu * square * TIMES).reshape(1, T, *[1] * ndim) * shape
    return sx.from_arrays({"u": u}, grid=grid, times=TIMES, parameters={"nu": np.full(N, stored)})


def finding(data, check):
    (found,) = [each for each in data.verify().findings if each.check == check]
    return found


@pytest.mark.parametrize("speed", [0.4, -1.3, 4.0])
def test_the_stored_advection_speed_is_measured(speed):
    right = finding(advection(speed, speed), "speed of mode 1")
    assert right.ok is True and right.measured == pytest.approx(speed, rel=1e-6)
    assert advection(speed, speed).verify().ok
    wrong = finding(advection(speed, 2 * speed), "speed of mode 1")
    assert (
        wrong.ok is False
        and wrong.stored == pytest.approx(2 * speed)
        and "contradicts the stored beta" in wrong.sentence
    )


def test_frames_too_far_apart_leave_whole_turns_open():
    """In 0.05 a wave of speed 20.4 passes the box once and 0.02 more: it looks like the speed 0.4."""
    assert finding(advection(20.4, 20.4), "speed of mode 1").ok is True
    assert finding(advection(0.4, 20.4), "speed of mode 1").ok is True
    assert finding(advection(0.4, 10.4), "speed of mode 1").ok is False


@pytest.mark.parametrize(
    ("boundary", "ndim"), [("periodic", 1), ("dirichlet", 1), ("neumann", 1), ("dirichlet", 2), ("neumann", 2)]
)
def test_the_stored_diffusivity_is_measured(boundary, ndim):
    right = finding(heat(0.3, 0.3, boundary, ndim), "decay of the lowest mode")
    assert right.ok is True and right.measured == pytest.approx(0.3, rel=1e-6)
    wrong = finding(heat(0.3, 0.1, boundary, ndim), "decay of the lowest mode")
    assert wrong.ok is False and wrong.measured == pytest.approx(0.3, rel=1e-6)


@pytest.mark.nightly
def test_other_equations_are_not_compared(key):
    """Burgers' modes decay by another law, dispersive waves have no common speed, standing waves do not travel."""
    burgers = sx.generate(sx.problem("burgers"), 2, 64, key, times=np.linspace(0, 1, 9), cache=False)
    spec = burgers.read()
    data = sx.from_arrays(
        {"u": spec["u"]}, grid=burgers.grid, times=burgers.times, parameters={"nu": np.full(2, 1.0), "beta": np.ones(2)}
    )
    assert [each.ok for each in data.verify().findings if each.stored or "compare" in each.sentence] == [None, None]
    x, t = np.arange(X) / X, TIMES[:, None]
    standing = np.stack([np.sin(2 * np.pi * x) * np.cos(9 * t) + np.sin(4 * np.pi * x) * np.cos(18 * t)] * N)
    grid = sx.Box(x=(0, 1, "periodic")).grid(X)
    data = sx.from_arrays({"u": standing}, grid=grid, times=TIMES, parameters={"c": np.full(N, 9 / (2 * np.pi))})
    assert finding(data, "speed of mode 1").ok is None


def test_an_end_that_is_stored_twice():
    u = travelling(0.4, end=2)
    data = sx.from_arrays({"u": u}, grid=sx.Box(x=(0, 1, "periodic")).grid(X), times=TIMES)
    assert "the last point of u repeats the first" in finding(data, "coordinates").sentence and not data.verify().ok
    assert finding(advection(0.4, 0.4), "coordinates").ok


def test_missing_samples_and_values_that_are_not_finite():
    u = travelling(0.4).astype(np.float32)
    u[1] = 0
    u[2, 3, 4:6] = np.nan
    data = sx.from_arrays({"u": u, "c": np.ones((N, X)), "z": np.zeros((N, X))}, grid=sx.Grid.unit(X), times=TIMES)
    text = data.describe()
    line = next(each for each in text.splitlines() if each.startswith("  u "))
    assert "!! 2 values are not finite" in line and "!! all zero: sample 1" in line
    assert "(constant)" in text and "task: sx.Task.fit(data, inputs=('u', 'c', 'z'), targets=('u',)" in text
    said = [each.sentence for each in data.verify().findings if each.ok is False]
    assert any("not finite, in sample 2" in each for each in said) and any(
        "zero everywhere in sample 1" in each for each in said
    )
    chosen = data.select([2, 1]).verify()  # ids are those of the data
    assert any("in sample 2" in each.sentence for each in chosen.findings)


def test_a_description_counts_exactly():
    values = 1e6 + RNG.standard_normal((5, 7, X)).astype(np.float32)
    values[3] = 1e6
    data = sx.from_arrays({"w": values}, grid=sx.Grid.unit(X), times=np.arange(7.0) ** 2)
    found = described(data, 5).to_dict()
    (field,) = found["fields"]
    exact = values.astype(np.float64)
    assert field["range"]["mean"] == pytest.approx(exact.mean(), rel=1e-12)
    assert field["range"]["std"] == pytest.approx(exact.std(), rel=1e-9)
    assert (field["range"]["min"], field["range"]["max"]) == (exact.min(), exact.max())
    assert field["axes"] == ["time", "x"] and field["shape"] == [7, X] and field["nbytes"] == values.nbytes
    assert field["constant_samples"] == [3] and not field["zero_samples"] and not field["constant"]
    assert found["times"] == {"count": 7, "first": 0.0, "last": 36.0, "step": None} and "not equally spaced" in str(
        described(data, 0)
    )
    assert found["space"] == [
        {"name": "x", "points": X, "start": 0.0, "stop": 1.0, "layout": "nodes", "boundary": "dirichlet"}
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_large_samples_are_described_in_parts(monkeypatch):
    import surrogax.datasets.description as description

    monkeypatch.setattr(description, "_CHUNK", 500)
    values = RNG.standard_normal((2, 9, X))
    data = sx.from_arrays({"w": values}, grid=sx.Grid.unit(X), times=np.arange(9.0))
    assert described(data, 2).fields[0].range == pytest.approx(
        (values.min(), values.mean(), values.max(), values.std())
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("mean: {u: 0.1}\nstd: {u: 1.0}\n", None),
        ("mean: {u: 0.1}\nstd: {}\n", "lack std of u"),
        ("mean: {u: 0.1}\nstd: {u: 0.0}\n", "deviation of u is not positive"),
        ("<!DOCTYPE html><title>503</title>", "page of a web site"),
        ("mean: [1\n", "cannot be read"),
        ("mean: {u: yes}\nstd: {u: 1}\n", "mean of u is no number"),
    ],
)
def test_published_statistics(tmp_path, content, said):
    data = advection(0.4, 0.4)
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        data.save(tmp_path / "data" / split / "part.hdf5")
    (tmp_path / "stats.yaml").write_text(content)
    found = finding(sx.open_splits(tmp_path)["train"], "statistics")
    assert found.ok is (said is None) and (said is None or said in found.sentence)


def test_on_the_command_line(tmp_path, capsys):
    with h5py.File(tmp_path / "advection.hdf5", "w") as file:
        file["tensor"] = travelling(0.8).astype(np.float32)
        file["x-coordinate"], file["t-coordinate"] = (np.arange(X) + 0.5) / X, 0.05 * np.arange(T + 1)
        file.attrs["beta"] = 0.4
    path = str(tmp_path / "advection.hdf5")
    with pytest.raises(SystemExit) as stop:
        main(["verify", path])
    said = capsys.readouterr().out
    assert stop.value.code == 1 and said.startswith("1 contradiction\n") and "13 entries for 12 frames" in said
    assert "!!   speed of mode 1: u gives 0.8, which contradicts the stored beta = 0.4 (3 samples)" in said
    main(["describe", path, "--json", "--samples", "2"])
    found = json.loads(capsys.readouterr().out)[""]
    assert found["samples"] == 3 and found["looked_at"] == 2 and found["fields"][1]["name"] == "beta"
    advection(0.4, 0.4).save(tmp_path / "right.hdf5")
    main(["verify", str(tmp_path / "right.hdf5"), "--json"])
    assert json.loads(capsys.readouterr().out)[""]["ok"] is True
