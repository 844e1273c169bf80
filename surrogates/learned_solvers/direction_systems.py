"""Random systems A e = r on which search directions are trained. "The paper" here is Kaneda et al. (2023)."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...solvers.kernels import lanczos, stencil
from ...solvers.kernels.trigonometric import dst1, laplacian_eigenvalues
from ...solvers.linear.operators.diffusion import Diffusion

EXTRA = 0.05  # the paper's θ/m, with θ = 500 of m = 10000 vectors


class AbstractSystems(eqx.Module):
    """A distribution of linear systems A e = r.

    **Example:**

        >>> isinstance(sx.learned_solvers.SineSystems((4, 4)), sx.learned_solvers.AbstractSystems)
        True
    """

    @abc.abstractmethod
    def sample(self, key: Array, count: int) -> tuple[Diffusion, Float[Array, "count *n"], Float[Array, "count *n"]]:
        """A random operator A, and `count` solutions e and right-hand sides r = A e with ‖r‖ = 1."""


class SineSystems(AbstractSystems):
    """The paper's right-hand sides (`sine_mix`) for one fixed operator: −Δ with spacing 1 and Dirichlet sides on a box.

    **Arguments:** `shape`: number of points per axis.

    **Example:**

        >>> sx.learned_solvers.SineSystems((16, 16)).shape
        (16, 16)
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def sample(self, key, count):
        r = jax.vmap(lambda k: sine_mix(self.shape, k))(jax.random.split(key, count))
        axes = tuple(range(1, r.ndim))
        e = dst1(dst1(r, axes, norm="ortho") / _sine_eigenvalues(self.shape), axes, norm="ortho")
        boundaries = ("dirichlet",) * len(self.shape)
        faces = stencil.unit_faces(self.shape, boundaries, jnp.float32)
        return Diffusion(faces, self.shape, (1.0,) * len(self.shape), boundaries), e, r


class RandomDomains(AbstractSystems):
    """−Δ on random domains with obstacles (`random_domain`).

    Solutions are e = Σ (c_i/θ_i) v_i with Ritz values θ_i and Ritz vectors v_i of `steps` Lanczos steps and random c_i
    (`mixed_coefficients`); r = A e, normalised.

    **Arguments:**

    - `side`: largest number of points per axis.
    - `dim`: number of space dimensions.
    - `steps`: number of Lanczos steps. Few are enough, because training continues with the residuals of the iteration, on which
      the first right-hand sides have little influence.

    **Example:**

        >>> sx.learned_solvers.DirectionObjective(sx.learned_solvers.RandomDomains(16)).loss
        'energy'
    """

    side: int = eqx.field(static=True)
    dim: int = eqx.field(static=True, default=2)
    steps: int = eqx.field(static=True, default=16)

    def sample(self, key, count):
        k_domain, k_systems = jax.random.split(key)
        return _with_solutions(random_domain(k_domain, self.side, self.dim), self.steps, k_systems, count)


class MixedDomains(AbstractSystems):
    """−Δ on a mixture of domains: 40 % those of `RandomDomains`, 30 % mazes, 30 % porous media.

    A maze has walls of one point and channels of 1 to 5 points, between which every cell opens one wall. A porous medium is a
    box of which up to 35 % of the points, drawn one by one, are solid. Each of their axes is a ring (25 %) or has two sides; on
    sides and on solid points, u = 0 or the flux is zero. Solutions are those of `RandomDomains`.

    **Arguments:** `side`, `dim`, `steps`: as in `RandomDomains`.

    **Example:**

        >>> sx.learned_solvers.MixedDomains(16).dim
        2
    """

    side: int = eqx.field(static=True)
    dim: int = eqx.field(static=True, default=2)
    steps: int = eqx.field(static=True, default=16)

    def sample(self, key, count):
        k_domain, k_systems = jax.random.split(key)
        return _with_solutions(mixed_domain(k_domain, self.side, self.dim), self.steps, k_systems, count)


