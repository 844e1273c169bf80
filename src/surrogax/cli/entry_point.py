"""The command line: every command is a dataclass whose fields are its options."""

import difflib
import importlib
import os
import sys
from importlib.metadata import version

# Module and class of each command, and what it does: plain words, so that `--help` imports nothing.
COMMANDS = {
    "generate": ("data", "Generate", "solve a problem for random parameters and write a data file"),
    "describe": ("data", "Describe", "say what is in a data file"),
    "verify": ("data", "Verify", "look for contradictions in a data file"),
    "convert": ("data", "Convert", "write any readable data file as HDF5 in The Well's layout"),
    "train": ("train", "", "train surrogates, compare them on unseen samples, write a report"),
    "evaluate": ("evaluate", "Evaluate", "evaluate saved surrogates on a data file"),
    "predict": ("use", "Predict", "predict new inputs from a file with a saved surrogate"),
    "rollout": ("use", "Rollout", "continue trajectories of a file with a saved surrogate"),
    "export": ("use", "Export", "write a saved surrogate as a program that runs without this library"),
    "bench": ("bench", "Bench", "train every family on named tasks beside the solver, write a leaderboard"),
    "completion": ("completion", "Completion", "print a script that completes commands and options in a shell"),
}


def _help() -> str:
    lines = [f"  {name:11}{says}" for name, (_, _, says) in COMMANDS.items()]
    head = "usage: surrogax COMMAND [OPTIONS]        (surrogax COMMAND --help for its options, surrogax --version)"
    return "\n".join([head, "", *lines])


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, 1)
    advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
    return f"surrogax: unknown command {name!r}; {advice}"


def main(args: list[str] | None = None) -> None:
    """Run the command that `args` (by default those of the process) name.

    An error that the user can mend (`ValueError`, `KeyError`, `OSError`, `FloatingPointError`, `RuntimeError`) is printed as one
    sentence on standard error, and the process exits with status 1; after an unknown command with status 2.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return
    if args[0] == "--version":
        print(f"surrogax {version('surrogax')}")
        return
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        raise SystemExit(2)
    try:
        # Everything else is imported here, so that `--help` answers at once.
        run_command(name, rest)
    except BrokenPipeError:  # of `surrogax … | head`: who reads has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end of the process, which flushes it)
        raise SystemExit(141) from None
    except (ValueError, KeyError, OSError, FloatingPointError, RuntimeError) as error:
        print(f"surrogax: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(1) from None


def run_command(name: str, words: list[str]) -> None:
    """Run a command with its words. **Raises:** what `main` turns into sentences; `SystemExit` after `--help`."""
    import tyro

    from .plugins import load_plugins

    load_plugins()
    if name == "train":
        from .train import train

        train(words)
        return
    module, command, _ = COMMANDS[name]
    kind = vars(importlib.import_module(f".{module}", __package__))[command]
    tyro.cli(kind, prog=f"surrogax {name}", args=words).run()
