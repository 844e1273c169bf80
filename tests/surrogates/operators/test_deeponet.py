"""DeepONets: the sum they compute, modes of time, several inputs and outputs, other points, POD bases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.operators.target_snapshots import target_snapshots
from surrogax.surrogates.synthetic_data import synthetic_dataset

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(12, 9)).astype(np.float32) for _ in range(2))
P = RNG.uniform(1, 2, 12).astype(np.float32)
GRID = sx.Grid.unit_interval(9)
DATA = sx.from_arrays(
    {"a": A, "b": B}, {"u": A * B.mean(1, keepdims=True), "v": A[:, ::-1] * P[:, None]}, grid=GRID, parameters={"p": P}
)
TASK = sx.Task.fit(DATA, ("a", "b", "p"), ("u", "v"))
STEP = sx.from_arrays(
    {"w": np.cumsum(RNG.normal(size=(6, 7, 8)), 1)}, grid=sx.Grid.unit(8, 1, "periodic"), times=np.arange(7.0)
)
SMALL = dict(basis=5, branch=(7,), trunk=(6, 6))


@pytest.mark.parametrize(
    "outputs, kind",
    [
        ("split_both", {}),
        ("split_branch", {"product": True}),
        ("split_trunk", {"stacked": True}),
        ("independent", {}),
    ],
)
def test_it_is_the_sum_of_coefficients_times_functions(outputs, kind, key):
    """The prediction is written out for one sample and one point, network by network."""
    model = sx.DeepONet(TASK, outputs=outputs, key=key, **kind, **SMALL)
    network, inputs = model.network, TASK.pack({k: v[3] for k, v in DATA.read().items()})
    y, _ = network(inputs, key=None, state=None, train=False)
    assert y.shape == (9, 2)
    z = [*inputs.fields.T, inputs.params]
    expected = np.zeros(2)
    for c in range(2):
        own = c if outputs == "independent" else 0
        branch, trunk = network.branches[own], network.trunks[own]
        b = 1.0
        for net, values in zip(branch.networks, z if kind.get("product") else [jnp.concatenate(z)], strict=True):
            if kind.get("stacked"):
                each = [jax.tree.map(lambda x, i=i: x[i], net)(values)[0] for i in range(len(net.layers[0].weight))]
                b = b * np.array(each)
            else:
                b = b * np.asarray(net(values))
        t = np.asarray(trunk.network(jnp.array([2 * 4 / 8 - 1.0])))
        b, t = (x.reshape(5, -1) for x in (b, t))
        b, t = (x[:, c if x.shape[1] == 2 else 0] for x in (b, t))
        expected[c] = b @ t / np.sqrt(5)
    np.testing.assert_allclose(y[4], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "mode",
    [
        sx.Autoregressive(history=2, horizon=2),
        sx.Autoregressive(history=1, increments=True),
        sx.SpaceTime(frames=3, history=2),
    ],
    ids=["bundled", "increments", "space-time"],
)
@pytest.mark.parametrize("pod", [False, True], ids=["trunk", "POD"])
def test_in_time(mode, pod, key):
    task = sx.Task.fit(STEP, "w", "w", mode=mode)
    model = sx.PODDeepONet(task, STEP, basis=4, branch=(6,), key=key) if pod else sx.DeepONet(task, key=key, **SMALL)
    sx.check_surrogate(model, STEP)
    assert model.network.branches[0]._sizes() == [8 * mode.history] if not pod else True


def test_periodic_coordinates_are_seen_by_sines_alone(key):
    task = sx.Task.fit(STEP, "w", "w", mode=sx.Autoregressive(1))
    model = sx.DeepONet(task, key=key, frequencies=3, **SMALL)
    first = {"w": STEP["w"][:1, :1]}
    x = np.array([[0.3], [1.3], [-0.7]], np.float32)
    there = model.predict(first, at=sx.PointCloud(x))["w"]
    np.testing.assert_allclose(there[:, 1:], there[:, :1].repeat(2, 1), atol=1e-5)


def test_other_points_derivatives_and_a_second_grid(key):
    """One prediction on a cloud equals that on a grid with these points; derivatives in x agree with finite differences."""
    model = sx.DeepONet(TASK, key=key, activation="tanh", **SMALL)
    sx.check_surrogate(model, DATA)
    fine = GRID.at_shape((17,))
    by_grid = model.predict(DATA, at=fine)
    by_points = model.predict(DATA, at=sx.PointCloud(np.float32(fine.points)))
    np.testing.assert_allclose(by_grid["u"], by_points["u"], atol=1e-6)
    np.testing.assert_allclose(by_grid["u"][:, ::2], model.predict(DATA)["u"], atol=1e-6)
    sample = {k: v[0] for k, v in DATA.read().items()}
    slope = jax.jacfwd(lambda x: model.at_points(sample, x[None, None])[0, 0])(0.4)
    ends = [float(model.at_points(sample, jnp.array([[x]]))[0, 0]) for x in (0.39, 0.41)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 0.02, rtol=1e-2, atol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("mode", [None, sx.Autoregressive(2, 2, increments=True)], ids=["steady", "increments"])
def test_a_factor_makes_targets_vanish_on_the_ends_of_axes(mode, key):
    """In physical units and on other grids, whatever the mean of the targets; increments then leave the ends as they are."""
    grid, x = sx.Grid.unit(9, 1), np.linspace(0, 1, 9)
    shape = (6, 5, 9) if mode else (6, 9)
    w = (20 + np.random.default_rng(0).normal(size=shape)) * x * (1 - x)
    if mode is None:
        data = sx.from_arrays({"a": w}, {"u": 3 * w}, grid=grid)
        model = sx.DeepONet(sx.Task.fit(data, "a", "u"), vanishing=("x",), key=key, **SMALL)
        fine = model.predict(data, at=grid.at_shape((33,)))["u"]
        assert abs(fine[:, [0, -1]]).max() < 1e-6 * abs(fine).max() and fine.std(0)[5] > 1e-3
    else:
        data = sx.from_arrays({"w": w}, grid=grid, times=np.arange(5))
        model = sx.DeepONet(sx.Task.fit(data, "w", "w", mode=mode), vanishing=("x",), key=key, **SMALL)
        found = model.predict(data)["w"]
        np.testing.assert_allclose(found[:, :, [0, -1]], w[:, 1:2, [0, -1]].repeat(2, 1), atol=1e-6 * abs(w).max())
    sx.check_surrogate(model, data)
    assert sx.fit(model, data, optimizer=optax.adam(1e-2), epochs=1, progress=False).history.loss[0][0] > 0


def test_the_trunk_is_evaluated_once_for_all_samples(key):
    """The work of a batch grows by branches and the final product, not by trunks."""
    model = sx.DeepONet(TASK, basis=8, branch=(), trunk=(64, 64), key=key)

    def operations(n):
        batch = sx.Batch({k: jnp.asarray(v[:n]) for k, v in DATA.read().items()}, jnp.arange(n))
        return jax.jit(lambda batch: model.call_batch(batch)).lower(batch).compile().cost_analysis()["flops"]

    trunk = 2 * 9 * (64 + 64 * 64 + 64 * 16)
    assert operations(11) - operations(1) < trunk


def test_points_in_any_unit_on_a_cloud(key):
    """Sensors and points of clouds are scaled by their bounding box: kilometres predict what micrometres do."""
    x = RNG.uniform(size=(6, 2)).astype(np.float32)
    values = RNG.normal(size=(8, 6)).astype(np.float32)
    predictions = []
    for unit in (1e-6, 1e3):
        data = sx.from_arrays({"a": values}, {"u": 2 * values}, points=sx.PointCloud(x * unit))
        task = sx.Task.fit(data, "a", "u")
        predictions.append(sx.DeepONet(task, key=key, **SMALL).predict(data)["u"])
    np.testing.assert_allclose(*predictions, atol=1e-4)


@pytest.mark.nightly
def test_sensors_elsewhere_and_a_product_of_them(key):
    first, second = (sx.PointCloud(RNG.uniform(size=(n, 1)).astype(np.float32)) for n in (7, 5))
    p, q = (RNG.normal(size=(40, n)).astype(np.float32) for n in (7, 5))
    u = p.mean(1, keepdims=True) * q[:, :1] * GRID.coordinates[0]
    data = sx.from_arrays({"p": p, "q": q}, {"u": u}, grid=GRID, elsewhere={"p": first, "q": second})
    task = sx.Task.fit(data, ("p", "q"), "u")
    model = sx.DeepONet(task, product=True, key=key, basis=8, branch=(), trunk=(16,))
    fit = sx.fit(
        model, data, optimizer=optax.adam(1e-2), epochs=80, batch_size=20, loss=sx.losses.MSE(), progress=False
    )
    error = np.linalg.norm(fit.predict(data)["u"] - u) / np.linalg.norm(u)
    assert error < 0.1  # bilinear in p and q, which a joint branch without hidden layer cannot be


# POD ----------------------------------------------------------------------------------------------------------------


def test_the_basis_is_that_of_the_training_outputs_alone(key):
    train = DATA.select(slice(0, 6))
    task = sx.Task.fit(train, "a", ("u", "v"))
    model = sx.PODDeepONet(task, train, basis=20, branch=(6,), key=key)
    network, rows = model.network, target_snapshots(task, train)[0]
    assert network.config.basis == 5  # six samples without their mean
    weights = GRID.weights[:, None]
    modes = np.asarray(network.modes.value, np.float64)
    gram = np.einsum("nck,n,ncl->kl", modes, GRID.weights, modes)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6 * gram.max())
    centred = rows - rows.mean(0)
    np.testing.assert_allclose(np.trace(gram), (centred**2 * weights).sum() / 6, rtol=1e-5)
    np.testing.assert_allclose(network.mean.value, rows.mean(0), atol=1e-6)


@pytest.mark.nightly
def test_the_basis_survives_files_and_further_seeds(key, tmp_path):
    task = sx.Task.fit(DATA, "a", "u")
    model = sx.PODDeepONet(task, DATA, basis=3, branch=(4,), key=key)
    sx.check_surrogate(model, DATA)
    fit = sx.fit(model, DATA, optimizer=optax.adam(1e-3), epochs=1, batch_size=6, seeds=2, progress=False)
    for member in fit.members:
        np.testing.assert_array_equal(member.network.modes.value, model.network.modes.value)
    assert not np.allclose(*(m.network.branch.networks[0].layers[0].weight for m in fit.members))
    assert model.parameters == 9 * 4 + 4 + 4 * 3 + 3


@pytest.mark.nightly
def test_a_basis_on_a_cloud_knows_its_points(key):
    x = RNG.uniform(size=(9, 2)).astype(np.float32)
    data = sx.from_arrays({"a": A}, {"u": 2 * A}, points=sx.PointCloud(x))
    task = sx.Task.fit(data, "a", "u")
    model = sx.PODDeepONet(task, data, basis=3, branch=(4,), key=key)
    sx.check_surrogate(model, data)
    other = sx.from_arrays({"a": A}, {"u": 2 * A}, points=sx.PointCloud(x + 0.1))
    with pytest.warns(UserWarning, match="outside of the box of the training points"):
        assert np.isnan(model.predict(other)["u"]).all()
    differing = sx.from_arrays(
        {"a": A}, {"u": A}, points=sx.PointCloud(RNG.uniform(size=(12, 9, 2)).astype(np.float32))
    )
    own = sx.Task.fit(differing, "a", "u")
    with pytest.raises(ValueError, match="sample 1 has other points"):
        sx.PODDeepONet(own, differing, key=key)
    with pytest.raises(ValueError, match="fixed sensors"):
        sx.DeepONet(own, key=key)


def test_what_it_cannot_do_is_said(key):
    with pytest.raises(ValueError, match="no inputs"):
        sx.DeepONet(sx.Task.fit(DATA, (), "u"), key=key)
    with pytest.raises(ValueError, match="the task has one input"):
        sx.DeepONet(sx.Task.fit(DATA, "a", "u"), product=True, key=key)
    with pytest.raises(ValueError, match="basis=0"):
        sx.DeepONet.config(basis=0)
    model = sx.DeepONet(sx.Task.fit(DATA, "a", "u"), key=key, **SMALL)
    with pytest.raises(
        ValueError, match=r"9 nodes\) and not resolution free; the data live on Grid\(x∈\[0, 1\] 17 nodes\)"
    ):
        model.predict({"a": RNG.normal(size=(2, 17)).astype(np.float32)}, at=GRID)


@pytest.mark.nightly
def test_synthetic_samples_of_parameters_alone(key):
    task = sx.Task.fit(DATA, "p", "u")
    for model in (sx.DeepONet(task, key=key, **SMALL), sx.PODDeepONet(task, DATA, basis=2, branch=(3,), key=key)):
        sx.check_surrogate(model, synthetic_dataset(task))


def test_axes_without_ends_cannot_make_targets_vanish(key):
    task = sx.Task.fit(STEP, "w", "w", mode=sx.Autoregressive(1))
    with pytest.raises(ValueError, match=r"vanishing=\('x',\)\): \['x'\] are no axes with ends"):
        sx.DeepONet(task, vanishing=("x",), key=key, **SMALL)
    with pytest.raises(ValueError, match=r"DeepONet\(task, vanishing=…\) computes them from the task"):
        sx.DeepONet.config(vanishing=("x",))


def test_a_factor_makes_a_target_with_a_large_mean_vanish_on_both_ends(key):
    """To rounding, in physical units, and nowhere else."""
    x = np.linspace(0, 1, 9)
    u = (20 + A) * x * (1 - x)
    data = sx.from_arrays({"a": A}, {"u": u}, grid=GRID)
    model = sx.DeepONet(sx.Task.fit(data, "a", "u"), vanishing=("x",), key=key, **SMALL)
    found = model.predict(data)["u"]
    assert abs(found[:, [0, -1]]).max() < 1e-6 * abs(found).max() and abs(found[:, 1:-1]).min() > 0
