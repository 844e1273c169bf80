"""The five recipes of CONTRIBUTING.md: what an outsider adds, added from outside the package, with the code that stands
there."""

import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import surrogax as sx

KEY = jax.random.key(0)
TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def code_of(heading: str) -> str:
    """The code of the recipe with this heading."""
    section = TEXT.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.fixture(scope="module")
def recipes():
    """What the recipes define, each executed once."""
    scope = {"__name__": "recipes"}
    for heading in ("A problem", "A file format", "A network", "An objective", "A metric"):
        code = code_of(heading)
        assert len(code.splitlines()) > 3
        exec(compile(code, f"CONTRIBUTING.md: {heading}", "exec", dont_inherit=True), scope)
    return scope


@pytest.fixture(scope="module")
def data():
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    return sx.generate(problem, 40, 17, KEY, cache=False, progress=False).split(train=30, test=10)


def test_a_problem_is_generated_and_its_residual_vanishes(recipes):
    problem = sx.problem("decay", rate=sx.random.Uniform(1.0, 2.0))
    assert "rate=" in problem.recipe
    data = sx.generate(problem, 3, 9, KEY, times=np.linspace(0, 1, 5), cache=False, progress=False)
    expected = np.exp(-data["rate"][:, None] * np.linspace(0, 1, 5))
    np.testing.assert_allclose(data["u"], np.broadcast_to(expected[..., None], (3, 5, 9)), rtol=1e-5)
    jet = recipes["exact"](1.5)
    np.testing.assert_allclose(problem.residual(jet, {"rate": 1.5}), 0, atol=1e-6)
    with pytest.raises(ValueError, match="decay"):
        sx.register_problem("decay")(lambda: None)


def test_a_file_format_is_opened_by_its_content(recipes, tmp_path):
    a, u = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    path = tmp_path / "fields.data"
    with path.open("wb") as file:
        np.savez(file, a=a, u=u)
    data = sx.open(path)
    np.testing.assert_array_equal(data["u"], u)
    assert data.domain == sx.Grid.unit(8, 1, "periodic")


def test_a_network_trains_and_keeps_the_contract(recipes, data):
    train, test = data
    task = sx.Task.fit(train, "f", "u")
    model = sx.NetworkSurrogate.build(recipes["ShallowConfig"](width=16), task, KEY)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=5, batch_size=10, seeds=2, progress=False)
    sx.check_surrogate(fit, test)


def test_an_objective_trains(recipes, data):
    train, test = data
    task = sx.Task.fit(train, "f", "u")
    model = sx.FNO(task, width=8, modes=4, depth=1, padding=0.25, key=KEY)
    fit = sx.fit(
        model, train, val=test, objective=recipes["NoisyInputs"](std=0.05), optimizer=optax.adam(1e-2), epochs=10,
        batch_size=10, progress=False,
    )  # fmt: skip
    assert fit.history.loss[-1][0] < fit.history.loss[0][0] / 2


def test_a_metric_is_a_column_of_the_table(recipes, data):
    train, test = data
    table = sx.evaluate({"mean": sx.MeanField(sx.Task.fit(train, "f", "u"))}, test, metrics="bias", timing=False)
    expected = (test.grid.weights * (train["u"].mean(0) - test["u"])).sum(1).mean()
    assert table.value("mean", metric="bias") == pytest.approx(expected, rel=1e-4)
