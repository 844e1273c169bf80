"""`Devices`: the devices on which a training runs, one or those of a mesh, in one process or several."""

import contextlib
import os
import zlib
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ..task.task import Fields, Task

AXES = ("seed", "data", "space")


@dataclass(frozen=True)
class Devices:
    """How a training run is laid out on a mesh of devices.

    Model and optimiser state are replicated, except for the leading axis of seeds, which is divided along the mesh axis
    "seed". Samples of a batch are divided along "data", the first axis of space along "space". `mesh=None` is one device.
    """

    mesh: Mesh | None = None

    @classmethod
    def of(cls, mesh: Mesh | None, *, batch_size: int | None, seeds: int) -> "Devices":
        """The layout on `mesh`. Without a mesh it is one device, or in several processes a mesh of all devices that divides the
        samples.

        **Raises:** `ValueError` for an unknown mesh axis, and if `batch_size` or `seeds` is no multiple of the number of devices
        along its axis.
        """
        if mesh is None:
            if jax.process_count() == 1:
                return cls()
            mesh = Mesh(np.array(jax.devices()), ("data",))
        unknown = [name for name in mesh.axis_names if name not in AXES]
        if unknown:
            raise ValueError(f"fit: the mesh has axes {unknown}; known are {list(AXES)}")
        for axis, count, what in (("data", batch_size, "batch_size"), ("seed", seeds, "seeds")):
            if count is not None and count % mesh.shape.get(axis, 1):
                raise ValueError(f"fit: {what}={count} is no multiple of the mesh's {mesh.shape[axis]} along {axis!r}")
        # Shardings are stated where they matter; the compiler chooses all others.
        return cls(Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names)))

    @property
    def memory(self) -> int:
        """Memory of one device in bytes; on a CPU the memory of the machine."""
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))

    def active(self):
        """A context manager that makes the mesh the current one (`jax.set_mesh`), where networks find it."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def size(self, axis: str) -> int:
        """Number of devices along a mesh axis; 1 if the mesh lacks the axis."""
        return 1 if self.mesh is None else self.mesh.shape.get(axis, 1)

    def sharding(self, *axes: str | None) -> NamedSharding:
        """The sharding that divides the leading axes of an array along these mesh axes. None, or an axis that the mesh lacks,
        leaves the array axis undivided.

        **Raises:** `ValueError` without a mesh.
        """
        if self.mesh is None:
            raise ValueError("without a mesh nothing is divided")
        return NamedSharding(self.mesh, PartitionSpec(*(a if a in self.mesh.axis_names else None for a in axes)))

    def put(self, tree: PyTree, *axes: str | None) -> PyTree:
        """Put the arrays of a pytree, of which every process holds all values, on the devices, divided along these mesh axes."""
        if self.mesh is None:
            return tree
        sharding = self.sharding(*axes)

        def place(x):
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

        return jax.tree.map(lambda x: place(x) if eqx.is_array(x) else x, tree)

    def local(self, tree: PyTree) -> PyTree:
        """Gather arrays that are divided over the mesh, so that this process holds all their values."""
        if self.mesh is None:
            return tree
        arrays, rest = eqx.partition(tree, eqx.is_array)
        everywhere = jax.jit(lambda x: x, out_shardings=self.sharding())(arrays)
        return eqx.combine(jax.tree.map(lambda x: x.addressable_data(0), everywhere), rest)

    def batch_axes(self, task: Task, name: str, shape: tuple[int, ...]) -> tuple[str | None, ...]:
        """Mesh axes along which the array `name` of a batch, of this `shape`, is divided: "data" for the samples, and "space" for
        the first space axis of a field if it can be divided evenly."""
        first = 1 + int(task.is_timed(name))
        if self.size("space") == 1 or not task.is_field(name) or shape[first] % self.size("space"):
            return ("data",)
        return ("data", *(None,) * (first - 1), "space")

    def spread(self, task: Task, batch: Fields) -> Fields:
        """The batch, constrained inside a compiled program to be divided over the devices by `batch_axes`."""
        if self.mesh is None:
            return batch
        return {
            k: jax.lax.with_sharding_constraint(v, self.sharding(*self.batch_axes(task, k, v.shape)))
            for k, v in batch.items()
        }


def is_first_process() -> bool:
    """Whether this is the process that writes files and prints."""
    return jax.process_index() == 0


def any_process(*flags: bool) -> list[bool]:
    """For every flag, whether it is True in any process. Processes must decide together about steps that they take together."""
    return [bool(flag) for flag in _gathered(np.array(flags)).any(0)]


def wait_for_all(name: str):
    """Wait until every process has reached this call."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def assert_same_everywhere(values: dict[str, object], what: str):
    """Check that all processes have the same values. Training with different values would hang or diverge.

    **Raises:** `ValueError` in every process, naming the first value that differs.
    """
    sums = _gathered(np.array([zlib.crc32(repr(v).encode()) for v in values.values()], np.uint32))
    for name, column in zip(values, sums.T, strict=True):
        if len(np.unique(column)) > 1:
            raise ValueError(
                f"{what}: the processes differ in {name}; here, in process {jax.process_index()}, it is "
                f"{str(values[name])[:200]}"
            )


def _gathered(value: np.ndarray) -> np.ndarray:
    """The values of all processes, `(processes, …)`."""
    if jax.process_count() == 1:
        return value[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(value))
