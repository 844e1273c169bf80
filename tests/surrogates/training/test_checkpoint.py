"""Checkpoints hold arrays by key path: a reordered state is restored rightly, another one is refused by name."""

import csv
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.files import StorageError
from surrogax.surrogates.training.checkpoint import RunFolder
from surrogax.surrogates.training.history import History


class Saved(NamedTuple):
    first: jax.Array
    second: jax.Array
    key: jax.Array


class Reordered(NamedTuple):
    key: jax.Array
    second: jax.Array
    first: jax.Array


STATE = {"model": Saved(jnp.ones(3), jnp.full(3, 2.0), jax.random.key(7)), "a/b": [jnp.arange(2), jnp.asarray(4)]}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder.open(tmp_path / "run", {"seed": 1})
    folder.save(5, STATE, History(loss=[[0.5]], seconds=[1.0]))
    return folder


def test_the_state_comes_back_with_its_history(folder):
    state, history = folder.restore(jax.tree.map(lambda x: x, STATE))
    assert history.loss == [[0.5]] and isinstance(state["model"], Saved)
    np.testing.assert_array_equal(jax.random.key_data(state["model"].key), jax.random.key_data(STATE["model"].key))
    for found, saved in zip(jax.tree.leaves(state["a/b"]), STATE["a/b"], strict=True):
        np.testing.assert_array_equal(found, saved)
    assert (folder.path / "metrics.jsonl").read_text().count("\n") == 1


def test_the_table_of_a_run_that_a_former_version_began_gets_the_columns_of_this_one(folder):
    history = History(
        loss=[[0.5]], seconds=[1.0], steps=[3], metrics={"residual": [[9.0]]}, open_steps=1, open_loss=[0.0]
    )
    folder.restore(STATE)
    for _ in range(3):  # the first of these epochs was begun by the former version
        history.advance(np.ones((1, 1)), {"residual": np.full((1, 1), 4.0), "gradient_norm": np.full((1, 1), 2.0)}, 1.0)
        history.close(None, 0.0)
        folder.log(history)
    rows = list(csv.DictReader((folder.path / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["3", "5", "6", "7"]
    assert [row["seconds_training"] for row in rows] == ["", "1.0", "1.0", "1.0"]
    assert [row["gradient_norm"] for row in rows] == ["", "", "2.0", "2.0"]
    assert [row["residual"] for row in rows[2:]] == ["4.0", "4.0"]
    assert (folder.path / "metrics.jsonl").read_text().count("\n") == 4


def test_a_reordered_field_is_restored_to_its_own_place(folder):
    like = STATE | {"model": Reordered(jax.random.key(0), jnp.zeros(3), jnp.zeros(3))}
    model = folder.restore(like)[0]["model"]
    assert isinstance(model, Reordered) and (model.first == 1).all() and (model.second == 2).all()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"model": STATE["model"]._replace(second=jnp.zeros(4))}, r"array \['model'\].second is float32\[3\], here float32\[4\]"),
        ({"model": STATE["model"]._replace(first=jnp.zeros(3, jnp.int32))}, r"first is float32\[3\], here int32\[3\]"),
        ({"model": STATE["model"]._replace(key=jax.random.key(0, impl="rbg"))}, r"key is key<fry>\[\], here key<rbg>\[\]"),
        ({"more": jnp.zeros(2)}, r"it has no array \['more'\], which is float32\[2\] here"),
        ({"a/b": [jnp.arange(2)]}, r"its array \['a/b'\]\[1\] of int32\[\] does not exist here"),
    ],
    ids=["shape", "dtype", "kind of key", "more", "fewer"],
)  # fmt: skip
def test_another_state_is_refused_by_its_first_difference(folder, change, difference):
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(
        StorageError, match=f"run/checkpoints: the checkpoint of step 5 is of another training: .*{difference}"
    ):
        folder.restore(STATE | change)
    assert sorted(folder.path.rglob("*")) == before


def test_a_class_that_moved_between_modules_is_the_same(tmp_path):
    before = {"model": ["surrogax.solvers.random.Matern", {"length": 0.1}], "loss": "other.package.Loss"}
    RunFolder.open(tmp_path / "run", before)
    RunFolder.open(
        tmp_path / "run", {**before, "model": ["surrogax.solvers.random.gaussian_laws.Matern", {"length": 0.1}]}
    )
    with pytest.raises(ValueError, match=r"model\[0\] was Matern, now PeriodicGP"):
        RunFolder.open(tmp_path / "run", {**before, "model": ["surrogax.solvers.random.PeriodicGP", {"length": 0.1}]})
    with pytest.raises(ValueError, match=r"loss was other\.package\.Loss, now package\.Loss"):
        RunFolder.open(tmp_path / "run", {**before, "loss": "package.Loss"})
