"""The kernels of `solvers.kernels.thin_svd` as compiled programs in float64, on one device or on all that hold the points.

Each program is a module-level `jax.jit`, whose own cache serves every later call with the same shapes, rank and placement.
They are called with x64 switched on (`core.precision.in_double`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from ....solvers.kernels import thin_svd
from ....solvers.kernels.gram import gram
from ....solvers.kernels.thin_svd import Spectrum, ThinSVD
from .inner_product import MeasuredRows

_EVERYWHERE = PartitionSpec()


@dataclass(frozen=True)
class OneDevice:
    """All points are on one device."""

    def run(self, kernel: Callable, system: MeasuredRows, arrays: dict, distributed: bool):
        """`kernel(rows, weights, duals, …)` as it is."""
        return kernel(*system, **arrays, axis_name=None)


@dataclass(frozen=True)
class AlongAxis:
    """The points are distributed along one axis of a device mesh."""

    mesh: Mesh
    axis: str

    def run(self, kernel: Callable, system: MeasuredRows, arrays: dict, distributed: bool):
        """`kernel` on every device with its points. `distributed`: it returns a `ThinSVD`, whose right vectors stay on the
        devices; all other results are the same on every device."""
        if system.duals is not None:
            raise ValueError("pod: snapshots distributed over devices take weights or no product")
        along = PartitionSpec(None, self.axis)
        inputs = MeasuredRows(along, PartitionSpec(self.axis), along)  # type: ignore[arg-type]
        out = ThinSVD(_EVERYWHERE, _EVERYWHERE, along) if distributed else _EVERYWHERE  # type: ignore[arg-type]

        def local(system, arrays):
            return kernel(*system, **arrays, axis_name=self.axis)

        mapped = jax.shard_map(local, mesh=self.mesh, in_specs=(inputs, _EVERYWHERE), out_specs=out, check_vma=False)
        return mapped(system, arrays)


Placement = OneDevice | AlongAxis


def placement_of(rows: Array) -> Placement:
    """Where the points of the rows `(n, points)` are."""
    sharding = rows.sharding
    if not isinstance(sharding, NamedSharding) or len(sharding.device_set) == 1 or len(sharding.spec) < 2:
        return OneDevice()
    axis = sharding.spec[1]
    return OneDevice() if axis is None else AlongAxis(sharding.mesh, axis)  # pyright: ignore[reportArgumentType]


@partial(jax.jit, static_argnames="placement")
def gram_matrix(system: MeasuredRows, placement: Placement) -> Float[Array, "n n"]:
    """S M Sᵀ."""
    return placement.run(partial(gram, dtype=jnp.float64), system, {}, distributed=False)


# A program of its own: together with the eigenvalues the product takes half as long again (XLA for CPU).
@jax.jit
def spectrum_of(matrix: Float[Array, "n n"]) -> Spectrum:
    """Singular values and left vectors of rows whose Gram matrix is known."""
    return thin_svd.spectrum_of(matrix)


@partial(jax.jit, static_argnames="placement")
def refined_spectrum(system: MeasuredRows, first: Spectrum, placement: Placement) -> Spectrum:
    """The spectrum by a second Gram matrix, which resolves what the `first` leaves under rounding."""
    kernel = partial(thin_svd.refine_spectrum, dtype=jnp.float64)
    return placement.run(kernel, system, {"first": first}, distributed=False)


@partial(jax.jit, static_argnames=("rank", "floor", "placement"))
def triplets(system: MeasuredRows, spectrum: Spectrum, rank: int, floor: float, placement: Placement) -> ThinSVD:
    """The `rank` leading singular triplets; those up to `floor` times the first value are zero."""
    kernel = partial(thin_svd.right_vectors, rank=rank, floor=floor, dtype=jnp.float64)
    return placement.run(kernel, system, {"spectrum": spectrum}, distributed=True)


@partial(jax.jit, static_argnames=("rank", "oversampling", "power", "placement"))
def sketched_triplets(
    system: MeasuredRows, key: Array, rank: int, oversampling: int, power: int, placement: Placement
) -> ThinSVD:
    """The `rank` leading singular triplets from a Gaussian sketch."""
    kernel = partial(thin_svd.randomized_svd, rank=rank, oversampling=oversampling, power=power, dtype=jnp.float64)
    return placement.run(kernel, system, {"key": key}, distributed=True)


@jax.jit
def squared_norms(system: MeasuredRows) -> Float[Array, " n"]:
    """⟨s, s⟩ of every row in float64."""
    return system.squared_norms(jnp.float64)
