import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import fourier

METHODS = ("fft", "dft")
# (grid, kept): odd and even, all frequencies kept (with Nyquist), more kept than the grid has, a single point.
CASES = [
    ((9,), (4,)),
    ((8,), (5,)),
    ((8, 6), (8, 4)),
    ((7, 9), (3, 3)),
    ((6, 5), (9, 5)),
    ((1, 8), (2, 3)),
    ((4, 5, 6), (4, 3, 4)),
]
CASES_AND_NORMS = [(*case, "forward") for case in CASES] + [((7, 6), (5, 4), "backward"), ((7, 6), (5, 4), "ortho")]


forward = jax.jit(fourier.truncated_rfft, static_argnames=("kept", "norm", "method"))
inverse = jax.jit(fourier.truncated_irfft, static_argnames=("shape", "norm", "method"))


def known(kept, shape):
    """Index into the kept array and signed frequency, for every kept frequency that the grid knows."""
    for index in itertools.product(*map(range, kept)):
        k = (*(i - m // 2 for i, m in zip(index[:-1], kept[:-1], strict=True)), index[-1])
        leading = all(q in np.fft.fftfreq(n, 1 / n).round() for q, n in zip(k[:-1], shape[:-1], strict=True))
        if leading and k[-1] <= shape[-1] // 2:
            yield index, k


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@functools.cache
def computed(shape, kept, norm):
    """Per method: coefficients of a random field, and the field of random coefficients, in float64."""

    @jax.jit
    def transforms(x, re, im):
        options = [{"norm": norm, "method": method} for method in METHODS]
        forwards = [fourier.truncated_rfft(x, kept, **option) for option in options]
        return forwards, [fourier.truncated_irfft((re, im), shape, **option) for option in options]

    with jax.enable_x64(True):
        results = transforms(*map(jnp.asarray, (random(*shape, 2), random(*kept, 2), random(*kept, 2, seed=1))))
    return jax.tree.map(np.asarray, results)


@pytest.mark.parametrize(("shape", "kept", "norm"), CASES_AND_NORMS)
def test_forward_equals_numpy_at_the_frequencies_both_hold(shape, kept, norm):
    full = np.fft.fftn(random(*shape, 2), axes=range(len(shape)), norm=norm)
    expected = np.zeros((*kept, 2), complex)
    for index, k in known(kept, shape):
        expected[index] = full[k]
    for re, im in computed(shape, kept, norm)[0]:
        np.testing.assert_allclose(re + 1j * im, expected, rtol=0, atol=1e-13 * abs(full).max())


@pytest.mark.parametrize(("shape", "kept", "norm"), CASES_AND_NORMS)
def test_inverse_equals_irfftn_of_padded_or_truncated_coefficients(shape, kept, norm):
    re, im = random(*kept, 2), random(*kept, 2, seed=1)
    padded = np.zeros((*shape[:-1], shape[-1] // 2 + 1, 2), complex)
    for index, k in known(kept, shape):
        padded[k] = re[index] + 1j * im[index]
    expected = np.fft.irfftn(padded, shape, axes=range(len(shape)), norm=norm)
    for x in computed(shape, kept, norm)[1]:
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-13 * abs(expected).max())


@pytest.mark.parametrize(("shape", "norm"), [((6, 5), "forward"), ((5, 8), "ortho"), ((4, 4), "backward")])
def test_round_trip_with_all_frequencies_is_the_identity(shape, norm):
    def round_trip(x, method):
        z = fourier.truncated_rfft(x, (*shape[:-1], shape[-1] // 2 + 1), norm=norm, method=method)
        return fourier.truncated_irfft(z, shape, norm=norm, method=method)

    x = random(*shape, 2)
    with jax.enable_x64(True):
        for y in jax.jit(lambda x: [round_trip(x, method) for method in METHODS])(jnp.asarray(x)):
            np.testing.assert_allclose(y, x, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_forward_norm_resamples_band_limited_fields_exactly(method):
    def field(n, m):
        x, y = np.meshgrid(np.arange(n) / n, np.arange(m) / m, indexing="ij")
        return (1 + np.sin(2 * np.pi * (2 * x - y)) + np.cos(2 * np.pi * (x + 2 * y)))[..., None]

    with jax.enable_x64(True):
        z = forward(jnp.asarray(field(8, 9)), (5, 3), method=method)
        for target in ((16, 15), (5, 6)):
            x = inverse(z, target, method=method)
            np.testing.assert_allclose(x, field(*target), atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_nyquist_wave_is_doubled_on_a_finer_grid_as_documented(method):
    wave = jnp.asarray([1.0, -1.0] * 4)[:, None]
    z = forward(wave, (5,), method=method)
    expected = 2 * np.cos(2 * np.pi * 4 * np.arange(16) / 16)[:, None]
    np.testing.assert_allclose(inverse(z, (16,), method=method), expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_inverse_ignores_imaginary_parts_that_a_real_field_cannot_have(method):
    ones, zeros = jnp.ones((5, 1)), jnp.zeros((5, 1))
    unphysical = np.float32([[1e6], [0], [0], [0], [1e6]])
    weights = np.arange(8, dtype=np.float32)[:, None] ** 2

    @jax.jit
    def value_and_gradient(im):
        fields = lambda im: fourier.truncated_irfft((ones, im), (8,), method=method)  # noqa: E731
        return fields(im), jax.grad(lambda im: jnp.sum(weights * fields(im)))(im)

    (expected, _), (field, gradient) = value_and_gradient(zeros), value_and_gradient(jnp.asarray(unphysical))
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(gradient[:, 0] != 0, [False, True, True, True, False])


@pytest.mark.parametrize(("n", "removed"), [(8, [0, 4]), (7, [0])])
def test_those_imaginary_parts_never_reach_the_fft(monkeypatch, n, removed):
    # CPU ignores them, cuFFT does not promise to: look at what is handed over.
    handed_over = []
    irfft = jnp.fft.irfft
    monkeypatch.setattr(jnp.fft, "irfft", lambda z, *args, **kwargs: handed_over.append(z) or irfft(z, *args, **kwargs))
    fourier.truncated_irfft((jnp.ones((5, 1)), jnp.ones((5, 1))), (n,), method="fft")
    np.testing.assert_array_equal(np.flatnonzero(handed_over[0].imag == 0), removed)


@pytest.mark.parametrize(
    ("shape", "kept", "dtype", "tolerance"),
    [
        ((128,), (16,), "float32", 2e-6),
        ((32, 32), (16, 9), "float32", 2e-6),
        ((12, 10, 11), (6, 6, 4), "float64", 1e-12),
    ],
)
def test_methods_agree_in_value_and_gradient(shape, kept, dtype, tolerance):
    def loss(x, weights, method):
        re, im = fourier.truncated_rfft(x, kept, method=method)
        y = fourier.truncated_irfft((re * weights, im), tuple(n + 1 for n in shape), method=method)
        return jnp.sum(y**3), (re, im, y)

    with jax.enable_x64(dtype == "float64"):
        x, weights = jnp.asarray(random(*shape, 3), dtype), jnp.asarray(random(*kept, 3), dtype)
        fft, dft = (
            jax.jit(jax.grad(functools.partial(loss, method=method), argnums=(0, 1), has_aux=True))(x, weights)
            for method in METHODS
        )
        for a, b in zip(jax.tree.leaves(fft), jax.tree.leaves(dft), strict=True):
            assert a.dtype == dtype and b.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * abs(np.asarray(a)).max())


@pytest.mark.parametrize("method", METHODS)
def test_gradient_matches_finite_differences(method):
    def loss(x):
        z = fourier.truncated_rfft(x, (3, 3), norm="ortho", method=method)
        return jnp.sum(fourier.truncated_irfft(z, (6, 5), norm="ortho", method=method) ** 3)

    @jax.jit
    def derivatives(x, v):
        h = 1e-5
        along = jnp.vdot(jax.grad(loss)(x), v)
        return along, jax.jvp(loss, (x,), (v,))[1], (loss(x + h * v) - loss(x - h * v)) / (2 * h)

    with jax.enable_x64(True):
        reverse, forward_mode, difference = derivatives(
            jnp.asarray(random(4, 5, 1)), jnp.asarray(random(4, 5, 1, seed=1))
        )
    np.testing.assert_allclose(reverse, forward_mode, rtol=1e-12)
    np.testing.assert_allclose(reverse, difference, rtol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_accumulates_in_float32_and_keeps_its_dtype(method):
    x = jnp.asarray(1 + 0.1 * random(4096, 1), jnp.bfloat16)
    re, im = forward(x, (4,), method=method)
    assert re.dtype == im.dtype == jnp.bfloat16
    # Summing 4096 terms near 1 in bfloat16 would stall at 256 of 4096.
    np.testing.assert_allclose(np.asarray(re, np.float64)[0, 0], np.mean(np.asarray(x, np.float64)), rtol=1e-2)
    y = inverse((re, im), (64,), method=method)
    assert y.dtype == jnp.bfloat16
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(forward(x, (4,), method=method)[0])))(x)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(gradient, np.float64)[0], 4 / 4096, rtol=1e-2)  # cos = 1 at point 0


@pytest.mark.parametrize("method", METHODS)
def test_vmap_equals_a_loop_over_samples(method):
    x = jnp.asarray(random(3, 8, 6, 2), jnp.float32)
    transform = functools.partial(forward, kept=(5, 3), method=method)
    batched = jax.jit(jax.vmap(transform))(x)
    for i, sample in enumerate(np.asarray(x)):
        for got, expected in zip(batched, transform(jnp.asarray(sample)), strict=True):
            np.testing.assert_allclose(np.asarray(got)[i], expected, atol=1e-6)


def test_choose_method_prefers_products_for_few_modes_and_on_matrix_hardware():
    assert fourier.choose_method((1024,), (16,), "cpu") == "dft"
    assert fourier.choose_method((1024,), (512,), "cpu") == "fft"
    assert fourier.choose_method((1024, 1024), (1024, 513), "tpu") == "dft"
    assert fourier.choose_method((1024, 1024), (1024, 513), "gpu") == "fft"
    assert fourier.choose_method((256,), (120,), "cuda") == fourier.choose_method((256,), (120,), "gpu")
    assert fourier.choose_method((64, 64), (8, 5)) == fourier.choose_method((64, 64), (8, 5), jax.default_backend())


def test_operation_counts_of_a_small_case():
    # 8 x 4 points, kept 2 x 3: last axis 32 points times 4·3, then 8 x 3 complex entries times 8·2.
    assert fourier.dft_operations((8, 4), (2, 3)) == 32 * 12 + 24 * 16
    assert fourier.fft_operations((8, 4)) == 2.5 * 32 * math.log2(32)


@pytest.mark.parametrize(("ratio", "uses_fft"), [(0.0, True), (math.inf, False)])
def test_auto_follows_the_cost_table(monkeypatch, ratio, uses_fft):
    monkeypatch.setitem(fourier.FFT_COST_RATIO, jax.default_backend(), ratio)
    text = jax.jit(lambda x: fourier.truncated_rfft(x, (4, 3))).lower(jnp.ones((8, 8, 1))).as_text()
    assert ("stablehlo.fft" in text) == uses_fft


@pytest.mark.parametrize("method", METHODS)
def test_exports_for_every_platform_without_callbacks_or_doubles(method):
    def round_trip(x):
        z = fourier.truncated_rfft(x, (5, 3), method=method)
        return fourier.truncated_irfft(z, (8, 10), method=method)

    function = jax.vmap(jax.value_and_grad(lambda x: jnp.sum(round_trip(x) ** 2)))
    argument = jax.ShapeDtypeStruct((2, 8, 6, 3), jnp.float32)
    text = jax.export.export(jax.jit(function), platforms=["cpu", "cuda", "tpu"])(argument).mlir_module()
    assert "custom_call" not in text and "f64" not in text
    assert ("complex" in text) == (method == "fft")
    # Every product asks for full float32 on hardware that would round to TF32 or bfloat16 by default.
    assert text.count("stablehlo.dot_general") == text.count("HIGHEST, HIGHEST")


@pytest.mark.parametrize(
    ("kept", "options", "message"),
    [
        ((3,), {}, "space axes"),
        ((3, 0), {}, "kept mode"),
        ((3, 3), {"norm": "none"}, "norm must be"),
        ((3, 3), {"method": "fftw"}, "method must be"),
    ],
)
def test_wrong_use_is_named(kept, options, message):
    # The undecorated function: with the type checker of the tests, wrong literals would not reach the body.
    transform = getattr(fourier.truncated_rfft, "__wrapped__", fourier.truncated_rfft)
    with pytest.raises(ValueError, match=message):
        transform(jnp.ones((4, 4, 1)), kept, **options)
