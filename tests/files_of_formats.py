"""A tiny file of every format, written by the format's own library, with the values that `open` must give.

`FORMATS` maps a name to a function of a folder. It returns the path to open, the arrays by name in a dataset's order of axes,
and the options of `open`. `WITHOUT_LIBRARY` names the formats whose library is missing here.
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.io

import surrogax as sx

N, T, X, Y = 3, 4, 6, 5
CELLS = {n: (np.arange(n) + 0.5) / n for n in (X, Y)}
NEEDS = {
    "netcdf4": "h5netcdf", "netcdf3": "xarray", "zarr": "zarr", "vtu": "meshio", "vtk folder": "meshio",
    "RealPDEBench Arrow": "pyarrow",
}  # fmt: skip
WITHOUT_LIBRARY = [name for name, library in NEEDS.items() if importlib.util.find_spec(library) is None]


class Made(NamedTuple):
    """A file: its path, what `open` gives, the options of `open`."""

    path: Path
    arrays: dict[str, np.ndarray]
    options: Mapping[str, Any] = MappingProxyType({})


def random(*shape) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def pdebench(folder: Path, leading: bool = False, name="advection.hdf5") -> Made:
    """Family A in 1D, with one instant more than frames; with `leading` as the generators write it."""
    u = random(N, T, X)
    with h5py.File(folder / name, "w") as file:
        file["tensor"] = u[None] if leading else u
        file["x-coordinate"], file["t-coordinate"] = np.float32(CELLS[X]), np.arange(T + 1, dtype=np.float32)
        file.attrs["beta"] = 0.5
    return Made(folder / name, {"u": u, "beta": np.full(N, 0.5)})


def pdebench_fluid(folder: Path) -> Made:
    arrays = {name: random(N, T, X, Y) + k for k, name in enumerate(("density", "pressure", "Vx", "Vy"))}
    with h5py.File(folder / "fluid.hdf5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
        file["x-coordinate"], file["y-coordinate"] = CELLS[X], CELLS[Y]
        file["t-coordinate"] = np.arange(T + 1) * 0.05
        file.attrs.update(eta=1e-8, zeta=1e-8, M=0.1)
    return Made(folder / "fluid.hdf5", {**arrays, "M": np.full(N, 0.1)}, {"boundary": "periodic"})


def pdebench_darcy(folder: Path) -> Made:
    u, a = random(N, 1, X, X), np.where(random(N, X, X) > 0, 1.0, 0.1).astype(np.float32)
    with h5py.File(folder / "darcy.hdf5", "w") as file:
        file["tensor"], file["nu"], file["x-coordinate"], file["y-coordinate"] = u, a, CELLS[X], CELLS[X]
        file.attrs["beta"] = 1.0
    return Made(folder / "darcy.hdf5", {"u": u[:, 0], "a": a})


def pdebench_groups(folder: Path, channels: int = 2) -> Made:
    data = random(N, T, X, Y, channels)
    with h5py.File(folder / "groups.h5", "w") as file:
        for k in range(N):
            group = file.create_group(f"{k:04d}")
            group.create_dataset("data", data=data[k], compression="lzf")
            group["grid/x"], group["grid/y"], group["grid/t"] = 2 * CELLS[X] - 1, 2 * CELLS[Y] - 1, np.arange(T) * 0.05
            group.attrs["config"] = "sim:\n  D_u: 0.001\n  k: 5e-3\nname: diff-react\n"
    names = ("activator", "inhibitor") if channels == 2 else ("h",)
    return Made(folder / "groups.h5", {name: data[..., k] for k, name in enumerate(names)})


def pdebench_incompressible(folder: Path) -> Made:
    arrays = {"velocity": random(N, T, X, X, 2), "particles": random(N, T, X, X, 1), "force": random(N, X, X, 2)}
    with h5py.File(folder / "ns.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="lzf", shuffle=True)
        file["t"] = np.tile(np.arange(T) * 0.005, (N, 1))
        file.attrs["config"] = "NU: 0.01\nseed: 1"
    return Made(folder / "ns.h5", {**arrays, "particles": arrays["particles"][..., 0]})


def mat_burgers(folder: Path) -> Made:
    arrays = {"a": random(N, X).astype(np.float64), "u": random(N, X) + 1.0}
    scipy.io.savemat(folder / "burgers.mat", {**arrays, "a_smooth": arrays["a"] / 2}, do_compression=True)
    return Made(folder / "burgers.mat", {**arrays, "a_smooth": arrays["a"] / 2})


def mat_darcy(folder: Path) -> Made:
    coeff, sol = np.where(random(N, X, X) > 0, 12, 3).astype(np.float32), random(N, X, X)
    scipy.io.savemat(folder / "darcy.mat", {"coeff": coeff, "sol": sol, "Kcoeff": sol.astype(np.float64)})
    return Made(folder / "darcy.mat", {"a": coeff, "u": sol})


def mat_vorticity(folder: Path) -> Made:
    a, u = random(N, X, X), random(N, X, X, T)
    scipy.io.savemat(folder / "ns5.mat", {"a": a, "u": u, "t": np.arange(1.0, T + 1)})
    return Made(folder / "ns5.mat", {"a": a, "u": np.moveaxis(u, -1, 1)})


def mat_new(folder: Path) -> Made:
    """The same as MATLAB writes it in version 7.3: HDF5 behind a header of 512 bytes, all axes reversed."""
    a, u, path = random(N, X, X), random(N, X, X, T), folder / "ns73.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in {"a": a, "u": u, "t": np.arange(1.0, T + 1)[None]}.items():
            file.create_dataset(name, data=values.T, compression="gzip")
            file[name].attrs["MATLAB_class"] = np.bytes_(b"double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return Made(path, {"a": a, "u": np.moveaxis(u, -1, 1)})


def npy(folder: Path) -> Made:
    u = random(N, T, X)
    np.save(folder / "u.npy", u)
    return Made(
        folder / "u.npy", {"u": u}, {"axes": {"u": "sample time x"}, "grid": sx.Grid.unit(X), "times": np.arange(T)}
    )


def npz(folder: Path) -> Made:
    u, nu = random(N, T, X, Y, 2), random(N)
    coordinates = {"x": CELLS[X], "y": CELLS[Y], "t": np.arange(T) * 0.5}
    np.savez_compressed(folder / "u.npz", velocity=np.moveaxis(u, -1, 2), nu=nu, **coordinates)
    axes = {"velocity": "sample time component x y", "nu": "sample"}
    return Made(folder / "u.npz", {"velocity": u, "nu": nu}, {"axes": axes, "boundary": "neumann"})


def apebench(folder: Path) -> Made:
    u = random(N, T, 2, X, X)
    info = {"num_spatial_dims": 2, "num_points": X, "num_channels": 2, "domain_extent": 3.0, "dt": 0.1, "order": 2}
    (folder / "2d_phy_burgers.json").write_text(json.dumps({"name": "2d_phy_burgers", "info": info}))
    np.save(folder / "2d_phy_burgers_train.npy", u)
    return Made(folder / "2d_phy_burgers_train.npy", {"u": np.moveaxis(u, 2, -1)})


def cfdbench(folder: Path) -> Made:
    cases, u, v = folder / "cavity" / "prop", random(N, T, Y, X), random(N, T, Y, X) + 1
    for k in range(N):
        case = cases / f"case{k:04d}"
        case.mkdir(parents=True)
        np.save(case / "u.npy", u[k])
        np.save(case / "v.npy", v[k])
        (case / "case.json").write_text(
            json.dumps({"vel_top": 10.0 + k, "density": 1.0, "height": 0.01, "width": 0.02})
        )
    arrays = {"u": u.swapaxes(2, 3), "v": v.swapaxes(2, 3), "vel_top": 10.0 + np.arange(N)}
    return Made(folder / "cavity", arrays)


def pdearena(folder: Path) -> Made:
    arrays, path = (
        {n: random(N, T, X, Y).astype(np.float64) + k for k, n in enumerate(("u", "vx", "vy"))},
        folder / "smoke.h5",
    )
    with h5py.File(path, "w") as file:
        group = file.create_group("train")
        for name, values in arrays.items():
            group[name] = values
        group["t"] = np.tile(np.linspace(0, 3, T), (N, 1))
        group["x"], group["dx"] = np.tile(np.linspace(0, 32, X), (N, 1)), np.full(N, 32 / X)
        group["y"], group["dy"] = np.tile(np.linspace(0, 16, Y), (N, 1)), np.full(N, 16 / Y)
        group["dt"], group["buo_y"] = np.full(N, 1.0), np.linspace(0.2, 0.5, N)
    return Made(path, {**arrays, "buo_y": np.linspace(0.2, 0.5, N)})


def realpdebench(folder: Path) -> Made:
    home, arrays = folder / "cylinder", {}
    for split, names in (("real", "uv"), ("numerical", "uvp")):
        (home / split).mkdir(parents=True)
        arrays[split] = {name: random(2, T, Y, X) + k for k, name in enumerate(names)}
        for sample in range(2):
            with h5py.File(home / split / f"{1000 * (sample + 1)}.h5", "w") as file:
                for name in names:
                    file[f"measured_data/{name}"] = arrays[split][name][sample]
    return Made(home / "numerical", {n: values.swapaxes(2, 3) for n, values in arrays["numerical"].items()})


def arrow(folder: Path) -> Made:
    """As Hugging Face's `save_to_disk` writes them: streams with few rows each."""
    import pyarrow as pa

    home, arrays = folder / "fsi" / "hf_dataset", {}
    for split, names in (("real", "uv"), ("numerical", "uvp")):
        (home / split).mkdir(parents=True)
        arrays[split] = {name: random(N, T, Y, X) + k for k, name in enumerate(names)}
        ids = [f"{1000 * (k + 1)}.h5" for k in range(N)]
        columns = {
            "sim_id": pa.array(ids), **{n: pa.array([v.tobytes() for v in arrays[split][n]], pa.binary()) for n in names},
            **{f"shape_{a}": pa.array([n] * N, pa.int32()) for a, n in (("t", T), ("h", Y), ("w", X))},
        }  # fmt: skip
        table = pa.table(columns)
        for part, rows in enumerate((table.slice(0, 2), table.slice(2))):
            file = home / split / f"data-{part:05d}-of-00002.arrow"
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(rows)
        for name, rows in (("train", (0, 2)), ("test", (1,))):
            windows = [{"sim_id": ids[k], "time_id": t} for k in rows for t in range(2)]
            (home / f"{name}_index_{split}.json").write_text(json.dumps(windows))
    return Made(home / "numerical", {n: values.swapaxes(2, 3) for n, values in arrays["numerical"].items()})


