"""`Devices`: the devices on which a training runs, one or those of a mesh, in one process or several."""

import contextlib
import math
import os
import zlib
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ...solvers.kernels.mesh_axes import BATCH, PARAMETERS, SPACE
from ..task.task import Fields, Task

AXES = ("seed", BATCH, SPACE, PARAMETERS)
SAMPLES = (BATCH, PARAMETERS)  # the samples of a batch are divided along both
Axis = str | tuple[str, ...] | None
SMALL = 4096  # arrays of fewer entries are not divided: sending them costs more than their memory


@dataclass(frozen=True)
class Devices:
    """How a training run is laid out on a mesh of devices.

    The leading axis of seeds is divided along the mesh axis "seed", samples of a batch along "data", the first axis of space
    along "space". Model and optimiser state are replicated, or divided along "fsdp", which divides the samples too: every device
    then holds a part of each large array, and receives the rest of it where a layer needs it. `mesh=None` is one device.
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
        if mesh.shape.get(PARAMETERS, 1) > 1 and mesh.shape.get(SPACE, 1) > 1:
            raise ValueError(f"fit: the mesh divides both {SPACE!r} and {PARAMETERS!r}; use one of them")
        # Shardings are stated where they matter; the compiler chooses all others.
        found = cls(Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names)))
        for axes, count, what in ((SAMPLES, batch_size, "batch_size"), (("seed",), seeds, "seeds")):
            if count is not None and count % found.size(*axes):
                along = " and ".join(repr(axis) for axis in axes if found.size(axis) > 1)
                raise ValueError(f"fit: {what}={count} is no multiple of the mesh's {found.size(*axes)} along {along}")
        return found

    @property
    def memory(self) -> int:
        """Memory of one device in bytes; on a CPU the memory of the machine."""
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))

    def active(self):
        """A context manager that makes the mesh the current one (`jax.set_mesh`), where networks find it."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def size(self, *axes: str) -> int:
        """Number of devices along a mesh axis, or along several together; 1 if the mesh lacks it."""
        return 1 if self.mesh is None else math.prod(self.mesh.shape.get(axis, 1) for axis in axes)

    @property
    def divide_parameters(self) -> bool:
        """Whether parameters and optimiser state are divided."""
        return self.size(PARAMETERS) > 1

    def sharding(self, *axes: Axis) -> NamedSharding:
        """The sharding that divides the leading axes of an array along these mesh axes, or along several together. None, or an
        axis that the mesh lacks, leaves the array axis undivided.

        **Raises:** `ValueError` without a mesh.
        """
        if self.mesh is None:
            raise ValueError("without a mesh nothing is divided")
        along = [tuple(a for a in ((x,) if isinstance(x, str) else x or ()) if a in self.mesh.axis_names) for x in axes]
        return NamedSharding(self.mesh, PartitionSpec(*((a[0] if len(a) == 1 else a or None) for a in along)))

    def parts(self, tree: PyTree, *leading: str) -> PyTree:
        """The shardings of arrays that are divided along "fsdp", of which the leading axes are divided along `leading`.

        The longest of the other axes that "fsdp" divides evenly is divided; arrays without one and small ones are not, and
        neither are integers and random keys.
        """
        n = self.size(PARAMETERS)

        def one(x) -> NamedSharding:
            shape = x.shape[len(leading) :]
            able = [i for i, size in enumerate(shape) if size % n == 0]
            if not able or math.prod(shape) < SMALL or not jnp.issubdtype(x.dtype, jnp.inexact):
                return self.sharding(*leading)
            longest = max(able, key=lambda i: shape[i])
            return self.sharding(*leading, *(None,) * longest, PARAMETERS)

        return jax.tree.map(one, tree)

    def keep_parts(self, tree: PyTree) -> PyTree:
        """The tree, constrained inside a compiled program to be divided as `parts` says."""
        return jax.lax.with_sharding_constraint(tree, self.parts(tree)) if self.divide_parameters else tree

    def put(self, tree: PyTree, *axes: Axis) -> PyTree:
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

    def gathered(self, tree: PyTree) -> PyTree:
        """The arrays of a model for the caller: as `local`, but those divided along "fsdp" may not fit into one device. They stay
        divided in one process; each of several gets them as NumPy arrays on its host."""
        if not self.divide_parameters:
            return self.local(tree)
        if jax.process_count() == 1:
            return tree
        from jax.experimental import multihost_utils

        arrays, rest = eqx.partition(tree, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True), arrays), rest)

    def batch_axes(self, task: Task, name: str, shape: tuple[int, ...]) -> tuple[Axis, ...]:
        """Mesh axes along which the array `name` of a batch, of this `shape`, is divided: "data" and "fsdp" for the samples, and
        "space" for the first space axis of a field if it can be divided evenly."""
        first = 1 + int(task.is_timed(name))
        if self.size(SPACE) == 1 or not task.is_field(name) or shape[first] % self.size(SPACE):
            return (SAMPLES,)
        return (SAMPLES, *(None,) * (first - 1), SPACE)

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
