"""The examples in docstrings, which run as they stand after a few lines that they share."""

import doctest
import inspect
from collections.abc import Iterator
from typing import Any

from .public_names import Name, public_names

# Shown on the page of the reference.
PRELUDE = """\
import dataclasses, tempfile, equinox as eqx
import jax, jax.numpy as jnp, numpy as np, optax, surrogax as sx

key = jax.random.key(0)
a = np.random.default_rng(0).uniform(1, 2, (12, 16))                            # (sample, x)
ds = sx.from_arrays({"a": a}, {"u": a**2}, grid=sx.Grid.unit(16, 1, "periodic"))
task = sx.Task.fit(ds, inputs="a", targets="u")
A = sx.linear.Laplacian((15, 15), (1 / 16, 1 / 16), ("dirichlet", "dirichlet"))   # −Δ on the unit square
b = jnp.ones((15, 15))
denoise = lambda x, sigma, condition: 4 / (4 + sigma**2) * x                      # exact for N(0, 4)
"""


def has_example(name: Name) -> bool:
    """Whether the docstring of a public object holds an example."""
    documented = inspect.isclass(name.value) or inspect.isroutine(name.value)
    return documented and ">>> " in (name.value.__doc__ or "")


def failures() -> Iterator[str]:
    """Run every example; what each that fails was expected to print and printed."""
    shared: dict[str, Any] = {"__name__": "examples"}
    exec(compile(PRELUDE, "prelude", "exec", dont_inherit=True), shared)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for name in filter(has_example, public_names()):
        test = doctest.DocTestParser().get_doctest(inspect.getdoc(name.value), dict(shared), name.path, None, None)
        said: list[str] = []
        runner.run(test, out=said.append)
        if said:
            yield "".join(said)