def eth_points(folder: Path) -> Made:
    u, c, x = random(N, T, 7, 2), random(N, 1, 7, 1), random(N, 1, 7, 2)
    with h5py.File(folder / "points.nc", "w") as file:
        file["u"], file["c"], file["x"] = u, c, x
    return Made(folder / "points.nc", {"u": u, "c": c[:, 0, :, 0], "points": x[:, 0]}, {"times": np.linspace(0, 1, T)})


def eth_grid(folder: Path) -> Made:
    velocity = random(N, T, 2, X, X)
    with h5py.File(folder / "velocity.nc", "w") as file:
        file["velocity"] = velocity
    return Made(folder / "velocity.nc", {"velocity": np.moveaxis(velocity, 2, -1)})


def labelled(folder: Path, save) -> Made:
    import xarray

    u, nu, mask = random(N, T, X, Y), random(N), random(X, Y)
    data = {
        "u": (("sample", "time", "x", "y"), u, {"units": "m/s"}),
        "nu": (("sample",), nu),
        "mask": (("x", "y"), mask),
    }
    coordinates = {"x": CELLS[X], "y": CELLS[Y], "time": np.arange(T) * 0.5}
    path = save(xarray.Dataset(data, coordinates), folder)
    return Made(path, {"u": u, "nu": nu, "mask": np.broadcast_to(mask, (N, X, Y))}, {"boundary": "neumann"})


