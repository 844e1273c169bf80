"""Generated data: sample i is sample i however it came about, is solved once, and says how wrong it is."""

import importlib
import inspect
import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.datasets import generate
from surrogax.datasets.formats import well_writer
from surrogax.solvers import random
from surrogax.solvers.linear import Stats
from surrogax.solvers.pde import Problem, Solved, problems, register_problem

module = importlib.import_module("surrogax.datasets.generation")
unchecked = inspect.unwrap(generate)  # without the annotations that the suite checks, as people call it
POISSON = problems.poisson.poisson(random.GaussianField(alpha=3.0), box=Box.unit(1))


SOLVES = []


@pytest.fixture
def solves():
    """How often the solver of `toy` has been traced; a cached read never does."""
    SOLVES.clear()
    return SOLVES


@register_problem("test_generate.toy")
def make_toy(c=random.Uniform(0, 0.8), length: float = 1.0) -> Problem:  # noqa: B008 (frozen)
    """u = c a and the vector v = (c a, t + h² (1 + 9x)) on an interval, for times t if there are any; fails for c > 0.9."""

    def solve(fields, grid, *, times=None):
        SOLVES.append(grid)
        u = fields["c"] * fields["a"]
        h2 = grid.spacing[0] ** 2 * (1 + 9 * jnp.asarray(grid.coordinates[0], u.dtype))
        if times is not None:
            u, h2 = u * jnp.exp(-times)[:, None], h2 + times[:, None]
        status = jnp.where(fields["c"] > 0.9, 1, 0)
        return Solved({"u": u, "v": jnp.stack([u, h2], -1)}, Stats(status, jnp.asarray(1), jnp.asarray(0.0)))

    laws = {"c": c, "a": random.GaussianField(boundary="dirichlet")}
    return Problem(("u", "v"), Box(x=(0, length)), time=(0, 1), inputs=laws, solve=solve)


@pytest.fixture
def toy(solves):
    return make_toy()


def make(problem, n, grid=9, key=None, **options):
    options = {"cache": False, "progress": False, "label_samples": 0} | options
    return generate(problem, n, grid, jax.random.key(0) if key is None else key, **options)


def assert_equal(a, b, rows=slice(None)):
    assert list(a.fields) == list(b.fields)
    for name in a.fields:
        np.testing.assert_array_equal(a[name], b[name][rows], strict=True)


# Samples --------------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_longer_dataset_starts_with_the_shorter_one(key):
    seven = make(POISSON, 7)
    assert "label_error" not in seven.attributes
    assert_equal(make(POISSON, 3), seven, slice(3))
    assert len({u.tobytes() for u in seven["u"]}) == 7 and seven.ids.tolist() == list(range(7))
    assert not np.array_equal(make(POISSON, 3, key=jax.random.key(1))["u"], seven["u"][:3])
    one = POISSON.sample_inputs(jax.random.fold_in(key, 5), seven.grid)
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
        single = toy.sample_inputs(jax.random.fold_in(key, i), data.grid)
        np.testing.assert_allclose(single["c"], data["c"][i], rtol=1e-6)
        np.testing.assert_allclose(single["a"], data["a"][i], atol=1e-6)


@dataclass(frozen=True)
class Forcing(random.TimedDistribution):
    """c cos t sin πx with a random number c."""

    isotropic, smooth = False, True

    def sample(self, key, grid, times):
        return jax.random.normal(key) * jnp.cos(jnp.asarray(times))[:, None] * np.sin(np.pi * grid.coordinates[0])


def make_forced():
    """u_t = f at a point, from 0: u(t) = f(0) sin t."""

    def solve(inputs, grid, *, times):
        u = inputs["f"][:1] * jnp.sin(jnp.asarray(times))[:, None]
        return Solved({"u": u}, Stats(jnp.asarray(0), jnp.asarray(1), jnp.asarray(0.0)))

    return Problem("u", Box.unit(1), time=(0, 1), inputs={"f": Forcing(), "c": random.Uniform()}, solve=solve)


@pytest.mark.nightly
def test_forcings_that_depend_on_time_are_stored(tmp_path):
    times = np.array([0.0, 0.4, 1.0])
    forced = register_problem("test_generate.forced")(make_forced)()
    data = make(forced, 3, times=times, cache=tmp_path, label_samples=2)
    assert {k: (s.role, s.time) for k, s in data.fields.items()} == {
        "f": ("field", True), "c": ("parameter", False), "u": ("field", True)
    }  # fmt: skip
    assert data["f"].shape == data["u"].shape == (3, 3, 9)
    np.testing.assert_allclose(data["f"], data["f"][:, :1] * np.cos(times)[:, None], atol=1e-6)
    np.testing.assert_allclose(data["u"], data["f"][:, :1] * np.sin(times)[:, None], atol=1e-6)
    assert_equal(make(forced, 3, times=times, refine=2), data)
    assert_equal(make(forced, 3, times=times, cache=tmp_path, label_samples=2), data)
    with pytest.raises(ValueError, match=r"Forcing\(\) is a law of time-dependent fields: give the instants"):
        make(forced, 1)


