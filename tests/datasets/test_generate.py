"""Generated data: sample i is sample i however it came about, is solved once, and says how wrong it is."""

import dataclasses
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.datasets import generate
from surrogax.solvers import random
from surrogax.solvers.linear import Stats
from surrogax.solvers.pde import Problem, elliptic

module = importlib.import_module("surrogax.datasets.generation")
POISSON = elliptic.poisson(random.GaussianField(alpha=3.0), box=Box.unit(1))


@pytest.fixture
def solves():
    """How often the solver of `toy` has been traced; a cached read never does."""
    return []


@pytest.fixture
def toy(solves):
    """u = c a and the vector v = (c a, t + h² (1 + 9x)) on an interval, for times t if there are any; fails for c > 0.9."""

    def solve(fields, grid, times=None):
        solves.append(grid)
        u = fields["c"] * fields["a"]
        h2 = grid.spacing[0] ** 2 * (1 + 9 * jnp.asarray(grid.coordinates[0], u.dtype))
        if times is not None:
            u, h2 = u * jnp.exp(-times)[:, None], h2 + times[:, None]
        status = jnp.where(fields["c"] > 0.9, 1, 0)
        return {"u": u, "v": jnp.stack([u, h2], -1)}, Stats(status, jnp.asarray(1), jnp.asarray(0.0))

    laws = {"c": random.Uniform(0, 0.8), "a": random.GaussianField(boundary="dirichlet")}
    return Problem(("u", "v"), Box.unit(1), laws, solve=solve, recipe="toy")


def make(problem, n, grid=9, key=None, **options):
    options = {"cache": False, "progress": False, "label_samples": 0} | options
    return generate(problem, n, grid, jax.random.key(0) if key is None else key, **options)


def assert_equal(a, b, rows=slice(None)):
    assert list(a.fields) == list(b.fields)
    for name in a.fields:
        np.testing.assert_array_equal(a[name], b[name][rows], strict=True)


# Samples --------------------------------------------------------------------------------------------------------------


def test_a_longer_dataset_starts_with_the_shorter_one(key):
    seven = make(POISSON, 7)
    assert "label_error" not in seven.attributes
    assert_equal(make(POISSON, 3), seven, slice(3))
    assert len({u.tobytes() for u in seven["u"]}) == 7 and seven.ids.tolist() == list(range(7))
    assert not np.array_equal(make(POISSON, 3, key=jax.random.key(1))["u"], seven["u"][:3])
    one = POISSON.sample_parameters(jax.random.fold_in(key, 5), seven.grid)
    np.testing.assert_allclose(seven[5]["f"], one["f"], rtol=1e-6)


def test_samples_do_not_depend_on_chunks(toy, monkeypatch):
    whole = make(toy, 7)
    monkeypatch.setattr(module, "_CHUNK", 2)
    assert_equal(make(toy, 7), whole)


def test_solutions_solve_the_problem():
    data = make(POISSON, 2, 33)
    h = data.grid.spacing[0]
    u, f = data["u"].astype(np.float64), data["f"]
    residual = (2 * u[:, 1:-1] - u[:, :-2] - u[:, 2:]) / h**2 - f[:, 1:-1]
    assert abs(residual).max() < 1e-4 * abs(f).max() and (u[:, [0, -1]] == 0).all()


def test_what_is_stored(toy):
    data = make(toy, 3, times=np.array([0.0, 0.5]))
    assert {k: (s.role, s.components, s.time, s.dtype) for k, s in data.fields.items()} == {
        "c": ("parameter", (), False, "float32"),
        "a": ("field", (), False, "float32"),
        "u": ("field", (), True, "float32"),
        "v": ("field", (2,), True, "float32"),
    }
    assert data["v"].shape == (3, 2, 9, 2) and data.times.tolist() == [0, 0.5] and data.problem is toy
    np.testing.assert_allclose(data["u"][:, 0], data["c"][:, None] * data["a"], rtol=1e-6)
    np.testing.assert_allclose(data["u"][:, 1], data["u"][:, 0] * np.exp(-0.5), rtol=1e-6)


def test_float64_does_not_leak(toy):
    before = jax.config.jax_enable_x64
    data = make(toy, 2)
    assert all(values.dtype == np.float32 for values in data.read().values())
    assert jax.config.jax_enable_x64 == before and jnp.ones(1).dtype == jnp.result_type(float)
    if not before:
        assert jnp.asarray(data["u"]).dtype == np.float32


def test_precision_does_not_change_what_is_drawn(toy, key):
    data = make(toy, 3)
    for i in range(3):
        single = toy.sample_parameters(jax.random.fold_in(key, i), data.grid)
        np.testing.assert_allclose(single["c"], data["c"][i], rtol=1e-6)
        np.testing.assert_allclose(single["a"], data["a"][i], atol=1e-6)


# Refinement -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [None, np.array([0.0, 0.5])])
def test_refined_data_are_restrictions_of_a_finer_solve(toy, times):
    coarse, fine = make(toy, 3, 9, refine=2, times=times), make(toy, 3, 17, times=times)
    assert_equal(coarse, fine.subsample(2))
    assert coarse.grid == fine.grid.subsample(2)


def test_refined_poisson_is_the_restriction_of_a_finer_solve():
    assert_equal(make(POISSON, 2, 9, refine=3), make(POISSON, 2, 25).subsample(3))


