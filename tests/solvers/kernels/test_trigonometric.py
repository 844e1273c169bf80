import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

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


def evaluate(x, axes, *names, norm=None):
    """{(name, method): transformed x}, all in one compiled program."""

    @jax.jit
    def all_transforms(x):
        pairs = itertools.product(names, METHODS)
        return {pair: getattr(trigonometric, pair[0])(x, axes, norm=norm, method=pair[1]) for pair in pairs}

    return all_transforms(jnp.asarray(x))


@pytest.mark.parametrize("norm", [None, "ortho"])
@pytest.mark.parametrize("axes", [(0, 1), (-1,)])
def test_equals_scipy_for_even_and_odd_lengths(axes, norm):
    x = random(5, 6, 2)
    with jax.enable_x64(True):
        for (name, _), y in evaluate(x, axes, *REFERENCES, norm=norm).items():
            np.testing.assert_allclose(y, REFERENCES[name](x, axes, norm), atol=1e-13, err_msg=name)


def test_equals_scipy_for_a_single_point():
    x = np.float32([3.0])
    for (name, _), y in evaluate(x, 0, "dst1", "dct2", "dct3", norm="ortho").items():
        np.testing.assert_allclose(y, REFERENCES[name](x, (0,), "ortho"), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_hartley_is_real_minus_imaginary_part_of_the_fft(n):
    x = random(3, n)
    spectrum = np.fft.fft(x, axis=1)
    with jax.enable_x64(True):
        for y in evaluate(x, 1, "dht").values():
            np.testing.assert_allclose(y, spectrum.real - spectrum.imag, atol=1e-13)


def test_orthonormal_transforms_invert_in_float32():
    @jax.jit
    def there_and_back(x):
        results = {}
        for name, method in itertools.product(INVERSES, METHODS):
            y = getattr(trigonometric, name)(x, (0, 1), norm="ortho", method=method)
            results[name, method] = y, getattr(trigonometric, INVERSES[name])(y, (0, 1), norm="ortho", method=method)
        return results

    x = random(33, 4).astype(np.float32)
    for case, (y, restored) in there_and_back(jnp.asarray(x)).items():
        assert y.dtype == restored.dtype == jnp.float32
        np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x), rtol=1e-6, err_msg=str(case))
        np.testing.assert_allclose(restored, x, atol=3e-6, err_msg=str(case))


def test_reverse_and_forward_derivatives_are_the_matrix_itself():
    @jax.jit
    def jacobians():
        def pair(name, method):
            kernel = lambda x: getattr(trigonometric, name)(x, 0, method=method)  # noqa: E731
            return jax.jacrev(kernel)(jnp.ones(5)), jax.jacfwd(kernel)(jnp.ones(5))

        return {name: [pair(name, method) for method in METHODS] for name in REFERENCES}

    with jax.enable_x64(True):
        for name, pairs in jacobians().items():
            matrix = REFERENCES[name](np.eye(5), (0,), None)
            for jacobian in itertools.chain(*pairs):
                np.testing.assert_allclose(jacobian, matrix, atol=1e-13, err_msg=name)


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
        q = np.asarray(evaluate(np.eye(n), 0, basis, norm="ortho")[basis, "dft"])
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
