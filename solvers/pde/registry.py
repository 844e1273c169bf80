"""The problems that are known by name."""

import functools
import inspect
from collections.abc import Callable

from ...core.arguments import checked
from .declaration import Problem
from .recipe import Recipe, is_own

Factory = Callable[..., Problem]

_factories: dict[str, Factory] = {}


def register_problem(name: str) -> Callable[[Factory], Factory]:
    """Decorator: make a function that returns a `Problem` available as `problem(name, **arguments)`.

    Problems that it makes know their name and their recipe, the text of the arguments by which `generate` finds cached
    data, and the code of the function if it is not this library's.

    **Raises:** `ValueError` for a name that another function has. The same function may be defined again, as when a
    notebook cell is run twice.

    **Example:**

        >>> @sx.register_problem("docs-oscillator")
        ... def oscillator(omega=2.0):
        ...     return sx.Problem("u", sx.Box(x=(0, 1)), inputs={"omega": omega}, residual=lambda u, p: u.xx + p.omega**2 * u)
        >>> sx.problem("docs-oscillator", omega=3.0).constants
        {'omega': 3.0}
    """

    def decorate(factory: Factory) -> Factory:
        known = _factories.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (factory.__module__, factory.__qualname__):
            raise ValueError(
                f"the problem {name!r} is registered by {known.__module__}.{known.__qualname__}; choose another name"
            )
        signature = inspect.signature(factory)
        # A user's annotations may mean something else: `nu: float` says nothing against a law.
        declare = checked(factory) if is_own(factory.__module__) else factory

        @functools.wraps(factory)
        def make(*args, **kwargs) -> Problem:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"problem({name!r}): {error}; its arguments are {_listed(signature)}") from None
            bound.apply_defaults()
            return declare(*args, **kwargs).registered_as(Recipe(name, dict(bound.arguments), factory))

        _factories[name] = make
        return make

    return decorate


def problem(name: str, **arguments) -> Problem:
    """The registered problem `name`, for example `problem("darcy", a=random.Threshold(12, 3))`.

    What it depends on is shown by `print(problem("burgers"))`; its arguments are those of the function that was registered,
    `help(surrogax.pde.problems.burgers.burgers)`.

    **Raises:** `ValueError` for an unknown name; `TypeError` for unknown arguments. Both list what there is.

    **Example:**

        >>> burgers = sx.problem("burgers", nu=0.05)
        >>> burgers.unknowns, burgers.constants["nu"], sorted(burgers.laws)
        (('u',), 0.05, ['u0'])
    """
    if not isinstance(name, str) or name not in _factories:
        raise ValueError(f"unknown problem {name!r}; known: {registered_problems()}")
    return _factories[name](**arguments)


def _listed(signature: inspect.Signature) -> str:
    """The names of the arguments with their defaults."""
    return ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in signature.parameters.values())


def registered_problems() -> list[str]:
    """The names that `problem` knows, in alphabetical order.

    **Example:**

        >>> "darcy" in sx.pde.registered_problems()
        True
    """
    return sorted(_factories)
