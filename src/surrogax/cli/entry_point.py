"""The command line: every command is a dataclass whose fields are its options."""

import sys

import tyro

from .data import Convert, Describe, Generate, Verify
from .evaluate import Evaluate
from .train import PRESETS

COMMANDS = {
    "generate": Generate,
    "describe": Describe,
    "verify": Verify,
    "convert": Convert,
    "evaluate": Evaluate,
}
_HELP = """usage: surrogax COMMAND [OPTIONS]        (surrogax COMMAND --help for its options)

  generate   solve a problem for random parameters and write a data file
  describe   say what is in a data file
  verify     look for contradictions in a data file
  convert    write any readable data file as HDF5 in The Well's layout
  train      train a surrogate, compare it with others and the solver, write a report
  evaluate   evaluate saved surrogates on a data file
"""


def main(args: list[str] | None = None) -> None:
    """Run the command that `args` (by default those of the process) name.

    An error that the user can mend (`ValueError`, `KeyError`, `OSError`, `FloatingPointError`) is printed as one sentence on
    standard error, and the process exits with status 1; after an unknown command with status 2.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return
    name, rest = args[0], args[1:]
    if name == "train":
        command = tyro.extras.overridable_config_cli(PRESETS, prog="surrogax train", args=rest)
    elif name in COMMANDS:
        command = tyro.cli(COMMANDS[name], prog=f"surrogax {name}", args=rest)
    else:
        print(f"surrogax: unknown command {name!r}; use one of train, {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    try:
        command.run()
    except (ValueError, KeyError, OSError, FloatingPointError) as error:
        print(f"surrogax: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(1) from None
