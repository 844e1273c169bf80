"""FNO: parity with neuraloperator 2.0 by ported weights, published sizes, resolution, padding, batch statistics."""

import inspect
import itertools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.domains import Sites
from surrogax.solvers.kernels.spectral_product import spectral_convolution
from surrogax.surrogates.networks.abstract_network import AbstractNetwork
from surrogax.surrogates.operators import (
    NEURALOPERATOR,
    ORIGINAL,
    FNOConfig,
    FourierNetwork,
    from_neuraloperator,
    to_neuraloperator,
)
from surrogax.surrogates.task.signature import Signature, SourceSignature

FOLDER = Path(__file__).parents[2] / "fixtures"
FIXTURE = np.load(FOLDER / "neuraloperator_fno.npz")
CASES = sorted({name.split("/")[0] for name in FIXTURE.files})
TENSORS = np.load(FOLDER / "neuraloperator_tfno.npz")


@eqx.filter_jit
def apply_batch(network: AbstractNetwork, state, inputs: sx.Inputs, train: bool = False):
    return network(inputs, key=None, state=state, train=train)


def inputs_at(fields, points) -> sx.Inputs:
    """A batch of fields, or none, with the coordinates of their points."""
    sites = Sites(points, jnp.ones(points.shape[:-1]))
    return sx.Inputs(() if fields is None else (sx.FieldValues(fields, sites),), None, sites)


def parameters_of(case: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(f"{case}/param/"): FIXTURE[n] for n in FIXTURE.files if n.startswith(f"{case}/param/")}


def ported(case: str) -> FourierNetwork:
    """Our network with neuraloperator's weights."""
    padding = float(FIXTURE[f"{case}/domain_padding"]) if f"{case}/domain_padding" in FIXTURE.files else 0.0
    return from_neuraloperator(parameters_of(case), padding=padding)


def inputs_of(x, dtype) -> sx.Inputs:
    """Channels-last fields with coordinates j/n, as neuraloperator appends them."""
    fields = jnp.asarray(np.moveaxis(x, 1, -1), dtype)
    space = fields.shape[1:-1]
    query = np.stack(np.meshgrid(*(np.arange(n) / n for n in space), indexing="ij"), -1)
    return inputs_at(fields, jnp.broadcast_to(jnp.asarray(query, dtype), (len(x), *query.shape)))


@pytest.mark.quick("fno2d_nyquist")
@pytest.mark.parametrize("case", CASES)
def test_equals_neuraloperator_with_ported_weights(case):
    # neuraloperator 2.0.0 shifts odd leading axes by one frequency; its later fix is what we must agree with there.
    repaired = f"{case}/output_ifftshift"
    expected = np.moveaxis(FIXTURE[repaired if repaired in FIXTURE.files else f"{case}/output"], 1, -1)
    with jax.enable_x64(True):
        network = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if eqx.is_inexact_array(x) else x, ported(case))
        y, _ = apply_batch(network, None, inputs_of(FIXTURE[f"{case}/input"], jnp.float64))
        assert np.abs(y - expected).max() < 1e-12 * np.abs(expected).max()
    y, _ = apply_batch(ported(case), None, inputs_of(FIXTURE[f"{case}/input"], jnp.float32))
    assert np.abs(y - expected).max() < 5e-6 * np.abs(expected).max()


def tensor_parameters(case: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(f"{case}/param/"): TENSORS[n] for n in TENSORS.files if n.startswith(f"{case}/param/")}


@pytest.mark.quick("tt")
@pytest.mark.parametrize("case", ["tucker", "cp", "tt", "tucker3d"])
def test_equals_a_tfno_with_ported_weights(case):
    """The parity is that of float32; the product of the factors is the dense weight; and the parameters go back unchanged."""
    network = from_neuraloperator(tensor_parameters(case))
    y, _ = apply_batch(network, None, inputs_of(TENSORS[f"{case}/input"], jnp.float32))
    expected = np.moveaxis(TENSORS[f"{case}/output"], 1, -1)
    assert np.abs(y - expected).max() < 1e-5 * np.abs(expected).max()
    layer = network.blocks[0].spectral
    v = jax.random.normal(jax.random.key(0), (*TENSORS[f"{case}/input"].shape[:1:-1], 2, 5))
    dense = spectral_convolution(v, layer.dense()) + layer.bias
    np.testing.assert_allclose(layer(v), dense, atol=1e-5 * np.abs(dense).max())


@pytest.mark.parametrize(
    "parameters", [parameters_of("fno1d"), parameters_of("fno3d"), *map(tensor_parameters, ("tucker", "cp", "tt"))]
)
def test_parameters_go_back_to_neuraloperator(parameters):
    back = to_neuraloperator(from_neuraloperator(parameters))
    assert back.keys() == parameters.keys()
    for name, value in parameters.items():
        assert back[name].dtype == value.dtype and np.array_equal(back[name], value), name


