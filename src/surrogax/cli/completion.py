"""The command that prints a script for completion in a shell."""

import contextlib
import io
import os
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from ..solvers.pde import registered_problems
from ..surrogates.evaluation.metrics import known_metrics
from ..surrogates.model_registry import registered_models
from .bench_tasks import TASKS
from .choices import LOSSES, MODES
from .entry_point import COMMANDS, run_command
from .optimizers import OPTIMIZERS
from .presets import PRESETS

_BASH = """\
# surrogax completion bash
_surrogax() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    return
  fi
  case "$word" in
    -*) case "${{COMP_WORDS[1]}}" in
{options}
      esac;;
    *) case "$before" in
{values}
      esac;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _surrogax surrogax
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


@dataclass
class Completion:
    """Print a script that completes commands, options, and the names of models, problems and presets in a shell.

    Once: surrogax completion bash > ~/.local/share/bash-completion/completions/surrogax; for zsh put the output into a file and
    add "source FILE" to ~/.zshrc. Print it again after installing a plugin.
    """

    shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]
    """The shell."""

    def run(self) -> None:
        """Print the script."""
        print((_ZSH if self.shell == "zsh" else "") + _script(), end="")


def _script() -> str:
    options = {name: _options(name) for name in COMMANDS}
    values = {
        "--model": registered_models(), "--models": registered_models(), "--mode": MODES, "--loss": LOSSES,
        "--optimizer": OPTIMIZERS, "--problem": registered_problems(), "--metrics": known_metrics(),
        "train": PRESETS, "generate": registered_problems(), "bench": TASKS, "completion": ("bash", "zsh"),
    }  # fmt: skip
    return _BASH.format(
        commands=" ".join((*COMMANDS, "--help", "--version")),
        options="\n".join(f'      {name}) words="{" ".join(found)}";;' for name, found in options.items()),
        values="\n".join(f'      {before}) words="{" ".join(found)}";;' for before, found in values.items()),
    )


def _options(command: str) -> list[str]:
    """The options that the help of a command names."""
    told, before = io.StringIO(), dict(os.environ)
    os.environ |= {"COLUMNS": "300", "NO_COLOR": "1"}  # no name is cut
    try:
        with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
            run_command(command, ["--help"])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", told.getvalue(), re.IGNORECASE)))
