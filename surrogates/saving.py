"""Saving and loading of surrogates and of learned parts of solvers."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from ..core import storage
from ..core.arguments import checked, kind
from ..core.precision import in_double

if TYPE_CHECKING:
    from .surrogate import AbstractSurrogate

_SHIPPED = Path(__file__).parent / "learned_solvers" / "weights"


def save(surrogate: "AbstractSurrogate", path: str | os.PathLike) -> None:
    """Write a surrogate to one file; see `AbstractSurrogate.save`."""
    if not surrogate.capabilities.savable:
        raise ValueError(
            f"{type(surrogate).__name__} holds functions and cannot be saved; build it again where it is needed"
        )
    if surrogate.capabilities.self_contained:
        storage.save(path, surrogate)
    else:
        storage.save(path, {"task": surrogate.task, "values": storage.values_by_path(surrogate)})


@checked
def load(path: str | os.PathLike, like: eqx.Module | None = None) -> Any:
    """Load a saved surrogate or a learned part of a solver.

    **Arguments:**

    - `path`: a file of `surrogate.save`, which may be at an address such as `s3://bucket/file`; or the bare name of weights
      that are shipped with the library, such as "deepcg-poisson-64".
    - `like`: a surrogate built in the same way. Needed only for a wrapped foreign network and for a model that learned from a
      problem without data, whose files hold arrays alone. The result is a copy of it with the arrays of the file.

    **Raises:** `StorageError` for a damaged or foreign file, saying what was found; `ValueError` for a bare name that is
    neither a file nor shipped; `FileNotFoundError` for a missing file.

    **Example:**

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sx.MeanField(task).save(f"{folder}/mean.sgx")
        ...     print(sx.load(f"{folder}/mean.sgx").predict(ds[:2])["u"].shape)
        (2, 16)
    """
    path = _file(path)
    if os.path.isdir(path):
        raise ValueError(
            f"load: {path} is a folder; give the file of a surrogate, for example the best.sgx of a run folder"
        )
    loaded = storage.load(path)
    if like is not None:
        return _like(path, like, loaded)
    if isinstance(loaded, dict):
        raise storage.StorageError(
            f"{path}: holds arrays only, not the foreign network or the problem that they belong to; call sx.load with like= a "
            "surrogate built in the same way, such as wrap(TheSameNetwork(…), task) or PINN(the_same_problem, …)"
        )
    return loaded


def _like(path: str | os.PathLike, like: Any, loaded: Any) -> Any:
    if not isinstance(loaded, dict) or loaded.keys() != {"task", "values"}:
        raise storage.StorageError(f"{path}: holds a saved {type(loaded).__name__}; load it without like=…")
    kind(
        "load",
        "like",
        like,
        eqx.Module,
        "pass a surrogate built like the saved one, such as wrap(TheSameNetwork(…), task)",
    )
    own, stored = storage.values_by_path(like), loaded["values"]
    if any(name in own and _is_wider(stored[name], own[name]) for name in stored):  # it was trained in float64
        like = in_double(lambda model: model)(like)
    # Normalisers and origins come from the file; the roles, the domains and the mode must be those of `like`.
    task = replace(like.task, origins=loaded["task"].origins)
    first, second = (jax.tree.structure(each) for each in (task, loaded["task"]))
    if first != second:
        raise storage.StorageError(f"{path}: was saved for {loaded['task']!r}; `like` has {like.task!r}")
    return eqx.tree_at(lambda s: s.task, storage.with_values(like, loaded["values"], path), loaded["task"])


def _is_wider(stored: Any, own: Any) -> bool:
    """Whether an array is float64 in a file and float32 in a model."""
    arrays = isinstance(stored, np.ndarray | jax.Array) and isinstance(own, np.ndarray | jax.Array)
    return arrays and stored.dtype == np.float64 and own.dtype == np.float32


def _file(path: str | os.PathLike) -> str | os.PathLike:
    """The shipped file with a bare name; any other path is returned unchanged."""
    if not isinstance(path, str) or Path(path).name != path or Path(path).suffix or os.path.exists(path):
        return path
    shipped = {file.stem: file for file in _SHIPPED.glob("*.sgx")}
    if path not in shipped:
        raise ValueError(f"load: {path!r} is no file and none of the shipped weights {sorted(shipped)}")
    return shipped[path]
