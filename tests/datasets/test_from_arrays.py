"""What `from_arrays` takes, what it makes of it, and what it refuses in one sentence."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Grid, Mesh, PointCloud, PointCloudLayout
from surrogax.datasets import FieldSpec
from surrogax.datasets import from_arrays as checked_from_arrays
from surrogax.surrogates.task.task import Task

from_arrays = inspect.unwrap(checked_from_arrays)  # without the annotations that the suite checks, as people call it
RNG = np.random.default_rng(0)
GRID = Grid.unit_interval(9)
U, W = RNG.random((4, 9)), RNG.random((4, 5, 9))
TIMES = np.linspace(0, 1, 5)


class Tensor:
    """What NumPy sees of a tensor of PyTorch."""

    def __init__(self, values, refuse=False):
        self.values, self.refuse = values, refuse

    def __array__(self, dtype=None, copy=None):
        if self.refuse:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (U, "float64"),
        (U.tolist(), "float64"),
        (U.astype(np.float16), "float16"),
        (U.astype(">f4"), "float32"),
        (jnp.asarray(U, jnp.float32), "float32"),
        (jnp.asarray(U, jnp.bfloat16), "float32"),
        (Tensor(U.astype(np.float32)), "float32"),
        (np.ma.array(U), "float64"),
        (U.astype(np.longdouble), "float64"),
        (U > 0.5, "float32"),
        ((10 * U).astype(np.uint8), "float32"),
        ((1e9 * U).astype(np.int64), "float64"),
        ((1e9 * U).astype(np.int32), "float64"),
        (np.asfortranarray(U), "float64"),
        (U[:, ::-1], "float64"),
    ],
    ids=[
        "double",
        "list",
        "half",
        "big_endian",
        "jax",
        "bfloat16",
        "torch",
        "no_mask",
        "long",
        "boolean",
        "bytes",
        "int64",
        "int32",
        "fortran",
        "reversed",
    ],
)
def test_what_numbers_become(values, dtype):
    data = from_arrays({"u": values}, parameters={"c": np.asarray(values)[:, 0]}, grid=GRID)
    assert data.spec("u") == FieldSpec(dtype=dtype) and data.spec("c").dtype == dtype
    np.testing.assert_array_equal(data["u"], np.asarray(values).astype(dtype), strict=True)
    assert data["u"].dtype.isnative


MASKED = np.ma.array(np.where(U > 0.5, 9.96921e36, U), mask=U > 0.5)  # as netCDF readers return it


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (U * (1 + 1j), r"field 'u' is of dtype complex128, expected real numbers; give real and imaginary part as two"),
        (MASKED, rf"field 'u' is a masked array with {MASKED.mask.sum()} of 36 values masked.*values\.filled\(0\.0\)"),
        (np.full((4, 9), "x"), r"field 'u' is of dtype <U1, expected real numbers; convert it to numbers"),
        (np.full((4, 9), b"x"), r"field 'u' is of dtype \|S1"),
        (np.full((4, 9), None), r"field 'u' is of dtype object"),
        (np.full((4, 9), "2020-01-01", "M8[s]"), r"dtype datetime64\[s\], .*\(t - t\[0\]\) / np\.timedelta64"),
        (np.full((4, 9), 1, "m8[s]"), r"dtype timedelta64\[s\]"),
        ([[1.0, 2.0], [1.0]], r"field 'u' is no array of numbers \(.*inhomogeneous.*\); give a NumPy array"),
        (Tensor(U, refuse=True), r"field 'u' is no array of numbers \(Can't call numpy\(\).*detach"),
        (3.0, r"field 'u' has shape \(\); expected \(sample, 9\)"),
        (U.T, r"field 'u' has shape \(9, 4\); expected \(sample, 9\)"),
        (U[..., None, None], r"field 'u' has shape \(4, 9, 1, 1\)"),
    ],
)
def test_what_is_no_field_is_named(values, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_arrays({"u": values}, grid=GRID)


def test_one_component_and_none_are_the_same_to_a_task():
    """(N,) and (N, 1), the trap in which a difference of both becomes (N, N)."""
    flat = from_arrays({"a": U, "u": 2 * U}, parameters={"c": U[:, 0]}, grid=GRID)
    column = from_arrays({"a": U[..., None], "u": 2 * U[..., None]}, parameters={"c": U[:, :1]}, grid=GRID)
    one, other = (Task.fit(data, ("a", "c"), "u") for data in (flat, column))
    assert one.signature == other.signature
    sample, same = flat[0], column[0]
    np.testing.assert_allclose(one.wanted(sample), other.wanted(same))
    assert one.wanted(sample).shape == other.wanted(same).shape == (1, 9, 1)


# Times ----------------------------------------------------------------------------------------------------------------


def test_times_that_increase_are_taken_evenly_spaced_or_not():
    for times in (TIMES, TIMES.tolist(), TIMES**2, jnp.arange(5), [1990, 1991, 1995, 1996, 2000], TIMES.astype("f4")):
        data = from_arrays({"w": W}, grid=GRID, times=times)
        np.testing.assert_array_equal(data.times, np.asarray(times, data.times.dtype))
        assert data.spec("w").time and data.times.dtype.kind == "f"
    assert from_arrays({"w": W[:, :1]}, grid=GRID, times=[0.0]).instants == 1


PADDED = np.array([0.0, 0.5, 1.0, np.inf, np.inf])  # as an ODE solver returns what it never reached


@pytest.mark.parametrize(
    ("fields", "times", "message"),
    [
        ({"w": W}, TIMES[::-1], r"times must increase, but times\[0\] = 1 is followed by 0\.75; sort the frames"),
        ({"w": W}, [0, 1, 1, 2, 3], r"times\[1\] = 1 is followed by 1; .*keep one of equal instants"),
        ({"w": W}, np.tile(TIMES, (4, 1)), r"times has shape \(4, 5\), expected \(time,\).*all samples share"),
        ({"w": W}, [], r"times has shape \(0,\)"),
        ({"w": W}, 1.0, r"times has shape \(\)"),
        ({"w": W}, [0, 1, np.nan, 3, 4], r"times\[2\] is nan; cut .* times\[:2\]"),
        (
            {"w": W},
            PADDED,
            r"times\[3\] is inf; cut what was padded or never reached, for example times\[:3\], and the fields",
        ),
        (
            {"w": W},
            np.arange(5).astype("M8[D]"),
            r"times is of dtype datetime64\[D\], expected real numbers; give numbers since",
        ),
        (
            {"w": np.moveaxis(W, 1, -1)},
            TIMES,
            r"field 'w' has the 5 instants of times= on its last axis; time is expected",
        ),
        ({"w": W, "f": np.moveaxis(W, 1, -1)}, TIMES, r"field 'f' has the 5 instants of times= on its last axis"),
        ({"w": W}, TIMES[:4], r"field 'w' has shape \(4, 5, 9\); expected \(sample, time=4, 9\)"),
        ({"u": U}, TIMES, r"times= has 5 instants, but no field has a time axis"),
    ],
)
def test_times_that_have_no_meaning_are_named(fields, times, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_arrays(fields, grid=GRID, times=times)


def test_a_constant_vector_may_have_as_many_components_as_there_are_instants():
    data = from_arrays({"w": W[:, :3], "b": RNG.random((4, 9, 3))}, grid=GRID, times=TIMES[:3])
    assert data.spec("w").time and data.spec("b") == FieldSpec(components=(3,), dtype="float64")


# Points ---------------------------------------------------------------------------------------------------------------


def test_arrays_of_points_are_clouds():
    points = RNG.random((9, 2))
    for given in (points, points.tolist(), jnp.asarray(points), PointCloud(points)):
        data = from_arrays({"u": U}, points=given)
        assert data.domain == PointCloudLayout(2, 9)
        np.testing.assert_allclose(data["points"], np.broadcast_to(np.float32(points), (4, 9, 2)))
        np.testing.assert_allclose(data["weights"], 1 / 9, rtol=1e-6)
    each = RNG.random((4, 9, 3))
    np.testing.assert_allclose(from_arrays({"u": U}, points=each)["points"], np.float32(each))
    sensors = from_arrays({"u": U, "s": U[:, :3]}, grid=GRID, elsewhere={"s": RNG.random((3, 1))})
    assert sensors.domains["s"] == PointCloudLayout(1, 3, "s")


def test_equal_places_are_one_domain():
    places = {name: RNG.random((3, 1)) for name in "ab"}
    coarse = {"p": Grid.unit_interval(5), "q": Grid.unit_interval(5), "r": Grid.unit_interval(9), "s": places["a"]}
    coarse |= {"t": places["a"].copy(), "v": places["b"], "w": Mesh(places["a"], [[0, 1]])}
    sizes = {"p": 5, "q": 5, "r": 9, "s": 3, "t": 3, "v": 3, "w": 3}
    data = from_arrays({"u": U} | {n: RNG.random((4, k)) for n, k in sizes.items()}, grid=GRID, elsewhere=coarse)
    assert {name: data.spec(name).domain for name in sizes} == {
        "p": "p",
        "q": "p",
        "r": "",
        "s": "s",
        "t": "s",
        "v": "v",
        "w": "w",
    }
    assert set(data.domains) == {"", "p", "s", "v", "w"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 9}, r"grid=9 does not tell the box; give a Grid, such as Grid\.unit_square\(64\)"),
        ({"grid": (9,)}, r"grid=\(9,\) does not tell the box"),
        ({"grid": PointCloud(np.ones((9, 2)))}, "grid=… needs a uniform grid; these data live on point clouds"),
        ({"points": np.ones(9)}, r"points have shape \(9,\), expected \(n, d\).*points\[:, None\]"),
        ({"points": "here"}, "points is of dtype <U4"),
        ({"points": np.full((9, 2), np.nan)}, "PointCloud: 9 points are not finite"),
        ({"points": PointCloudLayout(2, 9)}, "is a layout and holds no points"),
        ({"grid": GRID, "points": np.ones((9, 2))}, "exactly one of grid=… and points=…"),
        ({}, "exactly one of grid=… and points=…"),
    ],
)
def test_points_that_are_none_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_arrays({"u": U}, **options)


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"inputs": {"a": U}, "targets": {"a": 2 * U}},
            r"\['a'\] are given twice among inputs, targets and parameters",
        ),
        ({"inputs": {"a": U}, "parameters": {"a": U[:, 0]}}, r"\['a'\] are given twice"),
        ({"inputs": U}, r'inputs is a ndarray, expected a dict of arrays by name, such as \{"u": u\}'),
        ({"inputs": {"u": U}, "parameters": U[:, 0]}, "parameters is a ndarray"),
        ({"inputs": {0: U}}, "0 is no name of an array"),
        ({"inputs": {"": U}}, "'' is no name of an array"),
        ({"inputs": {"u": U}, "parameters": {"c": ["a", "b", "c", "d"]}}, "parameter 'c' is of dtype <U1"),
        ({"inputs": {"u": U}, "parameters": {"c": 0.1}}, r"parameter 'c' has shape \(\); expected \(sample,\)"),
        ({"inputs": {"u": U}, "parameters": {"c": U[:3, 0]}}, r"different numbers of samples: \{'u': 4, 'c': 3\}"),
    ],
)
def test_names_and_parameters_that_do_not_fit_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_arrays(**options, grid=GRID)


def test_fields_called_like_the_arrays_of_points_are_refused():
    """They would be overwritten by these."""
    with pytest.raises(ValueError, match=r"\['mask', 'points'\] are names of the arrays that describe the points"):
        from_arrays({"mask": U, "points": U}, points=RNG.random((9, 2)))
    assert from_arrays({"mask": U}, grid=GRID)["mask"].shape == (4, 9)


def test_masks_that_change_in_time_are_refused_in_one_sentence():
    moving = np.ones((5, 9), bool)
    with pytest.raises(ValueError, match=r"PointCloud: mask of shape \(5, 9\), expected \(9,\), one per point"):
        PointCloud(RNG.random((9, 2)), mask=moving)
    data = from_arrays({"w": W, "solid": np.broadcast_to(moving, W.shape)}, grid=GRID, times=TIMES)
    assert data.spec("solid") == FieldSpec(time=True), "as a field of zeros and ones it may move"


def test_no_samples_and_traced_values():
    assert len(from_arrays({"u": np.zeros((0, 9))}, grid=GRID)) == 0
    with pytest.raises(ValueError, match="got no arrays"):
        from_arrays(grid=GRID)
    with pytest.raises((TypeError, ValueError), match=r"'u' is no array of numbers"):
        jax.jit(lambda u: from_arrays({"u": u}, grid=GRID)["u"])(U)
