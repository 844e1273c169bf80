"""Trial functions: networks of a few coordinates whose derivatives a residual asks for."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Box
from ...solvers.kernels.gaussian_sums import full_gaussian_sums, gaussian_sums, taylor
from ..trainable import Buffer

Orders = tuple[int, ...]  # how often to differentiate along each coordinate


class Coordinates(eqx.Module):
    """How a trial function sees a point: periodic axes as cos(2πmx/L), sin(2πmx/L), m = 1 … M, so that it is periodic with all
    its derivatives; other axes scaled to [−1, 1].

    **Fields:** `spans`: start, length and whether it is periodic, of every coordinate. `harmonics`: M.
    """

    spans: tuple[tuple[float, float, bool], ...] = eqx.field(static=True)
    harmonics: int = eqx.field(static=True, default=1)

    @classmethod
    def of(cls, box: Box, numbers: tuple[tuple[float, float], ...] = (), harmonics: int = 1) -> "Coordinates":
        """Those of a box, followed by numbers of which start and length of a range are given."""
        axes = [(axis.start, axis.length, axis.boundary == "periodic") for axis in box.axes]
        return cls((*axes, *((start, length, False) for start, length in numbers)), harmonics)

    @property
    def size(self) -> int:
        """Number of values that a trial function sees."""
        return sum(2 * self.harmonics if periodic else 1 for _, _, periodic in self.spans)

    def __call__(self, point: Float[Array, " d"]) -> Float[Array, " size"]:
        seen = []
        for (start, length, periodic), x in zip(self.spans, point, strict=True):
            if periodic:
                angle = (2 * np.pi / length) * (x - start) * jnp.arange(1, self.harmonics + 1)
                seen += [jnp.cos(angle), jnp.sin(angle)]
            else:
                seen.append(((2 / length) * (x - start) - 1)[None])
        return jnp.concatenate(seen)


class AbstractTrialFunction(eqx.Module):
    """A function of the coordinates of a point, followed by the numbers of a sample, with one value per unknown."""

    @abc.abstractmethod
    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        """A function of a point whose value and derivatives up to `orders`, in every combination, are right at `point`.

        It is differentiated automatically there. A function without closed derivatives returns itself; another one returns a
        polynomial with the derivatives as coefficients.
        """


class Multiple(AbstractTrialFunction):
    """A trial function times a number."""

    function: AbstractTrialFunction
    factor: Float[Array, ""]

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        near = self.function.near(point, orders)
        return lambda z: self.factor * near(z)


class RandomSines(AbstractTrialFunction):
    """Σ_j c_j sin(w_j · z + b_j) with fixed random w and b, and trained c.

    Along periodic axes w is an integer number of waves; along the others it is uniform on [−`scale`, `scale`] over [−1, 1].
    """

    frequencies: Buffer
    phases: Buffer
    coefficients: Float[Array, "out features"]

    def __init__(self, coordinates: Coordinates, out: int, features: int, scale: float, *, key: Array):
        k_slope, k_phase = jax.random.split(key)
        # In float64, since a number of waves that is rounded to float32 is no whole one.
        shape = (features, len(coordinates.spans))
        slopes = np.asarray(jax.random.uniform(k_slope, shape, minval=-scale, maxval=scale), np.float64)
        periodic = np.array([periodic for _, _, periodic in coordinates.spans])
        starts, lengths = (np.array([span[i] for span in coordinates.spans]) for i in (0, 1))
        slopes = np.where(periodic, 2 * np.pi * np.round(slopes / np.pi), 2 * slopes) / lengths
        phases = np.asarray(jax.random.uniform(k_phase, (features,), maxval=2 * np.pi), np.float64)
        self.frequencies, self.phases = Buffer(slopes), Buffer(phases - slopes @ starts)
        self.coefficients = jnp.zeros((out, features))

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        return lambda z: self.coefficients @ jnp.sin(self.frequencies.value @ z + self.phases.value)


class Gaussians(AbstractTrialFunction):
    """A tiny network of sums of Gaussians: x ↦ MLP(φ_1(x), …, φ_k(x)), φ_c = Σ_j w_cj exp(−½ ‖A_cj (x − μ_cj)‖²).

    Every feature φ_c has Gaussians of its own. Centres, shapes, weights and the network are trained. Coordinates are scaled to
    [0, 2]. A is the inverse of a diagonal of `shapes` `(k, n, d)`, the widths; then along periodic axes x_i − μ_i is replaced by
    (2/π) sin(π (x_i − μ_i)/2), which is periodic. Or A is any matrix, with `shapes` `(k, n, d, d)`. Derivatives of φ have closed
    forms (`kernels.gaussian_sums`).
    """

    centres: Float[Array, "k n d"]
    shapes: Float[Array, "k n d ..."]
    amplitudes: Float[Array, "k n"]
    hidden: tuple[Float[Array, "m k"], Float[Array, " m"]]
    last: tuple[Float[Array, "out m"], Float[Array, " out"]]
    spans: tuple[tuple[float, float, bool], ...] = eqx.field(static=True)

    def __init__(
        self, coordinates: Coordinates, out: int, gaussians: int, features: int, width: float, full: bool, *, key: Array
    ):
        """**Raises:** `ValueError` for full matrices along periodic axes, where a rotated Gaussian is not periodic."""
        if full and any(periodic for _, _, periodic in coordinates.spans):
            raise ValueError(
                'PIG(covariance="full"): along periodic axes Gaussians are diagonal, since rotated ones are not periodic'
            )
        k1, k2, k3, k4 = jax.random.split(key, 4)
        d, hidden = len(coordinates.spans), 16
        shape = (features, gaussians, d)
        self.spans = coordinates.spans
        self.centres = jax.random.uniform(k1, shape, maxval=2.0)
        self.shapes = jnp.broadcast_to(jnp.eye(d) / width, (*shape, d)) if full else jnp.full(shape, width)
        self.amplitudes = 0.1 * jax.random.normal(k2, shape[:2])
        self.hidden = np.sqrt(2 / (features + hidden)) * jax.random.normal(k3, (hidden, features)), jnp.zeros(hidden)
        self.last = np.sqrt(2 / (out + hidden)) * jax.random.normal(k4, (out, hidden)), jnp.zeros(out)

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        starts, lengths = (jnp.asarray([span[i] for span in self.spans], point.dtype) for i in (0, 1))
        scaled = 2 * (point - starts) / lengths
        if self.shapes.ndim == self.centres.ndim:
            periodic = tuple(periodic for _, _, periodic in self.spans)
            table = gaussian_sums(orders, scaled, self.centres, self.shapes, self.amplitudes, periodic)
        else:
            table = full_gaussian_sums(orders, scaled, self.centres, self.shapes, self.amplitudes)

        def function(z):
            moved = 2 * (z - point) / lengths
            phi = taylor(table, moved)
            return self.last[0] @ jnp.tanh(self.hidden[0] @ phi + self.hidden[1]) + self.last[1]

        return function
