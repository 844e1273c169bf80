"""`RunFolder`: the folder of a training run, with its settings, metrics and checkpoints, which survive an interruption."""

import json
import platform
import re
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ...core.addresses import address_of, inside
from ...core.files import StorageError, atomic_write, write_json
from .devices import is_first_process, wait_for_all
from .history import History
from .run_store import RunStore
from .sinks import write_rows


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run. Make one with `RunFolder.open`. It holds:

    - `settings.json`: the identity of the run, with which a resumed run must agree.
    - `environment.json`: versions, devices and command.
    - `metrics.jsonl`: one line per epoch, with the numbers of every seed; `metrics.csv`: the same as a table of means over seeds.
    - `checkpoints/`: the two newest checkpoints in orbax's format, with the training state, the names and forms of its arrays,
      and the history. A checkpoint is complete or absent.
    """

    path: Path
    store: RunStore | None = None

    @classmethod
    def open(cls, path: str | Path, settings: dict) -> "RunFolder":
        """Make the folder, or check that it belongs to a run with these settings. Only the first process writes.

        At an address such as `s3://bucket/run` the folder is a `RunStore`.

        **Raises:** `ValueError` for a run with other settings, naming the first difference; `StorageError` for a damaged
        `settings.json`.
        """
        address = address_of(path)
        store = None if address is None else RunStore(address)
        if store is not None:
            store.fetch()
        path = Path(path).absolute() if store is None else store.local
        file = path / "settings.json"
        if is_first_process() and not file.exists():
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "environment.json", environment())
            write_json(file, settings)
            for name in ("environment.json", "settings.json") if store is not None else ():
                store.send(name)
        wait_for_all(f"open {path}")
        place = path if store is None else store.address
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise StorageError(
                f"{inside(place, file.name)} is damaged ({error}); remove the run folder or restore the file"
            ) from error
        change = first_difference(_by_name(found), _by_name(settings))
        if change is not None:
            where, before, now = change
            raise ValueError(
                f"run folder {place} belongs to another configuration: {where} was {_short(before)}, now {_short(now)}; "
                "choose another folder or remove this one"
            )
        return cls(path, store)

    @property
    def where(self) -> Path | str:
        """The folder, or the address at which it is."""
        return self.path if self.store is None else self.store.address

    def save(self, step: int, state: PyTree, history: History):
        """Write a checkpoint after `step` optimiser steps. The arrays are named by their key paths in `state`."""
        with _manager(self.path) as manager:
            import orbax.checkpoint as ocp

            leaves = _named_leaves(state)
            args = ocp.args.Composite(
                state=ocp.args.StandardSave({name: _raw(x) for name, x in leaves.items()}),
                leaves=ocp.args.JsonSave({name: _form(x) for name, x in leaves.items()}),
                history=ocp.args.JsonSave(asdict(history)),
            )
            manager.save(step, args=args, force=True)
            manager.wait_until_finished()
        if self.store is not None:
            self.store.send_checkpoints()

    def restore(self, like: PyTree) -> tuple[PyTree, History] | None:
        """Read the state and the history of the newest readable checkpoint; None if there is no checkpoint.

        The state has the structure of `like` and is placed on its devices. A damaged checkpoint is skipped with a warning and
        removed. `metrics.jsonl` and `metrics.csv` are cut to the epochs of the checkpoint, because later epochs will run again.

        **Raises:** `StorageError` if the arrays of the checkpoint differ from those of `like` in key path, shape or dtype, and if
        all checkpoints are damaged.
        """
        restored = self._read(like) if (self.path / "checkpoints").exists() else None
        history = History() if restored is None else restored[1]
        if is_first_process():
            self._write_metrics(history)
        return restored

    def _write_metrics(self, history: History) -> None:
        for name, write in _METRICS.items():
            with atomic_write(self.path / name) as temporary, temporary.open("w", newline="") as file:
                for i in range(history.rounds):
                    write(file, history, i)
            if self.store is not None:
                self.store.send(name)

    def _read(self, like: PyTree) -> tuple[PyTree, History] | None:
        damaged = []
        with _manager(self.path) as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                try:
                    restored = self._read_step(manager, step, like)
                    break
                except StorageError:
                    raise
                except Exception as error:  # orbax, tensorstore and json raise different errors for a damaged file
                    damaged.append((step, error))
            else:
                if not damaged:
                    return None
                step, error = damaged[0]
                raise StorageError(
                    f"{inside(self.where, 'checkpoints')}: no checkpoint can be read (of step {step}: {_short(error)}); remove "
                    "the run folder to start again"
                ) from error
            for later, error in damaged:
                warnings.warn(
                    f"{self.where}: the checkpoint of step {later} is damaged ({_short(error)}); going on from step {step}",
                    stacklevel=4,
                )
                manager.delete(later)
        return restored

    def _read_step(self, manager, step: int, like: PyTree) -> tuple[PyTree, History]:
        """The state and history of one checkpoint. **Raises:** `StorageError` if its arrays differ from those of `like`."""
        import orbax.checkpoint as ocp

        leaves = _named_leaves(like)
        described = ocp.args.Composite(leaves=ocp.args.JsonRestore(), history=ocp.args.JsonRestore())
        found = manager.restore(step, args=described)
        history, difference = _history(found["history"]), _difference(found["leaves"], leaves)
        if difference is not None:
            raise StorageError(
                f"{inside(self.where, 'checkpoints')}: the checkpoint of step {step} is of another training: {difference}; "
                "choose another run folder or remove this one"
            )
        raw = {name: _raw(x) for name, x in leaves.items()}
        targets = {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding) for n, x in raw.items()}
        arrays = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(targets)))["state"]
        restored = [_unraw(arrays[name], old) for name, old in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(like), restored), history

    def log(self, history: History):
        """Append the last epoch of `history` to `metrics.jsonl` and `metrics.csv`."""
        if not is_first_process():
            return
        last = history.rounds - 1
        if last and history.row(last).keys() != history.row(last - 1).keys():  # a former version recorded less
            self._write_metrics(history)
            return
        for name, write in _METRICS.items():
            with (self.path / name).open("a", newline="") as file:
                write(file, history, last)
            if self.store is not None:
                self.store.send(name)


_OWN_CLASS = re.compile(r"surrogax(\.\w+)*\.([A-Z]\w*)")


def _by_name(settings: Any) -> Any:
    """The same with classes of this library by their names alone: another version may have moved them between modules."""
    match settings:
        case dict():
            return {key: _by_name(value) for key, value in settings.items()}
        case list():
            return [_by_name(value) for value in settings]
        case str() if own := _OWN_CLASS.fullmatch(settings):
            return own[2]
    return settings


def first_difference(before: Any, now: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Path, value in `before` and value in `now` of the first difference of two trees of dicts, lists and plain values; None if
    they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(f"{where}.{k}" if where else k, before.get(k), now.get(k)) for k in now | before]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(before, now, strict=True))]
    else:
        return None if before == now else (where, before, now)
    return next((found for path, a, b in pairs if (found := first_difference(a, b, path)) is not None), None)


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


def _history(found: dict[str, Any]) -> History:
    """The history in a checkpoint; those of version 0.1 do not say what the seconds were spent on."""
    if (before := found.pop("open_seconds", None)) is not None:
        found["open_spent"] = {"training": before}
    return History(**found)


def _write_jsonl(file: IO[str], history: History, i: int) -> None:
    record = {"epoch": i + 1, "loss": history.loss[i], "seconds": history.seconds[i]}
    if history.val:
        record["val"] = history.val[i]
    record |= {"metrics": history.at(i, history.metrics), "spent": history.at(i, history.spent)}
    file.write(json.dumps(record) + "\n")


def _write_csv(file: IO[str], history: History, i: int) -> None:
    row, names = {"step": sum(history.steps[: i + 1]), **history.row(i)}, ["step", *history.latest]
    write_rows(file, [row], names if i == 0 else None, names)


_METRICS = {"metrics.jsonl": _write_jsonl, "metrics.csv": _write_csv}


def _manager(path: Path):
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=False)
    return ocp.CheckpointManager(path / "checkpoints", options=options)


def _named_leaves(tree: PyTree) -> dict[str, jax.Array]:
    """The arrays of a tree by their key paths, in the order of its leaves."""
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def _form(x) -> str:
    return f"{x.dtype}{list(x.shape)}"


def _difference(found: dict[str, str], wanted: dict[str, jax.Array]) -> str | None:
    """Describe the first array in which a checkpoint differs from the arrays wanted; None if there is no difference.

    `found` holds dtype and shape of the checkpoint's arrays as text, by name.
    """
    for name in (*wanted, *found):
        if name not in found:
            return f"it has no array {name}, which is {_form(wanted[name])} here"
        if name not in wanted:
            return f"its array {name} of {found[name]} does not exist here"
        if found[name] != _form(wanted[name]):
            return f"its array {name} is {found[name]}, here {_form(wanted[name])}"
    return None


def _is_key(x) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _raw(x):
    return jax.random.key_data(x) if _is_key(x) else x


def _unraw(x, like):
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like)) if _is_key(like) else jnp.asarray(x)


def _short(value, limit: int = 120) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
