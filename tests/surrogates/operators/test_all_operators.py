"""One table of all operators: contract, parameters, gradients, types, export, other resolutions; meshes: order and padding."""

import itertools
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.domains import Sites
from surrogax.surrogates.operators import NeuralSpectral
from surrogax.surrogates.task.signature import Signature, SourceSignature

KEY = jax.random.key(0)
WIDTH = 4


def mlp(*sizes: int) -> int:
    """Parameters of a pointwise MLP."""
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


FNO = mlp(4, WIDTH) + mlp(WIDTH, 8, 1) + mlp(WIDTH, WIDTH)  # lifting of a field, a parameter and two coordinates
DEEP = dict(width=WIDTH, depth=1)


@dataclass
class Row:
    """A config, its parameters for one field and one parameter in 2D, and whether it serves points that differ per sample."""

    config: sx.AbstractNetworkConfig
    parameters: int
    meshes: bool = False


def fno(parameters: int, **options) -> Row:
    return Row(sx.FNO.config(**{"modes": 3, "projection": (8,), **DEEP, **options}), FNO + parameters)


ROWS = {
    "FNO": fno(6 * 3 * 4 * 4 * 2),
    "FNO, Tucker": fno(2 * (2 * 2 * 2 * 1 + 4 * 2 * 2 + 6 * 2 + 3 * 1), factorization="tucker", rank=(2, 2, 2, 1)),
    "FNO, CP": fno(2 * (3 + 3 * (4 + 4 + 6 + 3)), factorization="cp", rank=3),
    "FNO, TT": fno(2 * (4 * 2 + 2 * 4 * 2 + 2 * 6 * 2 + 2 * 3), factorization="tt", rank=2),
    "FNO, separable": fno(6 * 3 * 4 * 2, separable=True),
    "FNO, sines": fno(3 * 3 * 4 * 4, boundary="dirichlet"),
    "FNO, cosines": fno(3 * 3 * 4 * 4, boundary="neumann"),
    "FNO, Chebyshev": fno(3 * 3 * 4 * 4, boundary="chebyshev"),
    "FNO, local": fno(6 * 3 * 4 * 4 * 2 + 2 * 9 * 4 * 4, local=("differential", "integral")),
    "FFNO": Row(
        sx.FFNO.config(modes=3, **DEEP), mlp(4, 4) + mlp(4, 8, 1) + 2 * 3 * 4 * 4 * 2 + mlp(4, 8, 4)
    ),
    "UNO": Row(
        sx.UNO.config(width=WIDTH, modes=4, levels=1),
        mlp(4, 4) + mlp(8, 8, 1) + 8 * 2 * (4 * 8 + 8 * 8 + 16 * 4) + mlp(4, 8) + mlp(8, 8) + mlp(16, 4),
    ),
    "CAPE": Row(
        sx.CAPE.config(sx.FNO.config(modes=3, projection=(8,), **DEEP), width=4, channels=2, modes=2),
        mlp(6, 4) + mlp(4, 8, 1) + mlp(4, 4) + 6 * 3 * 4 * 4 * 2
        + mlp(1, 4) + mlp(4, 4) * 3 + 25 * 4 + 4 * 2 * 4 * 4 * 2 + 3 * mlp(1, 4, 4) + 2 * 4 + mlp(4, 2),
    ),
    "Transolver": Row(
        sx.Transolver.config(width=4, depth=1, slices=3, heads=2),
        mlp(4, 8, 4) + mlp(4, 4) * 3 + mlp(2, 3) + 2 * 6 + 2 + mlp(4, 8, 4) + 3 * 8 + mlp(4, 1), meshes=True,
    ),
    "GINO": Row(
        sx.GINO.config(width=4, depth=1, grid=8, modes=2, kernel=5, chunk=7),
        mlp(4, 8, 4) + 2 * mlp(5, 5, 4) + mlp(7, 4) + 4 * 2 * 4 * 4 * 2 + mlp(4, 4) + mlp(8, 8, 1), meshes=True,
    ),
    "PointNet": Row(sx.PointNet.config(width=4, depth=2), mlp(4, 4, 4) + mlp(8, 4, 4, 1), meshes=True),
    "DeepONet": Row(
        sx.DeepONet.config(basis=3, branch=(5,), trunk=(6,)), mlp(82, 5, 3) + mlp(2, 6, 3) + 1
    ),
}  # fmt: skip
MESHES = [name for name, row in ROWS.items() if row.meshes]

