"""Diffusion: boundaries, dimensions and obstacles against dense matrices written by hand."""

import itertools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Status, solve

BOUNDARIES = ("dirichlet", "neumann", "periodic")
SPACING = (0.5, 0.25, 0.4)
RNG = np.random.default_rng(0)


def random_faces(shape, boundaries):
    return [RNG.uniform(0.5, 2.0, a.shape) for a in stencil.unit_faces(shape, boundaries)]


def dense(faces, shape, boundaries, shift=0.0, solid=None, condition="dirichlet"):
    """The matrix face by face. Rows and columns of solid points hold the diagonal of the operator without obstacle."""
    solid = np.zeros(shape, bool) if solid is None else solid
    number, size = np.arange(np.prod(shape)).reshape(shape), int(np.prod(shape))
    free, matrix = np.zeros((size, size)), np.zeros((size, size))
    for axis, (a, boundary) in enumerate(zip(faces, boundaries, strict=True)):
        n, weight = shape[axis], SPACING[axis] ** -2
        a, cells, blocked = (np.moveaxis(x, axis, 0) for x in (a, number, solid))
        for f in range(a.shape[0]):
            left, right = {"dirichlet": (f - 1, f), "neumann": (f, f + 1), "periodic": (f, (f + 1) % n)}[boundary]
            for index in np.ndindex(a.shape[1:]):
                ends = [(cells[(p, *index)], blocked[(p, *index)]) for p in (left, right) if 0 <= p < n]
                conductance = weight * a[(f, *index)]
                for i, _ in ends:
                    free[i, i] += conductance
                if any(b for _, b in ends):
                    for i, b in ends:
                        matrix[i, i] += conductance * (condition == "dirichlet" and not b)
                    continue
                for i, _ in ends:
                    matrix[i, i] += conductance
                if len(ends) == 2:
                    (i, _), (j, _) = ends
                    matrix[i, j] -= conductance
                    matrix[j, i] -= conductance
    matrix[solid.ravel()] = 0
    matrix += np.diag(np.where(solid.ravel(), np.diag(free), 0))
    return matrix + np.diag(np.broadcast_to(shift, shape).ravel())


@pytest.mark.parametrize("boundaries", list(itertools.combinations_with_replacement(BOUNDARIES, 2)), ids="-".join)
def test_obstacles_against_the_matrix_face_by_face(boundaries):
    shape = (5, 4)
    faces, shift = random_faces(shape, boundaries), RNG.uniform(0, 1, shape)
    solids = [np.zeros(shape, bool), RNG.random(shape) < 0.3, np.ones(shape, bool)]
    solids[0][1:3, 3] = True  # touches a side

    @jax.jit
    def matrices(faces, shift, solids):
        def both(solid):
            operators = [Diffusion(faces, shape, SPACING[:2], boundaries, shift).with_obstacle(solid, c) for c in names]
            return [(operator.as_matrix(), lx.diagonal(operator)) for operator in operators]

        return jax.vmap(both)(solids)

    names = ("dirichlet", "neumann")
    with jax.enable_x64(True):
        for condition, (matrix, diagonal) in zip(names, matrices(faces, shift, np.stack(solids)), strict=True):
            for k, solid in enumerate(solids):
                expected = dense(faces, shape, boundaries, shift, solid, condition)
                np.testing.assert_allclose(matrix[k], expected, atol=1e-12, err_msg=condition)
                np.testing.assert_allclose(diagonal[k], np.diag(expected), atol=1e-12, err_msg=condition)


@pytest.mark.parametrize(
    ("shape", "boundaries"), [((7,), ("periodic",)), ((4, 3, 5), BOUNDARIES), ((3, 1, 2), ("neumann",) * 3)]
)
def test_one_and_three_dimensions(shape, boundaries):
    faces, solid = random_faces(shape, boundaries), RNG.random(shape) < 0.2
    with jax.enable_x64(True):
        operator = Diffusion(map(jnp.asarray, faces), shape, SPACING[: len(shape)], boundaries, 0.5)
        matrix, with_obstacle = jax.jit(lambda o: (o.as_matrix(), o.with_obstacle(solid).as_matrix()))(operator)
    np.testing.assert_allclose(matrix, dense(faces, shape, boundaries, 0.5), atol=1e-12)
    np.testing.assert_allclose(with_obstacle, dense(faces, shape, boundaries, 0.5, solid), atol=1e-12)


