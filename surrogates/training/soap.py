"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, as an optax optimiser."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ...core.arguments import checked, count, number


class _Leaf(NamedTuple):
    """Per array: averages of the gradient and of its squares in the basis; averages of G Gᵀ and Gᵀ G and their bases. A side
    longer than the limit has an empty basis."""

    mean: Array
    square: Array
    averages: tuple[Array, Array]
    bases: tuple[Array, Array]


class SOAPState(NamedTuple):
    """The number of updates and what every array remembers."""

    count: Array
    leaves: list[_Leaf]


@checked
def soap(
    learning_rate: float | optax.Schedule = 1e-3,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    frequency: int = 2,
    largest: int = 2048,
) -> optax.GradientTransformation:
    """SOAP, for networks of any size, where curvature spoils Adam: `fit(model, optimizer=soap(1e-3), …)`.

    For the gradient G of a matrix, with bases Q_L, Q_R of L = mean G Gᵀ and R = mean Gᵀ G:

        G' = Q_Lᵀ G Q_R,  M ← b1 M + (1 − b1) G,  V ← b2 V + (1 − b2) G'²,  W ← W − lr Q_L (Q_Lᵀ M Q_R / (√V + ε)) Q_Rᵀ

    with Adam's corrections of the bias. Every `frequency` updates the bases follow L and R by one step of orthogonal iteration,
    and V is put into the new order. Vectors have one basis; arrays of more axes are matrices by their last axis. The first update
    measures L and R and moves nothing.

    **Arguments:** `learning_rate`: a number or a schedule, 3e-4 to 3e-3. `b1`, `b2`, `eps`: as of Adam. `frequency`: 1 to 10.
    `largest`: sides longer than this have no basis, in which it is Adam.

    Source: Vyas et al., ICLR 2025 (SOAP); for networks without data Wang et al., arXiv 2502.00604.

    **Example:**

        >>> state = sx.soap(3e-3).init({"w": jnp.ones((4, 4))})
    """
    for name, share in (("b1", b1), ("b2", b2)):
        number("soap", name, share, least=0, below=1)
    number("soap", "eps", eps, above=0)
    frequency, largest = count("soap", "frequency", frequency), count("soap", "largest", largest)
    rate = optax.scale_by_learning_rate(learning_rate)

    def init(params):
        return SOAPState(jnp.asarray(0), [_start(p, largest) for p in jax.tree.leaves(params)]), rate.init(params)

    def update(updates, state, params=None):
        own, after = cast(tuple[SOAPState, optax.OptState], state)
        leaves, structure = jax.tree.flatten(updates)
        found = [
            _updated(g, leaf, own.count, b1, b2, eps, frequency) for g, leaf in zip(leaves, own.leaves, strict=True)
        ]
        moves = jax.tree.unflatten(structure, [move for move, _ in found])
        moves, after = rate.update(moves, after, params)
        return moves, (SOAPState(own.count + 1, [leaf for _, leaf in found]), after)

    return optax.GradientTransformation(init, update)


def _matrix(x: Array) -> Float[Array, "m n"]:
    """The array as a matrix; vectors are columns."""
    return x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(-1, 1)


def _start(x: Array, largest: int) -> _Leaf:
    m, n = _matrix(x).shape
    sizes = [k if k <= largest and (k > 1 or m == n == 1) else 0 for k in (m, n)]
    zero, (left, right) = jnp.zeros((m, n), x.dtype), sizes
    averages = jnp.zeros((left, left), x.dtype), jnp.zeros((right, right), x.dtype)
    return _Leaf(zero, zero, averages, (jnp.eye(left, dtype=x.dtype), jnp.eye(right, dtype=x.dtype)))


def _turned(x: Array, bases: tuple[Array, Array], back: bool = False) -> Array:
    """Q_Lᵀ X Q_R, or with `back` Q_L X Q_Rᵀ; sides without a basis stay."""
    left, right = bases
    if left.size:
        x = (left if back else left.T) @ x
    if right.size:
        x = x @ (right.T if back else right)
    return x


def _updated(gradient, leaf: _Leaf, updates, b1, b2, eps, frequency) -> tuple[Array, _Leaf]:
    g = _matrix(gradient)
    first = updates == 0
    seen = jnp.where(first, 0, _turned(g, leaf.bases))
    mean = jnp.where(first, leaf.mean, b1 * leaf.mean + (1 - b1) * g)
    square = jnp.where(first, leaf.square, b2 * leaf.square + (1 - b2) * seen**2)
    t = jnp.maximum(updates, 1)
    corrected = _turned(mean, leaf.bases) / (1 - b1**t)
    move = _turned(corrected / (jnp.sqrt(square / (1 - b2**t)) + eps), leaf.bases, back=True)
    move = jnp.where(first, 0, move).reshape(gradient.shape).astype(gradient.dtype)
    products = (
        g @ g.T if leaf.bases[0].size else leaf.averages[0],
        g.T @ g if leaf.bases[1].size else leaf.averages[1],
    )
    averages = cast(
        tuple[Array, Array], tuple(b2 * a + (1 - b2) * p for a, p in zip(leaf.averages, products, strict=True))
    )

    def follow(square):
        bases = []
        for axis, (average, basis) in enumerate(zip(averages, leaf.bases, strict=True)):
            if not basis.size:
                bases.append(basis)
                continue
            order = jnp.argsort(-jnp.einsum("ij,ij->j", basis, average @ basis))
            square = jnp.take(square, order, axis=axis)
            bases.append(jnp.linalg.qr(average @ basis[:, order])[0])
        return square, tuple(bases)

    def measure(square):
        # `eigh` sorts upwards; the largest comes first here.
        return square, tuple(
            jnp.linalg.eigh(average)[1][:, ::-1] if average.size else basis
            for average, basis in zip(averages, leaf.bases, strict=True)
        )

    due = (updates % frequency == 0).astype(int)
    branches = [lambda square: (square, leaf.bases), follow, measure]
    square, bases = jax.lax.switch(jnp.where(first, 2, due), branches, square)
    return move, _Leaf(mean, square, averages, bases)
