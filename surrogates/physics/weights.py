"""Weights of the terms of a residual loss that adapt to the training: per term, along time, and per point.

They are part of the objective's state. While the points of a step are held they stay the same, so that the loss is a fixed sum of
squares for line searches, trial dampings and secant pairs; they move on when the points do.
"""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count, number
from ...core.domains import Box
from ..trainable import trainable
from ..training.objective import Rows
from .sampling import Sampler

Squares = Float[Array, " n"]


class AbstractWeights(eqx.Module):
    """Factors by which the squared residuals of the terms of a loss are multiplied.

    The terms are numbered: 0 are the equations of the problem, then come its boundary conditions in their order, and last the
    initial values. A model may fulfil some of them by construction; these are absent from `terms`.
    """

    @abc.abstractmethod
    def init(self, kinds: int, sampler: Sampler, box: Box) -> PyTree:
        """The state before the first step, for this number of terms.

        **Raises:** `ValueError` for a sampler or a box with which these weights mean nothing.
        """

    @abc.abstractmethod
    def factor(self, state: PyTree, kind: int, points: Float[Array, "n d"], box: Box) -> Array:
        """The factors of term `kind` at its points, `(n,)` or a number."""

    @abc.abstractmethod
    def measure(self, state: PyTree, model: Any, terms: Sequence[tuple[int, Rows]]) -> PyTree:
        """What `update` needs to know of the model; `terms` are the numbered residuals without adaptive factors."""

    @abc.abstractmethod
    def update(
        self, state: PyTree, measured: PyTree, points: Float[Array, "n d"], squares: Squares, kept: Array, box: Box
    ) -> PyTree:
        """The next state, from the squared residuals of the equations at the points inside. `kept` says at which places of the
        array the point of the next step is the same."""


class _Balanced(eqx.Module):
    """The state of weights per term: the factors, and the number of updates."""

    factors: Float[Array, " kinds"]
    updates: Array


class _AbstractBalance(AbstractWeights):
    """Factors per term in proportion to Σ sizes / size of the term, averaged over time."""

    every: eqx.AbstractVar[int]
    decay: eqx.AbstractVar[float]

    @abc.abstractmethod
    def sizes(self, params: PyTree, rest: PyTree, rows: Rows) -> Float[Array, ""]:
        """The size of one term."""

    def init(self, kinds: int, sampler: Sampler, box: Box) -> _Balanced:
        return _Balanced(jnp.ones(kinds), jnp.asarray(0))

    def factor(self, state: _Balanced, kind: int, points: Float[Array, "n d"], box: Box) -> Array:
        return state.factors[kind]

    def measure(self, state: _Balanced, model: Any, terms: Sequence[tuple[int, Rows]]) -> Float[Array, " kinds"]:
        params, rest = eqx.partition(jax.lax.stop_gradient(model), trainable(model))

        def sizes():
            found = jnp.zeros_like(state.factors)
            for kind, rows in terms:
                found = found.at[kind].add(self.sizes(params, rest, rows).astype(found.dtype))
            return found

        return jax.lax.cond(state.updates % self.every == 0, sizes, lambda: jnp.zeros_like(state.factors))

    def update(self, state, measured, points, squares, kept, box) -> _Balanced:
        there = measured > 0
        wanted = jnp.where(there, measured.sum() / jnp.where(there, measured, 1), 1)
        # The first measurement counts alone: the factors before it are arbitrary.
        decay = jnp.where(state.updates > 0, self.decay, 0.0)
        factors = jnp.where(there.any(), decay * state.factors + (1 - decay) * wanted, state.factors)
        return _Balanced(factors.astype(state.factors.dtype), state.updates + 1)


class GradientNorm(_AbstractBalance):
    """Weights that give the gradients of all terms the same length: λ_k = Σ_j ‖∇L_j‖ / ‖∇L_k‖.

        fit(PINN(problem, exact_initial=False, key=key), weights=GradientNorm(), optimizer=optax.adam(1e-3), steps=50_000)

    **Arguments:** `every`: number of updates between two measurements, 100 to 1000; each costs a gradient per term. `decay`:
    share of the former weights in the new ones, .9.

    They make the loss of different steps incomparable. With one term alone they do nothing.

    Source: Wang, Teng & Perdikaris, SIAM J. Sci. Comput. 43 (2021); in this form arXiv 2308.08468, section 5.1.

    **Example:**

        >>> sx.GradientNorm(every=50).every
        50
    """

    every: int = eqx.field(static=True, default=100)
    decay: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        check_fields(self)
        count("GradientNorm", "every", self.every)
        number("GradientNorm", "decay", self.decay, least=0, below=1)

    def sizes(self, params: PyTree, rest: PyTree, rows: Rows) -> Float[Array, ""]:
        gradient = jax.grad(lambda p: 0.5 * (rows.values(eqx.combine(p, rest)) ** 2).sum())(params)
        return jnp.sqrt(sum((jnp.sum(g**2) for g in jax.tree.leaves(gradient)), jnp.zeros(())))


