"""Observations y = A(x₀) + e of a sample, with Gaussian errors of any kind: what posteriors are conditioned on."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from ...core.arguments import check_fields, checked, kind, real_array
from ...core.arrays import AnyArray


class Linearised(NamedTuple):
    """An observation at a point x, in units of its errors: the residual R^(−½) (y − A(x)) `(m,)`, and the derivative H of
    R^(−½) A there, as the products v ↦ H v and u ↦ Hᵀ u."""

    residual: Float[Array, " m"]
    forward: Callable
    transposed: Callable


class AbstractEvidence(eqx.Module):
    """What is known of a sample beside its prior: an `Observation`, an `Event`, or a `LogLikelihood`.

    **Example:**

        >>> issubclass(sx.diffusion.Event, sx.diffusion.AbstractEvidence)
        True
    """

    example: ClassVar[str]  # how it is made, for messages

    @abc.abstractmethod
    def probe(self, x: Float[Array, "*shape"]) -> Float[Array, "..."]:
        """What the forward model says of x, to find out whether it is finite."""


class AbstractObservation(AbstractEvidence):
    """Gaussian observations, known by their residual in units of the errors: write `residual`, `observed`, `typical_std`.

    **Example:**

        >>> issubclass(sx.diffusion.Observation, sx.diffusion.AbstractObservation)
        True
    """

    example: ClassVar[str] = "an Observation(operator, values, std=…)"

    @abc.abstractmethod
    def residual(self, x: Float[Array, "*shape"]) -> Float[Array, " m"]:
        """R^(−½) (y − A(x)), zero where nothing was observed. For the true x it is standard normal."""

    @abc.abstractmethod
    def perturbed(self, residual: Float[Array, " m"], errors: Float[Array, " m"]) -> Float[Array, " m"]:
        """The residual of y + R^½ `errors`."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """m, the length of the residual."""

    @property
    @abc.abstractmethod
    def observed(self) -> Any:
        """How many numbers were observed."""

    @property
    @abc.abstractmethod
    def typical_std(self) -> Any:
        """One standard deviation for all of the errors, the root of their harmonic mean variance."""

    def linearised(self, x: Float[Array, "*shape"]) -> Linearised:
        """The observation at x with its derivative. Linear operators may be linear maps of JAX, or solvers with derivatives."""
        residual, negative = jax.linearize(self.residual, x)
        transposed = jax.linear_transpose(negative, x)
        return Linearised(residual, lambda v: -negative(v), lambda u: -transposed(u)[0])

    def probe(self, x):
        return self.residual(x)

    def misfit(self, x: Float[Array, "*shape"]) -> Float[Array, ""]:
        """|R^(−½) (y − A(x))|² per observed number: 1 on average for the truth, and for samples of the right posterior
        somewhat more than its smallest value."""
        return jnp.sum(self.residual(x) ** 2) / self.observed


class Observation(AbstractObservation):
    """y = A(x₀) + e with e ~ N(0, R).

        Observation(lambda x: x[::8], y, std=0.05)                 # of a sample (64,)
        Observation(lambda x: solve_darcy(x)[rows], y, covariance=R, mask=arrived)

    **Arguments:**

    - `operator`: A, a function of one sample `(*shape)` that returns the shape of `values`; an `equinox.Module` if it holds
      arrays. Guidance differentiates it; `WithoutDerivatives` wraps one that JAX cannot differentiate.
    - `values`: y, of any shape.
    - `std`: of the errors, one number or one per observation (of a shape that broadcasts to that of y). Or
    - `covariance`: R `(m, m)`, symmetric positive definite, of y in row-major order.
    - `mask`: where y was observed; values elsewhere are ignored, NaN too.

    **Raises:** `ValueError` for shapes that do not fit, for values that are not finite where they count, for errors of zero
    (what is known exactly is a constraint, not an observation) and for a covariance that is not positive definite.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:2], jnp.array([1.0, -1.0]), std=0.1)
        >>> observed.size, float(observed.misfit(jnp.array([1.0, -1.0, 0.0])))
        (2, 0.0)
    """

    operator: Callable
    values: Float[Array, "*m"]
    inverse_std: Float[Array, "..."]
    whitener: Float[Array, "n n"] | None
    mask: Bool[Array, "*m"] | None

    @checked
    def __init__(
        self,
        operator: Callable,
        values: AnyArray | Sequence | float,
        *,
        std: AnyArray | Sequence | float | None = None,
        covariance: AnyArray | Sequence | None = None,
        mask: AnyArray | Sequence | None = None,
    ):
        values = jnp.asarray(real_array("Observation", "values", values), float)
        if not values.size:
            raise ValueError(f"Observation(values=…): expected one number or more, got the shape {values.shape}")
        if (std is None) == (covariance is None):
            raise ValueError(
                "Observation: give std=…, the standard deviation of the errors, or covariance=…, one of them"
            )
        if mask is not None:
            mask = mask if isinstance(mask, jax.Array) else np.asarray(mask)
            if mask.dtype != bool or mask.shape != values.shape:
                raise ValueError(
                    f"Observation(mask=…): expected booleans of the shape {values.shape}, got {mask.dtype} {mask.shape}"
                )
            mask = jnp.asarray(mask)
            if not isinstance(mask, Tracer) and not bool(mask.any()):
                raise ValueError("Observation(mask=…): nothing was observed; draw from the prior instead")
            values = jnp.where(mask, values, 0)
        if not isinstance(values, Tracer) and not bool(jnp.isfinite(values).all()):
            raise ValueError(
                "Observation(values=…): not all values are finite; tell which were observed by mask=jnp.isfinite(values)"
            )
        self.operator, self.values, self.mask = operator, values, mask
        if covariance is None:
            self.whitener, self.inverse_std = None, _inverse_std(std, values.shape)
        else:
            self.whitener, self.inverse_std = _whitener(covariance, values.size, mask), jnp.ones(())

    def residual(self, x):
        predicted = jnp.asarray(self.operator(x))
        if predicted.shape != self.values.shape:
            raise ValueError(
                f"Observation: the operator returns the shape {predicted.shape} for a sample of shape {x.shape}; the values "
                f"have {self.values.shape}"
            )
        difference = self.values.astype(x.dtype) - predicted.astype(x.dtype)
        if self.mask is not None:
            difference = jnp.where(self.mask, difference, 0)
        if self.whitener is None:
            return jnp.ravel(difference * self.inverse_std.astype(x.dtype))
        return jnp.matmul(self.whitener.astype(x.dtype), jnp.ravel(difference), precision="highest")

    def with_errors(self, errors: Float[Array, "*m"]) -> Float[Array, "*m"]:
        """y + R^½ `errors`, for simulated measurements."""
        if self.whitener is None:
            return self.values + errors / self.inverse_std
        drawn = jax.scipy.linalg.solve_triangular(self.whitener, jnp.ravel(errors), lower=True)
        return self.values + drawn.reshape(self.values.shape)

    def perturbed(self, residual, errors):
        return residual + (errors if self.mask is None else jnp.where(jnp.ravel(self.mask), errors, 0))

    @property
    def size(self):
        return self.values.size

    @property
    def observed(self):
        return self.values.size if self.mask is None else jnp.sum(self.mask)

    @property
    def typical_std(self):
        if self.whitener is None:
            return 1 / jnp.sqrt(jnp.mean(self.inverse_std**2))
        return jnp.sqrt(len(self.whitener) / jnp.sum(self.whitener**2))


class JointObservation(AbstractObservation):
    """Several observations with independent errors, as one: other fields, other times, other instruments.

    **Arguments:** `parts`: observations of the same sample.

    **Example:**

        >>> first = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> total = sx.diffusion.Observation(lambda x: x.sum(keepdims=True), jnp.array([2.0]), std=0.5)
        >>> sx.diffusion.JointObservation(first, total).size
        2
    """

    parts: tuple[AbstractObservation, ...]

    def __init__(self, *parts: AbstractObservation):
        if not parts:
            raise ValueError("JointObservation: give one observation or more")
        for number, part in enumerate(parts):
            kind("JointObservation", f"part {number + 1}", part, AbstractObservation, "pass observations")
        self.parts = parts

    def residual(self, x):
        return jnp.concatenate([part.residual(x) for part in self.parts])

    def perturbed(self, residual, errors):
        sizes = np.cumsum([part.size for part in self.parts])[:-1]
        pairs = zip(self.parts, jnp.split(residual, sizes), jnp.split(errors, sizes), strict=True)
        return jnp.concatenate([part.perturbed(r, e) for part, r, e in pairs])

    @property
    def size(self):
        return sum(part.size for part in self.parts)

    @property
    def observed(self):
        return sum(part.observed for part in self.parts)

    @property
    def typical_std(self):
        total = sum(part.observed / part.typical_std**2 for part in self.parts)
        return jnp.sqrt(self.observed / total)


class Event(AbstractEvidence):
    """The event C(x₀) > 0, such as a wind above a threshold: `Event(lambda x: x.max() - 30.0)`.

    **Arguments:** `function`: C of one sample, a number with derivatives; at one point better smooth than flat.

    **Example:**

        >>> large = sx.diffusion.Event(lambda x: x[0] - 3.0)                               # x₀ > 3
        >>> float(large.function(jnp.array([4.0])))
        1.0
    """

    example: ClassVar[str] = "an Event(function)"
    function: Callable

    def __check_init__(self):
        check_fields(self)

    def probe(self, x):
        return _scalar("Event", self.function, x)


class LogLikelihood(AbstractEvidence):
    """Anything else that is known of x₀, by log p(y | x₀) up to a constant: a loss with a minus sign.

    **Arguments:** `function`: of one sample, a number with derivatives.

    **Example:**

        >>> type(sx.diffusion.LogLikelihood(lambda x: -(x**2).sum())).__name__
        'LogLikelihood'
    """

    example: ClassVar[str] = "a LogLikelihood(function)"
    function: Callable

    def __check_init__(self):
        check_fields(self)

    def probe(self, x):
        return _scalar("LogLikelihood", self.function, x)


def _scalar(name: str, function: Callable, x: Array) -> Array:
    value = jnp.asarray(function(x))
    if value.shape:
        raise ValueError(f"{name}: the function returns the shape {value.shape} for one sample; expected one number")
    return value


def _inverse_std(std: Any, shape: tuple[int, ...]) -> Array:
    std = jnp.asarray(real_array("Observation", "std", std), float)
    if std.ndim > len(shape) or any(a not in (1, b) for a, b in zip(std.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"Observation(std=…): the shape {std.shape} does not broadcast to that of the values, {shape}")
    if not isinstance(std, Tracer) and not bool(((std > 0) & jnp.isfinite(std)).all()):
        raise ValueError(
            "Observation(std=…): expected finite numbers above 0; what is known exactly is a constraint, and an observation "
            "with a small error comes close to it"
        )
    return jnp.broadcast_to(1 / std, shape)


def _whitener(covariance: Any, size: int, mask: Any) -> Array:
    """L⁻¹ of R = L Lᵀ, computed on the host in float64 where the values are known. Rows that were not observed have error 1."""
    covariance = real_array("Observation", "covariance", covariance)
    if covariance.shape != (size, size):
        raise ValueError(f"Observation(covariance=…): expected ({size}, {size}), got {covariance.shape}")
    if isinstance(covariance, Tracer) or isinstance(mask, Tracer):
        covariance = jnp.asarray(covariance, float)
        if mask is not None:
            covariance = jnp.where(jnp.outer(mask, mask), covariance, jnp.eye(size))
        factor = jnp.linalg.cholesky(covariance)
        return jax.scipy.linalg.solve_triangular(factor, jnp.eye(size, dtype=factor.dtype), lower=True)
    covariance = np.asarray(covariance, np.float64)
    if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-6 * np.abs(covariance).max(initial=0)):
        raise ValueError("Observation(covariance=…): a covariance is symmetric, this one is not")
    if mask is not None:
        seen = np.asarray(mask).ravel()
        covariance = np.where(np.outer(seen, seen), covariance, np.eye(size))
    try:
        factor = np.linalg.cholesky((covariance + covariance.T) / 2)
    except np.linalg.LinAlgError:
        raise ValueError(
            "Observation(covariance=…): not positive definite; add the variance of each instrument to its diagonal"
        ) from None
    return jnp.asarray(np.linalg.inv(factor), float)
