"""Surrogates and learned parts of solvers as files."""

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
    """A saved surrogate or learned part of a solver, from a file or, by a bare name such as "deepcg-poisson-64", from the
    weights that are shipped. `like` is needed for foreign networks: one built the same way, whose arrays are replaced.

    **Raises:** `StorageError` for a damaged or foreign file, saying what was found; `ValueError` for a bare name that is
    neither a file nor shipped.
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
    """The file of a bare name; a path as it is."""
    if not isinstance(path, str) or Path(path).name != path or Path(path).suffix or os.path.exists(path):
        return path
    shipped = {file.stem: file for file in _SHIPPED.glob("*.sgx")}
    if path not in shipped:
        raise ValueError(f"load: {path!r} is no file and none of the shipped weights {sorted(shipped)}")
    return shipped[path]
