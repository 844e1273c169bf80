"""`RunStore`: a run folder at an address of an object store, such as `s3://bucket/run`, with its copy on this machine.

A store has no folders that appear at once, so that a checkpoint counts when the object `checkpoints.json` names it, which is
written after all of its files. A process that is killed while it sends leaves files that no index names; the next checkpoint
removes them.

Nothing locks the folder. The index names the process that wrote last; one that finds another's name there stops instead of
mixing two runs. Two processes that send in the same moment are not kept apart.
"""

import contextlib
import json
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path

import jax

from ...core.addresses import inside, send, store_at
from ...core.files import StorageError, write_json

_INDEX, _CHECKPOINTS = "checkpoints.json", "checkpoints"
_SMALL = ("settings.json", "environment.json", "metrics.jsonl", "metrics.csv")


class RunStore:
    """The objects of one run, and the folder `local` with the same files on this machine, which lives as long as this object.

    **Raises:** `ValueError` with several processes, which need a folder that they share.
    """

    def __init__(self, address: str):
        if jax.process_count() > 1:
            raise ValueError(f"run={address!r}: several processes need a run folder on a disk that they share")
        self.address = address.rstrip("/")
        self._store, self._root = store_at(self.address)
        self.local = Path(tempfile.mkdtemp(prefix="surrogax-run-"))
        weakref.finalize(self, shutil.rmtree, self.local, ignore_errors=True)
        self._name = secrets.token_hex(8)
        self._last: str | None = None  # who wrote the index that this process has read

    def fetch(self) -> None:
        """Copy the run to this machine: its small files, and the checkpoints that its index names.

        **Raises:** `StorageError` for a damaged index, or a checkpoint without one of its files.
        """
        for name in _SMALL:
            with contextlib.suppress(FileNotFoundError):
                self._store.get_file(f"{self._root}/{name}", str(self.local / name))
        index = self._index()
        self._last = index["writer"]
        for step, files in index["steps"].items():
            for name, size in files.items():
                self._fetch(f"{_CHECKPOINTS}/{step}/{name}", size)

    def send(self, name: str) -> None:
        """Send one small file."""
        send(self.local / name, str(inside(self.address, name)))

    def send_checkpoints(self) -> None:
        """Send the checkpoints of this machine that the store does not have, then the index, and remove what it does not name.

        **Raises:** `StorageError` if another process has written to this run in the meantime.
        """
        index = self._index()
        if index["writer"] not in (self._name, self._last):
            raise StorageError(
                f"{self.address}: another process has written to this run since; this one stops. Let one process at a time use "
                "a run folder"
            )
        steps = {}
        for step in sorted(p for p in (self.local / _CHECKPOINTS).iterdir() if p.is_dir() and p.name.isdigit()):
            files = {str(f.relative_to(step).as_posix()): f.stat().st_size for f in step.rglob("*") if f.is_file()}
            if index["steps"].get(step.name) != files:
                for name in files:
                    self.send(f"{_CHECKPOINTS}/{step.name}/{name}")
            steps[step.name] = files
        write_json(self.local / _INDEX, {"writer": self._name, "steps": steps})
        self.send(_INDEX)
        self._last = self._name
        named = {f"{self._root}/{_CHECKPOINTS}/{step}/{name}" for step, files in steps.items() for name in files}
        self._store.invalidate_cache()
        if left := [name for name in self._store.find(f"{self._root}/{_CHECKPOINTS}") if name not in named]:
            self._store.rm(left)

    def _index(self) -> dict:
        self._store.invalidate_cache()
        try:
            text = self._store.cat_file(f"{self._root}/{_INDEX}")
        except FileNotFoundError:
            return {"writer": None, "steps": {}}
        try:
            found = json.loads(text)
            for step, files in found["steps"].items():
                if not step.isdigit() or any(name.startswith("/") or ".." in name.split("/") for name in files):
                    raise ValueError(f"it names the files {sorted(files)[:3]} of step {step!r:.20}")
            return {"writer": found["writer"], "steps": found["steps"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{self.address}/{_INDEX} is damaged ({error}); remove the run or restore it") from error

    def _fetch(self, name: str, size: int) -> None:
        target = self.local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._store.get_file(f"{self._root}/{name}", str(target))
        except FileNotFoundError:
            return  # reading the checkpoint finds that it is damaged, and takes the one before
        if target.stat().st_size != size:
            target.unlink()
