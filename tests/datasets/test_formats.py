"""Files of every format: the values, coordinates and instants that `open` gives, in whole and in parts."""

import json
import pickle
import shutil

import numpy as np
import pytest

import surrogax as sx
from surrogax.core.files import StorageError
from surrogax.datasets.formats.registry import known_formats


def test_every_format_gives_the_values_that_were_written(tmp_path, files, format_name):
    made = files.FORMATS[format_name](tmp_path)
    data = sx.open(made.path, **made.options)
    for name, expected in made.arrays.items():
        found = data[name]
        assert found.shape == expected.shape and found.dtype.kind == "f", name
        np.testing.assert_array_equal(found, expected)
    again = pickle.loads(pickle.dumps(data.source))
    chosen = np.array([len(data) - 1, 0, 0])
    for name, expected in made.arrays.items():
        np.testing.assert_array_equal(again.read(name, chosen), expected[chosen])
        spec = data.spec(name)
        if spec.time and spec.role == "field" and spec.domain == "":
            window = (slice(3, 0, -2), slice(1, None, 3))
            np.testing.assert_array_equal(data.source.read(name, chosen, window), expected[chosen][:, 3:0:-2, 1::3])
    assert data.describe().startswith(f"{len(data)} samples")


def test_the_name_of_a_file_does_not_matter(tmp_path, files):
    for name in ("PDEBench", "mat 7.3", "npz", "PDEArena", "The Well"):
        (tmp_path / name).mkdir()
        made = files.FORMATS[name](tmp_path / name)
        other = shutil.copy(made.path, tmp_path / name / "data.bin")
        assert set(sx.open(other, **made.options).fields) == set(sx.open(made.path, **made.options).fields)


def test_grids_instants_and_conditions(tmp_path, files):
    def opened(name, **options):
        made = files.FORMATS[name](tmp_path)
        return sx.open(made.path, **(options or made.options))

    advection = opened("PDEBench")
    assert advection.grid.box.boundaries == ("periodic",) and advection.grid.box.extent == pytest.approx((1,))
    np.testing.assert_allclose(advection.grid.coordinates[0], files.CELLS[files.X], atol=1e-6)
    assert advection.times.tolist() == [0, 1, 2, 3] and "5 entries for 4 frames" in advection.attributes["notes"][0]
    fluid = opened("PDEBench fluid", boundary="neumann")
    assert fluid.grid.box.boundaries == ("neumann",) * 2 and fluid.grid.layouts == ("cells",) * 2
    assert "boundary=" in sx.open(tmp_path / "fluid.hdf5").attributes["notes"][0]
    darcy = opened("PDEBench Darcy")
    assert darcy.times is None and darcy.grid.box.conditions == ("dirichlet",) * 2
    react = opened("PDEBench groups")
    assert react.grid.box.lower == pytest.approx((-1, -1)) and react.grid.box.conditions == ("neumann",) * 2
    assert react.attributes["D_u"] == 1e-3 and react.attributes["k"] == 5e-3 and react.times[1] == 0.05
    assert opened("mat Darcy").grid == sx.Grid.unit_square(files.X)
    assert opened("mat vorticity").grid == sx.Grid.unit_square(files.X, "periodic")
    assert opened("mat 7.3").times.tolist() == [1, 2, 3, 4]
    smoke = opened("PDEArena")
    assert smoke.grid.box.extent == (32, 16) and smoke.grid.layouts == ("cells",) * 2
    ape = opened("APEBench")
    assert ape.grid.box.extent == (3, 3) and ape.times == pytest.approx([0, 0.1, 0.2, 0.3])
    cavity = opened("CFDBench")
    assert cavity.grid.box.extent == (0.02, 0.01) and cavity.times == pytest.approx([0, 0.1, 0.2, 0.3])
    assert opened("npz").grid.box.extent == pytest.approx((1, 1))


def test_published_splits(tmp_path, files):
    files.realpdebench(tmp_path)
    splits = sx.open_splits(tmp_path / "cylinder")
    assert {split: sorted(data.fields) for split, data in splits.items()} == {
        "real": ["u", "v"],
        "numerical": ["p", "u", "v"],
    }
    made = files.cgns(tmp_path)
    assert list(sx.open_splits(made.path)) == ["train"]
    for sample in range(2):  # the outputs of the test split are withheld
        (made.path / "data" / "test").mkdir(exist_ok=True)
        target = made.path / "data" / "test" / f"sample_{sample:09d}"
        shutil.copytree(made.path / "data" / "train" / f"sample_{sample:09d}", target)
        import h5py

        with h5py.File(target / "meshes" / "mesh_000000000.cgns", "r+") as file:
            del file["Base/Zone/VertexFields/p"]
    test = sx.open_splits(made.path)["test"]
    assert "p" not in test.fields and "fields p of other splits are withheld" in test.attributes["notes"][0]
    assert len(test) == 2 and test["mach"].tolist() == [0, 1]
    files.apebench(tmp_path)
    assert list(sx.open_splits(tmp_path)) == ["train"]


