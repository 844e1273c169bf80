"""The run folder of a training: metrics, environment and checkpoints that survive interruption."""

import json
import platform
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ...core.files import StorageError, atomic_write, write_json
from .devices import is_first_process, wait_for_all
from .history import History


@dataclass(frozen=True)
class RunFolder:
    """`settings.json` (what a resumed run must agree with), `environment.json`, `metrics.jsonl` (a line per epoch) and
    `checkpoints/` (orbax; the two newest are kept, each complete or absent)."""

    path: Path

    @classmethod
    def open(cls, path: str | Path, settings: dict) -> "RunFolder":
        """Make the folder, or check that it belongs to a run with these settings. The first process alone writes."""
        path = Path(path).absolute()
        file = path / "settings.json"
        if is_first_process() and not file.exists():
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "environment.json", environment())
            write_json(file, settings)
        wait_for_all(f"open {path}")
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise StorageError(f"{file} is damaged ({error}); remove the run folder or restore the file") from error
        different = [k for k in settings | found if settings.get(k) != found.get(k)]
        if different:
            k = different[0]
            raise ValueError(
                f"run folder {path} belongs to another configuration: {k} was {_short(found.get(k))}, "
                f"now {_short(settings.get(k))}; choose another folder or remove this one"
            )
        return cls(path)

    def save(self, step: int, state: PyTree, history: History):
        """Write a checkpoint after `step` steps of the optimiser."""
        with _manager(self.path) as manager:
            import orbax.checkpoint as ocp

            arrays = {str(i): x for i, x in enumerate(_raw(x) for x in jax.tree.leaves(state))}
            args = ocp.args.Composite(state=ocp.args.StandardSave(arrays), history=ocp.args.JsonSave(asdict(history)))
            manager.save(step, args=args, force=True)
            manager.wait_until_finished()

    def restore(self, like: PyTree) -> tuple[PyTree, History] | None:
        """The newest checkpoint that can be read, in the structure and on the devices of `like`; None if none was ever
        written.

        `metrics.jsonl` is cut to it: epochs logged later will be run again.

        **Raises:** `StorageError` if there are checkpoints and all of them are damaged.
        """
        restored = self._read(like) if (self.path / "checkpoints").exists() else None
        history = History() if restored is None else restored[1]
        if is_first_process():
            with atomic_write(self.path / "metrics.jsonl") as temporary:
                temporary.write_text("".join(_record(history, i) for i in range(history.rounds)))
        return restored

    def _read(self, like: PyTree) -> tuple[PyTree, History] | None:
        import orbax.checkpoint as ocp

        leaves, structure = jax.tree.flatten(like)
        raw = [_raw(x) for x in leaves]
        targets = {str(i): jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding) for i, x in enumerate(raw)}
        args = ocp.args.Composite(state=ocp.args.StandardRestore(targets), history=ocp.args.JsonRestore())
        damaged = []
        with _manager(self.path) as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                try:
                    restored = manager.restore(step, args=args)
                    history = History(**restored["history"])
                    break
                except Exception as error:  # orbax, tensorstore and json each raise their own for a damaged file
                    damaged.append((step, error))
            else:
                if not damaged:
                    return None
                step, error = damaged[0]
                raise StorageError(
                    f"{self.path / 'checkpoints'}: no checkpoint can be read (of step {step}: {_short(error)}); remove "
                    "the run folder to start again"
                ) from error
            for later, error in damaged:
                warnings.warn(
                    f"{self.path}: the checkpoint of step {later} is damaged ({_short(error)}); going on from step {step}",
                    stacklevel=4,
                )
                manager.delete(later)
        arrays = [_unraw(restored["state"][str(i)], old) for i, old in enumerate(leaves)]
        return jax.tree.unflatten(structure, arrays), history

    def log(self, history: History):
        """Append the newest epoch to `metrics.jsonl`."""
        if is_first_process():
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(_record(history, history.rounds - 1))


def environment() -> dict:
    """Versions, devices and command of this process."""
    packages = ("surrogax", "jax", "jaxlib", "equinox", "optax", "numpy")
    return {
        "versions": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "command": sys.argv,
    }


def _record(history: History, i: int) -> str:
    record = {"epoch": i + 1, "loss": history.loss[i], "seconds": history.seconds[i]}
    if history.val:
        record["val_rel_l2"] = history.val[i]
    return json.dumps(record) + "\n"


def _manager(path: Path):
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=False)
    return ocp.CheckpointManager(path / "checkpoints", options=options)


def _is_key(x) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _raw(x):
    return jax.random.key_data(x) if _is_key(x) else x


def _unraw(x, like):
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like)) if _is_key(like) else jnp.asarray(x)


def _short(value, limit: int = 120) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