N = 9
RNG = np.random.default_rng(0)


def grid_data(n: int = N) -> sx.Dataset:
    """Smooth fields and a parameter on the unit square."""
    x, y = np.moveaxis(sx.Grid.unit_square(n).points, -1, 0)
    c = np.random.default_rng(1).uniform(0.5, 1.5, (6, 2, 1, 1))
    a = np.sin(2 * c[:, 0] * x + y) + c[:, 1] * y
    return sx.from_arrays({"a": a}, {"u": a * c[:, 1]}, grid=sx.Grid.unit_square(n), parameters={"p": c[:, 1, 0, 0]})


def mesh_data(unit: float = 1.0) -> sx.Dataset:
    """Clouds of 6 to 10 points that differ per sample."""
    rng = np.random.default_rng(5)
    clouds = [sx.PointCloud(unit * rng.uniform(size=(n, 2)), rng.uniform(1, 2, n)) for n in (6, 10, 8, 7, 9, 10)]
    a = rng.normal(size=(6, 10))
    return sx.from_arrays(
        {"a": a}, {"u": a + 1}, points=sx.PointCloud.stack(clouds), parameters={"p": rng.normal(size=6)}
    )


def surrogate(name: str, data: sx.Dataset) -> sx.NetworkSurrogate:
    return sx.NetworkSurrogate.build(ROWS[name].config, sx.Task.fit(data, ("a", "p"), "u"), KEY)


def data_of(name: str) -> sx.Dataset:
    return mesh_data() if ROWS[name].meshes else grid_data()


def batch_of(data: sx.Dataset, n: int = 3) -> sx.Batch:
    return sx.Batch({k: jnp.asarray(v[:n]) for k, v in data.read().items() if k != "u"}, jnp.arange(n))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ROWS)
def test_contract(name):
    data = data_of(name)
    sx.check_surrogate(surrogate(name, data), data)


@pytest.mark.nightly
@pytest.mark.parametrize("name", MESHES)
def test_contract_on_grids_and_on_synthetic_clouds(name):
    data = grid_data()
    sx.check_surrogate(surrogate(name, data), data)
    sx.check_surrogate(surrogate(name, mesh_data(1e-3)))


@pytest.mark.parametrize("name", ROWS)
def test_parameters(name):
    data = data_of(name)
    task = sx.Task.fit(data, ("a", "p"), "u")
    shapes = eqx.filter_eval_shape(lambda key: ROWS[name].config.build(task.signature, key), KEY)
    arrays = [x for x in jax.tree.leaves(shapes) if isinstance(x, jax.ShapeDtypeStruct)]
    assert sum(x.size for x in arrays) == ROWS[name].parameters