def test_networks_of_another_form_do_not_go_back():
    with pytest.raises(ValueError, match=r"not of neuraloperator's form \(.*spectral_bias"):
        to_neuraloperator(network_for(1, 1, 1, width=4, modes=3))
    with pytest.raises(ValueError, match="on a grid of the layout 'periodic'"):
        to_neuraloperator(network_for(1, 1, 1, layout="nodes", width=4, modes=3, **NEURALOPERATOR))
    separable = {n: p[:, 0] if n.endswith("weight.tensor") else p for n, p in parameters_of("fno1d").items()}
    with pytest.raises((ValueError, KeyError)):
        from_neuraloperator(separable)


@pytest.mark.parametrize(
    "old, new, named",
    [
        (None, "norm.0.weight", "unknown 'fno_blocks.norm.0.weight' among"),
        ("fno_skips.0", "fno_skips.0.weight", "no 'fno_blocks.fno_skips.0.conv.weight', unknown '.*0.weight' among"),
        ("channel_mlp.1.fcs.0.bias", None, "no 'fno_blocks.channel_mlp.1.fcs.0.bias' among"),
        ("convs.", None, "no 'fno_blocks.convs.0.bias', no 'fno_blocks.convs.0.weight.tensor', unknown .*, … among"),
    ],
    ids=["norm", "gated skip", "missing bias", "other convolutions"],
)
def test_other_graphs_of_neuraloperator_are_refused(old, new, named):
    """By the names of what differs, and of the graph that is expected."""
    p = parameters_of("fno2d")
    if old is not None:
        p = {name: value for name, value in p.items() if not name.startswith(f"fno_blocks.{old}")}
    if new is not None:
        p[f"fno_blocks.{new}"] = np.ones(6, np.float32)
    with pytest.raises(KeyError, match=f"{named}.*default graph of neuralop.models.FNO 2.0"):
        from_neuraloperator(p)


def network_for(n_in, n_out, ndim, *, layout="periodic", **options) -> FourierNetwork:
    grid = sx.Grid.unit((8,) * ndim, layout=layout)
    sources = (SourceSignature(n_in, grid),) if n_in else ()
    return FNOConfig(**options).build(Signature(sources, 0, n_out, grid), jax.random.key(0))


@pytest.mark.parametrize(
    "n_in, ndim, width, modes, norm, count",
    [(10, 2, 20, 8, "batch", 414_517), (1, 1, 64, 16, None, 549_569), (10, 3, 20, 8, "batch", 6_558_537)],
)
def test_published_parameter_counts(n_in, ndim, width, modes, norm, count):
    network = network_for(n_in, 1, ndim, width=width, modes=modes, **{**ORIGINAL, "norm": norm})
    assert sx.count_parameters(network) == count


def test_neuraloperator_parameter_count():
    """339,337 as neuraloperator counts, a complex number as one."""
    network = network_for(1, 1, 2, width=24, kept=(16, 9), **NEURALOPERATOR)
    spectral = sum(b.spectral.weight.size for b in network.blocks)
    assert sx.count_parameters(network) - spectral // 2 == 339_337


@pytest.mark.parametrize("layout", ["nodes", "periodic"])
def test_converges_under_refinement(layout):
    """The network is a map between functions: on finer grids its output tends to one function."""
    errors = []
    network = network_for(1, 1, 1, width=8, modes=4, padding=0.25, layout=layout, depth=2)
    for n in (33, 65, 129, 257) if layout == "nodes" else (32, 64, 128, 256):
        grid = sx.Grid.unit_interval(n, layout)
        x = grid.points
        a = jnp.asarray(np.sin(2 * np.pi * x) ** 2, jnp.float32)
        y, _ = apply_batch(network, None, inputs_at(a[None], jnp.asarray(x, jnp.float32)[None]))
        errors.append(np.asarray(y[0])[:: (n - 1) // 32 if layout == "nodes" else n // 32, 0])
    steps = [np.abs(a - b).max() for a, b in itertools.pairwise(errors)]
    assert steps[2] < steps[1] < steps[0]
    assert steps[2] < steps[0] / 3


def test_padding_has_the_same_period_on_nested_grids():
    network = network_for(1, 1, 2, width=4, modes=3, padding=0.25, layout="nodes")
    for n in (29, 57, 113):
        (_, p), _ = network._pad_widths((n, n))
        assert (n + p) * (1 / (n - 1)) == pytest.approx(1.25)


def test_batch_norm_state():
    network = network_for(1, 1, 1, width=4, modes=3, depth=2, norm="batch")
    state = network.initial_state()
    x = jax.random.normal(jax.random.key(1), (16, 32, 1))
    inputs = inputs_at(x, jnp.broadcast_to(jnp.linspace(0, 1, 32)[:, None], (16, 32, 1)))
    for _ in range(200):
        trained, state = apply_batch(network, state, inputs, train=True)
    tested, unchanged = apply_batch(network, state, inputs)
    np.testing.assert_allclose(trained, tested, atol=1e-4)  # running statistics reached those of the batch
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(unchanged), strict=True))


