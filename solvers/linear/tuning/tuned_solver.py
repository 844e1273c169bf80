"""A solver whose parameter is chosen per system by a bandit (Khodak et al., Learning to Relax, ICLR 2024)."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Scalar

from ..linear_solve import solve
from ..method import AbstractMethod
from ..solution import Stats, Status
from .bandits import AbstractPolicy
from .tsallis_inf import TsallisINF


class System(eqx.Module):
    """A x = b and the context that a policy may look at before the solve; `Dataset.systems()` gives sequences of them.

    **Example:**

        >>> sx.linear.System(A, b).b.shape
        (15, 15)
    """

    operator: lx.AbstractLinearOperator
    b: Float[Array, "..."]
    context: Float[Array, "..."] | None = None


class TunedSolution(eqx.Module):
    """**Fields:** `value` and `stats` of the solve, `method` that ran, `parameter` it ran with and the number `arm` of that
    value in the grid, `cost` charged for it.

    **Example:**

        >>> tuner = sx.linear.TunedSolver(sx.linear.SOR(rtol=1e-2), omega=jnp.linspace(1.2, 1.9, 8))
        >>> _, solution = tuner.solve(tuner.init(key), sx.linear.System(A, b))
        >>> solution.method, 0 <= int(solution.arm) < 8
        ('SOR', True)
    """

    value: Float[Array, "..."]
    stats: Stats
    parameter: Float[Array, ""]
    arm: Int[Array, ""]
    cost: Float[Array, ""]
    method: str = eqx.field(static=True)

    @property
    def status(self):
        return self.stats.status

    @property
    def iterations(self):
        return self.stats.iterations


@dataclass(frozen=True, eq=False, init=False)
class TunedSolver:
    """A method with one parameter that a policy chooses anew for every system of a sequence, from what solves have cost.

    Not a pytree but hashed by identity, so that its functions can be given to `lax.scan` and `jit`.

        tuner = TunedSolver(SOR(rtol=1e-8), omega=jnp.linspace(1, 1.95, 20), policy=ChebCB(context=(-0.15, 0.65)))
        state, solutions = jax.lax.scan(tuner.solve, tuner.init(key), systems)

    **Arguments:**

    - `method`: any method; `max_steps` is what a failed solve is charged with.
    - `policy`: by default `TsallisINF()`, which looks at no context.
    - `cost`: function of `Stats`, ≥ 0 and small for good solves. The default is the number of iterations, and `max_steps` for
      a solve that did not converge: failing early is no merit. So nothing is learned with an `rtol` that cannot be reached,
      as 1e-8 in float32.
    - One keyword: the name of the parameter and the values to choose from, `(arms,)`. It is looked for in the method and
      everything inside: `omega` of `CG(SSOR())`, `fraction` of `CG(ChebyshevPolynomial())`.

    **Raises:** `ValueError` if the name is missing, occurs twice, is static (a new value would be a new compilation), holds
    anything but a number, or if the method refuses a value.

    **Example:**

        >>> tuner = sx.linear.TunedSolver(sx.linear.SOR(rtol=1e-3), omega=jnp.linspace(1.2, 1.9, 8))
        >>> system = sx.linear.System(A, b)
        >>> state, solution = tuner.solve(tuner.init(key), system)
        >>> 1.2 <= float(solution.parameter) <= 1.9
        True
    """

    method: AbstractMethod
    policy: AbstractPolicy
    values: Float[Array, " arms"]
    path: tuple[Any, ...]
    cost: Callable[[Stats], Scalar] | None

    def __init__(self, method: AbstractMethod, policy: AbstractPolicy | None = None, *, cost=None, **grid):
        if len(grid) != 1:
            raise ValueError(
                f"TunedSolver tunes one parameter, given by name as omega=jnp.linspace(1, 1.95, 20); got {sorted(grid)}"
            )
        ((name, values),) = grid.items()
        path, values = _unique_path(method, name), np.asarray(values, jnp.result_type(float))
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"TunedSolver: {name} needs a list of values, got shape {values.shape}")
        for value in values:
            _check(_at(_with(method, path, float(value)), path[:-1]))
        policy = TsallisINF() if policy is None else policy
        parts = {"method": method, "policy": policy, "values": jnp.asarray(values), "path": path, "cost": cost}
        for field, part in parts.items():
            object.__setattr__(self, field, part)

    def init(self, key: PRNGKeyArray) -> PyTree:
        """State of the policy before the first system."""
        return self.policy.init(len(self.values), key)

    def solve(self, state: PyTree, system, x0: Float[Array, "..."] | None = None) -> tuple[PyTree, TunedSolution]:
        """Choose, solve, learn. `system` has `operator`, `b` and, if the policy asks for it, `context`."""
        arm, state = self.policy.choose(state, system.context)
        solution = self.solve_with(arm, system, x0)
        # A solve takes at least one iteration, so that only those beyond it tell the arms apart (as in the paper).
        cost = solution.cost if self.cost is not None else jnp.maximum(solution.cost - 1, 0)
        return self.policy.update(state, arm, system.context, cost), solution

    def solve_with(self, arm: Int[Array, ""] | int, system, x0: Float[Array, "..."] | None = None) -> TunedSolution:
        """The solve with a fixed value of the grid, nothing learned."""
        parameter = self.values[arm]
        method = _with(self.method, self.path, parameter.astype(system.b.dtype))
        solution = solve(system.operator, system.b, method, x0=x0)
        cost = self._charged(solution.stats) if self.cost is None else self.cost(solution.stats)
        cost = jax.lax.stop_gradient(jnp.asarray(cost, self.values.dtype))
        return TunedSolution(solution.value, solution.stats, parameter, jnp.asarray(arm), cost, solution.method)

    def _charged(self, stats: Stats):
        limit = jnp.maximum(stats.iterations, self.method.max_steps)
        return jnp.where(stats.status == Status.converged, stats.iterations, limit)


def _unique_path(method, name: str) -> tuple[Any, ...]:
    """Where in the method the parameter is: attribute names and positions in tuples."""
    found = [(path, value, static) for path, value, static in _parameters(method) if path[-1] == name]
    kind = type(method).__name__
    if not found:
        known = sorted({path[-1] for path, value, static in _parameters(method) if not static and _is_number(value)})
        raise ValueError(f"TunedSolver: {kind} has no parameter {name!r}; it has {known}")
    if len(found) > 1:
        places = [".".join(map(str, path)) for path, _, _ in found]
        raise ValueError(
            f"TunedSolver: {name!r} is ambiguous in {kind}, it is at {places}; tune one of the parts alone"
        )
    ((path, value, static),) = found
    if static:
        raise ValueError(f"TunedSolver: {name!r} of {kind} is static, every value would be compiled anew")
    if not (_is_number(value) or value is None):
        raise ValueError(f"TunedSolver: {name!r} of {kind} holds {type(value).__name__}, only numbers can be tuned")
    return path


def _parameters(tree, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, bool]]:
    """Path, value and staticness of every field of a module and of the modules inside."""
    if isinstance(tree, eqx.Module):
        for field in dataclasses.fields(tree):
            value, static = getattr(tree, field.name), field.metadata.get("static", False)
            yield (*path, field.name), value, static
            if not static:
                yield from _parameters(value, (*path, field.name))
    elif isinstance(tree, tuple | list):
        for i, value in enumerate(tree):
            yield from _parameters(value, (*path, i))


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.generic | np.ndarray | jax.Array) and jnp.ndim(value) == 0


def _check(module: eqx.Module) -> None:
    """Run the checks that equinox runs when a module is made, for a value that was put in later."""
    for cls in type(module).__mro__:
        if "__check_init__" in vars(cls):
            vars(cls)["__check_init__"](module)


def _at(tree, path: tuple[Any, ...]):
    """The part of the tree at a path of `_unique_path`."""
    for step in path:
        tree = tree[step] if isinstance(step, int) else getattr(tree, step)
    return tree


def _with(method, path: tuple[Any, ...], value):
    """The method with another value at the path."""
    return eqx.tree_at(lambda m: _at(m, path), method, value, is_leaf=lambda x: x is None)
