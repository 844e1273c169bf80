"""Random systems A e = r on which search directions are trained: right-hand sides of the paper, domains with obstacles."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...solvers.kernels import lanczos, stencil
from ...solvers.kernels.trigonometric import dst1, laplacian_eigenvalues
from ...solvers.linear.operators.diffusion import Diffusion

EXTRA = 0.05  # θ/m of the paper: 500 of 10000 vectors


class AbstractSystems(eqx.Module):
    """`sample(key, count) -> (operator, e, r)`: a random operator and `count` pairs A e = r of unit ‖r‖, `(count, *n)`."""

    @abc.abstractmethod
    def sample(
        self, key: Array, count: int
    ) -> tuple[Diffusion, Float[Array, "count *n"], Float[Array, "count *n"]]: ...


class SineSystems(AbstractSystems):
    """The paper's right-hand sides (`sine_mix`) for −Δ with spacing 1 and Dirichlet sides on one box."""

    shape: tuple[int, ...] = eqx.field(static=True)

    def sample(self, key, count):
        r = jax.vmap(lambda k: sine_mix(self.shape, k))(jax.random.split(key, count))
        axes = tuple(range(1, r.ndim))
        e = dst1(dst1(r, axes, norm="ortho") / _sine_eigenvalues(self.shape), axes, norm="ortho")
        boundaries = ("dirichlet",) * len(self.shape)
        faces = stencil.unit_faces(self.shape, boundaries, jnp.float32)
        return Diffusion(faces, self.shape, (1.0,) * len(self.shape), boundaries), e, r


class RandomDomains(AbstractSystems):
    """−Δ on `random_domain`s with Ritz mixes of `steps` Lanczos steps, θ the Ritz values: e = Σ (c_i/θ_i) v_i, r = A e.

    Few steps do where the training goes on with the residuals that the iteration leaves: the start matters little then.
    """

    side: int = eqx.field(static=True)
    dim: int = eqx.field(static=True, default=2)
    steps: int = eqx.field(static=True, default=16)

    def sample(self, key, count):
        k_domain, k_basis, k_mix = jax.random.split(key, 3)
        operator = random_domain(k_domain, self.side, self.dim)
        values, vectors = ritz_vectors(operator, self.steps, k_basis)
        inverse = jnp.where(values > 1e-5, 1 / jnp.maximum(values, 1e-5), 0)

        def pair(key):
            c = mixed_coefficients(key, self.steps)
            e = jnp.tensordot(c * inverse, vectors, 1, precision="highest")
            r = operator.mv(e)
            size = jnp.linalg.norm(r)
            usable = jnp.isfinite(size) & (size > 0)  # not where the obstacles fill the box
            scale = 1 / jnp.where(usable, size, 1)
            return jnp.where(usable, scale * e, 0), jnp.where(usable, scale * r, 0)

        return operator, *jax.vmap(pair)(jax.random.split(k_mix, count))


def sine_mix(shape: tuple[int, ...], key: Array) -> Float[Array, "*n"]:
    """b = Σ c_i v_i / norm over the exact eigenvectors v_i of −Δ on a box, c_i of `mixed_coefficients`: what the paper draws
    from Ritz vectors, without the memory of a Lanczos basis."""
    order = np.argsort(_sine_eigenvalues(shape).ravel(), kind="stable")
    coefficients = mixed_coefficients(key, order.size)
    modes = jnp.zeros(order.size).at[order].set(coefficients / jnp.linalg.norm(coefficients))
    return dst1(modes.reshape(shape), tuple(range(len(shape))), norm="ortho")


def ritz_mix(vectors: Float[Array, "m *n"], key: Array) -> Float[Array, "*n"]:
    """b = Σ c_i v_i / norm over the Ritz vectors of `ritz_vectors`, as in the paper."""
    b = jnp.tensordot(mixed_coefficients(key, len(vectors)), vectors, 1, precision="highest")
    return b / jnp.linalg.norm(b)


def mixed_coefficients(key: Array, count: int) -> Float[Array, " count"]:
    """c_i = 9 N(0, 1) for the lower half of the spectrum and 5 % more, N(0, 1) for the rest (section 4.2 of the paper)."""
    weights = jnp.where(jnp.arange(count) < int((0.5 + EXTRA) * count), 9.0, 1.0)
    return weights * jax.random.normal(key, (count,))