@pytest.mark.quick("PointNet")
@pytest.mark.parametrize("name", ROWS)
def test_gradients_types_and_export(name):
    """Every parameter has a gradient; float64 parameters give float64 predictions that agree; it lowers for all platforms."""
    data = data_of(name)
    model, batch = surrogate(name, data), batch_of(data)
    params, rest = eqx.partition(model.network, eqx.is_inexact_array)
    inputs = jax.vmap(lambda fields, _: model.task.pack(fields))(batch.fields, batch.numbers)

    def predict(params, inputs):
        network = eqx.combine(params, rest)
        if network.abilities.batched:
            return network(inputs, key=None, state=None, train=False)[0]
        return jax.vmap(lambda one: network(one, key=None, state=None, train=False)[0])(inputs)

    gradient = jax.grad(lambda params, inputs: (predict(params, inputs) ** 2).sum())
    found = jax.jit(gradient)(params, inputs)
    for path, value in jax.tree_util.tree_leaves_with_path(found):
        assert np.isfinite(value).all() and np.any(value != 0), jax.tree_util.keystr(path)
    text = jax.export.export(jax.jit(gradient), platforms=("cpu", "cuda", "tpu"))(params, inputs).mlir_module()
    assert "f64" not in text and "custom_call" not in text.replace("custom_call @Sharding", "")

    single = jax.jit(predict)(params, inputs)
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, (params, inputs))
        double = jax.jit(predict)(*wide)
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(single, double, atol=2e-5 * np.abs(double).max())


@pytest.mark.quick("FNO, cosines")
@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("DeepONet", "CAPE", "FNO", "FNO, CP")])
def test_refinement_tends_to_one_function(name):
    """The predictions on 9², 17², 33², 65² nodes come closer and closer to each other."""
    values = []
    first = grid_data()
    model = surrogate(name, first)
    predict = eqx.filter_jit(lambda model, batch: model.call_batch(batch)["u"])
    for n in (9, 17, 33, 65):
        u = predict(model, batch_of(grid_data(n), 2))
        stride = (n - 1) // 8
        values.append(np.asarray(u)[:, ::stride, ::stride])
    steps = [np.abs(a - b).max() for a, b in itertools.pairwise(values)]
    floor = 1e-5 * np.abs(values[-1]).max()
    assert steps[2] < 0.7 * steps[1] + floor and steps[1] < 1.2 * steps[0] + floor, steps


@pytest.mark.quick("PointNet")
@pytest.mark.parametrize("name", MESHES)
def test_order_of_points_padding_and_what_is_stored_there(name, x64):
    """In float64: points in another order give the same values in that order, to rounding; further padded points change
    nothing but rounding; what is stored at padded points changes not one bit, not even if it is not a number."""
    data = mesh_data()
    model = surrogate(name, data)
    model = jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, model)
    sample = {k: jnp.asarray(v[0], jnp.float64 if v.dtype.kind == "f" else None) for k, v in data.read().items()}
    network, n = model.network, 6
    sites = Sites(sample["points"], sample["weights"], sample["mask"])

    @eqx.filter_jit
    def predict(a, sites):
        inputs = sx.Inputs((sx.FieldValues(a[:, None], sites),), sample["p"][None], sites)
        if network.abilities.batched:
            return network(jax.tree.map(lambda x: x[None], inputs), key=None, state=None, train=False)[0][0, :, 0]
        return network(inputs, key=None, state=None, train=False)[0][:, 0]

    a = jnp.where(sites.mask, sample["a"], 0)
    u = np.asarray(predict(a, sites))
    scale = np.abs(u[:n]).max()
    order = np.array([3, 0, 9, 5, 1, 8, 2, 4, 7, 6])
    moved = predict(a[order], jax.tree.map(lambda x: x[order], sites))
    np.testing.assert_allclose(moved, u[order], atol=1e-12 * scale)
    assert np.abs(u[:n] - u[0]).max() > 1e-3 * scale

    more = jax.tree.map(lambda x: jnp.pad(x, [(0, 5), *[(0, 0)] * (x.ndim - 1)]), sites)
    np.testing.assert_allclose(predict(jnp.pad(a, (0, 5)), more)[:n], u[:n], atol=1e-12 * scale)

    real = sites.mask[:, None]
    junk = Sites(jnp.where(real, sites.points, jnp.nan), jnp.where(sites.mask, sites.weights, jnp.nan), sites.mask)
    assert np.array_equal(predict(a, junk)[:n], u[:n])


