"""Objects that a file describes by what they were built from: static parts and arrays."""

import abc
from typing import Any

import equinox as eqx


class AbstractBlueprint(abc.ABC):
    """Static, savable parts from which the structure of an object is built again. Register it, for files hold it."""

    @abc.abstractmethod
    def skeleton(self) -> Any:
        """The object with `jax.ShapeDtypeStruct`s in place of its arrays."""


class AbstractBuilt(eqx.Module):
    """An object whose structure follows from a blueprint. A file holds the blueprint and the arrays, so that the object may
    contain functions and modules of other libraries."""

    @property
    @abc.abstractmethod
    def blueprint(self) -> AbstractBlueprint:
        """What the object was built from."""