def _with_solutions(operator: Diffusion, steps: int, key: Array, count: int):
    """The operator, `count` random solutions e and right-hand sides r = A e with ‖r‖ = 1."""
    k_basis, k_mix = jax.random.split(key)
    values, vectors = ritz_vectors(operator, steps, k_basis)
    inverse = jnp.where(values > 1e-5, 1 / jnp.maximum(values, 1e-5), 0)

    def pair(key):
        c = mixed_coefficients(key, steps)
        e = jnp.tensordot(c * inverse, vectors, 1, precision="highest")
        r = operator.mv(e)
        size = jnp.linalg.norm(r)
        usable = jnp.isfinite(size) & (size > 0)  # false if the obstacles fill the box
        scale = 1 / jnp.where(usable, size, 1)
        return jnp.where(usable, scale * e, 0), jnp.where(usable, scale * r, 0)

    return operator, *jax.vmap(pair)(jax.random.split(key=k_mix, num=count))


def sine_mix(shape: tuple[int, ...], key: Array) -> Float[Array, "*n"]:
    """A random field b = Σ c_i v_i / ‖Σ c_i v_i‖ with the eigenvectors v_i of −Δ on a box and c_i from `mixed_coefficients`.

    The paper uses Ritz vectors in place of the eigenvectors, which need the memory of a Lanczos basis.

    **Example:**

        >>> sx.learned_solvers.sine_mix((8, 8), key).shape
        (8, 8)
    """
    order = np.argsort(_sine_eigenvalues(shape).ravel(), kind="stable")
    coefficients = mixed_coefficients(key, order.size)
    modes = jnp.zeros(order.size).at[order].set(coefficients / jnp.linalg.norm(coefficients))
    return dst1(modes.reshape(shape), tuple(range(len(shape))), norm="ortho")


def ritz_mix(vectors: Float[Array, "m *n"], key: Array) -> Float[Array, "*n"]:
    """A random field b = Σ c_i v_i / ‖Σ c_i v_i‖ with Ritz vectors v_i from `ritz_vectors` and c_i from `mixed_coefficients`, as
    in the paper.

    **Example:**

        >>> _, vectors = sx.learned_solvers.ritz_vectors(A, 6, key)
        >>> sx.learned_solvers.ritz_mix(vectors, key).shape
        (15, 15)
    """
    b = jnp.tensordot(mixed_coefficients(key, len(vectors)), vectors, 1, precision="highest")
    return b / jnp.linalg.norm(b)


def mixed_coefficients(key: Array, count: int) -> Float[Array, " count"]:
    """Random c_i, in the order of ascending eigenvalues: 9 N(0, 1) for the first 55 %, N(0, 1) for the rest (section 4.2 of the
    paper)."""
    weights = jnp.where(jnp.arange(count) < int((0.5 + EXTRA) * count), 9.0, 1.0)
    return weights * jax.random.normal(key, (count,))


def ritz_vectors(operator, steps: int, key: Array) -> tuple[Float[Array, " steps"], Float[Array, "steps *n"]]:
    """Ritz values, ascending `(steps,)`, and unit Ritz vectors `(steps, *n)` of `steps` Lanczos steps from a random start.

    Every Lanczos vector is orthogonalised twice against all previous ones; without that, copies of converged extreme vectors
    appear in float32. The start is A times noise, so that a null space of A has no part in it. If A has fewer than `steps`
    distinct eigenvalues, the remaining vectors are zero. Memory use is `steps` fields: the paper uses 10000 steps, a few
    hundred are practical.

    **Example:**

        >>> values, vectors = sx.learned_solvers.ritz_vectors(A, 6, key)
        >>> values.shape, vectors.shape
        ((6,), (6, 15, 15))
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
    """−Δ with spacing 1 on a random box inside a grid of side^dim points, with up to four obstacles.

    On sides and obstacles either u = 0 (Dirichlet) or the flux is zero. 30 % of the domains are boxes with Dirichlet sides and
    without obstacles; 10 % have zero flux on all sides. A box has between side/2 and side points per axis. All points outside
    it are solid, so that all domains have the same array shape.

    **Example:**

        >>> type(sx.learned_solvers.random_domain(key, 16)).__name__
        'Diffusion'
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
    # The operator is given by faces and a shift: a face closed by u = 0 adds its coefficient to the shift.
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


