"""Trial functions: networks of a few coordinates whose derivatives a residual asks for."""

import abc
import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Box
from ...solvers.kernels.gaussian_sums import gaussian_sums, taylor
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


class MLP(AbstractTrialFunction):
    """A perceptron with tanh, z ↦ W z + b in every layer, after the `coordinates`.

    With weight factorisation the rows of every W are stored as exp(s) times a vector (Wang et al. 2022).
    """

    coordinates: Coordinates
    weights: list[Float[Array, "out in"]]
    biases: list[Float[Array, " out"]]
    scales: list[Float[Array, " out"]] | None

    def __init__(self, coordinates: Coordinates, out: int, width: int, depth: int, factorised: bool, *, key: Array):
        sizes = [coordinates.size, *[width] * depth, out]
        keys = jax.random.split(key, 2 * len(sizes))
        self.coordinates = coordinates
        self.weights, self.biases, self.scales = [], [], [] if factorised else None
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            weight = np.sqrt(2 / (n_in + n_out)) * jax.random.normal(keys[2 * i], (n_out, n_in))
            if self.scales is not None:
                scale = 1 + 0.1 * jax.random.normal(keys[2 * i + 1], (n_out,))
                self.scales.append(scale)
                weight = weight / jnp.exp(scale)[:, None]
            self.weights.append(weight)
            self.biases.append(jnp.zeros(n_out))

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        return self._value

    def _value(self, point: Float[Array, " d"]) -> Float[Array, " out"]:
        z = self.coordinates(point)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = weight @ z
            y = (y if self.scales is None else jnp.exp(self.scales[i]) * y) + bias
            z = jnp.tanh(y) if i < len(self.weights) - 1 else y
        return z


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
    """A tiny network of sums of Gaussians: x ↦ MLP(φ_1(x), …, φ_k(x)), φ_c = Σ_j w_cj exp(−½ Σ_i ((x_i − μ_cji)/σ_cji)²).

    Every feature φ_c has Gaussians of its own. Centres, widths, weights and the network are trained. Coordinates are scaled to
    [0, 2]; along periodic axes x_i − μ_i is replaced by (2/π) sin(π (x_i − μ_i)/2), which is periodic. Derivatives of φ have
    closed forms (`kernels.gaussian_sums`).
    """

    centres: Float[Array, "k n d"]
    widths: Float[Array, "k n d"]
    amplitudes: Float[Array, "k n"]
    hidden: tuple[Float[Array, "m k"], Float[Array, " m"]]
    last: tuple[Float[Array, "out m"], Float[Array, " out"]]
    spans: tuple[tuple[float, float, bool], ...] = eqx.field(static=True)

    def __init__(self, coordinates: Coordinates, out: int, gaussians: int, features: int, width: float, *, key: Array):
        k1, k2, k3, k4 = jax.random.split(key, 4)
        shape, hidden = (features, gaussians, len(coordinates.spans)), 16
        self.spans = coordinates.spans
        self.centres = jax.random.uniform(k1, shape, maxval=2.0)
        self.widths = jnp.full(shape, width)
        self.amplitudes = 0.1 * jax.random.normal(k2, shape[:2])
        self.hidden = np.sqrt(2 / (features + hidden)) * jax.random.normal(k3, (hidden, features)), jnp.zeros(hidden)
        self.last = np.sqrt(2 / (out + hidden)) * jax.random.normal(k4, (out, hidden)), jnp.zeros(out)

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        starts, lengths = (jnp.asarray([span[i] for span in self.spans], point.dtype) for i in (0, 1))
        periodic = tuple(periodic for _, _, periodic in self.spans)
        scaled = 2 * (point - starts) / lengths
        table = gaussian_sums(orders, scaled, self.centres, self.widths, self.amplitudes, periodic)

        def function(z):
            moved = 2 * (z - point) / lengths
            phi = taylor(table, moved)
            return self.last[0] @ jnp.tanh(self.hidden[0] @ phi + self.hidden[1]) + self.last[1]

        return function