def test_label_error_is_recorded_and_falls_with_refinement():
    plain, fine = (make(POISSON, 4, 17, refine=r, label_samples=4) for r in (1, 2))
    assert 0 < plain.attributes["label_error"]["u"] < 0.1
    reference, weights = fine["u"], plain.grid.weights
    norms = lambda v: np.sqrt((weights * v.astype(np.float64) ** 2).sum(1))  # noqa: E731
    expected = (norms(plain["u"] - reference) / norms(reference)).mean()
    np.testing.assert_allclose(plain.attributes["label_error"]["u"], expected, rtol=1e-3)
    ratio = plain.attributes["label_error"]["u"] / fine.attributes["label_error"]["u"]
    assert 2.5 < ratio < 6, ratio
    assert "label_error" in plain.describe()


@pytest.mark.parametrize("times", [None, np.array([0.0, 0.5])])
def test_label_error_of_vectors(toy, times):
    """All components and instants of a sample together, with the quadrature weights of the space axis."""
    error = make(toy, 2, 9, times=times, label_samples=2).attributes["label_error"]
    assert error.keys() == {"u", "v"}
    ours, finer = (make(toy, 2, 9, refine=r, times=times)["v"].astype(np.float64) for r in (1, 2))
    weights = make(toy, 1).grid.weights[:, None]
    squares = lambda v: (weights * v**2).reshape(2, -1).sum(1)  # noqa: E731
    np.testing.assert_allclose(error["v"], np.sqrt(squares(ours - finer) / squares(finer)).mean(), rtol=1e-5)


def test_cell_centres_have_no_label_error():
    problem = elliptic.poisson(random.GaussianField(alpha=3.0), box=Box.unit(1, "neumann"))
    data = make(problem, 2, 8, label_samples=4)
    assert data.grid.layouts == ("cells",) and "label_error" not in data.attributes
    with pytest.raises(ValueError, match="cells"):
        make(problem, 2, 8, refine=2)


# The cache ------------------------------------------------------------------------------------------------------------


def test_a_cached_dataset_is_read_and_not_solved_again(toy, solves, tmp_path):
    first = make(toy, 4, cache=tmp_path, label_samples=2)
    traced = len(solves)
    again, shorter = (make(toy, n, cache=tmp_path, label_samples=2) for n in (4, 3))
    assert traced > 0 and len(solves) == traced
    assert_equal(again, first)
    assert_equal(shorter, first, slice(3))
    assert again.attributes == first.attributes and again.attributes["label_error"] and len(shorter) == 3
    assert_equal(first, make(toy, 4))
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "recipe.json").read_text())["recipe"].startswith("toy | ")


def test_another_recipe_is_another_folder(toy, solves, tmp_path):
    longer = dataclasses.replace(toy, box=Box(x=(0, 1.0000001)))
    make(toy, 1, cache=tmp_path)
    for change in ({"grid": 17}, {"refine": 2}, {"key": jax.random.key(1)}, {"times": np.ones(1)}, {"problem": longer}):
        traced = len(solves)
        make(**{"problem": toy, "n": 1, "cache": tmp_path} | change)
        assert len(solves) > traced, change
    assert len(list(tmp_path.iterdir())) == 6


def test_a_longer_dataset_goes_on_where_the_cache_ends(toy, solves, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    make(toy, 3, cache=tmp_path, label_samples=2)
    (folder,) = tmp_path.iterdir()
    untouched = (folder / "00000000.hdf5").stat().st_mtime_ns
    data = make(toy, 6, cache=tmp_path, label_samples=2)
    assert_equal(data, make(toy, 6))
    assert (folder / "00000000.hdf5").stat().st_mtime_ns == untouched
    assert data.ids.tolist() == list(range(6)) and data.attributes["label_error"]
    between = make(toy, 5, cache=tmp_path)
    assert_equal(between, data, slice(5))


def test_an_interrupted_run_goes_on(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    real, written = module.write_well, []

    def interrupted(path, *args, **kwargs):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(module, "write_well", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(toy, 7, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["00000000.hdf5", "00000002.hdf5", "recipe.json"]
    times = {path: path.stat().st_mtime_ns for path in written}

    monkeypatch.setattr(module, "write_well", real)
    data = make(toy, 7, cache=tmp_path)
    assert_equal(data, make(toy, 7))
    assert {path: path.stat().st_mtime_ns for path in written} == times
    (folder / "00000002.hdf5").unlink()
    assert_equal(make(toy, 7, cache=tmp_path), data)


def test_the_cache_folder_is_that_of_the_environment(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("SURROGAX_CACHE", str(tmp_path / "here"))
    with pytest.raises(FileNotFoundError):
        next((tmp_path / "here").iterdir())
    make(toy, 1, cache=True)
    assert len(list((tmp_path / "here").iterdir())) == 1


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_sample_that_does_not_converge_is_named(toy, tmp_path):
    often = dataclasses.replace(toy, parameters={**toy.parameters, "c": random.Uniform(0, 1)}, recipe="often")
    c = [
        float(often.sample_parameters(jax.random.fold_in(jax.random.key(0), i), Grid.unit_interval(9))["c"])
        for i in range(40)
    ]
    first = int(np.flatnonzero(np.array(c) > 0.9)[0])
    assert first > 0
    with pytest.raises(RuntimeError, match=f"^sample {first}: max_steps: the step limit was reached"):
        make(often, 40, cache=tmp_path)
    assert len(make(often, first)) == first


def test_wrong_use_is_named(toy, tmp_path):
    anonymous = dataclasses.replace(toy, recipe="")
    with pytest.raises(ValueError, match="hand-made Problem needs a `recipe`"):
        make(anonymous, 1, cache=tmp_path)
    assert len(make(anonymous, 1)) == 1
    with pytest.raises(ValueError, match="generate needs a problem that declares `solve`"):
        make(dataclasses.replace(toy, solve=None), 1)
    with pytest.raises(ValueError, match="n=0 samples"):
        make(toy, 0)
