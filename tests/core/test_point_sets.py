"""Point clouds and meshes: quadrature on simplices, batches of different size, layouts, time, files, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import Delaunay

from surrogax.core import storage
from surrogax.core.domains import Box, Grid, Mesh, MeshLayout, OverTime, PointCloud, PointCloudLayout

CLOUD, MESHES = PointCloudLayout(2, 5, "sensors"), MeshLayout(3, 7, 11, "wing")


def box_of_simplices(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Random points of the box [0, 1] × [0, 2] × … with all its corners, and cells that fill it."""
    rng = np.random.default_rng(dim)
    corners = np.stack(np.meshgrid(*[[0, 1]] * dim, indexing="ij"), -1).reshape(-1, dim)
    points = np.concatenate([corners, rng.uniform(size=(12, dim))]) * np.arange(1, dim + 1)
    if dim == 1:
        order = np.argsort(points[:, 0])
        return points, np.stack([order[:-1], order[1:]], 1)
    return points, Delaunay(points).simplices


def mesh(n: int, e: int, seed: int = 0) -> Mesh:
    rng = np.random.default_rng(seed)
    return Mesh(rng.random((n, 2), np.float32), rng.integers(0, n, (e, 2)), rng.random(n, np.float32))


# Quadrature -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_weights_of_simplices_integrate_linear_functions_exactly(dim, x64):
    points, cells = box_of_simplices(dim)
    made = Mesh.from_cells(points, cells)
    slopes, extent = np.array([3.0, -7.0, 0.5])[:dim], np.arange(1, dim + 1)
    volume = extent.prod()
    np.testing.assert_allclose(made.weights.sum(), volume, rtol=1e-12)
    exact = (2 + slopes @ extent / 2) * volume
    np.testing.assert_allclose(made.weights @ (2 + made.points @ slopes), exact, rtol=1e-12)
    # A square is integrated too large: |cell| h²/… of a convex function is positive.
    assert made.weights @ made.points[:, 0] ** 2 > volume / 3 * (1 + 1e-6)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_edges_of_simplices_join_every_pair_of_a_cell_in_both_directions_once(dim):
    points, cells = box_of_simplices(dim)
    expected = {(a, b) for cell in cells.tolist() for a in cell for b in cell if a != b}
    found = [tuple(edge) for edge in np.asarray(Mesh.from_cells(points, cells).edges).tolist()]
    assert len(found) == len(expected) and set(found) == expected


def test_the_order_of_the_vertices_of_a_cell_does_not_matter():
    points, cells = box_of_simplices(2)
    flipped = np.where(np.arange(len(cells))[:, None] % 2, cells, cells[:, ::-1])
    np.testing.assert_allclose(
        Mesh.from_cells(points, flipped).weights, Mesh.from_cells(points, cells).weights, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.zeros((4, 2), int), r"cells have shape \(4, 2\), expected \(m, 3\) in 2D"),
        (np.zeros(3, int), r"cells have shape \(3,\), expected \(m, 3\) in 2D"),
        (np.array([[0, 1, 5]]), "cells name points 0 to 5 of 5"),
        (np.array([[-1, 1, 2]]), "cells name points -1 to 2 of 5"),
    ],
)
def test_cells_that_do_not_fit_are_named(cells, message):
    with pytest.raises(ValueError, match=message):
        Mesh.from_cells(np.random.default_rng(0).random((5, 2)), cells)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_meshes_of_different_size_stack():
    meshes = [mesh(4, 6), mesh(7, 3, 1), mesh(5, 9, 2)]
    batch = Mesh.stack(meshes)
    assert batch.points.shape == (3, 7, 2) and batch.edges.shape == (3, 9, 2) and batch.ndim == 2
    assert batch.mask.sum(1).tolist() == [4, 7, 5] and batch.edge_mask.sum(1).tolist() == [6, 3, 9]
    for i, one in enumerate(meshes):
        n, e = len(one.points), len(one.edges)
        np.testing.assert_array_equal(batch.points[i, :n], one.points)
        np.testing.assert_array_equal(batch.weights[i, :n], one.weights)
        np.testing.assert_array_equal(batch.edges[i, :e], one.edges)
        assert (batch.weights[i, n:] == 0).all() and (batch.edges[i, e:] == 0).all()
        assert not batch.mask[i, n:].any() and not batch.edge_mask[i, e:].any()
    totals = jax.jit(jax.vmap(lambda m: m.sites().weights @ m.sites().points))(batch)
    np.testing.assert_allclose(totals, [m.weights @ m.points for m in meshes], rtol=1e-5)


def test_masked_points_of_a_mesh_carry_no_weight():
    made = Mesh(np.ones((3, 1), np.float32), [[0, 1]], np.float32([1, 2, 3]), [True, False, True])
    assert made.weights.tolist() == [1, 0, 3]
    assert Mesh(np.ones((3, 1), np.float32), [[0, 1]], mask=[True, False, True]).weights.tolist() == [0.5, 0, 0.5]


