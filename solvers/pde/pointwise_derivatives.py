"""Values and partial derivatives of fields, written the way a PDE is: `u.t - nu * u.xx`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

Orders = tuple[int, ...]  # how often to differentiate along each coordinate


class AbstractDerivatives(ABC):
    """A scalar field at some points, and how its derivatives are made: by automatic differentiation, in closed form, by
    Fourier transforms or by finite differences. A family of methods brings its own subclass; `Jet` makes it readable.

    **Example:**

        >>> class Square(sx.pde.AbstractDerivatives):                                     # x² at x = 3, in closed form
        ...     names, coordinates = ("x",), (jnp.array(3.0),)
        ...     def derivative(self, orders):
        ...         return {0: 9.0, 1: 6.0, 2: 2.0}.get(orders[0], 0.0)
        >>> sx.pde.Jet(Square()).xx
        2.0
    """

    names: tuple[str, ...]  # of the coordinates

    @property
    @abstractmethod
    def coordinates(self) -> tuple[Array, ...]:
        """The coordinates of the points, one array per name, that broadcasts against the values."""

    @abstractmethod
    def derivative(self, orders: Orders) -> Array:
        """∂^orders u at the points, one order per coordinate; `(0, …, 0)` is the value."""


@dataclass(frozen=True, eq=False)
class Automatic(AbstractDerivatives):
    """Derivatives of a function of the point by nested forward-mode differentiation.

    **Arguments:**

    - `function`: values `(…)` from points `(…, d)`. At several points at once each value must depend on its own point
      only, as under `vmap`.
    - `points`: one point `(d,)` or many `(…, d)`.
    - `names`: the d coordinates.
    """

    function: Callable[[Array], Array]
    points: Float[Array, "*points d"]
    names: tuple[str, ...]

    @property
    def coordinates(self) -> tuple[Array, ...]:
        return tuple(self.points[..., i] for i in range(len(self.names)))

    def derivative(self, orders: Orders) -> Array:
        function = self.function
        for index, order in enumerate(orders):
            for _ in range(order):
                function = _along(function, index)
        return function(self.points)


@dataclass(frozen=True, eq=False)
class Constant(AbstractDerivatives):
    """A number: the same at all points, with derivatives that are zero."""

    value: ArrayLike
    names: tuple[str, ...]

    @property
    def coordinates(self) -> tuple[Array, ...]:
        raise ValueError("a constant has no points of its own; take the coordinates of the unknown")

    def derivative(self, orders: Orders) -> Array:
        value = jnp.asarray(self.value)
        return jnp.zeros_like(value) if any(orders) else value


@dataclass(frozen=True, eq=False)
class Values(AbstractDerivatives):
    """A field of which only the values at the points are known; asking for a derivative raises `ValueError`."""

    values: Array
    names: tuple[str, ...]

    @property
    def coordinates(self) -> tuple[Array, ...]:
        raise ValueError("a field given by its values does not know its points; take the coordinates of the unknown")

    def derivative(self, orders: Orders) -> Array:
        if any(orders):
            raise ValueError(
                "this field was given by its values alone; a residual with its derivatives needs a Jet of it"
            )
        return jnp.asarray(self.values)


class Jet:
    """A scalar field with its partial derivatives at a point, at many points or on a grid.

    `u.x`, `u.xx`, `u.xt` are arrays of partial derivatives; their letters are coordinate names, and their order does not
    matter. Where names have several letters, `u.partial("theta", "t")` says the same without any doubt. Arithmetic acts
    on the value (`u**3 - u`); functions need that written out, `jnp.sin(u.value)`. `u.at["x"]` is a coordinate of the points.

    `Jet(derivatives)` takes anything that knows its derivatives; `Jet.of(function, points, names)` differentiates a
    function automatically.

    **Example:**

        >>> x = jnp.array([[0.5], [1.0]])
        >>> u = sx.pde.Jet.of(lambda p: p[..., 0] ** 3, x, ("x",))
        >>> u.xx.tolist()                                       # 6 x
        [3.0, 6.0]
    """

    __array_ufunc__ = None  # NumPy numbers on the left leave the operation to us

    def __init__(self, derivatives: AbstractDerivatives):
        self._derivatives = derivatives

    @classmethod
    def of(cls, function: Callable[[Array], Array], points: Float[Array, "*points d"], names: tuple[str, ...]) -> "Jet":
        """The jet of a function of the points, see `Automatic`."""
        return cls(Automatic(function, points, names))

    @property
    def value(self) -> Array:
        return self._derivatives.derivative((0,) * len(self._derivatives.names))

    @property
    def at(self) -> Mapping[str, Array]:
        """The coordinates of the points by name."""
        return dict(zip(self._derivatives.names, self._derivatives.coordinates, strict=True))

    def partial(self, *along: str) -> Array:
        """The derivative along the named coordinates: `u.partial("x", "x", "t")` is `u.xxt`."""
        names = self._derivatives.names
        if unknown := [name for name in along if name not in names]:
            raise AttributeError(f"u.partial{along}: no coordinate {unknown}; this problem has {list(names)}")
        return self._derivatives.derivative(tuple(along.count(name) for name in names))

    def __getattr__(self, derivative: str) -> Array:
        if derivative.startswith("_"):
            raise AttributeError(derivative)
        names = self._derivatives.names
        readings = sorted(_readings(derivative, names))
        if not readings:
            raise AttributeError(f"u.{derivative} is no derivative along the coordinates {list(names)} of this problem")
        if len(readings) > 1:
            raise AttributeError(f"u.{derivative} can be read in several ways along {list(names)}; use u.partial(…)")
        return self._derivatives.derivative(readings[0])

    def __jax_array__(self):
        return self.value

    def __repr__(self) -> str:
        return f"Jet({type(self._derivatives).__name__} along {list(self._derivatives.names)})"

    def __neg__(self):
        return -self.value

    def __add__(self, other):
        return self.value + jnp.asarray(other)

    def __sub__(self, other):
        return self.value - jnp.asarray(other)

    def __rsub__(self, other):
        return jnp.asarray(other) - self.value

    def __mul__(self, other):
        return self.value * jnp.asarray(other)

    def __truediv__(self, other):
        return self.value / jnp.asarray(other)

    def __rtruediv__(self, other):
        return jnp.asarray(other) / self.value

    def __pow__(self, exponent):
        return self.value**exponent

    __radd__, __rmul__ = __add__, __mul__


class Jets(Mapping[str, Jet]):
    """Jets by name: `p.a.x` and `p["a"].x` are the same.

    **Example:**

        >>> x = jnp.array([[0.5], [1.0]])
        >>> u, v = (sx.pde.Jet.of(lambda p, n=n: p[..., 0] ** n, x, ("x",)) for n in (1, 2))
        >>> both = sx.pde.Jets({"u": u, "v": v})
        >>> (both.u.x + both.v.x).tolist()
        [2.0, 3.0]
    """

    def __init__(self, jets: Mapping[str, Jet]):
        self._jets = dict(jets)

    def __getitem__(self, name: str) -> Jet:
        return self._jets[name]

    def __getattr__(self, name: str) -> Jet:
        if name.startswith("_") or name not in self._jets:
            there = f"there is {', '.join(sorted(self._jets))}" if self._jets else "there are no inputs"
            raise AttributeError(
                f"nothing is called {name!r} here; {there}. Of an unknown u a coordinate x is u.at['x']"
            )
        return self._jets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jets)

    def __len__(self) -> int:
        return len(self._jets)


def laplacian(u: Jet, axes: tuple[str, ...]) -> Array:
    """Δu = Σ u_xx over the space axes."""
    return sum((u.partial(x, x) for x in axes[1:]), u.partial(axes[0], axes[0]))


def flux_divergence(a: Jet, u: Jet, axes: tuple[str, ...]) -> Array:
    """∇·(a∇u) = ∇a·∇u + a Δu over the space axes."""
    return sum((a.partial(x) * u.partial(x) for x in axes), a * laplacian(u, axes))


def _along(function: Callable, index: int) -> Callable:
    def derivative(points):
        direction = jnp.zeros_like(points).at[..., index].set(1)
        return jax.jvp(function, (points,), (direction,))[1]

    return derivative


def _readings(text: str, names: tuple[str, ...]) -> set[Orders]:
    """All ways to write `text` as a product of coordinate names, each as the number of times that every name appears."""
    if not text:
        return {(0,) * len(names)}
    found: set[Orders] = set()
    for i, name in enumerate(names):
        if text.startswith(name):
            rest = _readings(text[len(name) :], names)
            found |= {(*orders[:i], orders[i] + 1, *orders[i + 1 :]) for orders in rest}
    return found
