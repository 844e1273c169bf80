"""The platform that a program is traced for: that of the process, or another one when compiling ahead of time."""

from contextlib import AbstractContextManager

import jax

# Part of the key of JAX's caches: what was traced for one platform is traced again for another.
_target = jax.make_user_context(default_value=None)


def target_platform() -> str:
    """The JAX platform name that a kernel with several formulations asks for."""
    return _target.value or jax.default_backend()


def traced_for(platform: str) -> AbstractContextManager:
    """`with traced_for("tpu"):` kernels choose their formulations for a TPU, in a process that has none."""
    return _target(platform)
