"""Public numerical functions compile ahead of time for CPU, CUDA and TPU: no host callback, no float64, no complex128."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.solvers.kernels import exponential, gaussian_field, interpolate, norms
from surrogax.surrogates.operators import FourierNetwork

# Custom calls that XLA itself provides on the platform it compiles for.
KNOWN = ("stablehlo.custom_call @Sharding", "stablehlo.custom_call @annotate")


def exported(function, *arguments) -> str:
    export = jax.export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(*arguments)
    return export.mlir_module()


def solve_gradient(a):
    grid = sx.Grid.unit_square(9)
    darcy = sx.problem("darcy")
    return jax.grad(lambda a: darcy.solve({"a": a}, grid)[0]["u"].sum())(a)


def network_gradient(x):
    network = FourierNetwork(1, 1, width=4, kept=(4, 3), depth=2, padding=0.25, key=jax.random.key(0))
    query = jnp.zeros((8, 7, 2))
    return eqx.filter_grad(lambda n: (n(sx.Inputs(fields=x, query=query)) ** 2).sum())(network).lifting


def evolution_gradient(name, nu, u0):
    declared = sx.problem(name, nu=sx.random.Uniform(0.01, 0.1))
    grid = declared.box.grid(u0.shape)
    return jax.grad(lambda nu: (declared.solve({"nu": nu, "u0": u0}, grid, times=[0.0, 0.5])[0]["u"] ** 2).sum())(nu)


SQUARE = jnp.ones((9, 9))
CASES = {
    "gradient of a Darcy solve": (solve_gradient, SQUARE),
    "gradient of an FNO": (network_gradient, jnp.ones((8, 7, 1))),
    "Gaussian field": (
        lambda k: gaussian_field.sample(k, sx.Grid.unit_square(9), "neumann", lambda e: 1 / (1 + e)),
        jax.random.key(0),
    ),
    "relative H1": (lambda u: norms.relative_h1(u, u + 1, SQUARE, (0.1, 0.1), (True, False)), jnp.ones((9, 9, 2))),
    "interpolation": (lambda u: interpolate.apply_along_axes(u, [np.ones((5, 9)), np.ones((4, 9))]), SQUARE),
    "gradient of Burgers": (functools.partial(evolution_gradient, "burgers"), 0.05, jnp.ones(16)),
    "gradient of heat": (functools.partial(evolution_gradient, "heat"), 0.05, jnp.ones(16)),
    "ETDRK2 with dispersion": (
        lambda u: exponential.integrate(
            lambda dt: exponential.etdrk2(1j * np.arange(5.0), lambda v, t: -v, dt), u, [1], 0.1
        )[0],
        jnp.ones(5, jnp.complex64),
    ),
    "threshold field": (lambda k: sx.random.Threshold().sample(k, sx.Grid.unit_square(9)), jax.random.key(0)),
}


@pytest.mark.parametrize("case", CASES)
def test_exports_for_all_platforms(case):
    function, *arguments = CASES[case]
    text = exported(function, *arguments)
    assert "f64" not in text and "complex<f64>" not in text
    calls = [line.strip() for line in text.splitlines() if "custom_call" in line and not any(k in line for k in KNOWN)]
    assert not calls, calls[:3]
