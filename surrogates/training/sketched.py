"""`SketchedLevenbergMarquardt`: damped steps in a random subspace, for thousands of parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from .steps import AbstractDoubleStep, Residuals, Taken, Value, with_metrics
from .trials import dampings_around, lowest, next_damping, on_new_points

_HASHES = 4  # entries per column of the sketch of rows


class SketchedLevenbergMarquardt(AbstractDoubleStep):
    """Levenberg-Marquardt steps in a random subspace of `size` dimensions that is drawn anew in every step, in float64.

        fit(PINN(problem, width=60, depth=4, key=key), optimizer=SketchedLevenbergMarquardt(3000), steps=300)

    The n × d Jacobian J becomes the s × s matrix C J B: C adds the rows up in s sums with random signs (a count sketch of four
    hashes), B has orthonormal columns, s random waves of the discrete cosine transform of the parameters in random order and with
    random signs. One singular value decomposition of it serves all dampings λ that are tried; the true loss on all points
    decides between them, as in `LevenbergMarquardt`.

    A step costs about n d log d + 20 s³ operations beside J, and the memory of J. Where n d² + d³ operations are cheap, below
    some 2000 parameters, `LevenbergMarquardt` gets much further in a step.

    **Arguments:**

    - `size`: s, a third to a half of the number of parameters, and less than that of residuals.
    - `hold`: number of steps on the same points.
    - `damping`: the first λ as a share of the largest squared singular value.
    - `trials`: number of dampings per step, each ten times the one before.

    **Metrics:** "damping", "accepted".

    **Raises:** `TypeError` if the objective is no sum of squares; `ValueError` for a size above the number of parameters.

    Source: DSGNAR (arXiv 2607.02194), of which the rule for the radius and the weights of terms are left out.

    **Example:**

        >>> sx.SketchedLevenbergMarquardt(size=200).hold
        10
    """

    size: int = eqx.field(static=True)
    hold: int = eqx.field(static=True, default=10)
    damping: float = eqx.field(static=True, default=1e-3)
    trials: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        check_fields(self)
        for name in ("size", "hold", "trials"):
            count("SketchedLevenbergMarquardt", name, vars(self)[name])
        number("SketchedLevenbergMarquardt", "damping", self.damping, above=0)

    def init(self, params: PyTree) -> tuple[Float[Array, ""], Array]:
        flat = ravel_pytree(params)[0]
        if self.size > flat.size:
            raise ValueError(
                f"SketchedLevenbergMarquardt(size={self.size}): the model has {flat.size} parameters; take a third of them"
            )
        return jnp.asarray(self.damping, flat.dtype), jnp.asarray(0)

    def reset(self, memory: tuple[Float[Array, ""], Array]) -> tuple[Float[Array, ""], Array]:
        damping, steps = memory
        return on_new_points(damping), steps

    def __call__(
        self, params: PyTree, memory: tuple[Float[Array, ""], Array], value: Value, residuals: Residuals
    ) -> Taken:
        start, unravel = ravel_pytree(params)
        damping, steps = memory
        loss, outcome = value(params)
        r, jacobian = residuals.vector(params), residuals.jacobian(params)
        k_rows, k_columns = jax.random.split(jax.random.fold_in(jax.random.key(0), steps))
        columns = Subspace.draw(k_columns, start.size, self.size, start.dtype)
        sketched = sketched_rows(k_rows, jnp.concatenate([columns.project(jacobian), r[:, None]], 1), self.size)
        u, s, vt = jnp.linalg.svd(sketched[:, :-1], full_matrices=False)
        right = u.T @ sketched[:, -1]
        top = jnp.maximum(s[0] ** 2, jnp.finfo(r.dtype).tiny)
        dampings = dampings_around(damping, self.trials, jnp.finfo(r.dtype).eps ** 2)

        def trial(damping):
            moved = start - columns.lift((s * right / (s**2 + damping * top)) @ vt)
            return moved, value(unravel(moved))[0]

        moved, best, accepted = lowest(trial, dampings, loss)
        finite = jnp.isfinite(loss) & jnp.isfinite(right).all()
        outcome = with_metrics(outcome, damping=dampings[best], accepted=accepted)
        kept = next_damping(damping, dampings[best], accepted, self.trials)
        return Taken(unravel(jnp.where(accepted, moved, start)), (kept, steps + 1), loss, outcome, finite, accepted)


class Subspace(eqx.Module):
    """B = P S Cᵀ: some waves of the orthonormal discrete cosine transform, after a random order and random signs."""

    order: Array
    signs: Array
    waves: Array

    @classmethod
    def draw(cls, key: Array, d: int, size: int, dtype) -> "Subspace":
        k_order, k_signs, k_waves = jax.random.split(key, 3)
        signs = jax.random.rademacher(k_signs, (d,), dtype)
        waves = jax.random.permutation(k_waves, d)[:size]
        return cls(jax.random.permutation(k_order, d), signs, waves)

    def project(self, rows: Float[Array, "n d"]) -> Float[Array, "n s"]:
        """A B for the rows of A."""
        return jax.scipy.fft.dct(rows[:, self.order] * self.signs, axis=1, norm="ortho")[:, self.waves]

    def lift(self, coefficients: Float[Array, " s"]) -> Float[Array, " d"]:
        """B x."""
        spectrum = jnp.zeros(len(self.order), coefficients.dtype).at[self.waves].set(coefficients)
        mixed = jax.scipy.fft.idct(spectrum, norm="ortho") * self.signs
        return jnp.zeros_like(mixed).at[self.order].set(mixed)


def sketched_rows(key: Array, matrix: Float[Array, "n m"], size: int) -> Float[Array, "s m"]:
    """C A with a count sketch C: every row of A is added to four of `size` sums, with random signs, divided by 2."""
    k_sum, k_sign = jax.random.split(key)
    shape = (_HASHES, len(matrix))
    sums = jax.random.randint(k_sum, shape, 0, size)
    signs = jax.random.rademacher(k_sign, shape, matrix.dtype) / np.sqrt(_HASHES)
    parts = [jax.ops.segment_sum(signs[i][:, None] * matrix, sums[i], size) for i in range(_HASHES)]
    return sum(parts[1:], parts[0])