# Refinement -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [None, np.array([0.0, 0.5])])
def test_refined_data_are_restrictions_of_a_finer_solve(toy, times):
    coarse, fine = make(toy, 3, 9, refine=2, times=times), make(toy, 3, 17, times=times)
    assert_equal(coarse, fine.subsample(2))
    assert coarse.grid == fine.grid.subsample(2)


@pytest.mark.nightly
def test_refined_poisson_is_the_restriction_of_a_finer_solve():
    assert_equal(make(POISSON, 2, 9, refine=3), make(POISSON, 2, 25).subsample(3))


@pytest.mark.nightly
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


@pytest.mark.parametrize("times", [pytest.param(None, marks=pytest.mark.nightly), np.array([0.0, 0.5])])
def test_label_error_of_vectors(toy, times):
    """All components and instants of a sample together, with the quadrature weights of the space axis."""
    error = make(toy, 2, 9, times=times, label_samples=2).attributes["label_error"]
    assert error.keys() == {"u", "v"}
    ours, finer = (make(toy, 2, 9, refine=r, times=times)["v"].astype(np.float64) for r in (1, 2))
    weights = make(toy, 1).grid.weights[:, None]
    squares = lambda v: (weights * v**2).reshape(2, -1).sum(1)  # noqa: E731
    np.testing.assert_allclose(error["v"], np.sqrt(squares(ours - finer) / squares(finer)).mean(), rtol=1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("scale", [pytest.param(1e-25, marks=pytest.mark.nightly), 1e25])
def test_the_label_error_does_not_depend_on_units(scale):
    """Squares of 1e-25 and 1e25 do not exist in float32; a solution that is zero everywhere has no relative error."""
    errors = {}
    for s in (1.0, scale, 0.0):
        problem = problems.darcy.darcy(1.0 / s if s else 1.0, random.GaussianField(alpha=3.0), box=Box.unit(1))
        if not s:
            problem = problems.poisson.poisson(random.Uniform(0, 1e-300), box=Box.unit(1))
        errors[s] = make(problem, 3, 9, label_samples=3).attributes["label_error"]
    np.testing.assert_allclose(errors[scale]["u"], errors[1.0]["u"], rtol=1e-4)
    assert errors[0.0] == {}


@pytest.mark.nightly
def test_cell_centres_have_no_label_error():
    problem = problems.poisson.poisson(random.GaussianField(alpha=3.0), box=Box.unit(1, "neumann"))
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
    assert json.loads((folder / "recipe.json").read_text())["recipe"].startswith(
        "test_generate.toy(c=Uniform(low=0, high=0.8), length=1.0)#"
    )


@pytest.mark.nightly
def test_another_recipe_is_another_folder(toy, solves, tmp_path):
    longer = make_toy(length=1.0000001)
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
    real, written = well_writer.write_well, []

    def interrupted(path, *args, **kwargs):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(well_writer, "write_well", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(toy, 7, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["00000000.hdf5", "00000002.hdf5", "recipe.json"]
    times = {path: path.stat().st_mtime_ns for path in written}

    monkeypatch.setattr(well_writer, "write_well", real)
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


def law(body: str, head: str = "", name: str = "Bumps", decorator: str = "@dataclass(frozen=True)"):
    """A law of a user's module, as it stands there after an edit."""
    scope = {"__name__": "a_module_of_a_user", "random": random, "dataclass": dataclass, "jnp": jnp}
    code = f"""
{head}
{decorator}
class {name}(random.Distribution):
    width: float = 0.1
    is_field, isotropic, smooth = True, False, True

    def __repr__(self):
        return "Bumps"

    def sample(self, key, grid):
        {body}
"""
    exec(code, scope)
    return scope[name]


SAMPLE = "return height() * jnp.exp(-((grid.points[..., 0] - 0.5) / self.width) ** 2)"
HEIGHT = "def height():\n    return HEIGHTS[0]\n\nHEIGHTS = [1.0]"


@pytest.mark.parametrize(
    ("edited", "peak"),
    [
        (lambda: law("return 2 * jnp.exp(-((grid.points[..., 0] - 0.5) / self.width) ** 2)", HEIGHT)(), 2.0),
        (lambda: law(SAMPLE, HEIGHT.replace("HEIGHTS[0]", "3 * HEIGHTS[0]"))(), 3.0),
        (lambda: law(SAMPLE, HEIGHT.replace("[1.0]", "[4.0]"))(), 4.0),
        (lambda: law(SAMPLE, HEIGHT)(width=0.2), 1.0),
    ],
    ids=["the code of sample", "a function that it calls", "a number that it reads", "a parameter that repr hides"],
)
@pytest.mark.quick("a number that it reads")
def test_the_cache_knows_the_numbers_and_the_code_of_laws(tmp_path, edited, peak):
    def data(u):
        problem = importlib.import_module("surrogax").problem("poisson", f=u, box=Box.unit(1))
        return make(problem, 2, cache=tmp_path)["f"]

    before = data(law(SAMPLE, HEIGHT)())
    np.testing.assert_allclose(before.max(1), 1)
    np.testing.assert_array_equal(data(law(SAMPLE, HEIGHT)()), before)
    assert len(list(tmp_path.iterdir())) == 1, "the same code and numbers are one recipe"
    after = data(edited())
    np.testing.assert_allclose(after.max(1), peak, rtol=1e-6)
    assert len(list(tmp_path.iterdir())) == 2 and not np.array_equal(after, before)


def test_the_cache_knows_the_code_of_a_problem(tmp_path):
    def declared(factor):
        def steady(c=random.Uniform(1, 2)):  # noqa: B008 (frozen)
            def solve(inputs, grid):
                stats = Stats(jnp.asarray(0), jnp.asarray(1), jnp.asarray(0.0))
                return Solved({"u": factor * inputs["c"] * jnp.ones(grid.shape)}, stats)

            return Problem("u", Box.unit(1), inputs={"c": c}, solve=solve)

        return register_problem("test_generate.steady")(steady)()

    for factor in (1.0, 3.0):
        data = make(declared(factor), 2, cache=tmp_path)
        np.testing.assert_allclose(data["u"][:, 0], factor * data["c"], rtol=1e-6)


def test_what_nothing_identifies_is_not_cached_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SURROGAX_CACHE", str(tmp_path / "cache"))
    plain = importlib.import_module("surrogax").problem(
        "poisson", f=law(SAMPLE, HEIGHT, decorator="")(), box=Box.unit(1)
    )
    with pytest.warns(
        UserWarning,
        match=r"not cached: poisson: f is of a_module_of_a_user\.Bumps, which nothing identifies.* frozen dataclass",
    ) as said:
        assert len(make(plain, 2, cache=True)) == 2
        assert len(make(plain, 3, cache=True)) == 3
    assert len({str(warning.message) for warning in said}) == 1 and not (tmp_path / "cache").exists()
    with pytest.warns(UserWarning, match=r"not cached: Problem\(.* is hand-made"):
        make(make_toy().replace(), 1, cache=True)
    with pytest.raises(TypeError, match=r"poisson: f is of a_module_of_a_user\.Bumps"):
        make(plain, 2, cache=tmp_path)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_sample_that_does_not_converge_is_named(toy, tmp_path):
    often = make_toy(random.Uniform(0, 1))
    c = [
        float(often.sample_inputs(jax.random.fold_in(jax.random.key(0), i), Grid.unit_interval(9))["c"])
        for i in range(40)
    ]
    first = int(np.flatnonzero(np.array(c) > 0.9)[0])
    assert first > 0
    with pytest.raises(RuntimeError, match=f"^sample {first}: max_steps: the step limit was reached"):
        make(often, 40, cache=tmp_path)
    assert len(make(often, first)) == first


def test_wrong_use_is_named(toy, tmp_path):
    anonymous = toy.replace()
    with pytest.raises(ValueError, match=r"is hand-made, .* @register_problem"):
        make(anonymous, 1, cache=tmp_path)
    assert len(make(anonymous, 1)) == 1
    with pytest.raises(ValueError, match="generate needs a problem that declares `solve`"):
        make(toy.replace(solve=None), 1)
    with pytest.raises(ValueError, match=r"generate\(n=0\): expected 1 or more"):
        make(toy, 0)
    for message, wrong in (
        (r"generate\(n=1\.5\): expected a whole number, 1 or more", {"n": 1.5}),
        (r"generate\(refine=0\): expected 1 or more", {"refine": 0}),
        (r"generate\(label_samples=-1\): expected 0 or more", {"label_samples": -1}),
        (r"times must increase, but times\[0\] = 1 is followed by 0", {"times": np.array([1.0, 0.0])}),
        (r"times\[1\] is nan", {"times": np.array([1.0, np.nan])}),
        (r"generate\(key=0\): expected a random key, for example jax\.random\.key\(0\)", {"key": 0}),
        (r"grid: got '64', expected a whole number", {"grid": "64"}),
        (r"'burgers' is no problem; give sx\.problem\('burgers'\)", {"problem": "burgers"}),
    ):  # fmt: skip
        arguments = {"problem": toy, "n": 1, "grid": 9, "key": jax.random.key(0), "cache": False} | wrong
        with pytest.raises((ValueError, TypeError), match=message):
            unchecked(**arguments)
