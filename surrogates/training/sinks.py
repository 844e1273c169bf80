"""Sinks take the numbers of a training, besides the run folder: `fit(…, log=[log.TensorBoard("runs/tb")])`."""

import abc
import csv
import importlib.util
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from ...core.arguments import checked
from .event_file import EventFile

_WAIT = 10.0  # seconds at the end of a training for what is still to be sent
_MOST = 10_000  # epochs that wait to be sent


class AbstractSink(abc.ABC):
    """A log that wants to know when training ends. `fit(log=…)` calls it like a function, after every epoch.

    **Example:**

        >>> isinstance(sx.log.CSV("losses.csv"), sx.log.AbstractSink)
        True
    """

    @abc.abstractmethod
    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Write numbers by name after `step` optimiser steps: "epoch", "loss", "val", "seconds", …; see `History.row`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Training has ended."""


@final
class CSV(AbstractSink):
    """A table of comma-separated values with a column per number, which spreadsheets open.

    An existing file is replaced, also by a run that is resumed: its table begins at the epoch from which it goes on. The table of
    all epochs is `metrics.csv` in the run folder. A further training with the same object appends its rows.

    **Example:**

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = sx.log.CSV(f"{folder}/losses.csv")                                    # fit(…, log=log) calls it
        ...     log(10, {"loss": 0.5})
        ...     print(open(f"{folder}/losses.csv").read().split())
        ['step,loss', '10,0.5']
    """

    @checked
    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.names: list[str] = []
        self.rows: list[dict[str, float]] = []

    def __call__(self, step: int, values: dict[str, float]) -> None:
        row = {"step": step, **values}
        self.rows.append(row)
        if row.keys() <= set(self.names):
            with self.path.open("a", newline="") as file:
                write_rows(file, [row], None, self.names)
            return
        self.names = list(dict.fromkeys([*self.names, *row]))  # the first row, or one with further numbers
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="") as file:
            write_rows(file, self.rows, self.names, self.names)

    def close(self) -> None:
        """Nothing is open."""


@final
class TensorBoard(AbstractSink):
    """Event files that TensorBoard shows: `tensorboard --logdir FOLDER`. They are written without that package.

    A run that is resumed writes on into the same folder; TensorBoard then drops what the interrupted run wrote after its last
    checkpoint.

    **Example:**

        >>> import os
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = sx.log.TensorBoard(folder)                                            # fit(…, log=log) calls it
        ...     log(10, {"loss": 0.5})
        ...     log.close()
        ...     print(len(os.listdir(folder)))
        1
    """

    @checked
    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.file: EventFile | None = None

    def __call__(self, step: int, values: dict[str, float]) -> None:
        if self.file is None:
            self.file = EventFile(self.folder, first_step=step)
        self.file.write(step, values)

    def close(self) -> None:
        """Close the file; a further training begins another one."""
        if self.file is not None:
            self.file.close()
        self.file = None


class AbstractRemote(AbstractSink):
    """A sink that sends numbers elsewhere, from a thread of its own, so that a slow or absent network does not delay training.

    When training ends it waits ten seconds for what is still to be sent.
    """

    def __init__(self):
        self.waiting: queue.Queue = queue.Queue(_MOST)
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None

    @abc.abstractmethod
    def begin(self) -> tuple[Callable[[int, dict[str, float]], None], Callable[[], None]]:
        """Begin a run: a function that sends numbers, and one that ends the run."""

    def __call__(self, step: int, values: dict[str, float]) -> None:
        if self.error is not None:
            raise self.error
        if self.thread is None:
            self.waiting = queue.Queue(_MOST)  # of its own: a former thread may still be late
            self.thread = threading.Thread(target=self._send, args=(self.waiting,), daemon=True)
            self.thread.start()
        self._put((step, values))

    def close(self) -> None:
        """Wait until everything is sent. **Raises:** `TimeoutError` if that takes too long; what the sending raised."""
        if self.thread is None:
            return
        self._put(None)
        self.thread.join(_WAIT)
        late, self.thread = self.thread.is_alive(), None
        if self.error is not None:
            raise self.error
        if late:
            raise TimeoutError(f"{type(self).__name__} was still sending {_WAIT:.0f} s after the end")

    def _put(self, item: tuple[int, dict[str, float]] | None) -> None:
        try:
            self.waiting.put_nowait(item)
        except queue.Full:
            raise TimeoutError(f"{type(self).__name__} has {_MOST} epochs still to send") from None

    def _send(self, waiting: queue.Queue) -> None:
        try:
            send, end = self.begin()
            while (item := waiting.get()) is not None:
                send(*item)
            end()
        except (
            BaseException
        ) as error:  # is raised where the sink is called next; SystemExit would end the training there
            self.error = error if isinstance(error, Exception) else RuntimeError(repr(error))


@final
class WeightsAndBiases(AbstractRemote):
    """A run of Weights & Biases (`pip install wandb`, `wandb login`).

    **Arguments:** `settings`: arguments of `wandb.init`, such as `project="darcy"`, `name="fno"`, `config={"width": 32}`, or
    `id="a", resume="allow"` to go on with a run.

    **Raises:** `ImportError` without wandb, before anything is trained.
    """

    def __init__(self, **settings: Any):
        needs("WeightsAndBiases", "wandb")
        super().__init__()
        self.settings = settings

    def begin(self):
        import wandb  # pyright: ignore[reportMissingImports]

        run = wandb.init(**self.settings)
        return (lambda step, values: run.log(values, step=step)), run.finish


@final
class MLflow(AbstractRemote):
    """A run of MLflow (`pip install mlflow`).

    **Arguments:**

    - `experiment`: its name; made if there is none.
    - `tracking_uri`: of a server or folder, such as "http://127.0.0.1:5000"; by default MLflow's own setting.
    - `name`: of the run.

    **Raises:** `ImportError` without mlflow, before anything is trained.
    """

    @checked
    def __init__(self, experiment: str = "surrogax", *, tracking_uri: str | None = None, name: str | None = None):
        needs("MLflow", "mlflow")
        super().__init__()
        self.experiment, self.tracking_uri, self.name = experiment, tracking_uri, name

    def begin(self):
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        client = MlflowClient(self.tracking_uri)
        known = client.get_experiment_by_name(self.experiment)
        where = client.create_experiment(self.experiment) if known is None else known.experiment_id
        run = client.create_run(where, run_name=self.name).info.run_id

        def send(step: int, values: dict[str, float]) -> None:
            now = int(1000 * time.time())
            client.log_batch(run, [Metric(name, value, now, step) for name, value in values.items()])

        return send, lambda: client.set_terminated(run)


def needs(who: str, package: str) -> None:
    """**Raises:** `ImportError` if a package of another library is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # a folder of that name, such as the one in which wandb keeps its runs
        raise ImportError(f"{who} needs the package {package}: pip install {package}")


def write_rows(file: Any, rows: list[dict[str, float]], header: list[str] | None, names: list[str]) -> None:
    """Write rows as comma-separated values, numbers in full; a number that a row lacks stays empty."""
    writer = csv.writer(file)
    if header is not None:
        writer.writerow(header)
    writer.writerows([[repr(row[name]) if name in row else "" for name in names] for row in rows])