def test_arrow_splits_and_published_windows(tmp_path, files):
    pytest.importorskip("pyarrow")
    files.arrow(tmp_path)
    splits = sx.open_splits(tmp_path / "fsi")
    assert {s: sorted(d.fields) for s, d in splits.items()} == {"real": ["u", "v"], "numerical": ["p", "u", "v"]}
    assert splits["real"].attributes["published"] == {"train": [0, 2], "test": [1]}
    file = tmp_path / "fsi" / "hf_dataset" / "real" / "data-00000-of-00002.arrow"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b"shape_w", b"shape_x"), b"sim_id shape_t shape_h shape_w"):
        file.write_bytes(damaged)
        with pytest.raises(StorageError):
            sx.open(tmp_path / "fsi" / "hf_dataset" / "real")["u"]


def test_missing_samples_are_told(tmp_path, files):
    import h5py

    made = files.pdebench_groups(tmp_path)
    with h5py.File(made.path, "r+") as file:
        del file["0001"]
    data = sx.open(made.path)
    assert data.ids.tolist() == [0, 2] and "1 of the samples 0 to 2 are missing" in data.attributes["notes"][0]


def test_cylinders_have_a_mask_and_sides(tmp_path):
    rng, ny, nx = np.random.default_rng(0), 16, 24
    x, y = -1 + (np.arange(nx) + 0.5) / 8, -1 + (np.arange(ny) + 0.5) / 8
    for k, radius in enumerate((0.3, 0.5)):
        case = tmp_path / "cylinder" / "geo" / f"case{k:04d}"
        case.mkdir(parents=True)
        solid = x**2 + y[:, None] ** 2 <= radius**2
        for name in "uv":
            np.save(case / f"{name}.npy", np.where(solid, 0, rng.random((3, ny, nx)) + 1).astype(np.float32))
        numbers = {"vel_in": 1.0, "radius": radius, "x_min": -1, "x_max": 2, "y_min": -1, "y_max": 1}
        (case / "case.json").write_text(json.dumps(numbers))
    data = sx.open(tmp_path / "cylinder")
    assert data.grid.box.extent == (3, 2) and data.times[1] == pytest.approx(0.001)
    np.testing.assert_array_equal(data["fluid"] == 0, (data["u"] == 0).all(1))
    assert 0 < (data["fluid"][0] == 0).sum() < (data["fluid"][1] == 0).sum()
    assert data.attributes["boundary_conditions"]["left"] == "u = vel_in, v = 0"
    assert not any("cylinder" in note for note in data.attributes["notes"])
    np.save(tmp_path / "cylinder" / "geo" / "case0000" / "u.npy", np.ones((3, ny, nx)))
    assert any("may lie elsewhere" in note for note in sx.open(tmp_path / "cylinder").attributes["notes"])


def test_cases_of_different_length_are_cut_with_a_warning(tmp_path, files):
    made = files.cfdbench(tmp_path)
    for name in ("u", "v"):
        file = made.path / "prop" / "case0001" / f"{name}.npy"
        np.save(file, np.load(file)[:3])
    with pytest.warns(UserWarning, match="2 of 3 cases have more than 3 frames"):
        data = sx.open(made.path, dt=0.2)
    np.testing.assert_array_equal(data["u"], made.arrays["u"][:, :3])
    assert data.times == pytest.approx([0, 0.2, 0.4])


def test_a_mesh_has_the_area_of_its_cells(tmp_path, files):
    pytest.importorskip("meshio")
    made = files.vtk_folder(tmp_path)
    clouds = sx.open(made.path).clouds()
    np.testing.assert_allclose(clouds.weights.sum(1), 2, rtol=1e-6)
    assert clouds.mask.sum(1).tolist() == [9, 16] and clouds.ndim == 2  # s2 before s10
    # A cube of one hexahedron, and the same cut into five tetrahedra.
    from surrogax.datasets.formats.cells import domain_of

    cube = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
    assert float(domain_of(cube, {"hexahedron": np.arange(8)[None]}).weights.sum()) == pytest.approx(1)
    wedge = cube[[0, 1, 3, 4, 5, 7]]
    assert float(domain_of(wedge, {"wedge": np.arange(6)[None]}).weights.sum()) == pytest.approx(0.5)
    pyramid = np.array([*cube[:4], [0.5, 0.5, 1.0]])
    assert float(domain_of(pyramid, {"pyramid": np.arange(5)[None]}).weights.sum()) == pytest.approx(1 / 3)


