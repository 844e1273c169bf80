"""`LinearSpectral`: the best linear map that commutes with translations, by ridge regression per frequency."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.arguments import check_fields, count, number
from ...core.precision import in_double
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.fourier import multiply, truncated_irfft, truncated_rfft
from ..resampling import resample
from ..surrogate import AbstractRelative, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import Buffer
from ..training.result import AbstractDirectFit


class LinearSpectral(AbstractDirectFit):
    """The best linear map that commutes with translations: û_k = M_k â_k + c_k for the Fourier coefficients at |k_i| ≤ `modes`.

    M_k and c_k are found by ridge regression on the training set: `fit(LinearSpectral(task), train)`. On problems close to a
    linear one with constant coefficients it is hard to beat. A nonlinear operator that does not beat it has learned nothing
    nonlinear.

    **Arguments:**

    - `task`: a steady task with input fields on a grid.
    - `modes`: frequencies kept per axis and sign, as in `FNO`.
    - `ridge`: strength of the ridge, relative to the mean square of the inputs' Fourier coefficients; 1e-6, or more for few or
      noisy samples.

    **Raises:** `ValueError`, from `fit`, for other tasks.

    **Example:**

        >>> fit = sx.fit(sx.LinearSpectral(task, modes=4), ds)
        >>> fit.predict(ds)["u"].shape
        (12, 16)
    """

    task: Task
    modes: int = eqx.field(static=True, default=12)
    ridge: float = eqx.field(static=True, default=1e-6)

    def __check_init__(self):
        check_fields(self)
        count("LinearSpectral", "modes", self.modes)
        number("LinearSpectral", "ridge", self.ridge, least=0)

    def fitted(self, train: Dataset, val: Dataset | None = None) -> "FittedLinearSpectral":
        self.task.check(train)
        grid = self.task.domain.as_grid("LinearSpectral")
        if self.task.mode.ahead or not self.task.inputs:
            raise ValueError(f"LinearSpectral serves steady tasks with input fields, not {self.task!r}")
        kept = (*(2 * self.modes,) * (grid.ndim - 1), self.modes)
        data = train.read(self.task.names())

        @in_double
        @jax.jit
        def regress(data, ridge):
            def spectra(fields):
                a = _with_one(truncated_rfft(_fields(self.task, fields), kept))
                u = truncated_rfft(self.task.encode_targets(self.task.wanted(fields))[0], kept)
                return (*a, *u)

            a_re, a_im, u_re, u_im = jax.vmap(spectra)(data)
            # Complex least squares, written as real ones: two rows (re, im) per sample, unknowns (Re M, Im M).
            rows = jnp.concatenate([jnp.concatenate([a_re, -a_im], -1), jnp.concatenate([a_im, a_re], -1)])
            values = jnp.concatenate([u_re, u_im])
            gram = jnp.einsum("n...i,n...j->...ij", rows, rows)
            right = jnp.einsum("n...i,n...o->...io", rows, values)
            scale = ridge * jnp.trace(gram, axis1=-2, axis2=-1).mean() / gram.shape[-1]
            return jnp.linalg.solve(gram + scale * jnp.eye(gram.shape[-1]), right)

        m = regress(data, np.asarray(self.ridge))
        half = m.shape[-2] // 2
        weight = np.stack([m[..., :half, :], m[..., half:, :]]).astype(np.float32)
        return FittedLinearSpectral(self.task, Buffer(jnp.asarray(weight)))


@register("FittedLinearSpectral")
class FittedLinearSpectral(AbstractRelative):
    """A fitted `LinearSpectral`.

    **Fields:** `task`; `weight` `(2, *kept, in + 1, out)`: real and imaginary parts of M_k, with c_k as the last input channel.
    """

    task: Task
    weight: Buffer
    capabilities = Capabilities(resolution_free=True)

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        fields = resample(self.task, fields, at)
        x = _fields(self.task, fields)
        weight = self.weight.value
        coefficients = _with_one(truncated_rfft(x, weight.shape[1:-2]))
        y = truncated_irfft(multiply(coefficients, weight), x.shape[:-1])
        return self.task.split(self.task.decode(y, fields))

    def about_origin(self) -> "FittedLinearSpectral":
        return FittedLinearSpectral(self.task.about_origin(), self.weight)


def _fields(task: Task, fields: Fields) -> Array:
    packed = task.pack(fields).fields
    assert packed is not None  # `LinearSpectral.fitted` refuses tasks without input fields
    return packed


def _with_one(coefficients):
    """The coefficients with a further channel that is 1 at every frequency, for the constant term c_k."""
    re, im = coefficients
    return jnp.concatenate([re, jnp.ones_like(re[..., :1])], -1), jnp.concatenate([im, jnp.zeros_like(im[..., :1])], -1)
