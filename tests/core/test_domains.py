"""Boxes, grids and point clouds: quadrature, nesting, hashing, files, and what is refused."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core import storage
from surrogax.core.domains import Axis, Box, Grid, Mesh, PointCloud
from surrogax.core.files import StorageError

BOX = Box(x=(-1, 2), y=(0, 0.5, "neumann"), z=(1, 4, "periodic"))
GRIDS = {
    "nodes": Box(x=(-1, 2)).grid(7),
    "cells": Box(x=(-1, 2, "neumann")).grid(6),
    "periodic": Box(x=(-1, 2, "periodic")).grid(6),
    "3D": BOX.grid((4, 3, 5)),
    "periodic layout on a Dirichlet box": Grid(Box.unit(2), (4, 4), ("periodic", "periodic")),
}


def broken(cls, **fields):
    """An object with these fields, as a file may describe it."""
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def unchecked(monkeypatch, *classes):
    """Classes without the annotations that the suite checks, as people call them."""
    for cls in classes:
        for name, value in list(vars(cls).items()):
            if isinstance(value, classmethod):
                monkeypatch.setattr(cls, name, classmethod(inspect.unwrap(value.__func__)))
            elif inspect.isfunction(value):
                monkeypatch.setattr(cls, name, inspect.unwrap(value))


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(x=(1, 0)), r"axis 'x' is empty: \[1\.0, 0\.0\]"),
        (lambda: Box(x=(0, np.nan)), "axis 'x' is empty"),
        (lambda: Box(x=(0, np.inf)), "axis 'x' has no finite length"),
        (lambda: Box(x=(-1.7e308, 1.7e308)), "axis 'x' has no finite length"),
        (lambda: Box(x=5), r"axis 'x': expected \(start, stop\) or \(start, stop, boundary\), got 5"),
        (lambda: Box(x="ab"), r"axis 'x': expected \(start, stop\)"),
        (lambda: Box(x=("a", "b")), "axis 'x': its ends are 'a' and 'b', expected two numbers"),
        (lambda: Box(x=(None, 1)), "axis 'x': its ends are None and 1"),
        (lambda: Box((0, 1)), r"a Box of \(0, 1\): name its axes, for example Box\(x=\(0, 1\)"),
        (lambda: Box((Axis("x", 0.0, 1.0),), x=(0, 2)), r"\['x'\] are there twice"),
        (lambda: Box.unit(1).grid(-3), "'x' has -3 points, too few"),
        (lambda: Box.unit(1).grid(0), "'x' has 0 points, too few"),
        (lambda: Box.unit(1).grid(64.0), r"grid: got 64\.0, expected a whole number for all axes or a tuple"),
        (lambda: Box.unit(1).grid("64"), r"grid: got '64', expected a whole number"),
        (lambda: Box.unit(1).grid(True), "grid: got True"),
        (lambda: Box.unit(2).grid((8, 8.5)), r"grid: got \(8, 8\.5\)"),
        (lambda: Box.unit(2).grid(None), "grid: got None"),
        (lambda: Grid.unit_square(8.5), r"Grid\.unit: got 8\.5"),
        (lambda: Grid.unit_square(8, "hexagons"), r"Grid\.unit: unknown layout 'hexagons'; use one of \['nodes', 'cells'"),
        (lambda: Grid(Box.unit(1), (2.5,), ("nodes",)), r"Grid: got \(2\.5,\)"),
        (lambda: Grid(Box.unit(1), (-9,), ("periodic",)), "'x' has -9 points"),
        (lambda: Grid.unit_interval(9).subsample(2.0), r"subsample: got 2\.0"),
        (lambda: Grid.unit_interval(9).subsample(-2), "cannot be subsampled by -2"),
        (lambda: Grid.unit_interval(9).refine(0), r"refine\(factor=0\): expected 1 or more"),
        (lambda: PointCloud(np.ones(5)), r"PointCloud: points have shape \(5,\), expected \(n, d\).*points\[:, None\]"),
        (lambda: PointCloud(1.0), r"points have shape \(\), expected \(n, d\)"),
        (lambda: PointCloud([["a", "b"]]), r"PointCloud: points are of dtype <U1, expected real numbers"),
        (lambda: PointCloud(np.ones((3, 2), complex)), "points are of dtype complex128, expected real numbers"),
        (lambda: PointCloud([[0, np.nan], [np.inf, 0], [0, 0]]), "PointCloud: 2 points are not finite; .*mask them"),
        (lambda: PointCloud(np.ones((3, 2)), np.ones(2)), r"weights of shape \(2,\), expected \(3,\), one per point"),
        (lambda: PointCloud(np.ones((3, 2)), 0.5), r"weights of shape \(\), expected \(3,\)"),
        (lambda: PointCloud(np.ones((3, 2)), [1, 1, -1]), "1 weights are negative or not finite"),
        (lambda: PointCloud(np.ones((3, 2)), [1, np.nan, np.inf]), "2 weights are negative or not finite"),
        (lambda: PointCloud(np.ones((3, 2)), mask=[True]), r"mask of shape \(1,\), expected \(3,\)"),
        (lambda: PointCloud.stack([]), r"PointCloud\.stack: got 0 of dimensions \[\]"),
        (lambda: PointCloud.stack([PointCloud(np.ones((2, d))) for d in (1, 2)]), r"got 2 of dimensions \[1, 2\]"),
        (lambda: Mesh(np.ones(5), [[0, 1]]), r"Mesh: points have shape \(5,\)"),
        (lambda: Mesh(np.ones((3, 2)), [[0, 3]]), "Mesh: edges name points 0 to 3 of 3"),
        (lambda: Mesh(np.ones((3, 2)), [[-1, 0]]), "Mesh: edges name points -1 to 0 of 3"),
        (lambda: Mesh(np.ones((3, 2)), [[0.0, 1.5]]), "Mesh: edges are of dtype float64, expected whole numbers"),
        (lambda: Mesh(np.ones((3, 2)), [0, 1]), r"Mesh: edges have shape \(2,\), expected \(e, 2\)"),
        (lambda: Mesh(np.ones((3, 2)), [[0, 1, 2]]), r"Mesh: edges have shape \(1, 3\), expected \(e, 2\)"),
        (lambda: Mesh(np.ones((4, 3, 2)), [[0, 1]]), r"Mesh: edges have shape \(1, 2\), expected \(4, e, 2\)"),
        (lambda: Mesh(np.ones((3, 2)), [[0, 1]], edge_mask=[True, False]), r"edge_mask has shape \(2,\), expected \(1,\)"),
        (lambda: Mesh(np.ones((3, 2)), [[0, 1]], [1, 2, -3]), "Mesh: 1 weights are negative"),
        (lambda: Mesh.from_cells(np.ones(3), [[0, 1]]), r"Mesh\.from_cells: points have shape \(3,\)"),
        (lambda: Mesh.from_cells(np.eye(3, 2), [[0.0, 1.0, 2.0]]), r"Mesh\.from_cells: cells are of dtype float64"),
        (lambda: Mesh.from_cells(1e25 * np.eye(3, 2), [[0, 1, 2]]), r"cells of volume 5\.0e\+49 leave the range of float32"),
        (lambda: Mesh.stack([]), r"Mesh\.stack: got 0 of dimensions"),
    ],
)  # fmt: skip
def test_constructors_refuse_what_has_no_meaning(make, message, monkeypatch):
    unchecked(monkeypatch, Axis, Box, Grid, PointCloud, Mesh)
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_whole_numbers_of_any_type_make_a_grid():
    expected = Grid.unit_square(8)
    for n in (
        8,
        np.int64(8),
        np.uint8(8),
        jnp.asarray(8),
        (8, np.int32(8)),
        [8, 8],
        np.array([8, 8]),
        jnp.array([8, 8]),
    ):
        made = Box.unit(2).grid(n)
        assert made == expected and hash(made) == hash(expected) and all(type(k) is int for k in made.shape)


@pytest.mark.parametrize("length", [1e-30, 1e-12, 1e12, 1e30])
def test_boxes_of_any_scale(length):
    grid = Box(x=(-length, 2 * length), y=(0, length, "neumann"), z=(0, length, "periodic")).grid((4, 3, 5))
    np.testing.assert_allclose(grid.weights.sum(), 3 * length**3, rtol=1e-14)
    np.testing.assert_allclose(grid.spacing, np.array([1, 1 / 3, 1 / 5]) * length, rtol=1e-14)
    unit = Box(x=(-1, 2), y=(0, 1, "neumann"), z=(0, 1, "periodic")).grid((4, 3, 5))
    np.testing.assert_allclose(grid.scaled(grid.points), unit.scaled(unit.points), rtol=1e-12)
    small = length**3 < 1e-30 or length**3 > 1e30  # float32 holds no such volume
    np.testing.assert_allclose(grid.sites().weights, unit.weights / 3 if small else grid.weights, rtol=1e-12)
    assert grid.refine(1).subsample(1) == grid and grid.over_time(3, length).box.extent[0] == 2 * length


def test_points_of_whole_numbers_keep_their_weights():
    """Weights had the type of the points, and a third as a whole number is zero."""
    for points in ([[0, 0], [1, 0], [0, 2]], np.array([[0, 0], [1, 0], [0, 2]], np.uint8)):
        cloud = PointCloud(points)
        assert cloud.points.dtype == jnp.result_type(float)
        np.testing.assert_allclose(cloud.weights, 1 / 3, rtol=1e-6)
    assert Mesh(np.eye(3, 2, dtype=int), [[0, 1]]).weights.sum() == pytest.approx(1)


def test_coordinates_that_float32_cannot_tell_apart_are_refused():
    """Metres of a map: 0.1 m apart at a distance of 5000 km, where neighbours in float32 are 0.5 m apart."""
    points = 0.1 * np.random.default_rng(0).random((50, 2)) + [4e5, 5e6]
    with pytest.raises(
        ValueError, match=r"PointCloud: float32 rounds the points by up to \S+, of an extent of \S+; subtract"
    ):
        PointCloud(points)
    np.testing.assert_allclose(PointCloud(points - points.mean(0)).points, points - points.mean(0), atol=1e-7)
    assert len(PointCloud(points[:1]).points) == 1, "one point has no extent"
    PointCloud(np.array([[5e6, 0], [5e6 + 1e4, 1]]))
    with jax.enable_x64(True):
        assert PointCloud(points).points.dtype == jnp.float64


def test_padded_points_may_be_anything():
    cloud = PointCloud([[0.0, 1.0], [np.nan, np.inf]], [2.0, np.nan], [True, False])
    assert cloud.points.tolist() == [[0, 1], [0, 0]] and cloud.weights.tolist() == [2, 0]


def test_clouds_are_made_inside_compiled_programs():
    points = np.random.default_rng(0).random((5, 4, 2), np.float32)
    made = jax.jit(jax.vmap(lambda p: PointCloud(p, mask=p[:, 0] < 0.7).weights))(points)
    np.testing.assert_allclose(made, PointCloud(points, mask=points[..., 0] < 0.7).weights)
    gradient = jax.grad(lambda p: (Mesh(p, [[0, 1]]).points ** 2).sum())(points[0])
    np.testing.assert_allclose(gradient, 2 * points[0])


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (-9, 10**12)}, "Grid: axis 'x' has -9 points"),
        ({"shape": (9, 1e12)}, r"Grid: shape is \(9, 1000000000000.0\), expected tuple of a whole number"),
        ({"shape": (9,)}, r"Grid: Grid of 2 axes"),
        ({"shape": "99"}, "Grid: shape is '99'"),
        ({"layouts": ("nodes", "hexagons")}, "Grid: layouts is"),
        ({"box": (0, 1)}, "Grid: box is"),
        ({"box": broken(Box, axes=())}, "Box: a Box needs at least one axis"),
        ({"box": broken(Box, axes=(broken(Axis, name="x", start=1.0, stop=0.0, boundary=None),))}, "Axis: axis 'x' is empty"),
        ({"box": broken(Box, axes=(broken(Axis, name=3, start=0.0, stop=1.0, boundary=None),))}, "Axis: name is 3"),
    ],
)  # fmt: skip
def test_files_cannot_hold_a_grid_that_its_class_refuses(tmp_path, change, message):
    grid = Grid.unit_square(9)
    storage.save(tmp_path / "f", {"grid": broken(Grid, **{**vars(grid), **change})})
    with pytest.raises(StorageError, match=rf"f: \['grid'\]\S* is no valid {message}"):
        storage.load(tmp_path / "f")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": jnp.ones(2)}, r"weights of shape \(2,\), expected \(3,\)"),
        ({"weights": -jnp.ones(3)}, "3 weights are negative"),
        ({"points": jnp.full((3, 2), jnp.nan)}, "3 points are not finite"),
        ({"points": jnp.ones(3)}, r"points have shape \(3,\)"),
        ({"points": "here"}, "'str' object has no attribute"),
    ],
)
def test_files_cannot_hold_a_cloud_that_its_class_refuses(tmp_path, change, message):
    cloud = PointCloud(jnp.arange(6.0).reshape(3, 2))
    storage.save(tmp_path / "f", broken(PointCloud, **{**vars(cloud), **change}))
    with pytest.raises(StorageError, match=rf"f: the object is no valid PointCloud: .*{message}"):
        storage.load(tmp_path / "f")


def test_files_of_point_clouds(tmp_path):
    cloud = PointCloud(jnp.arange(6.0).reshape(3, 2), mask=[True, True, False])
    storage.save(tmp_path / "f", cloud)
    back = storage.load(tmp_path / "f")
    assert isinstance(back, PointCloud)
    jax.tree.map(np.testing.assert_array_equal, back, cloud)


def test_points_outside_of_the_box_are_known_along_axes_that_are_not_periodic():
    grid = sx.Box(x=(1e6, 1e6 + 1, "periodic"), y=(-1e-9, 1e-9)).grid(8)
    points = np.array([[1e6 + 5, 0.0], [1e6, 1.0000001e-9], [1e6, 1.1e-9], [1e6, -2e-9]])
    assert grid.outside(points).tolist() == [False, False, True, True]
    assert not grid.outside(grid.points).any() and not grid.outside(np.float32(grid.points)).any()
    assert not sx.PointCloud(points).outside(points).any()
