"""What an equation depends on: random inputs and constants, by name."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike

from ...core.domains import Grid
from ..random import AbstractLaw, Part
from .pointwise_derivatives import Constant, Jet, Jets, Values

Fields = Mapping[str, Any]  # arrays of JAX or NumPy by name


class DeclaredInputs(Mapping[str, Any]):
    """The inputs that a problem declares, in the order of the declaration. An entry is a law, which is sampled, or a constant: a
    number, an array or a tuple of those.

    **Raises:** `TypeError` for anything else.
    """

    def __init__(self, declared: Fields):
        self._declared = dict(declared)
        for name, value in self._declared.items():
            numbers = not isinstance(value, AbstractLaw) and all(map(eqx.is_array_like, jax.tree.leaves(value)))
            if not (numbers or isinstance(value, AbstractLaw)):
                if isinstance(value, type) and issubclass(value, AbstractLaw):
                    raise TypeError(
                        f"the input {name!r} is the class {value.__name__}; give a law, {value.__name__}(…)"
                    )
                raise TypeError(
                    f"the input {name!r} is {value!r}: neither a number or array nor a law; derive laws of your own "
                    "from surrogax.random.Distribution"
                )

    def __getitem__(self, name: str) -> Any:
        return self._declared[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    @property
    def laws(self) -> dict[str, AbstractLaw]:
        """The random inputs."""
        return {name: value for name, value in self.items() if isinstance(value, AbstractLaw)}

    @property
    def constants(self) -> dict[str, Any]:
        """The other inputs."""
        return {name: value for name, value in self.items() if not isinstance(value, AbstractLaw)}

    def sample(self, key: jax.Array, grid: Grid, times: np.ndarray | None = None) -> dict[str, Array]:
        """One draw of every random input, see `Problem.sample_inputs`."""
        laws = list(self.laws.items())
        together = [law.law if isinstance(law, Part) else name for name, law in laws]
        numbers = [together.index(group) for group in together]
        drawn = {
            name: law.draw(jax.random.fold_in(key, i), grid, times)
            for i, (name, law) in zip(numbers, laws, strict=True)
        }
        for name, law in self.laws.items():
            instants = () if times is None or not law.is_timed else (len(times),)
            expected = (*instants, *grid.shape) if law.is_field else ()
            if np.shape(drawn[name])[: len(expected)] != expected or np.ndim(drawn[name]) > len(expected) + 1:
                raise ValueError(
                    f"the law of {name!r} drew the shape {np.shape(drawn[name])}, expected {expected} by its is_field="
                    f"{law.is_field}: {law!r}"
                )
        return drawn

    def complete(self, given: Fields, *, without: Collection[str] = ()) -> dict[str, Any]:
        """`given` with the declared constants added.

        **Raises:** `ValueError` for names that are no inputs, and for random inputs (apart from `without`) that are missing.
        """
        self._check_names(given)
        if missing := self.laws.keys() - given.keys() - set(without):
            raise ValueError(f"the inputs {sorted(missing)} are random and were not given, only {sorted(given)}")
        return self.constants | dict(given)

    def jets(self, given: Mapping[str, Jet | ArrayLike], coordinates: tuple[str, ...]) -> Jets:
        """`given` and the constants as jets, see `Problem.input_jets`."""
        self._check_names(given)
        numbers = {name: value for name, value in self.constants.items() if not isinstance(value, tuple)}

        def jet(name: str, value: Any) -> Jet:
            if isinstance(value, Jet):
                return value
            law = self.laws.get(name)
            field = np.ndim(value) > 0 or (law is not None and law.is_field)
            return Jet((Values if field else Constant)(value, coordinates))

        return Jets({name: jet(name, value) for name, value in {**numbers, **given}.items()})

    def _check_names(self, given: Mapping[str, Any]) -> None:
        if unknown := set(given) - set(self):
            raise ValueError(f"unknown inputs {sorted(unknown)}; the problem has {sorted(self)}")
