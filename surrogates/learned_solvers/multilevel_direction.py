"""`MultilevelDirection`: a learned search direction, linear in the residual, on levels of connected components."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.kernels.component_levels import ComponentLevel, Components, coarsened
from ...solvers.kernels.multigrid import generalised_inverse
from ...solvers.linear.operators.laplacian import as_diffusion
from ...solvers.linear.preconditioning import AbstractPreconditioner
from ..trainable import AbstractTrainable
from .direction_objective import DirectionObjective
from .layers import initial_kernel
from .stencil_geometry import level_of

# Before training: the reciprocal Chebyshev nodes of [1/2, 2] (a relaxation of 3 steps), the weight of the smoothing of the
# interpolation, and that of the coarse correction.
_START = (0.526, 0.8, 1.667, 0.5, 1.0)


@register("MultilevelDirection")
class MultilevelDirection(AbstractPreconditioner, AbstractTrainable):
    """A search direction q = N(A) r for the operator A u = −∇·(a∇u) + shift · u, with the same weights on every level.

    With B the matrix of a level, scaled to a diagonal of 1, and fields g of gates, a level maps a residual r to z:

        r ← r − B gⱼ r three times, z the sum of the gⱼ r;   e = P level(Pᵀ r),  z ← z + e,  r ← r − B e;
        the three steps in reverse order;                   P = (I − g₄ B) g₅ P₀.

    P₀ is constant on the connected components of blocks of two points per axis (`kernels.component_levels`): every component is
    an unknown of its own, so thin walls separate on coarse levels too. The gates are positive fields that a small nonlinear
    network computes from the geometry of the level (walls, shift, neighbours); `bind` computes levels and gates once per
    operator. A level of at most `coarsest` unknowns is solved by its inverse. An application multiplies by the matrix
    of every level, A among them, eight times: it is a multigrid cycle with learned weights, and good before training.

    N is linear in r, so residuals of any scale and distribution are treated alike; nonlinear in the domain, as in Lan et al.
    (2024, arXiv 2310.00177); and symmetric, so that `DeepCG`'s two previous directions are all it needs. The same weights serve
    every grid size, and 3D as well as 2D. Periodic axes are rings on all levels.

    It works less well where a block has more components than `slots`, and where coefficients differ by decades without a wall:
    weakly coupled points count as connected.

    **Arguments:**

    - `dim`: number of space dimensions.
    - `hidden`: hidden channels of the network that computes the gates.
    - `slots`: components of a block that are kept apart.
    - `coarsest`: the largest number of unknowns of the coarsest level. 256 unknowns are a matrix of 256 kB.
    - `key`: random key of the initial weights.

    **Example:**

        >>> sx.count_parameters(sx.learned_solvers.MultilevelDirection(2, key=key)) > 0
        True
    """

    geometry: list[tuple[Float[Array, "..."], Float[Array, "..."]]]
    base: Float[Array, "2 5"]
    dim: int = eqx.field(static=True)
    slots: int = eqx.field(static=True)
    coarsest: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int = 8, slots: int = 4, coarsest: int = 256, *, key: Array):
        self.dim, self.slots, self.coarsest = dim, slots, coarsest
        sizes = [(2, 4, hidden), (2, hidden, hidden), (1, hidden, len(_START))]
        kernels = [initial_kernel(k, *size) for k, size in zip(jax.random.split(key, 3), sizes, strict=True)]
        self.geometry = [(k, jnp.zeros(k.shape[-1])) for k in [*kernels[:2], 0.1 * kernels[2]]]
        self.base = jnp.log(jnp.asarray([_START, _START]))

    @property
    def state(self) -> None:
        return None

    def objective(self, data: None = None, **options) -> DirectionObjective:
        """The default objective of `fit`: `DirectionObjective` with these options, of which `systems=…` is required."""
        return DirectionObjective(**options)

    def renewed(self, key: Array) -> "MultilevelDirection":
        hidden = self.geometry[0][1].shape[0]
        return MultilevelDirection(self.dim, hidden, self.slots, self.coarsest, key=key)

    def bind(self, operator) -> "BoundDirection":
        """The direction for this operator, with its levels and their gates.

        **Raises:** `TypeError` for an operator that cannot be written as a `linear.Diffusion`.
        """
        level, alone = level_of(operator)
        dtype, stages, spacing = self.base.dtype, [], list(as_diffusion(operator, "MultilevelDirection").spacing)
        scale, unscale = _scales(level)
        connected = level.count() > 0
        mean = (connected * unscale**2).sum() / jnp.maximum(connected.sum(), 1)
        outer = jnp.sqrt(mean) * (connected * scale)[..., 0]
        while level.shift.size > self.coarsest and (axes := _coarsened_axes(level, spacing)):
            below, transfer = coarsened(level, axes, self.slots)
            scale_below, unscale_below = _scales(below)
            scaled = jax.tree.map(lambda x: x.astype(dtype), _scaled(level, scale))
            gates = self._gates(scaled, finest=not stages)
            transfer = transfer.scaled(unscale, scale_below)
            stages.append(Stage(scaled, gates, jax.tree.map(lambda x: x.astype(dtype), transfer)))
            level, scale, unscale = below, scale_below, unscale_below
            spacing = [h * (1 + (axis in axes)) for axis, h in enumerate(spacing)]
        last = _scaled(level, scale)
        inverse = generalised_inverse(last.dense(last.size))
        return BoundDirection(tuple(stages), inverse.astype(dtype), outer.astype(dtype), (mean * alone).astype(dtype))

    def _gates(self, level: ComponentLevel, finest: bool) -> Float[Array, "5 *n k"]:
        """The gates of a scaled level, from its shift, the sum of its couplings, and whether it is the finest."""
        present = level.size
        neighbours = jax.vmap(level.neighbours, in_axes=-1, out_axes=-1)
        x = jnp.stack([present, level.shift, level.neighbours(present), present * finest], -1)
        for i, (kernel, bias) in enumerate(self.geometry):
            y = x @ kernel[0] + bias
            x = jax.nn.relu(y + neighbours(x) @ kernel[1]) if i < 2 else y
        return jnp.moveaxis(jnp.exp(self.base[0 if finest else 1] + x), -1, 0) * present


class Stage(eqx.Module):
    """A level of a bound direction: its matrix scaled to a diagonal of 1, its gates and the transfer to the next level.

    The `size` of the scaled level is the diagonal: 1, and 0 at slots that are not used.
    """

    level: ComponentLevel
    gates: Float[Array, "5 *n k"]
    transfer: Components

    def product(self, z: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
        """B z."""
        return self.level.size * z - self.level.neighbours(z)

    def relaxed(self, z, r, steps: tuple[int, ...]):
        """z and r after relaxation steps with the gates `steps`."""
        for step in steps:
            move = self.gates[step] * r
            z, r = z + move, r - self.product(move)
        return z, r


class BoundDirection(eqx.Module):
    """A `MultilevelDirection` for one operator: the linear map from a residual r `(*n)` to a direction q `(*n)`.

    It computes in the dtype of the weights and returns the dtype of r. q does not depend on the units of the coefficient.
    """

    stages: tuple[Stage, ...]
    inverse: Float[Array, "N N"]
    scaling: Float[Array, "*n"]
    alone: Float[Array, "*n"]

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        own = r.astype(self.scaling.dtype)
        q = self.scaling * self._level((self.scaling * own)[..., None], 0)[..., 0]
        return (q + self.alone * own).astype(r.dtype)

    def _level(self, r, depth: int):
        if depth == len(self.stages):
            return jnp.matmul(self.inverse, r.ravel(), precision="highest").reshape(r.shape)
        stage = self.stages[depth]
        smoothing, weight = stage.gates[3:]
        z, r = stage.relaxed(0, r, (0, 1, 2))
        coarse = self._level(stage.transfer.transpose(weight * (r - stage.product(smoothing * r))), depth + 1)
        e = weight * stage.transfer(coarse)
        e = e - smoothing * stage.product(e)
        return stage.relaxed(z + e, r - stage.product(e), (2, 1, 0))[0]


def _scales(level: ComponentLevel) -> tuple[Float[Array, "*n k"], Float[Array, "*n k"]]:
    """d^(−1/2) and d^(1/2) with the diagonal d of the level; 0 where it has no equation."""
    diagonal = level.shift + level.open()
    used = diagonal > 0
    root = jnp.sqrt(jnp.where(used, diagonal, 1))
    return used / root, used * root


def _scaled(level: ComponentLevel, scale: Float[Array, "*n k"]) -> ComponentLevel:
    """The level with a diagonal of 1, which its `size` holds (0 at slots that are not used)."""
    return ComponentLevel(
        level.scaled_couplings(scale), level.shift * scale**2, (scale > 0) * jnp.ones_like(scale), level.periodic
    )


def _coarsened_axes(level: ComponentLevel, spacing: list[float]) -> tuple[int, ...]:
    """The axes whose spacing is less than twice the smallest, so that the couplings of the next level are of one size."""
    can = [axis for axis, n in enumerate(level.shape) if n > 1]
    finest = min((spacing[axis] for axis in can), default=0.0)
    return tuple(axis for axis in can if spacing[axis] < 2 * finest)