@pytest.mark.nightly
def test_remat_changes_nothing():
    x = inputs_at(None, jnp.linspace(0, 1, 16)[None, :, None])
    grads = []
    for remat in (False, True):
        network = network_for(0, 1, 1, width=4, modes=3, remat=remat)
        grads.append(eqx.filter_grad(lambda n: (n(x)[0] ** 2).sum())(network))
    for a, b in zip(jax.tree.leaves(grads[0]), jax.tree.leaves(grads[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(activation="swish"), r"unknown activation 'swish'; use one of \['gelu'"),
        (dict(init="zero"), r"unknown init 'zero'; use one of \['normal', 'uniform'\]"),
        (dict(norm="layer"), "unknown norm 'layer'"),
        (dict(padding_side="start"), "unknown padding_side 'start'"),
        (dict(method="table"), "unknown method 'table'"),
        (dict(width=0), "positive"),
        (dict(kept=(0,)), "positive"),
    ],
)
def test_wrong_options(options, message):
    # The unchecked constructor, as users run it: the annotations that the tests check would speak first.
    config = object.__new__(FNOConfig)
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(FNOConfig.__init__)(config, **{"width": 4, "modes": 3, **options})


def test_needs_a_grid_and_matching_modes(key):
    data = sx.from_arrays(targets={"u": np.random.default_rng(0).normal(size=(4, 9, 9))}, grid=sx.Grid.unit_square(9))
    task = sx.Task.fit(data, targets="u")
    with pytest.raises(ValueError, match="a task with 2 dimensions"):
        sx.FNO(task, modes=(3,), key=key)
    cloud = sx.PointCloud(np.random.default_rng(0).uniform(size=(4, 9, 2)))
    data = sx.from_arrays(targets={"u": np.ones((4, 9))}, points=cloud)
    with pytest.raises(ValueError, match="uniform grid"):
        sx.FNO(sx.Task.fit(data, targets="u"), key=key)


def test_padding_of_some_axes_alone():
    """Space-time of a periodic flow: zeros follow the last instant, and the periodic axis stays as it is."""
    grid = sx.Grid(sx.Box(t=(0, 1), x=(0, 1, "periodic")), (9, 8), ("nodes", "periodic"))
    signature = Signature((SourceSignature(1, grid),), 0, 1, grid)
    options = dict(width=4, modes=(3, 3), depth=1)

    def output(padding):
        network = FNOConfig(**options, padding=padding).build(signature, jax.random.key(0))
        fields = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 8, 1)), jnp.float32)
        inputs = inputs_at(fields, jnp.broadcast_to(jnp.asarray(grid.scaled(grid.points)), (2, 9, 8, 2)))
        return network._pad_widths((9, 8)), apply_batch(network, None, inputs)[0]

    widths, y = output((0.5, 0.0))
    assert widths == [(0, 3), (0, 0)] and y.shape == (2, 9, 8, 1)  # 9 + 3 points are 1.5 · 8 distances
    assert not np.allclose(y, output(0.5)[1]) and not np.allclose(y, output(0.0)[1])
    with pytest.raises(ValueError, match=r"padding=\(0.5,\) for a task with 2 dimensions"):
        output((0.5,))
    with pytest.raises(ValueError, match="expected a finite number 0 or more"):
        FNOConfig(padding=(0.1, -0.1))
    numpy = FNOConfig(padding=np.float64(0.5))
    assert numpy == FNOConfig(padding=0.5) and numpy != FNOConfig(padding=(0.5, 0.0))


@pytest.mark.nightly
def test_stabilised_layers_do_not_leave_half_precision():
    """Products of large values and large weights overflow float16, not behind tanh; small values go through as they are."""
    found, v = {}, jax.random.normal(jax.random.key(1), (8, 1, 16))
    for stabilise in (False, True):
        block = network_for(1, 1, 1, width=16, modes=3, depth=1, stabilise=stabilise).blocks[0]
        block = eqx.tree_at(lambda b: b.spectral.weight, block, 100 * block.spectral.weight)
        half = jax.tree.map(lambda x: x.astype(jnp.float16) if eqx.is_inexact_array(x) else x, block)
        for size in (1e-3, 2e3):
            y, _ = half((size * v).astype(jnp.float16), jnp.tanh, True, None, False, sx.Grid.unit(8, 1, "periodic"))
            assert y.dtype == jnp.float16
            found[size, stabilise] = np.asarray(y, np.float32)
    np.testing.assert_allclose(found[1e-3, True], found[1e-3, False], atol=1e-3 * abs(found[1e-3, True]).max())
    assert not np.isfinite(found[2e3, False]).all() and np.isfinite(found[2e3, True]).all()
