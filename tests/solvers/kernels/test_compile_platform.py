import jax
import jax.numpy as jnp

from surrogax.solvers.kernels import fourier, gram
from surrogax.solvers.kernels.compile_platform import target_platform, traced_for


def test_kernels_choose_for_the_platform_that_is_traced_for():
    shape, kept = (1024, 1024), (1024, 513)  # which every platform but the TPU transforms by FFT
    transform = jax.jit(lambda x: fourier.truncated_rfft(x, kept))
    x = jax.ShapeDtypeStruct((*shape, 1), jnp.float32)

    def has_fft():
        return "stablehlo.fft" in transform.lower(x).as_text()

    assert target_platform() == jax.default_backend()
    assert has_fft()
    own = gram.chunks(4, 2**26)
    with traced_for("tpu"):
        assert target_platform() == "tpu"
        assert not has_fft()  # the same jitted function: its traces are kept apart
        assert gram.chunks(4, 2**26) > own
    assert has_fft()