def ritz_vectors(operator, steps: int, key: Array) -> tuple[Float[Array, " steps"], Float[Array, "steps *n"]]:
    """Ritz values, ascending, and unit Ritz vectors of `steps` Lanczos steps from a random start, re-orthogonalised
    twice against all previous vectors (without that, copies of converged extreme ones appear in float32).

    The start is A times noise, so that a null space takes no part. An operator with fewer than `steps` distinct eigenvalues
    gets zero vectors for the rest. Memory: `steps` fields; the paper uses 10000, a few hundred are practical.
    """
    structure = operator.in_structure()

    def product(v):
        return operator.mv(v.reshape(structure.shape)).ravel()

    start = product(jax.random.normal(key, structure.shape, structure.dtype).ravel())
    found = lanczos.lanczos(product, start, steps, keep_vectors=True)
    tridiagonal = jnp.diag(found.diagonal) + jnp.diag(found.beside, 1) + jnp.diag(found.beside, -1)
    values, rotation = jnp.linalg.eigh(tridiagonal)
    vectors = jnp.matmul(rotation.T, found.vectors, precision="highest")
    return values, vectors.reshape(steps, *structure.shape)


def random_domain(key: Array, side: int, dim: int = 2) -> Diffusion:
    """−Δ with spacing 1 on a random box within side^dim points, with up to four obstacles.

    Sides and obstacles hold u = 0 or let no flux pass; 30 % are plain Dirichlet boxes, 10 % have flux-free sides only.
    Everything outside the box is solid, so that one array shape holds boxes of all sizes from half of `side` on.
    """
    keys = jax.random.split(key, 8)
    points = jnp.stack(jnp.meshgrid(*[jnp.arange(side)] * dim, indexing="ij"))
    lengths = jax.random.randint(keys[0], (dim,), side // 2, side + 1)
    lengths = jnp.where(jax.random.bernoulli(keys[1], 0.5), side, lengths)
    box = (points < lengths.reshape(-1, *[1] * dim)).all(0)
    kind = jax.random.uniform(keys[2])
    flux_free_sides = (jax.random.bernoulli(keys[3], 0.25, (dim, 2)) & (kind > 0.3)) | (kind > 0.9)
    obstacles = jax.vmap(lambda k: _obstacle(k, points, side))(jax.random.split(keys[4], 4))
    present = jax.random.bernoulli(keys[5], 0.4, (4,)) & (kind > 0.3)
    flux_free = jax.random.bernoulli(keys[6], 0.4, (4,))
    cut = lambda chosen: (obstacles & chosen.reshape(4, *[1] * dim)).any(0)  # noqa: E731
    dirichlet = cut(present & ~flux_free)
    fluid = box & ~dirichlet & ~cut(present & flux_free)
    # Everything in the form (faces, shift): a face closed by u = 0 leaves its coefficient in the shift.
    boundaries = ("neumann",) * dim
    shift = jnp.zeros(box.shape)
    for axis, x in enumerate(points):
        low, high = (x == 0) & ~flux_free_sides[axis, 0], (x == lengths[axis] - 1) & ~flux_free_sides[axis, 1]
        shift += low.astype(shift.dtype) + high
        beside = dirichlet.astype(shift.dtype)
        shift += stencil.pad_axis(beside, axis, 1, -1) + stencil.pad_axis(beside, axis, -1, 1)
    shift = jnp.where(fluid, shift, 2.0 * dim)
    faces = stencil.open_faces(fluid.astype(shift.dtype), boundaries)
    return Diffusion(faces, box.shape, (1.0,) * dim, boundaries, shift)


def _obstacle(key: Array, points: Array, side: int) -> Bool[Array, "*n"]:
    """An ellipsoid or a block of random place, size and turn; it may touch the sides."""
    keys = jax.random.split(key, 4)
    dim = len(points)
    centre = jax.random.uniform(keys[0], (dim,), maxval=side)
    radii = side * jnp.exp(jax.random.uniform(keys[1], (dim,), minval=jnp.log(0.02), maxval=jnp.log(0.22)))
    mirror = jax.random.normal(keys[2], (dim,))  # a reflection turns the axes as well as a rotation does
    turn = jnp.eye(dim) - 2 * jnp.outer(mirror, mirror) / (mirror @ mirror)
    x = jnp.tensordot(turn / radii[:, None], points - centre.reshape(-1, *[1] * dim), 1, precision="highest")
    return jnp.where(jax.random.bernoulli(keys[3]), (x**2).sum(0), jnp.abs(x).max(0)) < 1


def _sine_eigenvalues(shape: tuple[int, ...]) -> Float[np.ndarray, "*n"]:
    along = [np.asarray(laplacian_eigenvalues(n, 1.0, "dirichlet")) for n in shape]
    return np.sum(np.meshgrid(*along, indexing="ij"), axis=0)