class TangentKernel(_AbstractBalance):
    """Weights that give all terms the same trace of the neural tangent kernel: λ_k = Σ_j tr K_j / tr K_k, where tr K_k is the
    mean over the points of ‖∂r/∂θ‖².

    **Arguments:** as of `GradientNorm`. A measurement costs the derivative of every residual.

    Source: Wang, Yu & Perdikaris, J. Comput. Phys. 449 (2022).

    **Example:**

        >>> sx.TangentKernel(every=500).every
        500
    """

    every: int = eqx.field(static=True, default=1000)
    decay: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        check_fields(self)
        count("TangentKernel", "every", self.every)
        number("TangentKernel", "decay", self.decay, least=0, below=1)

    def sizes(self, params: PyTree, rest: PyTree, rows: Rows) -> Float[Array, ""]:
        def one(row):
            found = jax.jacrev(lambda p: jnp.ravel(rows.function(eqx.combine(p, rest), row)))(params)
            return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(found)), jnp.zeros(()))

        return jax.vmap(one)(rows.rows).sum()


class Causal(AbstractWeights):
    """Weights along time, by which an instant counts once the residual is small before it: w_i = exp(−ε Σ_{k<i} L_k), where L_k
    is the mean squared residual of the equations in the k-th of `chunks` equal parts of the time interval.

    **Arguments:** `tolerance`: ε, 1 to 100 where residuals are near 1 at first, .01 for pure advection; if it is too large the
    end is never reached, which the metric "weight" (the mean of w) shows. `chunks`: 16 to 32.

    **Raises:** `ValueError` for a problem without time.

    Source: Wang, Sankaran & Perdikaris, Comput. Methods Appl. Mech. Eng. 421 (2024).

    **Example:**

        >>> sx.Causal(tolerance=1.0, chunks=8).chunks
        8
    """

    tolerance: float = eqx.field(static=True, default=1.0)
    chunks: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        check_fields(self)
        number("Causal", "tolerance", self.tolerance, above=0)
        count("Causal", "chunks", self.chunks, least=2)

    def init(self, kinds: int, sampler: Sampler, box: Box) -> Float[Array, " chunks"]:
        if box.axes[-1].name != "t":
            raise ValueError(f"Causal weights follow time, which the box {box} does not have")
        return jnp.ones(self.chunks)

    def factor(self, state: Float[Array, " chunks"], kind: int, points: Float[Array, "n d"], box: Box) -> Array:
        return state[self._chunk(points, box)] if kind == 0 else jnp.ones((), state.dtype)

    def measure(self, state, model: Any, terms: Sequence[tuple[int, Rows]]) -> None:
        return None

    def update(self, state, measured, points, squares, kept, box) -> Float[Array, " chunks"]:
        chunk = self._chunk(points, box)
        total = jax.ops.segment_sum(squares, chunk, self.chunks)
        number = jax.ops.segment_sum(jnp.ones_like(squares), chunk, self.chunks)
        losses = total / jnp.maximum(number, 1)
        return jnp.exp(-self.tolerance * (jnp.cumsum(losses) - losses)).astype(state.dtype)

    def _chunk(self, points: Float[Array, "n d"], box: Box) -> Array:
        time = box.axes[-1]
        share = (points[:, -1] - time.start) / time.length
        return jnp.clip((share * self.chunks).astype(int), 0, self.chunks - 1)


class Attention(AbstractWeights):
    """Residual-based attention: a weight per point that follows its residual, λ ← γ λ + η |r| / max |r|; the loss contains λ r.

    New points begin with the mean of λ.

    **Arguments:** `decay`: γ, .999 as published, or .9 where points are held and updates are few; `rate`: η, .01 as published, or
    1 − γ for weights of at most 1.

    **Raises:** `ValueError` for a sampler that keeps no point, such as `UniformSampler`: the weights would all be the same.

    Source: Anagnostopoulos et al., Comput. Methods Appl. Mech. Eng. 421 (2024).

    **Example:**

        >>> sx.Attention().decay
        0.999
    """

    decay: float = eqx.field(static=True, default=0.999)
    rate: float = eqx.field(static=True, default=0.01)

    def __check_init__(self):
        check_fields(self)
        number("Attention", "decay", self.decay, least=0, below=1)
        number("Attention", "rate", self.rate, above=0)

    def init(self, kinds: int, sampler: Sampler, box: Box) -> Squares:
        if not sampler.keeps:
            raise ValueError(
                f"Attention gives weights to points, of which {type(sampler).__name__} keeps none; take FixedPoints, R3 or RAR"
            )
        return jnp.ones(len(jax.eval_shape(lambda key: sampler.init(key, box), jax.random.key(0)).points))

    def factor(self, state: Float[Array, " m"], kind: int, points: Float[Array, "n d"], box: Box) -> Array:
        return state**2 if kind == 0 else jnp.ones((), state.dtype)

    def measure(self, state, model: Any, terms: Sequence[tuple[int, Rows]]) -> None:
        return None

    def update(self, state, measured, points, squares, kept, box) -> Squares:
        size = jnp.sqrt(squares)
        moved = self.decay * state + self.rate * size / jnp.maximum(size.max(), jnp.finfo(size.dtype).tiny)
        return jnp.where(kept, moved, moved.mean()).astype(state.dtype)
