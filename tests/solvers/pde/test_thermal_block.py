"""The thermal block: its affine parts, layers whose solution is known, symmetries, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.solvers import random
from surrogax.solvers.linear import Status
from surrogax.solvers.pde import AffineSystem, problem
from surrogax.solvers.pde.affine import Constants, Stacked
from surrogax.solvers.pde.boundary_nodes import interior, with_zero_boundary


def values(p, seed=0):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(10 ** rng.uniform(-1, 1)) for name in p.laws}


@pytest.mark.parametrize(
    "blocks, box, n",
    [
        ((2, 2), None, 9),
        ((3, 2), Box(x=(0, 1), y=(0, 2, "neumann")), (8, 5)),
        ((2, 3), Box(x=(0, 1), y=(0, 2, "periodic")), (6, 7)),
    ],
)
def test_the_affine_parts_add_up_to_the_operator(x64, blocks, box, n):
    p = problem("thermal_block", blocks=blocks, box=box)
    grid, a = p.box.grid(n), values(p)
    operator, b = p.operator(a, grid)
    parts = p.affine(grid)
    assert len(parts.operators) == np.prod(blocks) == len(p.laws)
    v = jnp.asarray(np.random.default_rng(1).normal(size=b.shape))
    theta, phi = parts.coefficients(a), parts.rhs_coefficients(a)
    total = sum(t * part.mv(v) for t, part in zip(theta, parts.operators, strict=True))
    np.testing.assert_allclose(total, operator.mv(v), rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(phi[0] * parts.rhs[0], b)
    for axis in range(2):  # together the Laplacian, and none negative
        assert all((part.faces[axis] >= 0).all() for part in parts.operators)
        np.testing.assert_allclose(sum(part.faces[axis] for part in parts.operators), 1, rtol=1e-15)


def test_where_interfaces_lie_on_nodes_the_laplacian_is_exact():
    parts = problem("thermal_block").affine(problem("thermal_block").box.grid(17))
    assert all((sum(part.faces[axis] for part in parts.operators) == 1).all() for axis in range(2))


def layers(n, a):
    """Error of −(a u')' = 1, u(0) = u(1) = 0 with a constant on each half; the flux is x − s."""
    p = problem("thermal_block", blocks=(2,))
    grid = p.box.grid(n)
    u, stats = jax.jit(lambda a: p.solve(a, grid, rtol=1e-12))(dict(zip(p.laws, jnp.asarray(a), strict=True)))
    assert stats.status == Status.converged
    x = grid.coordinates[0]
    s = (0.125 / a[0] + 0.375 / a[1]) / (0.5 / a[0] + 0.5 / a[1])
    primitive = lambda x: s * x - x**2 / 2  # noqa: E731
    middle = primitive(0.5) / a[0]
    exact = np.where(x < 0.5, primitive(x) / a[0], middle + (primitive(x) - primitive(0.5)) / a[1])
    return np.abs(u["u"] - exact).max()


@pytest.mark.nightly
def test_layers_are_exact_with_interfaces_on_nodes_and_of_first_order_without(x64):
    a = (0.2, 5.0)
    assert layers(9, a) < 1e-12
    coarse, fine = layers(10, a), layers(20, a)
    assert 1.7 < coarse / fine < 2.6


def test_solutions_scale_and_turn_with_the_blocks(x64):
    p = problem("thermal_block", f=2.0)
    grid, a = p.box.grid(11), values(p, 3)
    solve = jax.jit(lambda a: p.solve(a, grid, rtol=1e-13)["u"])
    u = solve(a)
    assert u.shape == grid.shape and not u[0].any() and not u[:, -1].any()
    np.testing.assert_allclose(solve({k: 4 * v for k, v in a.items()}), u / 4, rtol=1e-10)
    turned = {f"a_{i}_{j}": a[f"a_{j}_{1 - i}"] for i in (0, 1) for j in (0, 1)}
    np.testing.assert_allclose(solve(turned), jnp.rot90(u, 1), rtol=1e-10, atol=1e-14)


@pytest.mark.nightly
def test_the_solve_is_differentiable_in_every_block(x64):
    p = problem("thermal_block")
    grid, a = p.box.grid(9), values(p, 4)
    mean = jax.jit(lambda a: p.solve(a, grid, rtol=1e-13)["u"].mean())
    gradient, h = jax.jit(jax.grad(mean))(a), 1e-5
    for name in p.laws:
        up, down = ({**a, name: a[name] + s * h} for s in (1, -1))
        np.testing.assert_allclose((mean(up) - mean(down)) / (2 * h), gradient[name], rtol=1e-6)


def test_parameters_are_log_uniform():
    p = problem("thermal_block")
    draw = jax.vmap(lambda i: p.sample_inputs(jax.random.fold_in(jax.random.key(0), i), p.box.grid(3)))
    drawn = np.stack(list(draw(jnp.arange(2000)).values()), 1)
    assert drawn.shape == (2000, 4) and drawn.min() >= 0.1 and drawn.max() < 10
    logs = np.log10(drawn)
    np.testing.assert_allclose(logs.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(logs.std(0), 2 / 12**0.5, rtol=0.05)
    assert np.abs(np.corrcoef(logs.T) - np.eye(4)).max() < 0.1


def test_fields_and_unknowns():
    box = Box(x=(0, 1), y=(0, 1, "neumann"))
    u = with_zero_boundary(jnp.ones((2, 3)), box)
    assert u.shape == (4, 3) and u.sum() == 6
    np.testing.assert_array_equal(interior(u, box), np.ones((2, 3)))


def test_bad_input():
    with pytest.raises(ValueError, match=r"blocks=\(2,\) for the axes \('x', 'y'\)"):
        problem("thermal_block", blocks=(2,), box=Box.unit(2))
    with pytest.raises(ValueError, match="thermal_block needs a Dirichlet side"):
        problem("thermal_block", box=Box.unit(2, "neumann"))
    with pytest.raises(ValueError, match="at least one operator"):
        AffineSystem((), (), Stacked(()), Constants((1.0,)))
    with pytest.raises(ValueError, match=r"needs a problem that declares `affine`; .*darcy"):
        problem("darcy").needs("affine", "weak_greedy")
    assert "affine" in repr(problem("thermal_block")) and random.LogUniform().is_field is False
