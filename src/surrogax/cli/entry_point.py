"""The command line: every command is a dataclass whose fields are its options."""

import importlib
import sys
from importlib.metadata import version

_COMMANDS = {
    "generate": ("data", "Generate"),
    "describe": ("data", "Describe"),
    "verify": ("data", "Verify"),
    "convert": ("data", "Convert"),
    "evaluate": ("evaluate", "Evaluate"),
    "predict": ("use", "Predict"),
    "rollout": ("use", "Rollout"),
    "export": ("use", "Export"),
    "bench": ("bench", "Bench"),
}
_HELP = """usage: surrogax COMMAND [OPTIONS]        (surrogax COMMAND --help for its options)

  generate   solve a problem for random parameters and write a data file
  describe   say what is in a data file
  verify     look for contradictions in a data file
  convert    write any readable data file as HDF5 in The Well's layout
  train      train surrogates, compare them on unseen samples, write a report
  evaluate   evaluate saved surrogates on a data file
  predict    predict new inputs from a file with a saved surrogate
  rollout    continue trajectories of a file with a saved surrogate
  export     write a saved surrogate as a program that runs without this library
  bench      train every family on named tasks beside the solver, write a leaderboard
"""


def main(args: list[str] | None = None) -> None:
    """Run the command that `args` (by default those of the process) name.

    An error that the user can mend (`ValueError`, `KeyError`, `OSError`, `FloatingPointError`, `RuntimeError`) is printed as one
    sentence on standard error, and the process exits with status 1; after an unknown command with status 2.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return
    if args[0] == "--version":
        print(f"surrogax {version('surrogax')}")
        return
    name, rest = args[0], args[1:]
    if name != "train" and name not in _COMMANDS:
        print(f"surrogax: unknown command {name!r}; use one of train, {', '.join(_COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    try:
        # Everything else is imported here, so that `--help` answers at once.
        _run(name, rest)
    except (ValueError, KeyError, OSError, FloatingPointError, RuntimeError) as error:
        print(f"surrogax: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(1) from None


def _run(name: str, words: list[str]) -> None:
    import tyro

    from .plugins import load_plugins

    load_plugins()
    if name == "train":
        from .train import train

        train(words)
        return
    module, command = _COMMANDS[name]
    kind = vars(importlib.import_module(f".{module}", __package__))[command]
    tyro.cli(kind, prog=f"surrogax {name}", args=words).run()
