"""What `surrogax train` chooses by name, and all settings together, from words of the command line, presets and files."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tyro

from ..surrogates.model_registry import registered_models
from ..surrogates.task.modes import Autoregressive, SpaceTime, Steady
from ..surrogates.training import losses
from .optimizers import OPTIMIZERS
from .options import options_of
from .settings import Settings, instance, plain

LOSSES: dict[str, Callable] = {"rel_l2": losses.RelativeL2, "rel_h1": losses.RelativeH1, "mse": losses.MSE}
MODES: dict[str, Callable] = {"steady": Steady, "autoregressive": Autoregressive, "space-time": SpaceTime}


@dataclass(frozen=True)
class Choice:
    """What is chosen by name: a model, a mode, a loss or an optimiser, with its options, an instance of `options_of`."""

    name: str
    options: Any

    def to_dict(self) -> dict[str, Any]:
        """The choice as it stands in a file."""
        return {"name": self.name, **{k: plain(v) for k, v in vars(self.options).items()}}


@dataclass(frozen=True)
class Training:
    """All settings of a training: what holds for all models, and what is chosen by name. `mode` None follows the data."""

    settings: Settings
    models: Mapping[str, Choice]
    loss: Choice
    optimizer: Choice
    mode: Choice | None

    @classmethod
    def read(cls, start: Mapping[str, Any], words: Sequence[str], help: str) -> "Training":
        """The settings `start` of a preset or file, changed by the words of the command line, for which `--help` prints `help`.

        `--model NAME`, `--mode NAME`, `--loss NAME` and `--optimizer NAME` choose; `--model.width 64` sets an option of what is
        chosen. Several models, `--model fno deeponet`, have options by their names, `--fno.width 64`.

        **Raises:** `ValueError` for a name or setting that there is not, or a value of another kind; `SystemExit` for words that
        are no options.
        """
        start, words = dict(start), list(words)
        for choice in (*_KNOWN, "problem"):
            words, names = _taken(words, choice)
            if names and choice == "problem":
                words += ["--problem.name", *names]
            elif names:
                before = {_label(t): t for t in _tables(start.get(choice))}
                start[choice] = [before.get(name, {"name": name}) for name in names]
        if not start.get("mode") and any(word.startswith("--mode.") for word in words):
            start["mode"] = {"name": "autoregressive"}
        chosen = {choice: _choices(choice, _tables(start.pop(choice, _DEFAULT[choice]))) for choice in _KNOWN}
        fields = [
            (_field_name(choice, label, found), type(each.options), field(default=each.options))
            for choice, found in chosen.items() for label, each in found.items()
        ]  # fmt: skip
        names = [name for name, _, _ in fields] + [f.name for f in dataclasses.fields(Settings)]
        if double := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the label {min(double)!r} is the name of another model or setting; choose another one")
        common = instance(Settings, start, "")
        kind = dataclasses.make_dataclass("Train", fields, bases=(Settings,), frozen=True, kw_only=True)
        read = tyro.cli(kind, prog="surrogax train", description=help, args=words, default=kind(**vars(common)))

        def final(choice: str) -> dict[str, Choice]:
            found = chosen[choice]
            return {label: Choice(c.name, vars(read)[_field_name(choice, label, found)]) for label, c in found.items()}

        def one(choice: str) -> Choice:
            found = list(final(choice).values())
            if len(found) != 1:
                raise ValueError(f"--{choice}: one is needed, got {[c.name for c in found]}")
            return found[0]

        common = Settings(**{f.name: vars(read)[f.name] for f in dataclasses.fields(Settings)})
        mode = one("mode") if chosen["mode"] else None
        return cls(common, final("model"), one("loss"), one("optimizer"), mode)

    def to_dict(self) -> dict[str, Any]:
        """All settings on which the results depend, as TOML can hold them: `read` takes them back."""
        common = {k: plain(v) for k, v in vars(self.settings).items() if k != "folder"}
        models = [{"label": label, **choice.to_dict()} for label, choice in self.models.items()]
        mode = {} if self.mode is None else {"mode": self.mode.to_dict()}
        return {**common, **mode, "loss": self.loss.to_dict(), "optimizer": self.optimizer.to_dict(), "model": models}


# What is chosen by name, and the default.
_KNOWN: dict[str, Callable[[], Mapping[str, Callable]]] = {
    "mode": lambda: MODES,
    "model": registered_models,
    "loss": lambda: LOSSES,
    "optimizer": lambda: OPTIMIZERS,
}
_DEFAULT = {"mode": (), "model": {"name": "fno"}, "loss": {"name": "rel_l2"}, "optimizer": {"name": "adamw"}}


def _taken(words: list[str], choice: str) -> tuple[list[str], list[str]]:
    """The words without `--choice NAME …`, and these names."""
    option = f"--{choice}"
    words = list(itertools.chain.from_iterable(w.split("=", 1) if w.startswith(f"{option}=") else [w] for w in words))
    if option not in words:
        return words, []
    at = words.index(option)
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), words[at + 1 :]))
    if not names:
        raise ValueError(f"{option} needs a name")
    return words[:at] + words[at + 1 + len(names) :], [n for name in names for n in name.split(",") if n]


def _tables(found: Any) -> list[dict[str, Any]]:
    tables = [found] if isinstance(found, Mapping | str) else list(found or ())
    tables = [{"name": table} if isinstance(table, str) else dict(table) for table in tables]
    if nameless := [table for table in tables if not isinstance(table.get("name"), str)]:
        raise ValueError(f"the table {nameless[0]} needs a name")
    return tables


def _label(table: Mapping[str, Any]) -> str:
    return str(table.get("label", table["name"]))


def _choices(choice: str, tables: Sequence[dict[str, Any]]) -> dict[str, Choice]:
    known, found = _KNOWN[choice](), {}
    for table in tables:
        name, label = table["name"], _label(table)
        if name not in known:
            raise ValueError(f"unknown {choice} {name!r}; known: {', '.join(known)}")
        if label in found:
            raise ValueError(f"two models are called {label!r}; give them labels: label = '…'")
        if not _word(label).strip("_") or "/" in label or label != label.strip(". "):
            raise ValueError(f"the label {label!r} names no folder; use letters and digits")
        kind = options_of(name, known[name])
        values = {k: v for k, v in table.items() if k not in ("name", "label")}
        found[label] = Choice(name, instance(kind, values, f"{choice} {name}: "))
    return found


def _field_name(choice: str, label: str, found: Mapping[str, Choice]) -> str:
    return choice if len(found) == 1 else _word(label)


def _word(label: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in label)
