"""`PriorCovariance`: guidance with the covariance of the data instead of the Jacobian of the network."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked
from ...core.arrays import AnyArray
from ..linear import CG
from ..linear.method import AbstractMethod
from .coloured_noise import AbstractColouredNoise
from .gaussian_denoiser import GaussianDenoiser, relative_modes
from .guidance import AbstractGuidance, finite_or_nan, solved_beside_errors

_FEW = 512  # observations, up to which their covariance with every mode is computed: a solve then needs no field


class PriorCovariance(AbstractGuidance):
    """p(x₀ | x) as the Gaussian with the mean of the denoiser and the covariance of a Gaussian law,

        D_y = D + Σ Hᵀ (H Σ Hᵀ + R)⁻¹ (y − A(D)),   Σ = C − C (C + s² K)⁻¹ C,

    with the covariance C of given samples and K of the noise, the operator linearised at D. It is exact for Gaussian priors and
    linear operators, as `MomentMatched`, whose Σ is the Jacobian of the network. That one follows priors that are not Gaussian;
    but of a trained network at high noise levels it need not be symmetric nor positive, the linear solve then breaks down, and
    observations are not heard. This Σ is symmetric and positive whatever the network is, and takes no derivative of it.

    All modes of Σ are kept as one array, so it is for samples of up to some thousand numbers.

    **Arguments:**

    - `samples`: of the data, `(n, *shape)`, in the units of the denoiser; many more than independent numbers in a sample. Or
      their `GaussianDenoiser`.
    - `noise`: the noise of `sample`, None for white noise.
    - `method`: of the linear solve in the space of observations.

    **Raises:** `ValueError` for fewer than two samples, values that are not finite, samples that are all the same, and where
    samples are drawn with another noise. **Warns** if further samples would have further directions.

    **Example:**

        >>> data = np.random.default_rng(0).normal(size=(500, 2))
        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> guided = sx.diffusion.PriorCovariance(2 * data)(denoise, observed)                        # the prior is N(0, 4)
        >>> x = sx.diffusion.sample(guided, "auto", schedule=sx.diffusion.EDM(), times=20, shape=(2,), n=64, key=key)
        >>> bool(abs(x[:, 0].mean() - 1) < 0.1)
        True
    """

    modes: Float[Array, "r *shape"]
    ratios: Float[Array, " r"]
    noise: AbstractColouredNoise | None
    method: AbstractMethod

    @checked
    def __init__(
        self,
        samples: AnyArray | GaussianDenoiser,
        *,
        noise: AbstractColouredNoise | None = None,
        method: AbstractMethod = CG(rtol=1e-3, max_steps=200),  # noqa: B008 (frozen)
    ):
        if isinstance(samples, GaussianDenoiser):
            if noise is not None:
                raise ValueError(
                    "PriorCovariance(noise=…): a GaussianDenoiser was made with its noise; leave it out here"
                )
            self.modes, self.ratios, self.noise = samples.modes, samples.ratios, samples.noise
        else:
            _, self.modes, _, self.ratios = relative_modes("PriorCovariance", samples, noise)
            self.noise = noise
        self.method = method

    def denoised(self, here, evidence):
        if jax.tree.structure(here.noise) != jax.tree.structure(self.noise):
            raise ValueError(
                f"PriorCovariance was made for the noise {self.noise}, here it is {here.noise}; give both the same noise"
            )
        mean = here.plain(here.x)
        if mean.shape != self.modes.shape[1:]:
            raise ValueError(
                f"PriorCovariance was made of samples of shape {self.modes.shape[1:]}, here they have {mean.shape}"
            )
        modes, ratios = self.modes.reshape(len(self.modes), -1).astype(mean.dtype), self.ratios.astype(mean.dtype)
        left = here.sigma**2 * ratios / (ratios + here.sigma**2)
        seen = evidence.linearised(mean)
        few = len(seen.residual) <= _FEW
        rows = jax.vmap(seen.transposed)(jnp.eye(len(seen.residual), dtype=mean.dtype)) if few else None
        there = None if rows is None else _product(rows.reshape(len(rows), -1), modes.T)

        def coefficients(u):
            return left * (_product(u, there) if few else _product(modes, seen.transposed(u).ravel()))

        def observed(shares):
            return _product(there, shares) if few else seen.forward(_product(shares, modes).reshape(mean.shape))

        solution = solved_beside_errors(lambda u: observed(coefficients(u)), seen.residual, self.method)
        return mean + _product(coefficients(finite_or_nan(solution)), modes).reshape(mean.shape)


def _product(a, b):
    return jnp.matmul(a, b, precision="highest")
