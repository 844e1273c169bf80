"""Multigrid as a preconditioner: iteration counts that do not depend on size, jumps, obstacles or boundaries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.sparse

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Multigrid, Richardson, Sparse, Status, System, TunedSolver, solve

WALLS = ("dirichlet", "dirichlet")
METHOD = CG(Multigrid(), rtol=1e-8)

pytestmark = pytest.mark.usefixtures("x64")


def jumps(shape, boundaries, contrast, seed=0):
    """Blocks of 8 points of coefficient 1 or `contrast`."""
    points = tuple(n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True))
    blocks = np.random.default_rng(seed).random([-(-n // 8) for n in points]) < 0.5
    a = np.where(np.kron(blocks, np.ones((8,) * len(shape)))[tuple(slice(n) for n in points)], contrast, 1.0)
    h = (1 / (shape[0] + 1),) * len(shape)
    return Diffusion(stencil.face_means(jnp.asarray(a), boundaries, "harmonic"), shape, h, boundaries)


def noise(shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape))


@jax.jit
def run(operator, b):
    return solve(operator, b, METHOD)


def true_residual(operator, b, x):
    return np.linalg.norm(b - operator.mv(x)) / np.linalg.norm(b)


@pytest.mark.parametrize(
    "contrast, limit, growth",
    [
        pytest.param(1, 9, 2, marks=pytest.mark.nightly),
        pytest.param(100, 14, 6, marks=pytest.mark.nightly),
        (1e4, 45, 40),
    ],
)
def test_iterations_by_size_and_jumps(contrast, limit, growth):
    """They do not grow with the size; they do with blocks that coarse grids cannot see."""
    counts = []
    for shape in [(63, 40), (127, 100)]:
        operator = jumps(shape, WALLS, contrast)
        solution = run(operator, noise(shape))
        assert solution.status == Status.converged
        assert true_residual(operator, noise(shape), solution.value) <= 1e-8
        counts.append(int(solution.iterations))
    assert max(counts) <= limit and counts[1] - counts[0] <= growth
    assert solution.method == "CG(Multigrid)"


@pytest.mark.nightly
def test_obstacles_and_batches():
    """One compiled program for free flow, walls inside and random holes, each lane with its own status."""
    shape = (63, 63)
    plain = jumps(shape, WALLS, 1.0)
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    solids = np.stack([x**2 + y**2 < 0.2, abs(x - y) < 0.1, np.random.default_rng(2).random(shape) < 0.2])
    for condition, limit in (("dirichlet", 9), ("neumann", 24)):
        operators = jax.vmap(lambda s, c=condition: plain.with_obstacle(s, c))(jnp.asarray(solids))
        # Fluid that an obstacle closes in has a singular system of its own: no sources there.
        labels = [scipy.ndimage.label(~s)[0] for s in solids]
        touching = np.stack([np.isin(x, np.unique(np.r_[x[0], x[-1], x[:, 0], x[:, -1]])) for x in labels])
        b = jnp.where(solids | ~touching, 0, noise(shape))
        solutions = jax.vmap(run)(operators, b)
        assert (solutions.status == Status.converged).all() and (solutions.iterations <= limit).all()
        assert abs(np.asarray(solutions.value)[solids]).max() < 1e-12


@pytest.mark.nightly
@pytest.mark.parametrize(
    "boundaries", [pytest.param(("neumann", "neumann"), marks=pytest.mark.nightly), ("periodic", "periodic")]
)
def test_singular_systems(boundaries):
    operator, b = jumps((64, 48), boundaries, 10.0), noise((64, 48))
    b -= b.mean()
    solution = run(operator, b)
    assert solution.status == Status.converged and solution.iterations <= 11
    assert true_residual(operator, b, solution.value) <= 1e-8


@pytest.mark.nightly
def test_three_dimensions_and_tight_tolerance():
    shape, walls = (9, 8, 9), ("dirichlet", "neumann", "dirichlet")
    operator = jumps(shape, walls, 100.0)
    solution = jax.jit(lambda a, b: solve(a, b, CG(Multigrid(), rtol=1e-12)))(operator, noise(shape))
    assert solution.status == Status.converged and solution.iterations <= 16
    np.testing.assert_allclose(
        solution.value.ravel(), np.linalg.solve(operator.as_matrix(), noise(shape).ravel()), rtol=1e-8, atol=1e-12
    )


@pytest.mark.nightly
def test_preconditioner_is_symmetric_positive_definite():
    operator = jumps((19, 21), WALLS, 1e3)
    cycle = jax.jit(jax.vmap(Multigrid(1).bind(operator)))
    inverse = np.asarray(cycle(jnp.eye(399).reshape(399, 19, 21))).reshape(399, 399)
    scale = np.sqrt(np.outer(np.diag(inverse), np.diag(inverse)))
    np.testing.assert_allclose(inverse / scale, inverse.T / scale, atol=1e-5)  # it runs in float32
    eigenvalues = np.linalg.eigvals(inverse @ np.asarray(operator.as_matrix())).real
    assert eigenvalues.min() > 0.2 and eigenvalues.max() < 1.2


@pytest.mark.nightly
def test_gradient_of_a_solve():
    operator, b = jumps((23, 17), WALLS, 10.0), noise((23, 17))
    w = noise((23, 17))[::-1]

    @jax.jit
    def objective(scale):
        faces = tuple(a * (1 + scale * jnp.linspace(0, 1, a.shape[0])[:, None]) for a in operator.faces)
        varied = Diffusion(faces, operator.shape, operator.spacing, WALLS)
        return (w * solve(varied, b, CG(Multigrid(), rtol=1e-12)).value).sum()

    numeric = (objective(0.1 + 1e-4) - objective(0.1 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(objective)(0.1), numeric, rtol=1e-6)


@pytest.mark.nightly
def test_on_its_own():
    """Every cycle divides the residual by about ten; conjugate gradients with it need fewer."""
    operator, b = jumps((63, 40), WALLS, 1.0), noise((63, 40))
    alone = jax.jit(lambda a, b: solve(a, b, Richardson(Multigrid(), rtol=1e-8)))(operator, b)
    assert alone.status == Status.converged and run(operator, b).iterations < alone.iterations <= 12
    assert alone.method == "Richardson(Multigrid)"


@pytest.mark.nightly
def test_the_smoother_can_be_tuned():
    """`omega` is an array like any other: weak smoothing costs iterations, and a vmap may compare."""
    operator, b = jumps((63, 40), WALLS, 1.0), noise((63, 40))
    tuner = TunedSolver(METHOD, omega=jnp.asarray([0.2, 1.0]))
    counts = jax.jit(jax.vmap(lambda arm: tuner.solve_with(arm, System(operator, b)).stats.iterations))(jnp.arange(2))
    assert counts[0] > counts[1] + 2


def test_what_it_cannot_do():
    with pytest.raises(ValueError, match="degree must be 1, 2 or 3, got 5"):
        Multigrid(5)
    with pytest.raises(ValueError, match="a periodic axis needs a size with many factors of two"):
        Multigrid().bind(jumps((101, 101), ("periodic", "periodic"), 1.0))
    with pytest.raises(TypeError, match="Diffusion and Laplacian"):
        Multigrid().bind(Sparse.from_scipy(scipy.sparse.eye_array(3).tocsr()))