# The arrays of a dataset ----------------------------------------------------------------------------------------------


def test_a_layout_finds_what_a_batch_of_clouds_stored():
    batch = PointCloud.stack([PointCloud(np.random.default_rng(n).random((n, 2), np.float32)) for n in (3, 5)])
    layout, stored = batch.layout("sensors"), batch.stored("sensors", 2)
    assert layout == CLOUD and layout.arrays == ("sensors.points", "sensors.weights", "sensors.mask")
    assert set(stored) == set(layout.arrays)
    sites = layout.sites({name: values[0] for name, values in stored.items()})
    np.testing.assert_array_equal(sites.points, batch.points[0])
    np.testing.assert_array_equal(sites.weights, batch.weights[0])
    np.testing.assert_array_equal(sites.mask, batch.mask[0])
    assert sites.edges == ()


def test_a_layout_finds_what_a_batch_of_meshes_stored():
    batch = Mesh.stack([mesh(4, 6), mesh(7, 3)])
    layout, stored = batch.layout(), batch.stored("", 2)
    assert layout == MeshLayout(2, 7, 6) and layout.arrays == ("points", "weights", "mask", "edges", "edge_mask")
    sites = layout.sites({name: values[1] for name, values in stored.items()})
    (edges,) = sites.edges
    np.testing.assert_array_equal(sites.points, batch.points[1])
    np.testing.assert_array_equal(edges.index, batch.edges[1])
    np.testing.assert_array_equal(edges.mask, batch.edge_mask[1])
    assert batch.layout("wing").sites(
        {f"wing.{name}": values[1] for name, values in stored.items()}
    ).edges[0].ends == ("wing", "wing")  # fmt: skip


@pytest.mark.parametrize("one", [PointCloud(np.eye(4, 2, dtype=np.float32)), mesh(4, 6)], ids=["cloud", "mesh"])
def test_one_set_of_points_is_that_of_every_sample(one):
    stored = one.stored("p", 5)
    assert all(values.shape[0] == 5 for values in stored.values())
    assert (stored["p.points"] == stored["p.points"][:1]).all() and stored["p.points"].strides[0] == 0, "no copies"
    np.testing.assert_array_equal(stored["p.points"][3], one.points)


@pytest.mark.parametrize("layout", [CLOUD, MESHES], ids=["clouds", "meshes"])
def test_examples_have_the_form_of_their_layout(layout):
    example = layout.example(4, jax.random.key(0))
    assert example.layout(layout.name) == layout and example.shape == layout.shape and example.ndim == layout.ndim
    sizes = example.mask.sum(1)
    assert len(set(sizes.tolist())) > 1 or layout.capacity < 6
    assert (sizes <= layout.capacity).all() and (sizes >= layout.capacity * 5 // 6 - 1).all()
    np.testing.assert_allclose(example.weights.sum(1), 1, rtol=1e-5)
    if isinstance(example, Mesh):
        assert (example.edges < sizes[:, None, None]).all() and (example.edges >= 0).all()


# What consumers ask ---------------------------------------------------------------------------------------------------


def test_what_domains_say_of_themselves():
    grid = Grid.unit_square(3)
    assert (grid.fixed, grid.arrays, grid.space_axes, grid.shape) == (True, (), 2, (3, 3))
    assert (CLOUD.fixed, CLOUD.space_axes, CLOUD.shape, CLOUD.ndim) == (False, 1, (5,), 2)
    assert (MESHES.fixed, MESHES.space_axes, MESHES.shape, MESHES.ndim) == (False, 1, (7,), 3)
    one = mesh(4, 6)
    assert one.fixed and one.arrays == () and one.shape == (4,) and one.space_axes == 1
    assert repr(CLOUD) == "point clouds 'sensors' in 2D, up to 5 points"
    assert repr(MESHES) == "meshes 'wing' in 3D, up to 7 points and 11 edges"


def test_layouts_are_static_and_match_any_size():
    assert hash(CLOUD) == hash(PointCloudLayout(2, 5, "sensors")) and jax.tree.leaves(CLOUD) == [CLOUD]
    assert CLOUD.matches(PointCloudLayout(2, 50, "sensors")) and MESHES.matches(MeshLayout(3, 1, 1, "wing"))
    others = (
        PointCloudLayout(3, 5, "sensors"),
        PointCloudLayout(2, 5),
        MeshLayout(2, 5, 1, "sensors"),
        Grid.unit(5, 2),
    )
    assert not any(CLOUD.matches(other) for other in others)
    assert not MESHES.matches(MeshLayout(3, 7, 11)) and not Grid.unit_square(5).matches(CLOUD)
    assert Grid.unit_square(5).matches(Grid.unit_square(9)) and not Grid.unit_square(5).matches(
        Grid.unit(5, 2, "cells")
    )
    assert CLOUD.at_shape((9,)) == CLOUD and Grid.unit_square(5).at_shape((9, 7)) == Grid.unit((9, 7))


def test_coordinates_are_scaled_by_the_box_of_a_grid_alone():
    grid = Box(x=(-1, 3), y=(2, 4)).grid((3, 3))
    np.testing.assert_allclose(grid.scaled(np.array([[-1.0, 2.0], [3.0, 3.0]])), [[0, 0], [1, 0.5]])
    points = np.array([[5.0, -3.0]])
    for domain in (CLOUD, MESHES, mesh(4, 6), PointCloud(np.ones((4, 2), np.float32))):
        np.testing.assert_array_equal(domain.scaled(points), points)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: CLOUD.sites({}), ValueError, "the sample holds no array 'sensors.points', which its points need"),
        (lambda: MESHES.sites(), ValueError, "the sample holds no array 'wing.points'"),
        (lambda: CLOUD.stored("", 2), TypeError, "is a layout and holds no points; pass a PointCloud"),
        (lambda: MESHES.stored("", 2), TypeError, "is a layout and holds no points; pass a Mesh"),
        (lambda: CLOUD.as_grid("H1"), ValueError, "H1 needs a uniform grid; these data live on point clouds or meshes"),
        (lambda: MESHES.as_grid("FNO"), ValueError, "FNO needs a uniform grid"),
        (lambda: mesh(4, 6).as_grid("FNO"), ValueError, "FNO needs a uniform grid"),
        (lambda: CLOUD.over_time(3, 0.1).over_time(3, 0.1), ValueError, "has a time axis already"),
        (lambda: CLOUD.over_time(3, 0.1).as_grid("FNO"), ValueError, "FNO needs a uniform grid"),
        (lambda: Grid.unit_square(3).over_time(1, 0.1), ValueError, "needs two frames or more, got 1"),
    ],
)
def test_wrong_use_is_named(use, error, message):
    with pytest.raises(error, match=message):
        use()