def netcdf4(folder: Path) -> Made:
    return labelled(folder, lambda d, f: (d.to_netcdf(f / "a.nc", engine="h5netcdf"), f / "a.nc")[1])


def netcdf3(folder: Path) -> Made:
    return labelled(folder, lambda d, f: (d.to_netcdf(f / "b.nc", engine="scipy"), f / "b.nc")[1])


def zarr(folder: Path) -> Made:
    return labelled(folder, lambda d, f: (d.to_zarr(f / "c.zarr", consolidated=False), f / "c.zarr")[1])


def square(n: int):
    """n × n points of the box 1 × 2 and its quadrilaterals."""
    points = np.stack(np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 2, n), indexing="ij"), -1).reshape(-1, 2)
    i = np.arange(n * n).reshape(n, n)
    return points, np.stack([i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]], -1).reshape(-1, 4)


def vtu(folder: Path, n: int = 4, name: str = "a.vtu") -> Made:
    import meshio

    points, cells = square(n)
    p, velocity = points[:, 0] * 2, random(n * n, 3)
    data = {"p": p, "U": velocity}
    meshio.Mesh(np.c_[points, np.zeros(n * n)], [("quad", cells)], data, {"kind": [np.ones(len(cells))]}).write(
        folder / name
    )
    return Made(folder / name, {"p": p[None], "U": velocity[None], "points": points[None].astype(np.float32)})


def vtk_folder(folder: Path) -> Made:
    home = folder / "vtk"
    home.mkdir()
    made = [vtu(home, n, name).arrays["p"][0] for n, name in ((3, "s2.vtu"), (4, "s10.vtk"))]
    p = np.stack([np.pad(values, (0, 16 - len(values))) for values in made])
    return Made(home, {"p": p})


