"""Objects that are saved as a blueprint (the settings they were built from) and their arrays."""

import abc
from typing import Any

import equinox as eqx


class AbstractBlueprint(abc.ABC):
    """Static settings from which the structure of an object can be built again.

    A subclass is a frozen dataclass under `@register(tag)`, because files hold its instances.
    """

    @abc.abstractmethod
    def skeleton(self) -> Any:
        """The object with a `jax.ShapeDtypeStruct` in place of every array."""


class AbstractBuilt(eqx.Module):
    """An object whose structure follows from a blueprint.

    A file stores the blueprint and the arrays only. The object may therefore contain functions and modules of other libraries,
    which no file could store.
    """

    @property
    @abc.abstractmethod
    def blueprint(self) -> AbstractBlueprint:
        """The settings that the object was built from."""