@pytest.mark.quick("PointNet")
@pytest.mark.parametrize("name", ["Transolver", "PointNet"])
def test_a_divided_point_counts_once(name):
    """Means are integrals: a point that is stored twice, with half its weight each, changes no value."""
    row = ROWS[name].config
    domain = sx.PointCloud(np.zeros((4, 2))).layout()
    network = row.build(Signature((SourceSignature(1, domain),), 0, 1, domain), KEY)
    x, a = jnp.asarray(RNG.uniform(size=(4, 2)), jnp.float32), jnp.asarray(RNG.normal(size=(4, 1)), jnp.float32)

    def predict(index, weights):
        sites = Sites(x[index], jnp.asarray(weights))
        return network(sx.Inputs((sx.FieldValues(a[index], sites),), None, sites), key=None, state=None, train=False)[0]

    whole = predict(np.arange(4), np.full(4, 0.25, np.float32))
    divided = predict(np.array([0, 0, 1, 2, 3]), np.array([0.125, 0.125, 0.25, 0.25, 0.25], np.float32))
    np.testing.assert_allclose(divided[1:], whole, rtol=1e-5, atol=1e-6)


def test_points_in_any_unit_are_seen_alike():
    """A cloud in micrometres is a cloud in metres to every network."""
    seen = []
    for unit in (1.0, 1e-6):
        data = mesh_data(unit)
        task = sx.Task.fit(data, ("a", "p"), "u")
        points = task.pack({k: jnp.asarray(v[1]) for k, v in data.read().items()}).query.points
        mask = np.asarray(data["mask"])
        seen.append(np.asarray(points))
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)
    real = np.asarray(data["points"])[mask]
    extent = (real.max(0) - real.min(0)).max()
    np.testing.assert_allclose(seen[1], (np.asarray(data["points"])[1] - real.min(0)) / extent, atol=1e-5)


def test_points_in_another_unit_are_told():
    task = sx.Task.fit(mesh_data(), ("a", "p"), "u")
    task.warn_outside(mesh_data())
    with pytest.warns(UserWarning, match="6 of 6 samples have points outside .* by up to 1e[+]03 of its longest side"):
        task.warn_outside(mesh_data(1e3))


def test_networks_of_one_resolution_refuse_others():
    """Their stencils are counted in points."""
    with pytest.raises(ValueError, match=r"not resolution free; the data live on .* 17 nodes"):
        surrogate("CAPE", grid_data()).predict(grid_data(17))


@pytest.mark.nightly
def test_points_beyond_the_latent_grid_have_the_neighbours_of_its_nearest_place():
    """The prediction is continuous across the end of the grid at 1.1, and finite and not constant beyond it."""
    domain = sx.PointCloud(np.zeros((3, 2))).layout()
    network = ROWS["GINO"].config.build(Signature((SourceSignature(1, domain),), 0, 1, domain), KEY)
    sites = Sites(jnp.array([[[1.0999, 0.2], [1.1001, 0.2], [1.5, 0.2], [0.5, 9.0]]]), jnp.full((1, 4), 1 / 4))
    inputs = sx.Inputs((sx.FieldValues(jnp.ones((1, 4, 1)), sites),), None, sites)
    y = network(inputs, key=None, state=None, train=False)[0][0, :, 0]
    assert np.isfinite(y).all() and abs(y[1] - y[0]) < 1e-4 < 1e-2 < abs(y[3] - y[0])


