"""Guidance for forward models without derivatives: by ensembles, by sketches of the covariance, by differences."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Float

from ...core.arguments import check_fields, checked, count, number, random_key, real_array
from ...core.arrays import AnyArray
from ..linear import CG
from ..linear import solve as linear_solve
from .guidance import SAMPLES, AbstractGuidance, finite_or_nan, isotropic

_RELATIVE = 1e-6  # eigenvalues of a sketch below this share of the largest are rounding


class SketchedMoments(AbstractGuidance):
    """`MomentMatched` without derivatives of the forward model: Σ ≈ Z Zᵀ of rank q, and A is evaluated at D ± z_k,

        D_y = D + Z (1 + Gᵀ G)⁻¹ Gᵀ R^(−½) (y − A(D)),   G_k = R^(−½) (A(D + z_k) − A(D − z_k))/2.

    Z is the Nyström approximation of Σ = s² K Jᵀ by random vectors. Each z_k is one standard deviation of p(x₀ | x) long, so that
    A is seen at the scale at which it matters, also where it is noisy or has corners. Exact for Gaussian priors and linear
    operators once q is the rank of Σ; smooth fields need tens.

    Per call one network evaluation, q vector-Jacobian products and 2q + 1 evaluations of A.

    **Arguments:**

    - `rank`: q, 16 to 128.
    - `key`: random key of the vectors, the same for all levels and samples.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.SketchedMoments(4, key=key)(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
    """

    rank: int = eqx.field(static=True)
    key: Array

    @checked
    def __init__(self, rank: int = 64, *, key: Any):
        self.rank, self.key = count("SketchedMoments", "rank", rank), random_key("SketchedMoments", key)

    def denoised(self, here, evidence):
        mean, pull = jax.vjp(here.plain, here.x)
        rank = min(self.rank, mean.size)
        probes = jax.random.normal(self.key, (rank, mean.size), mean.dtype)
        probes = jnp.linalg.qr(probes.T)[0].T.reshape(rank, *mean.shape)
        spread = here.sigma**2 * jax.vmap(lambda u: here.colour(pull(u)[0]))(probes)
        axes = tuple(range(1, spread.ndim))
        gram = jnp.tensordot(probes, spread, (axes, axes), precision="highest")
        values, vectors = jnp.linalg.eigh((gram + gram.T) / 2)
        large = values > _RELATIVE * values[-1]
        scale = jnp.where(large, 1 / jnp.sqrt(jnp.where(large, values, 1)), 0)
        points = jnp.tensordot(vectors * scale, spread, (0, 0), precision="highest")
        seen = jax.vmap(lambda z: evidence.residual(mean - z) - evidence.residual(mean + z))(points) / 2
        return mean + combined(points, seen, evidence.residual(mean))


class EnKG(AbstractGuidance):
    """Ensemble Kalman guidance (Zheng et al. 2024): the samples drawn together are an ensemble, whose covariance of states and
    predictions stands for the derivatives of network and forward model,

        D_y = D + ζ (r/d) Σ_k c_k (x_k − x̄)/(|c| √n),   c_k = ⟨g_k − ḡ, R⁻¹ (y − A(D))⟩,   g_k = A(D_k).

    Black boxes all through, one network evaluation and one forward model per call. The samples depend on each other and on their
    number, and the ensemble spans as many directions as it has members: its spread is not that of the posterior. With a
    network that has derivatives `SketchedMoments` is calibrated.

    **Arguments:** `step`: ζ, per e-fold of the noise level, 0.3 to 2: larger ones diverge. `data_std`: d.

    **Example:**

        >>> sx.diffusion.EnKG(step=1.0).step
        1.0
    """

    step: float = eqx.field(static=True, default=1.0)
    data_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_fields(self)
        number("EnKG", "step", self.step, above=0)
        number("EnKG", "data_std", self.data_std, above=0)

    def denoised(self, here, evidence):
        mean = here.plain(here.x)
        residual = evidence.residual(mean)
        try:
            states, residuals = lax.all_gather((here.x, residual), SAMPLES)
        except NameError:
            raise ValueError(
                "EnKG: its ensemble are the samples of one call of `sample`; it has no meaning for one"
            ) from None
        if len(states) < 2:
            raise ValueError("EnKG: an ensemble has two members or more; give sample(n=…)")
        ahead = residuals.mean(0) - residuals  # predictions less their mean
        along = jnp.matmul(ahead, residual, precision="highest")
        size = jnp.sqrt(jnp.sum(along**2) * len(states))
        moved = jnp.tensordot(along / jnp.where(size > 0, size, 1), states - states.mean(0), 1, precision="highest")
        return mean + self.step * jnp.sqrt(isotropic(here.sigma, self.data_std)) / self.data_std * moved


class WithoutDerivatives(eqx.Module):
    """A forward model with derivatives by central differences, for guidance that needs them: A' v ≈ Σ_k ⟨e_k, v⟩ (A(x + h e_k) −
    A(x − h e_k))/(2h).

        Observation(WithoutDerivatives(simulate, modes, step=1e-2), y, std=0.05)

    With orthonormal directions e_k this is the derivative in the space that they span: give the leading modes of the prior. With
    a number of them they are random, others at every x, and the derivative is right on average, with a relative error of about
    √(entries/number) (Gaussian smoothed gradients).

    **Arguments:**

    - `operator`: any function of one sample that runs inside of JAX, `jax.pure_callback` included.
    - `directions`: `(k, *shape)`, which are orthonormalised, or their number.
    - `step`: h, of the size at which A is smooth; in single precision not much below 1e-3 of the data.

    **Example:**

        >>> forward = sx.diffusion.WithoutDerivatives(lambda x: x**2, jnp.eye(3))
        >>> _, slope = jax.jvp(forward, (jnp.array([1.0, 2.0, 3.0]),), (jnp.ones(3),))
        >>> bool(jnp.allclose(slope, jnp.array([2.0, 4.0, 6.0]), atol=1e-2))
        True
    """

    operator: Callable
    directions: Float[Array, "k *shape"] | int
    step: float = eqx.field(static=True)

    @checked
    def __init__(self, operator: Callable, directions: AnyArray | int, step: float = 1e-2):
        self.operator, self.step = operator, number("WithoutDerivatives", "step", step, above=0)
        if isinstance(directions, int):
            self.directions = count("WithoutDerivatives", "directions", directions)
            return
        directions = jnp.asarray(real_array("WithoutDerivatives", "directions", directions), float)
        if directions.ndim < 2 or len(directions) > directions[0].size:
            raise ValueError(
                f"WithoutDerivatives(directions=…): expected (k, *shape) with at most as many as entries, got {directions.shape}"
            )
        flat = directions.reshape(len(directions), -1)
        self.directions = jnp.linalg.qr(flat.T)[0].T.reshape(directions.shape)

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "..."]:
        return _differenced(self, x)


@eqx.filter_custom_jvp
def _differenced(model: WithoutDerivatives, x):
    return jnp.asarray(model.operator(x))


@_differenced.def_jvp
def _(primals, tangents):
    model, x = primals
    _, tangent = tangents
    value = jnp.asarray(model.operator(x))
    if tangent is None:
        return value, jnp.zeros_like(value)
    if isinstance(model.directions, int):
        bits = lax.bitcast_convert_type(jnp.sum(x).astype(jnp.float32), jnp.uint32)
        directions = jax.random.normal(
            jax.random.fold_in(jax.random.key(0), bits), (model.directions, *x.shape), x.dtype
        )
        weight = 1 / model.directions
    else:
        directions, weight = model.directions.astype(x.dtype), 1.0
    if directions.shape[1:] != x.shape:
        raise ValueError(
            f"WithoutDerivatives: directions of shape {directions.shape[1:]} for a sample of shape {x.shape}"
        )
    ahead = jax.vmap(lambda e: model.operator(x + model.step * e) - model.operator(x - model.step * e))(directions)
    along = jnp.tensordot(directions, tangent, x.ndim, precision="highest")
    return value, jnp.tensordot(along, lax.stop_gradient(ahead), 1, precision="highest") * (weight / (2 * model.step))


def combined(
    points: Float[Array, "q *shape"], seen: Float[Array, "q m"], residual: Float[Array, " m"]
) -> Float[Array, "*shape"]:
    """Z (1 + Gᵀ G)⁻¹ Gᵀ r with Z = `points` and G = `seen`, by one linear solve of size q."""
    right = jnp.matmul(seen, residual, precision="highest")
    operator = lx.FunctionLinearOperator(
        lambda w: w + jnp.matmul(seen, jnp.matmul(w, seen, precision="highest"), precision="highest"),
        jax.ShapeDtypeStruct(right.shape, right.dtype),
        lx.positive_semidefinite_tag,
    )
    weights = finite_or_nan(linear_solve(operator, right, CG(rtol=1e-3, max_steps=2 * len(right))))
    return jnp.tensordot(weights, points, 1, precision="highest")
