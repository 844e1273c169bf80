import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from jax.test_util import check_grads

from surrogax.solvers.kernels import stencil, trigonometric

METHODS = ("fft", "dft")
REFERENCES = {
    "dst1": lambda x, axes, norm: scipy.fft.dstn(x, type=1, axes=axes, norm=norm),
    "dct1": lambda x, axes, norm: scipy.fft.dctn(x, type=1, axes=axes, norm=norm),
    "dct2": lambda x, axes, norm: scipy.fft.dctn(x, type=2, axes=axes, norm=norm),
    "dct3": lambda x, axes, norm: scipy.fft.dctn(x, type=3, axes=axes, norm=norm),
}
INVERSES = {"dst1": "dst1", "dct1": "dct1", "dct2": "dct3", "dct3": "dct2", "dht": "dht"}


def random(*shape):
    return np.random.default_rng(0).normal(size=shape)


def transform(name, x, axes, **options):
    return jax.jit(lambda x: getattr(trigonometric, name)(x, axes, **options))(jnp.asarray(x))


@pytest.mark.parametrize("norm", [None, "ortho"])
@pytest.mark.parametrize("name", REFERENCES)
def test_equals_scipy_for_even_and_odd_lengths(name, norm):
    x = random(5, 6, 2)
    with jax.enable_x64(True):
        for method in METHODS:
            for axes in ((0, 1), (-1,)) if norm else ((1, 0),):
                expected = REFERENCES[name](x, axes, norm)
                np.testing.assert_allclose(transform(name, x, axes, norm=norm, method=method), expected, atol=1e-13)


@pytest.mark.parametrize("name", ["dst1", "dct2", "dct3"])
def test_equals_scipy_for_a_single_point(name):
    for method in METHODS:
        expected = REFERENCES[name](np.array([3.0]), (0,), "ortho")
        np.testing.assert_allclose(transform(name, np.float32([3.0]), 0, norm="ortho", method=method), expected, 1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_hartley_is_real_minus_imaginary_part_of_the_fft(n, method):
    x = random(3, n)
    spectrum = np.fft.fft(x, axis=1)
    with jax.enable_x64(True):
        np.testing.assert_allclose(transform("dht", x, 1, method=method), spectrum.real - spectrum.imag, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", INVERSES)
def test_orthonormal_transforms_invert_in_float32(name, method):
    x = random(33, 4).astype(np.float32)
    y = transform(name, x, (0, 1), norm="ortho", method=method)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x), rtol=1e-6)
    np.testing.assert_allclose(transform(INVERSES[name], y, (0, 1), norm="ortho", method=method), x, atol=3e-6)


@pytest.mark.parametrize("name", INVERSES)
def test_gradients_match_finite_differences_for_both_methods(name):
    with jax.enable_x64(True):
        for method in METHODS:
            kernel = jax.jit(lambda x, m=method: getattr(trigonometric, name)(x, 0, method=m) ** 2)
            check_grads(lambda x, f=kernel: f(jnp.asarray(x)), (random(5),), order=1, modes=("rev",))


@pytest.mark.parametrize("method", METHODS)
def test_vmap_and_bfloat16(method):
    x = jnp.asarray(random(3, 8), jnp.bfloat16)
    batched = jax.jit(jax.vmap(lambda x: trigonometric.dct2(x, 0, norm="ortho", method=method)))(x)
    assert batched.dtype == jnp.bfloat16
    expected = scipy.fft.dct(np.asarray(x, np.float64), type=2, axis=1, norm="ortho")
    np.testing.assert_allclose(np.asarray(batched, np.float64), expected, atol=0.05)


def test_auto_uses_products_for_short_axes_and_the_fft_for_long_ones():
    text = [jax.jit(lambda x: trigonometric.dst1(x, 0)).lower(jnp.ones(n)).as_text() for n in (16, 2048)]
    assert ["stablehlo.fft" in t for t in text] == [False, True]


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
@pytest.mark.parametrize("n", [1, 6, 7])
def test_eigenvalues_belong_to_the_basis_in_its_order(boundary, n):
    basis = {"dirichlet": "dst1", "neumann": "dct2", "periodic": "dht"}[boundary]
    with jax.enable_x64(True):
        apply = jax.jit(jax.vmap(lambda u: stencil.apply_laplacian(u, (0.1,), (boundary,))))
        matrix = np.asarray(apply(jnp.eye(n)))
        q = np.asarray(transform(basis, np.eye(n), 0, norm="ortho"))
    eigenvalues = trigonometric.laplacian_eigenvalues(n, 0.1, boundary)
    np.testing.assert_allclose(q @ matrix @ q.T, np.diag(eigenvalues), atol=1e-11)
    assert boundary == "dirichlet" or eigenvalues[0] == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", INVERSES)
def test_exports_for_every_platform_without_callbacks_or_doubles(name, method):
    kernel = getattr(trigonometric, name)
    function = jax.jit(jax.grad(lambda x: jnp.sum(kernel(x, (0, 1), method=method) ** 2)))
    argument = jax.ShapeDtypeStruct((4, 5), jnp.float32)
    text = jax.export.export(function, platforms=["cpu", "cuda", "tpu"])(argument).mlir_module()
    assert "custom_call" not in text and "f64" not in text
    assert ("complex" in text) == (method == "fft")


def test_wrong_use_is_named():
    for method in METHODS:
        with pytest.raises(ValueError, match="at least 2 points"):
            trigonometric.dct1(jnp.ones(1), 0, method=method)
    dst1 = getattr(trigonometric.dst1, "__wrapped__", trigonometric.dst1)
    with pytest.raises(ValueError, match="norm must be"):
        dst1(jnp.ones(4), 0, norm="forward")
    with pytest.raises(ValueError, match="method must be"):
        dst1(jnp.ones(4), 0, method="fftw")
    eigenvalues = trigonometric.laplacian_eigenvalues
    with pytest.raises(ValueError, match="boundary must be"):
        getattr(eigenvalues, "__wrapped__", eigenvalues)(4, 0.1, "robin")
