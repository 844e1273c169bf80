"""The options of a scheduler of diffusers: which were asked for, and refusals of the others."""

import json
import math
from pathlib import Path
from typing import Any

from ...core.arguments import kind

_SCHEDULERS = (
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "FlowMatchEulerDiscreteScheduler",
)
# Values of options that change nothing, or nothing while another option has its usual value.
_NEUTRAL = {
    "thresholding": False, "rescale_betas_zero_snr": False, "use_beta_sigmas": False, "euler_at_final": False,
    "use_dynamic_shifting": False, "interpolation_type": "linear", "timestep_type": "discrete", "solver_p": None,
    "shift_terminal": None, "invert_sigmas": False, "stochastic_sampling": False, "variance_type": None,
}  # fmt: skip
_UNUSED = (
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "clip_sample_range",
    "time_shift_type",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "flow_shift",
    "num_train_timesteps",
)


class Options:
    """The entries of a configuration; those that were asked for are ticked off."""

    def __init__(self, entries: dict, where: str):
        self.entries = {name: value for name, value in entries.items() if not name.startswith("_")}
        self.where, self.seen = where, set()
        self.scheduler = str(entries.get("_class_name"))
        if self.scheduler not in _SCHEDULERS:
            raise ValueError(
                f"{where}: the scheduler {entries.get('_class_name')!r} is not known; known are {_SCHEDULERS}"
            )

    @classmethod
    def read(cls, config: str | Path | dict) -> "Options":
        if isinstance(config, dict):
            return cls(config, "from_diffusers")
        path = Path(config)
        path = path / "scheduler_config.json" if path.is_dir() else path
        if not path.exists():
            raise FileNotFoundError(f"from_diffusers: {path} does not exist")
        try:
            entries = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise ValueError(f"{path}: found no JSON, expected a scheduler_config.json") from None
        kind(str(path), "contents", entries, dict, "expected the options of a scheduler")
        return cls(entries, str(path))

    def taken(self, name: str, default: Any) -> Any:
        """The value of an option. **Raises:** `TypeError` for one of another kind than its default, unless that is None."""
        value = self._found(name, default)
        if isinstance(default, bool):
            fits, wanted = isinstance(value, bool), "true or false"
        elif isinstance(default, int):
            fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        else:
            fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        if default is not None and not fits:
            raise TypeError(f"{self.where}: {name}={value!r} of {self.scheduler}: expected {wanted}")
        return value

    def positive(self, name: str, default: float | None) -> Any:
        """A positive number, or its default, which may be None. A value of null is that of None."""
        value: Any = self._found(name, default)
        if value is None and default is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{self.where}: {name}={value!r} of {self.scheduler}: expected a number above 0")
        return value

    def _found(self, name: str, default: Any) -> Any:
        self.seen.add(name)
        return self.entries.get(name, default)

    def one_of(self, name: str, default: Any, *known: Any) -> Any:
        value = self._found(name, default)
        if value not in known:
            raise ValueError(
                f"{self.where}: {name}={value!r} of {self.scheduler} is not known here; known are {list(known)}"
            )
        return value

    def only(self, name: str, value: Any, default: Any = None) -> None:
        """Refuse every value but this one."""
        found = self._found(name, value if default is None else default)
        if found != value:
            raise ValueError(
                f"{self.where}: {name}={found!r} of {self.scheduler} is not supported, {name}={value!r} is; samples would differ"
            )

    def check_rest(self) -> None:
        for name, value in _NEUTRAL.items():
            if name not in self.seen:
                self.only(name, value)
        unknown = [name for name in self.entries if name not in self.seen and name not in _UNUSED]
        if unknown:
            raise ValueError(
                f"{self.where}: options {unknown} of {self.scheduler} are not known; take them out if it does not use them"
            )
