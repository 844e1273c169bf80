"""Boxes, grids and point clouds: quadrature, nesting, hashing, files, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core import storage
from surrogax.core.domains import Axis, Box, Grid, PointCloud

BOX = Box(x=(-1, 2), y=(0, 0.5, "neumann"), z=(1, 4, "periodic"))
GRIDS = {
    "nodes": Box(x=(-1, 2)).grid(7),
    "cells": Box(x=(-1, 2, "neumann")).grid(6),
    "periodic": Box(x=(-1, 2, "periodic")).grid(6),
    "3D": BOX.grid((4, 3, 5)),
    "periodic layout on a Dirichlet box": Grid(Box.unit(2), (4, 4), ("periodic", "periodic")),
}


@pytest.mark.parametrize("name", GRIDS)
def test_quadrature_weights(name):
    grid = GRIDS[name]
    assert grid.weights.shape == grid.mask.shape == grid.points.shape[:-1] == grid.shape
    assert grid.points.shape[-1] == grid.ndim and grid.mask.all()
    assert grid.weights.dtype == grid.points.dtype == np.float64 and (grid.weights > 0).all()
    np.testing.assert_allclose(grid.weights.sum(), np.prod(grid.box.extent), rtol=1e-14)


@pytest.mark.parametrize("grid", [GRIDS["nodes"], GRIDS["cells"], Box(x=(-1, 2), y=(0, 0.5, "neumann")).grid((4, 3))])
def test_linear_functions_are_integrated_exactly(grid):
    slopes = np.array([3.0, -7.0])[: grid.ndim]
    middle = np.array(grid.box.lower) + np.array(grid.box.extent) / 2
    integral = (grid.weights * (2 + grid.points @ slopes)).sum()
    np.testing.assert_allclose(integral, (2 + middle @ slopes) * np.prod(grid.box.extent), rtol=1e-13)


def test_waves_are_integrated_exactly_on_a_periodic_axis():
    grid = GRIDS["periodic"]
    for k in range(1, 6):
        wave = np.cos(2 * np.pi * k * (grid.points[..., 0] + 1) / 3)
        np.testing.assert_allclose((grid.weights * wave).sum(), 0, atol=1e-13)


def test_layout_of_each_boundary():
    x, y, z = BOX.grid((4, 2, 3)).coordinates
    np.testing.assert_allclose(x, [-1, 0, 1, 2])
    np.testing.assert_allclose(y, [0.125, 0.375])
    np.testing.assert_allclose(z, [1, 2, 3])
    assert BOX.grid((4, 2, 3)).spacing == (1.0, 0.25, 1.0)
    assert Box(x=(0, 1), t=(0, 5)).boundaries == ("dirichlet", None)
    assert Grid.unit_square(4, "cells").box == Box.unit(2, "neumann")
    assert Grid.unit_interval(5) == Box.unit(1).grid(5) and Grid.unit_cube(3).shape == (3, 3, 3)


@pytest.mark.parametrize("name", ["nodes", "periodic", "periodic layout on a Dirichlet box"])
def test_coarse_grids_are_nested_in_fine_ones(name):
    grid = GRIDS[name]
    for factor in (2, 3):
        fine = grid.refine(factor)
        assert fine.subsample(factor) == grid
        np.testing.assert_array_equal(fine.points[(slice(None, None, factor),) * grid.ndim], grid.points)
    assert grid.subsample(1) == grid


def test_nesting_of_the_published_darcy_grids():
    fine = Grid.unit_square(421)
    for stride, n in ((2, 211), (3, 141), (5, 85)):
        assert fine.subsample(stride) == Grid.unit_square(n)
    assert fine.subsample((2, 1)).shape == (211, 421)
    with pytest.raises(ValueError, match=r"421 points \(nodes\) cannot be subsampled by 8.*\[2, 3, 4, 5, 6, 7, 10"):
        fine.subsample(8)
    with pytest.raises(ValueError, match=r"'x' with 6 points \(cells\) .* possible strides: none"):
        GRIDS["cells"].subsample(2)
    with pytest.raises(ValueError, match="cells"):
        GRIDS["cells"].refine(2)
    with pytest.raises(ValueError, match="subsampled by 0"):
        fine.subsample(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(x=(1, 1)), r"axis 'x' is empty: \[1.0, 1.0\]"),
        (lambda: Box(x=(0, 1, "open")), "'open'"),  # by the annotation, and by the library's own check without beartype
        (lambda: Box(x=(0,)), r"axis 'x': expected \(start, stop\)"),
        (lambda: Box(), "at least one axis"),
        (lambda: Box.unit(4), "1 to 3 axes, got 4"),
        (lambda: Box.unit(2).grid((3,)), r"Grid of 2 axes \('x', 'y'\) got shape \(3,\)"),
        (lambda: Box.unit(1).grid(1), "'x' has 1 points, too few for layout 'nodes'"),
        (lambda: Grid(Box.unit(1), (4,), ("nodes", "cells")), "1 axes"),
    ],
)
def test_wrong_use_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_boxes_and_grids_are_static():
    assert Box(x=(0, 1)) == Box((Axis("x", 0.0, 1.0),)) and hash(Box(x=(0, 1))) == hash(Box.unit(1))
    assert Box(x=(0, 1)) != Box(x=(0, 1, "neumann")) != Box(y=(0, 1, "neumann"))
    assert len({BOX.grid(4), BOX.grid(4), BOX.grid(5)}) == 2
    assert jax.tree.leaves(BOX.grid(4)) == [BOX.grid(4)]
    traces = []

    def count(x, grid):
        traces.append(grid)
        return x

    run = jax.jit(count, static_argnums=1)
    run(1.0, Box.unit(2).grid(4))
    run(2.0, Box.unit(2).grid(4))
    assert len(traces) == 1
    assert repr(Grid.unit_square(3)) == "Grid(x∈[0, 1] 3 nodes, y∈[0, 1] 3 nodes)"


def test_point_clouds_of_different_size_stack():
    rng = np.random.default_rng(0)
    clouds = [PointCloud(rng.random((n, 2)).astype(np.float32)) for n in (3, 5, 1)]
    stacked = PointCloud.stack(clouds)
    assert stacked.points.shape == (3, 5, 2) and stacked.ndim == 2
    assert stacked.mask.sum(1).tolist() == [3, 5, 1]
    np.testing.assert_allclose(stacked.weights.sum(1), 1, rtol=1e-6)
    for one, padded, weights, mask in zip(clouds, stacked.points, stacked.weights, stacked.mask, strict=True):
        np.testing.assert_array_equal(padded[mask], one.points)
        np.testing.assert_array_equal(weights[mask], one.weights)
        assert (weights[~mask] == 0).all() and (padded[~mask] == 0).all()
    means = jax.jit(jax.vmap(lambda cloud: cloud.weights @ cloud.points))(stacked)
    np.testing.assert_allclose(means, [c.points.mean(0) for c in clouds], rtol=1e-6)


def test_masked_points_carry_no_weight():
    cloud = PointCloud(np.ones((3, 1), np.float32), np.array([1.0, 2.0, 3.0], np.float32), [True, False, True])
    assert cloud.weights.tolist() == [1, 0, 3]
    empty = PointCloud(np.ones((2, 1), np.float32), mask=[False, False])
    assert empty.weights.tolist() == [0, 0]


@pytest.mark.parametrize("obj", [BOX, BOX.grid((4, 3, 5)), Axis("t", 0.0, 1.0, None)], ids=["box", "grid", "axis"])
def test_files(tmp_path, obj):
    storage.save(tmp_path / "f", {"domain": obj})
    back = storage.load(tmp_path / "f")["domain"]
    assert back == obj and hash(back) == hash(obj) and repr(back) == repr(obj)


def test_files_of_point_clouds(tmp_path):
    cloud = PointCloud(jnp.arange(6.0).reshape(3, 2), mask=[True, True, False])
    storage.save(tmp_path / "f", cloud)
    back = storage.load(tmp_path / "f")
    assert isinstance(back, PointCloud)
    jax.tree.map(np.testing.assert_array_equal, back, cloud)
