"""A fault of XLA that the library avoids when it is imported."""

import os
import sys
import warnings
from importlib.metadata import version

_FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def avoid_wrong_sums() -> None:
    """Switch off what makes jaxlib 0.10.2 add wrongly on CPUs.

    There float32 sums along the last axis of more than 2048 rows that end in another sum, or in a product with a matrix, such as
    jit(lambda a, b: (b * (a * a).sum(-1)[:, None]).sum(-1)), may be wrong from row 2048 on. Versions before and after it are
    right, and so is this one without fusions of sums. XLA reads its flags at the first computation; if there was one
    already, this warns. Processes that are started from here inherit the flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if version("jaxlib").split("+")[0] != "0.10.2" or _FLAG in flags:
        return
    setting = f"{_FLAG}=-LIBRARY_FUSION_TYPE_REDUCE"
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and bridge.backends_are_initialized():
        warnings.warn(
            "jaxlib 0.10.2 computes wrong sums of large float32 arrays on CPUs, and something was computed before `import "
            f"surrogax`, which can avoid it; import surrogax first, set XLA_FLAGS={setting}, or install another version of jax",
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = f"{flags} {setting}".strip()
