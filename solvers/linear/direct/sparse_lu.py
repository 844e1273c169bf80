"""The direct solve of a sparse matrix by SciPy's SuperLU on the host."""

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, ScalarLike, UInt
from scipy.sparse.linalg import SuperLU, splu

from ..driver import refine
from ..inner_products import norm
from ..method import AbstractMethod, check_limits
from ..operators.field_operator import untagged
from ..operators.sparse import Places, Sparse
from ..solution import Stats, Status


class SparseLU(AbstractMethod):
    """Direct solve of a `Sparse` matrix: its LU factors in float64 by SuperLU (Li 2005), on the host, and refinement with the
    true residual.

    One application is enough unless the tolerance lies below the rounding of the system's precision. It needs no symmetry, no
    definiteness and no preconditioner: the method for matrices of up to about 1e5 unknowns in the plane where nothing else
    converges, and for many right-hand sides of one matrix. Factors fill in: about 20 n log n numbers in the plane, far more
    in space.

    Works under `jit`, `vmap` and `grad` by a host callback, with traced values too. The factors of the last four matrices
    are kept, so that right-hand sides in a batch, refinements, and the solve with Aᵀ of a derivative factorise once. Programs
    with it cannot be exported.

    **Arguments:**

    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol).
    - `max_steps`: limit on applications of A⁻¹, 3 by default: one solve and two refinements.

    A singular matrix ends as `breakdown`, or as `stagnated` where rounding hides that it is singular (give `solve` its
    `nullspace`). Raises `TypeError` for other operators.

    **Example:**

        >>> import scipy.sparse as sp
        >>> M = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(5, 5), dtype=np.float32)
        >>> sx.linear.solve(M, jnp.ones(5), sx.linear.SparseLU()).value.round(3).tolist()
        [2.5, 4.0, 4.5, 4.0, 2.5]
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=3)
    transposed: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_limits(self)

    def bind(self, operator, *, transpose: bool = False) -> "SparseLU":
        _sparse(operator)
        return dataclasses.replace(self, transposed=transpose)

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        return "SparseLU"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        matrix, n = _sparse(operator), b.size
        # The factors of A serve for Aᵀ, whose rows are the columns of A.
        turned = self.transposed and not matrix.symmetric
        places = Places(matrix.cols, matrix.rows) if turned else matrix.places
        solver = _Callback(places, n, turned, str(b.dtype))
        result = (jax.eval_shape(_bits, b), jax.ShapeDtypeStruct((), jnp.bool_))

        def correction(r, size):
            d, regular = jax.pure_callback(solver, result, _bits(matrix.values), _bits(r), vmap_method="expand_dims")
            d = jax.lax.bitcast_convert_type(d.reshape(*r.shape, *(() if d.size == n else (-1,))), b.dtype)
            return d, 1, jnp.where(regular, Status.stagnated, Status.breakdown)

        return refine(self, correction, operator, b, x0, tolerance, record=False)


def _bits(x: Float[Array, "..."]) -> UInt[Array, " words"]:
    """The bits of x in one row. A callback runs in a thread of its own, where JAX would round float64 to float32 unless x64 is
    switched on there too."""
    return jax.lax.bitcast_convert_type(x, jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32).ravel()


@dataclasses.dataclass(frozen=True)
class _Callback:
    """Solves with A or Aᵀ on the host. Both arguments may have leading batch axes, of size 1 where it is not batched."""

    places: Places
    n: int
    transpose: bool
    dtype: str

    def __call__(self, values, r) -> tuple[np.ndarray, np.ndarray]:
        values, r = np.ascontiguousarray(values), np.ascontiguousarray(r)
        words, values, r = r.dtype, values.view(self.dtype), r.view(self.dtype)
        batch = np.broadcast_shapes(values.shape[:-1], r.shape[:-1])
        sides = np.broadcast_to(r, (*batch, self.n)).reshape(-1, self.n)
        x, regular = np.zeros(sides.shape), np.ones(len(sides), bool)
        if values.size == values.shape[-1]:  # one matrix for all right-hand sides
            x[:], regular[:] = self._solve(values.ravel(), sides)
        else:
            lanes = np.broadcast_to(values, (*batch, values.shape[-1])).reshape(len(sides), -1)
            for i, lane in enumerate(lanes):
                x[i : i + 1], regular[i] = self._solve(lane, sides[i : i + 1])
        return x.reshape(*batch, self.n).astype(self.dtype).view(words), regular.reshape(batch)

    def _solve(self, values, sides) -> tuple[np.ndarray, bool]:
        factors = _FACTORS.get(self.places, values, self.n)
        if factors is None:
            return np.zeros(sides.shape), False
        return factors.solve(sides.T.astype(float), "T" if self.transpose else "N").T, True


class _Factors:
    """The factors of the last matrices; None for one that is singular or not finite."""

    def __init__(self, most: int):
        self.most, self.found, self.lock = most, OrderedDict(), threading.Lock()

    def get(self, places: Places, values: np.ndarray, n: int) -> SuperLU | None:
        key = (places, n, str(values.dtype), hashlib.sha256(values.tobytes()).digest())
        with self.lock:
            if key in self.found:
                self.found.move_to_end(key)
                return self.found[key]
            self.found[key] = _factors(places, values, n)
            if len(self.found) > self.most:
                self.found.popitem(last=False)
            return self.found[key]


_FACTORS = _Factors(4)


def _factors(places: Places, values: np.ndarray, n: int) -> SuperLU | None:
    if not np.isfinite(values).all():
        return None
    try:
        return splu(sp.csc_array((values.astype(float), (places.rows, places.cols)), shape=(n, n)))
    except RuntimeError:  # "Factor is exactly singular"
        return None


def _sparse(operator) -> Sparse:
    operator = untagged(operator)
    if not isinstance(operator, Sparse):
        raise TypeError(
            f"SparseLU factorises Sparse operators, got {type(operator).__name__}: import a matrix with Sparse.from_scipy, use "
            "FastPoissonSolve or CG(Multigrid()) on grids, lineax.LU for dense ones"
        )
    return operator
