"""Saving and loading of surrogates and of learned parts of solvers."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx

from ..core import storage

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
        storage.save_arrays(path, surrogate)


def load(path: str | os.PathLike, like: eqx.Module | None = None) -> Any:
    """Load a saved surrogate or a learned part of a solver.

    **Arguments:**

    - `path`: a file of `surrogate.save`; or the bare name of weights that are shipped with the library, such as
      "deepcg-poisson-64".
    - `like`: needed only for a wrapped foreign network, whose file holds arrays alone: a surrogate built in the same way. The
      result is a copy of it with the arrays of the file.

    **Raises:** `StorageError` for a damaged or foreign file, saying what was found; `ValueError` for a bare name that is
    neither a file nor shipped; `FileNotFoundError` for a missing file.
    """
    path = _file(path)
    if like is not None:
        return storage.load_arrays(path, like)
    loaded = storage.load(path)
    if isinstance(loaded, dict):
        raise storage.StorageError(
            f"{path}: holds the arrays of a foreign network only; pass like=wrap(TheSameNetwork(…), task)"
        )
    return loaded


def _file(path: str | os.PathLike) -> str | os.PathLike:
    """The shipped file with a bare name; any other path is returned unchanged."""
    if not isinstance(path, str) or Path(path).name != path or Path(path).suffix or os.path.exists(path):
        return path
    shipped = {file.stem: file for file in _SHIPPED.glob("*.sgx")}
    if path not in shipped:
        raise ValueError(f"load: {path!r} is no file and none of the shipped weights {sorted(shipped)}")
    return shipped[path]
