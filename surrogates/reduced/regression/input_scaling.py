"""How the inputs of a regression are brought to one scale: logarithms of those that spread over decades, then mean and
deviation."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ....core.precision import Double
from ....core.storage import register

_DECADES = 30.0  # largest over smallest value, above which a logarithm is considered
_CONSTANT = 1e-13  # deviations relative to the largest value that are rounding

Log = str | Sequence[int]
"""Which inputs enter by their logarithm: "auto", or the numbers of their columns, `()` for none."""


@register("InputScaling")
class InputScaling(eqx.Module):
    """x = (t(z) − shift)/scale for every input, t the logarithm where `logarithmic` says so, else t(z) = z.

    Deviations from a shift are formed before they are rounded, so that dates or unix seconds are told apart.

    **Fields:** `logarithmic` `(d,)`; `shift`, `scale` `(d,)` in double precision; `least` `(d,)`, the smallest value whose
    logarithm is taken, as far below the training data as these are wide; smaller ones and negative ones count as it.
    """

    logarithmic: tuple[bool, ...] = eqx.field(static=True)
    shift: Double
    scale: Double
    least: Double

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n d"], log: Log = "auto", *, common: bool = False) -> "InputScaling":
        """Mean and standard deviation of every column of z, or of its logarithm; with `common` the largest deviation for all
        columns.

        With `log="auto"` these are the columns that are positive, whose largest value is more than 30 times the smallest, and
        whose logarithms have their median nearer to the middle of their range than the values themselves.

        **Raises:** `ValueError` for another word, for columns that are not there, and for logarithms of numbers that are not
        positive.
        """
        chosen = _over_decades(z) if isinstance(log, str) and log == "auto" else _named(z, log)
        positive = np.where(chosen, z, 1.0)
        t = np.where(chosen, np.log(positive), z)
        shift = t.mean(0)
        spread = (t - shift).std(0)
        scale = np.where(spread > _CONSTANT * np.abs(t).max(0, initial=0), spread, 1.0)
        scale = np.full_like(scale, spread.max() or 1.0) if common else scale
        least = positive.min(0) * (positive.min(0) / positive.max(0))
        return cls(tuple(bool(x) for x in chosen), Double.of(shift), Double.of(scale), Double.of(least))

    @classmethod
    def identity(cls, d: int) -> "InputScaling":
        """Inputs that are on one scale already."""
        return cls((False,) * d, Double.of(np.zeros(d)), Double.of(np.ones(d)), Double.of(np.zeros(d)))

    def __call__(self, z):
        """Scaled inputs `(…, d)`: NumPy in float64 for what is no JAX array, else in the precision of z."""
        xp = np if self.shift.on_host(z) else jnp
        z = xp.asarray(z)

        def own(x: Double):
            return np.asarray(x) if xp is np else x.wide() if z.dtype == jnp.float64 else x.high

        t, chosen = z, np.asarray(self.logarithmic, bool)
        if chosen.any():
            # The argument of the logarithm is positive also where its result is not used, for the sake of derivatives.
            argument = xp.maximum(xp.where(chosen, z, 1), xp.where(chosen, own(self.least), 1))
            t = xp.where(chosen, xp.log(argument), z)
        return self.shift.subtracted_from(t) / own(self.scale)

    def less(self, origins: Float[np.ndarray, " d"]) -> "InputScaling":
        """The scaling of inputs from which `origins`, zero for logarithms, were subtracted."""
        return InputScaling(self.logarithmic, Double.of(np.asarray(self.shift) - origins), self.scale, self.least)

    def described(self, names: Sequence[str] | None = None) -> str:
        """One phrase per input: "k by its logarithm" or "T"."""
        names = [f"input {i}" for i in range(len(self.logarithmic))] if names is None else names
        return ", ".join(f"log {n}" if log else n for n, log in zip(names, self.logarithmic, strict=True))


def _over_decades(z: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " d"]:
    low, high = z.min(0), z.max(0)
    wide = (low > 0) & (high > _DECADES * low)
    safe = np.where(wide, z, np.arange(1, len(z) + 1)[:, None])

    def off_centre(values):
        low, high = values.min(0), values.max(0)
        return np.abs((np.median(values, 0) - low) / np.where(high > low, high - low, 1) - 0.5)

    return wide & (off_centre(np.log(safe)) < off_centre(safe))


def _named(z: Float[np.ndarray, "n d"], log) -> Bool[np.ndarray, " d"]:
    if isinstance(log, str):
        raise ValueError(
            f"log={log!r}: use 'auto' or the numbers of the inputs that enter by their logarithm, () for none"
        )
    columns = [int(i) for i in log]
    if wrong := [i for i in columns if not 0 <= i < z.shape[1]]:
        raise ValueError(f"log={tuple(columns)}: there is no input {wrong[0]}, they are 0 … {z.shape[1] - 1}")
    if bad := [i for i in columns if not (z[:, i] > 0).all()]:
        raise ValueError(f"log={tuple(columns)}: input {bad[0]} has values that are not positive and have no logarithm")
    chosen = np.zeros(z.shape[1], bool)
    chosen[columns] = True
    return chosen