def cgns(folder: Path) -> Made:
    """PLAID's layout: HDF5 whose nodes are groups with a label and the values in ` data`."""
    home, fields = folder / "plaid", []
    for k, n in enumerate((3, 4)):
        points, cells = square(n)
        fields.append(random(n * n))
        meshes = home / "data" / "train" / f"sample_{k:09d}" / "meshes"
        meshes.mkdir(parents=True)
        with h5py.File(meshes / "mesh_000000000.cgns", "w") as file:
            zone = cgns_base(file, k)
            cgns_node(zone, "GridCoordinates/CoordinateX", "GridCoordinates_t/DataArray_t", points[:, 0])
            cgns_node(zone, "GridCoordinates/CoordinateY", "GridCoordinates_t/DataArray_t", points[:, 1])
            cgns_node(zone, "Elements", "Elements_t", np.array([7, 0], np.int32))
            cgns_node(zone, "Elements/ElementConnectivity", "Elements_t/DataArray_t", cells.ravel() + 1)
            cgns_node(
                zone, "VertexFields/GridLocation", "FlowSolution_t/GridLocation_t", np.frombuffer(b"Vertex", np.int8)
            )
            cgns_node(zone, "VertexFields/p", "FlowSolution_t/DataArray_t", fields[-1].astype(np.float64))
    p = np.stack([np.pad(values.astype(np.float64), (0, 16 - len(values))) for values in fields])
    return Made(home, {"p": p, "mach": np.array([0.0, 1.0])})


def cgns_base(file: h5py.File, number: float) -> h5py.Group:
    cgns_node(file, "CGNSLibraryVersion", "CGNSLibraryVersion_t", np.array([4.0], np.float32))
    cgns_node(file, "Global", "CGNSBase_t", np.array([1, 1], np.int32))
    cgns_node(file, "Global/mach", "CGNSBase_t/DataArray_t", np.array([float(number)]))
    cgns_node(file, "Base", "CGNSBase_t", np.array([2, 2], np.int32))
    return cgns_node(file, "Base/Zone", "CGNSBase_t/Zone_t", np.array([[9], [4], [0]]))


def cgns_node(parent: h5py.Group, path: str, labels: str, data: np.ndarray) -> h5py.Group:
    names, kinds = path.split("/"), labels.split("/")
    for name, label in zip(names, kinds[-len(names) :], strict=True):
        parent = parent.require_group(name)
        parent.attrs["label"] = np.bytes_(label)
    if " data" not in parent:
        parent[" data"] = data
    return parent


def unknown_hdf5(folder: Path) -> Made:
    u = random(N, X, Y)
    with h5py.File(folder / "mine.h5", "w") as file:
        file["run/fields/u"], file["run/x"], file["run/y"] = u.swapaxes(1, 2), CELLS[X], CELLS[Y]
    return Made(folder / "mine.h5", {"u": u}, {"axes": {"run/fields/u": "sample y x"}})


def saved(folder: Path) -> Made:
    u = random(N, 7)
    sx.from_arrays({"u": u}, points=random(7, 2)).save(folder / "cloud.hdf5")
    return Made(folder / "cloud.hdf5", {"u": u})


def well(folder: Path) -> Made:
    u = random(N, T, X, Y)
    grid = sx.Box(x=(0, 1, "periodic"), y=(0, 1)).grid((X, Y))
    sx.from_arrays({"u": u}, grid=grid, times=np.arange(T)).save(folder / "well.hdf5")
    return Made(folder / "well.hdf5", {"u": u})


FORMATS = {
    "PDEBench": pdebench, "PDEBench of the generators": lambda f: pdebench(f, True, "generated.hdf5"),
    "PDEBench fluid": pdebench_fluid, "PDEBench Darcy": pdebench_darcy, "PDEBench groups": pdebench_groups,
    "PDEBench incompressible": pdebench_incompressible, "mat Burgers": mat_burgers, "mat Darcy": mat_darcy,
    "mat vorticity": mat_vorticity, "mat 7.3": mat_new, "npy": npy, "npz": npz, "APEBench": apebench, "CFDBench": cfdbench,
    "PDEArena": pdearena, "RealPDEBench": realpdebench, "RealPDEBench Arrow": arrow,
    "ETH points": eth_points, "ETH grid": eth_grid, "netcdf4": netcdf4,
    "netcdf3": netcdf3, "zarr": zarr, "vtu": vtu, "vtk folder": vtk_folder, "PLAID": cgns, "unknown HDF5": unknown_hdf5,
    "saved": saved, "The Well": well,
}  # fmt: skip
