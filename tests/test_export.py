"""Public numerical functions compile ahead of time for CPU, CUDA and TPU: no host callback, no float64, no complex128."""

import jax
import pytest
from tools.export_cases import CASES

# Custom calls that XLA itself provides on the platform it compiles for.
KNOWN = ("stablehlo.custom_call @Sharding", "stablehlo.custom_call @annotate")


def exported(function, *arguments) -> str:
    export = jax.export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(*arguments)
    return export.mlir_module()


# The parts of these are in others: the pressure solve in smoke, the integrator in Burgers.
NIGHTLY = (
    "gradient of a channel's drag",
    "gradient of flow on a torus",
    "gradient of navier_stokes",
    "gradient of gray_scott",
    "gradient of korteweg_de_vries",
    "gradient of allen_cahn",
    "gradient of advection",
    "gradient of wave",
)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.nightly] * (case in NIGHTLY)) for case in CASES]
)
def test_exports_for_all_platforms(case):
    function, *arguments = CASES[case]
    text = exported(function, *arguments)
    assert "f64" not in text and "complex<f64>" not in text
    calls = [line.strip() for line in text.splitlines() if "custom_call" in line and not any(k in line for k in KNOWN)]
    assert not calls, calls[:3]