@pytest.mark.nightly
def test_the_memory_of_neighbourhoods_is_that_of_a_chunk():
    """Twice the points take hardly more temporary memory, also in the derivative."""
    domain = sx.PointCloud(np.zeros((3, 3))).layout()
    config = sx.GINO.config(width=16, depth=1, grid=8, modes=2, kernel=16, chunk=256)
    network = config.build(Signature((SourceSignature(1, domain),), 0, 1, domain), KEY)
    params, rest = eqx.partition(network, eqx.is_inexact_array)

    def energy(params, x, a):
        sites = Sites(x, jnp.ones(x.shape[:-1]))
        inputs = sx.Inputs((sx.FieldValues(a, sites),), None, sites)
        return (eqx.combine(params, rest)(inputs, key=None, state=None, train=False)[0] ** 2).sum()

    def bytes_of(n):
        x, a = jnp.zeros((1, n, 3)), jnp.zeros((1, n, 1))
        return jax.jit(jax.grad(energy)).lower(params, x, a).compile().memory_analysis().temp_size_in_bytes

    pairs = 4**3 * (16 + 16) * 4  # bytes per point if the kernels of all neighbours were kept
    assert bytes_of(2048) - bytes_of(1024) < 0.25 * 1024 * pairs


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda t: sx.Transolver(t, width=5, heads=2, key=KEY), "width=5 is no multiple of heads=2"),
        (lambda t: sx.GINO(t, grid=2, key=KEY), r"GINO\(grid=2\): expected 4 or more"),
        (lambda t: sx.GINO(t, grid=8, modes=5, key=KEY), "GINO: modes=5, but the latent grid=8 knows 4 frequencies"),
        (lambda t: sx.PointNet(t, depth=0, key=KEY), r"PointNet\(depth=0\): expected 1 or more"),
        (lambda t: sx.FFNO(t, modes=(3,), key=KEY), "FFNO: modes=.* for a task with 2 dimensions"),
        (lambda t: sx.UNO(t, levels=0, key=KEY), r"UNO\(levels=0\)"),
        (lambda t: sx.FNO(t, separable=True, factorization="cp", key=KEY), "factorization and separable exclude"),
        (lambda t: sx.FNO(t, boundary="dirichlet", padding=0.1, key=KEY), "needs no padding, got 0.1"),
        (lambda t: sx.FNO(t, factorization="cp", rank=0.0, key=KEY), "rank=0.0: expected a share"),
        (lambda t: sx.FNO(t, rank=0.5, key=KEY), "rank=0.5 would be ignored with dense weights"),
        (
            lambda t: sx.FNO(t, init="uniform", separable=True, key=KEY),
            "init='uniform' would be ignored with separable",
        ),
        (lambda t: sx.FNO(t, method="dft", boundary="neumann", key=KEY), "method='dft' would be ignored with boundary"),
        (lambda t: sx.FNO(t, factorization="tt", rank=(2, 2), key=KEY), "'tt' of 4 axes needs 3 positive ranks"),
        (lambda t: sx.FNO(t, modes=20, boundary="chebyshev", key=KEY).predict(grid_data()), "cannot be fitted stably"),
    ],
    ids=[
        "heads", "grid", "frequencies", "depth", "modes", "levels", "forms", "padding", "rank", "no rank", "init", "method",
        "ranks", "Chebyshev",
    ],
)  # fmt: skip
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make(sx.Task.fit(grid_data(), ("a", "p"), "u"))


def test_fields_elsewhere_are_refused():
    sensors = sx.PointCloud(RNG.uniform(size=(5, 2)))
    data = sx.from_arrays(
        {"a": RNG.normal(size=(4, 5))}, {"u": RNG.normal(size=(4, 7))}, points=sx.PointCloud(RNG.uniform(size=(7, 2))),
        elsewhere={"a": sensors},
    )  # fmt: skip
    task = sx.Task.fit(data, "a", "u")
    for family in (sx.Transolver, sx.GINO, sx.PointNet):
        with pytest.raises(ValueError, match="needs all fields at the same points"):
            family(task, key=KEY)


def test_a_neural_spectral_method_is_no_network_of_this_table():
    """It has its own file; every other operator that is exported stands above."""
    from surrogax.surrogates import operators

    exported = {n.removesuffix("Config") for n in vars(operators) if n.endswith("Config")}
    assert exported - {"PODDeepONet"} == {type(r.config).__name__.removesuffix("Config") for r in ROWS.values()}
    assert NeuralSpectral.__name__ not in exported