def test_two_obstacles_in_turn_are_their_union():
    shape, boundaries = (5, 4), ("dirichlet", "periodic")
    first, second = RNG.random(shape) < 0.3, RNG.random(shape) < 0.3
    assert (first & second).any()
    faces = [jnp.asarray(a, jnp.float32) for a in random_faces(shape, boundaries)]
    operator = Diffusion(faces, shape, SPACING[:2], boundaries, 0.1)
    in_turn = operator.with_obstacle(first).with_obstacle(second)
    union = operator.with_obstacle(first | second)
    np.testing.assert_allclose(in_turn.as_matrix(), union.as_matrix(), atol=1e-5)


@pytest.mark.parametrize("condition", ["dirichlet", "neumann"])
def test_solves_and_gradients_around_obstacles(condition):
    """vmap over solids, gradient with respect to the faces (of the pressure operator ∇·(1/ρ ∇p): faces 1/ρ)."""
    shape, boundaries = (6, 5), ("dirichlet", "neumann")
    faces = random_faces(shape, boundaries)
    solids = np.stack([RNG.random(shape) < 0.25 for _ in range(3)])
    b = np.where(solids, 0, RNG.normal(size=shape))
    # Points that closed faces cut off have no equation of their own with no flux: a small shift determines them.
    shift = 1e-2

    @jax.jit
    @jax.vmap
    def run(solid, b):
        def loss(faces):
            operator = Diffusion(faces, shape, SPACING[:2], boundaries, shift).with_obstacle(solid, condition)
            solution = solve(operator, b, CG(rtol=1e-12))
            return (solution.value**2).sum(), solution

        (_, solution), gradient = jax.value_and_grad(loss, has_aux=True)(tuple(map(jnp.asarray, faces)))
        return solution, gradient

    with jax.enable_x64(True):
        solution, (along_x, _) = jax.tree.map(np.asarray, run(jnp.asarray(solids), jnp.asarray(b)))
    for k, solid in enumerate(solids):
        matrix = dense(faces, shape, boundaries, shift, solid, condition)
        expected = np.linalg.solve(matrix, b[k].ravel())
        assert solution.status[k] == Status.converged
        np.testing.assert_allclose(solution.value[k].ravel(), expected, rtol=1e-8, atol=1e-12)
        assert (solution.value[k][solid] == 0).all()
        moved, step = [a.copy() for a in faces], 1e-6
        losses = []
        for sign in (1, -1):
            moved[0][2, 1] = faces[0][2, 1] + sign * step
            changed = dense(moved, shape, boundaries, shift, solid, condition)
            losses.append((np.linalg.solve(changed, b[k].ravel()) ** 2).sum())
        np.testing.assert_allclose(along_x[k, 2, 1], (losses[0] - losses[1]) / (2 * step), rtol=1e-5, atol=1e-9)


def test_wrong_use_is_named():
    faces = stencil.unit_faces((4, 3), ("dirichlet", "neumann"))
    operator = Diffusion(faces, (4, 3), SPACING[:2], ("dirichlet", "neumann"))
    with pytest.raises(ValueError, match=r"solid has shape \(3, 4\), the unknowns have \(4, 3\)"):
        operator.with_obstacle(np.zeros((3, 4), bool))
    with pytest.raises(ValueError, match=r"condition must be 'dirichlet' or 'neumann', got 'robin'"):
        getattr(Diffusion.with_obstacle, "__wrapped__", Diffusion.with_obstacle)(
            operator, np.zeros((4, 3), bool), "robin"
        )
    with pytest.raises(ValueError, match=r"shift must be a scalar or of shape \(4, 3\), got \(3,\)"):
        Diffusion(faces, (4, 3), SPACING[:2], ("dirichlet", "neumann"), jnp.ones(3))
    with pytest.raises(ValueError, match="need faces"):
        Diffusion(faces, (4, 3), SPACING[:2], ("neumann", "neumann")).mv(jnp.ones((4, 3)))