# Time -----------------------------------------------------------------------------------------------------------------


def test_a_grid_over_time_is_a_grid_with_time_first():
    grid = Box(x=(0, 2, "periodic")).grid(4).over_time(3, 0.5)
    assert grid.names == ("t", "x") and grid.shape == (3, 4) and grid.layouts == ("nodes", "periodic")
    np.testing.assert_allclose(grid.coordinates[0], [0, 0.5, 1.0])
    np.testing.assert_allclose(grid.scaled(grid.points)[..., 0], [[0] * 4, [0.5] * 4, [1] * 4])


def test_clouds_over_time_repeat_their_points_at_every_instant():
    layout = CLOUD.over_time(3, 0.5)
    assert layout == OverTime(CLOUD, 3, 0.5)
    assert (layout.ndim, layout.space_axes, layout.shape, layout.fixed) == (3, 2, (3, 5), False)
    assert layout.arrays == CLOUD.arrays and layout.layout("b").space.name == "b"
    assert layout.at_shape((4, 5)) == OverTime(CLOUD, 4, 0.5)
    assert layout.matches(OverTime(PointCloudLayout(2, 9, "sensors"), 7, 1.0)) and not layout.matches(CLOUD)
    batch = CLOUD.example(2, jax.random.key(0))
    sample = {name: values[1] for name, values in batch.stored("sensors", 2).items()}
    sites, still = layout.sites(sample), CLOUD.sites(sample)
    assert sites.points.shape == (3, 5, 3) and sites.weights.shape == sites.mask.shape == (3, 5)
    np.testing.assert_allclose(sites.points[..., 0], np.repeat([[0], [0.5], [1.0]], 5, 1))
    for frame in range(3):
        np.testing.assert_array_equal(sites.points[frame, :, 1:], still.points)
        np.testing.assert_array_equal(sites.weights[frame], still.weights)
        np.testing.assert_array_equal(sites.mask[frame], still.mask)
    np.testing.assert_allclose(layout.scaled(sites.points)[..., 0], np.repeat([[0], [0.5], [1.0]], 5, 1))


# Files ----------------------------------------------------------------------------------------------------------------


def test_files(tmp_path):
    made = mesh(4, 6)
    storage.save(tmp_path / "f", {"mesh": made, "layouts": (CLOUD, MESHES, CLOUD.over_time(3, 0.5))})
    back = storage.load(tmp_path / "f")
    assert back["layouts"] == (CLOUD, MESHES, CLOUD.over_time(3, 0.5))
    jax.tree.map(np.testing.assert_array_equal, back["mesh"], made)
    assert back["mesh"].edges.dtype == made.edges.dtype and jnp.issubdtype(made.edges.dtype, jnp.integer)
