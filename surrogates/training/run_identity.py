"""The settings of a training that a run folder must agree on to be resumed."""

import zlib

import equinox as eqx
import jax
import numpy as np

from ...datasets.dataset import Dataset
from .loop import TrainState


def settings_of(surrogate, state: TrainState, objective, data, val, batch_size, seeds, ema, unroll, key) -> dict:
    """What a run folder must agree on to be resumed; epochs may grow."""

    def shapes(tree):
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
        return [f"{jax.tree_util.keystr(p)}: {x.shape} {x.dtype}" for p, x in leaves]

    def identity(dataset: Dataset | None) -> str | None:
        if dataset is None:
            return None
        return f"{len(dataset)} samples, ids {zlib.crc32(dataset.ids.tobytes()):08x}, {dataset.grid}"

    return {
        "network": f"{type(surrogate.network).__name__}, {surrogate.parameters} parameters",
        "arrays": shapes(surrogate.network),
        "options": repr(getattr(surrogate.network, "options", None)),
        "task": repr(surrogate.task),
        "objective": repr(objective),
        "train": identity(data),
        "val": identity(val),
        "batch_size": batch_size,
        "seeds": seeds,
        "ema": ema,
        "unroll": repr(unroll),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "optimizer": shapes(state.opt_state),
    }