def mixed_domain(key: Array, side: int, dim: int = 2) -> Diffusion:
    """−Δ with spacing 1 on side^dim points, on a domain of `MixedDomains`. Axes are rings, most with a closed face.

    **Example:**

        >>> type(sx.learned_solvers.mixed_domain(key, 16)).__name__
        'Diffusion'
    """
    keys = jax.random.split(key, 7)
    points = jnp.stack(jnp.meshgrid(*[jnp.arange(side)] * dim, indexing="ij"))
    kind = jax.random.uniform(keys[0])
    porous = jax.random.bernoulli(keys[1], jax.random.uniform(keys[2], maxval=0.35), points.shape[1:])
    fluid = jnp.where(kind < 0.7, ~_maze_walls(keys[3], points, side), ~porous)
    ring = jax.random.bernoulli(keys[4], 0.25, (dim,))
    fixed_sides = jax.random.bernoulli(keys[5], 0.5, (dim, 2)) & ~ring[:, None]
    fixed_walls = jax.random.bernoulli(keys[6], 0.3)
    open_to = fluid.astype(jnp.float32)
    faces = stencil.open_faces(open_to, ("periodic",) * dim)
    last = [points[axis] == side - 1 for axis in range(dim)]
    faces = [jnp.where(last[axis] & ~ring[axis], 0, face) for axis, face in enumerate(faces)]
    shift = jnp.zeros(fluid.shape)
    for axis, x in enumerate(points):
        ends = jnp.where(x == 0, fixed_sides[axis, 0], False), jnp.where(last[axis], fixed_sides[axis, 1], False)
        shift += sum(end.astype(shift.dtype) for end in ends)
        for step, end in ((1, x == 0), (-1, last[axis])):
            beside = jnp.roll(1 - open_to, step, axis)
            shift += fixed_walls * jnp.where(end & ~ring[axis], 0, beside)
    shift = jnp.where(fluid, shift, 2.0 * dim)
    mixed = Diffusion(faces, fluid.shape, (1.0,) * dim, ("periodic",) * dim, shift)
    plain = random_domain(key, side, dim)
    closed = [stencil.pad_axis(face, axis, 0, 1) for axis, face in enumerate(plain.faces)]
    plain = Diffusion(closed, mixed.shape, mixed.spacing, mixed.boundaries, plain.shift)
    return jax.tree.map(lambda a, b: jnp.where(kind < 0.4, a, b), plain, mixed)


def _maze_walls(key: Array, points: Array, side: int) -> Bool[Array, "*n"]:
    """The walls of a maze: of the walls towards the next cells along the axes, every cell has opened one."""
    k_width, k_choice = jax.random.split(key)
    pitch = jax.random.randint(k_width, (), 2, 7)
    cell, at_wall = points // pitch, points % pitch == pitch - 1
    scores = jax.random.uniform(k_choice, points.shape)
    own = jax.vmap(lambda score: score[tuple(cell)])(scores)
    opened = jnp.argmax(jnp.where((cell + 1) * pitch < side, own, -1), 0)
    passable = (at_wall.sum(0) == 1) & jnp.take_along_axis(at_wall, opened[None], 0)[0]
    return at_wall.any(0) & ~passable


def _obstacle(key: Array, points: Array, side: int) -> Bool[Array, "*n"]:
    """A mask of an ellipsoid or a block with random place, size and orientation. It may touch the sides."""
    keys = jax.random.split(key, 4)
    dim = len(points)
    centre = jax.random.uniform(keys[0], (dim,), maxval=side)
    radii = side * jnp.exp(jax.random.uniform(keys[1], (dim,), minval=jnp.log(0.02), maxval=jnp.log(0.22)))
    mirror = jax.random.normal(keys[2], (dim,))  # a random reflection, which gives the axes a random orientation
    turn = jnp.eye(dim) - 2 * jnp.outer(mirror, mirror) / (mirror @ mirror)
    x = jnp.tensordot(turn / radii[:, None], points - centre.reshape(-1, *[1] * dim), 1, precision="highest")
    return jnp.where(jax.random.bernoulli(keys[3]), (x**2).sum(0), jnp.abs(x).max(0)) < 1


def _sine_eigenvalues(shape: tuple[int, ...]) -> Float[np.ndarray, "*n"]:
    along = [np.asarray(laplacian_eigenvalues(n, 1.0, "dirichlet")) for n in shape]
    return np.sum(np.meshgrid(*along, indexing="ij"), axis=0)