def test_what_is_no_data_is_called_what_it_is(tmp_path):
    path = tmp_path / "shear_flow.hdf5"
    for content, said in (
        (
            b"\n<!DOCTYPE html><html><head><title>404 Not Found</title>",
            r"page of a web site \(HTML\) with the title '404 Not Found'",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "pointer of Git LFS"),
        (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "error message of an object store"),
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip"),
        (b"plain text", r"of no known format \(it starts with b'plain te'\)"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^\S+shear_flow\.hdf5: .*{said}"):
            sx.open(path)


@pytest.mark.parametrize("name", ["unknown HDF5", "npy", "npz"])
def test_an_unknown_layout_is_described_with_the_call_that_opens_it(tmp_path, files, name):
    made = files.FORMATS[name](tmp_path)
    with pytest.raises(StorageError) as caught:
        sx.open(made.path)
    said = str(caught.value)
    assert "It holds " in said and f"surrogax.open({made.path.name!r}, axes={{" in said and "\n" not in said
    assert f"{next(iter(made.arrays))} float32" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": {"w": "sample y x"}}, r"has no array 'w' of real numbers\. It holds run/fields/u float32\[3, 5, 6\]"),
        ({"axes": {"run/fields/u": "sample x"}}, "one word per axis is needed"),
        ({"axes": {"run/fields/u": "sample x x"}}, "'x' in 'sample x x' is used twice"),
        ({"axes": {"run/fields/u": "sample x y"}}, "there are no coordinates of the axis"),
        ({"axes": {"run/fields/u": "sample y z"}}, "no coordinates of the axis 'z'; pass grid="),
        ({"axes": {"run/fields/u": "sample y x"}, "times": [0, 1]}, "no array has the axis 'time'"),
        (
            {"axes": {"run/fields/u": "sample time x"}, "grid": sx.Grid.unit(6)},
            "no instants of the 5 frames; pass times=",
        ),
        (
            {"axes": {"run/fields/u": "sample y x"}, "grid": sx.Grid.unit_square(6)},
            r"run/fields/u|has the axes \[3, 6, 5\]",
        ),
        ({"axes": {"run/fields/u": "1 y x"}}, "drops axes of length one"),
    ],
)
def test_words_that_do_not_fit(tmp_path, files, options, message):
    made = files.unknown_hdf5(tmp_path)
    with pytest.raises(ValueError, match=message):
        sx.open(made.path, **options)
    with pytest.raises(TypeError, match=r"axes|named_source"):
        sx.open(made.path, axes="sample x y")
    with pytest.raises(TypeError, match="channels"):
        sx.open(made.path, channels="first")


def test_special_formats_are_tried_before_general_ones():
    order = known_formats()
    for special, general in (
        ("APEBench's .npy and .json", "NumPy's .npy"), ("PDEBench's HDF5", "HDF5 of another layout"), ("MATLAB's .mat", "NetCDF"),
        ("ETH's NetCDF sets", "NetCDF"), ("The Well's HDF5", "HDF5 of another layout"), ("CGNS", "HDF5 of another layout"),
    ):  # fmt: skip
        assert order.index(special) < order.index(general)


GRIDS = ["PDEBench", "PDEBench groups", "mat vorticity", "APEBench", "PDEArena", "npz", "netcdf4", "RealPDEBench"]


@pytest.mark.parametrize("name", GRIDS)
def test_everything_on_a_grid_is_converted_without_loss(tmp_path, files, name, monkeypatch, capsys):
    """Conversion reads blocks of a few frames, so that no large sample is in memory as a whole."""
    if name in files.WITHOUT_LIBRARY:
        pytest.skip("its library is missing")
    from surrogax.cli import main
    from surrogax.datasets.formats import well_writer

    made = files.FORMATS[name](tmp_path)
    whole = well_writer.blocks_of
    monkeypatch.setattr(well_writer, "blocks_of", lambda data, chunk: whole(data, chunk, 700))
    options = ["--boundary", made.options["boundary"]] if "boundary" in made.options else []
    if "axes" in made.options:
        options += ["--axes", *[word for pair in made.options["axes"].items() for word in pair]]
    main(["convert", str(made.path), "--out", str(tmp_path / "out.hdf5"), *options])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out.hdf5'}: ")
    data = sx.open(tmp_path / "out.hdf5")
    for key, expected in made.arrays.items():
        np.testing.assert_array_equal(data[key], expected)
    assert data.grid == sx.open(made.path, **made.options).grid


def test_splits_are_converted_to_a_folder(tmp_path, files, capsys):
    from surrogax.cli import main

    files.realpdebench(tmp_path)
    main(["convert", str(tmp_path / "cylinder"), "--out", str(tmp_path / "well")])
    found = sorted(str(file.relative_to(tmp_path / "well")) for file in (tmp_path / "well").rglob("*.hdf5"))
    assert found == ["data/numerical/cylinder.hdf5", "data/real/cylinder.hdf5"]
    assert len(sx.open(tmp_path / "well" / "data" / "real" / "cylinder.hdf5")) == 2
