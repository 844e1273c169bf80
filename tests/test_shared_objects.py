"""The proof of the shared objects: every kind of surrogate that the library has or awaits, as a toy, from the declaration of
a problem to a saved file, through the same `Problem`, `Dataset`, `Task`, `fit`, `evaluate` and contract."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from scipy.spatial import Delaunay

import surrogax as sx
from surrogax.solvers.pde import Solved
from surrogax.solvers.pde.conditions import Dirichlet


def heat(nu: float = 0.02) -> sx.Problem:
    """u_t = ν u_xx on the periodic unit interval, solved exactly in Fourier space."""

    def solve(inputs, grid, *, times=None, rtol=None):
        u0, n = inputs["u0"], grid.shape[0]
        k = 2 * jnp.pi * jnp.fft.rfftfreq(n, 1 / n)
        frames = jnp.fft.irfft(jnp.fft.rfft(u0) * jnp.exp(-nu * k**2 * jnp.asarray(times)[:, None]), n)
        stats = sx.linear.Stats(jnp.asarray(0), jnp.asarray(0), jnp.asarray(0.0))
        return Solved({"u": frames.astype(u0.dtype)}, stats)

    law = sx.random.GaussianField(alpha=3.0, tau=7.0, sigma=3.0, boundary="periodic")
    return sx.Problem("u", sx.Box.unit(1, "periodic"), time=(0, 1), inputs={"u0": law}, initial="u0", solve=solve)


def finish(name: str, result, data, limit: float, **options) -> float:
    """What every surrogate goes through after `fit`: the table beside others, the contract, a file."""
    table = sx.evaluate({name: result}, {"test": data}, timing=False, **options)
    error = table.value(name, "test")
    assert error < limit, f"{name}: relative L2 error {error:.3f}"
    assert name in table.to_markdown()
    sx.check_surrogate(result, data)
    return error


@pytest.mark.nightly
def test_steady(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 80, 17, key, cache=False, progress=False)
    train, val, test = data.split(train=60, val=10, test=10, key=key)
    task = sx.Task.fit(train, "f", "u")
    model = sx.FNO(task, width=16, modes=6, depth=1, padding=0.25, key=key)
    fno = sx.fit(model, train, val=val, optimizer=optax.adam(1e-2), epochs=80, batch_size=10, progress=False)
    error = finish("FNO", fno, test, 0.2)
    mean = np.abs(test["u"] - train["u"].mean(0)).mean() / np.abs(test["u"]).mean()
    assert error < mean / 2


@pytest.mark.nightly
def test_autoregressive_with_rollout(key):
    data = sx.generate(heat(), 24, 16, key, times=np.linspace(0, 1, 7), cache=False, progress=False)
    train, test = data.split(train=16, test=8)
    task = sx.Task.fit(train, "u", "u", mode=sx.Autoregressive(history=2, increments=True))
    model = sx.FNO(task, width=8, modes=5, depth=1, key=key)
    fit = sx.fit(
        model,
        train,
        val=test,
        optimizer=optax.adam(1e-2),
        epochs=30,
        batch_size=16,
        unroll=sx.Unroll(2),
        progress=False,
    )
    error = finish("FNO", fit, test, 0.2, rollout=4)
    assert error < finish("persistence", sx.Persistence(task), test, 1.0, rollout=4)
    frames = fit.rollout(test, 3)
    assert frames["u"].shape == (8, 3, 16)
    np.testing.assert_allclose(frames.times, test.times[2:5], rtol=1e-6)


@pytest.mark.nightly
def test_scalar_parameters_as_input(key):
    problem = sx.problem("shifted_laplacian", c=sx.random.Uniform(0, 40), box=sx.Box.unit(1))
    data = sx.generate(problem, 60, 17, key, cache=False, progress=False)
    train, test = data.split(train=50, test=10)
    task = sx.Task.fit(train, "c", "u")
    assert (task.in_channels, task.in_params) == (0, 1)
    model = sx.FNO(task, width=8, modes=5, depth=1, padding=0.25, key=key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=30, batch_size=10, progress=False)
    finish("FNO", fit, test, 0.1)


@sx.register("test.DeepSet")
class DeepSet(eqx.Module):
    """A network on point clouds: every point sees its own values and the mean of features over all real points."""

    encode: eqx.nn.Linear
    decode: eqx.nn.MLP

    def __init__(self, n_in: int, n_out: int, width: int, *, key):
        k1, k2 = jax.random.split(key)
        self.encode = eqx.nn.Linear(n_in, width, key=k1)
        self.decode = eqx.nn.MLP(n_in + width, n_out, width, 2, activation=jnp.tanh, key=k2)

    def __call__(self, inputs: sx.Inputs):
        x = jnp.concatenate([inputs.fields, inputs.query.points], -1)
        features = jnp.where(inputs.mask[:, None], jnp.tanh(jax.vmap(self.encode)(x)), 0)
        mean = features.sum(0) / inputs.mask.sum()
        return jax.vmap(lambda p: self.decode(jnp.concatenate([p, mean])))(x)


@pytest.mark.nightly
def test_point_clouds_of_different_size(key):
    clouds, f, u = [], [], []
    rng = np.random.default_rng(0)
    for i in range(60):
        x = rng.uniform(size=(10 + i % 7, 2)).astype(np.float32)
        a = rng.uniform(1, 2)
        values = a * np.sin(2 * x[:, 0]) + x[:, 1]
        clouds.append(sx.PointCloud(x))
        f.append(np.pad(values, (0, 16 - len(x))))
        u.append(np.pad(values**2 + values.mean(), (0, 16 - len(x)), constant_values=np.float32(1e3)))
    points = sx.PointCloud.stack(clouds)
    data = sx.from_arrays({"f": np.float32(f)}, {"u": np.float32(u)}, points=points)
    train, test = data.split(train=50, test=10)
    task = sx.Task.fit(train, "f", "u")
    assert abs(float(task.normalizers["u"].mean[0])) < 20, "padded values entered the statistics"
    network = DeepSet(task.in_channels + 2, task.out_channels, 16, key=key)
    model = sx.wrap(network, task, inputs=lambda inputs: inputs)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=60, batch_size=10, progress=False)
    finish("deep set", fit, test, 0.2)


def sine() -> sx.Problem:
    """u'' = −π² sin πx with u = 0 at both ends of the unit interval; u = sin πx."""

    def residual(u, p):
        return u.xx + jnp.pi**2 * jnp.sin(jnp.pi * u.at["x"])

    return sx.Problem("u", sx.Box(x=(0, 1)), residual=residual)


def sine_data(problem) -> sx.Dataset:
    grid = problem.box.grid(33)
    exact = np.sin(np.pi * grid.coordinates[0])[None].repeat(2, 0).astype(np.float32)
    return sx.from_arrays(targets={"u": exact}, grid=grid)


@pytest.mark.nightly
def test_without_data(key):
    problem = sine()
    task = sx.Task.of(problem, 33)
    network = eqx.nn.MLP(1, 1, 16, 2, activation=jnp.tanh, key=key)
    model = sx.wrap(Pointwise(network), task, inputs=lambda inputs: inputs.query.points, any_points=True)
    objective = sx.Residual(problem, sx.R3(64), penalty=100.0)
    result = sx.fit(model, objective=objective, optimizer=optax.adam(1e-2), steps=500, progress=False)
    finish("PINN", result, sine_data(problem), 0.05)


class Pointwise(eqx.Module):
    """A function of coordinates, evaluated at every one of them."""

    function: eqx.Module

    def __call__(self, query):
        return jax.vmap(self.function)(query.reshape(-1, query.shape[-1])).reshape(*query.shape[:-1], -1)


@pytest.mark.nightly
def test_pod_with_regression(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=4.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 80, 33, key, cache=False, progress=False)
    train, val, test = data.split(train=60, val=10, test=10, key=key)
    task = sx.Task.fit(train, "f", "u")
    pod = sx.fit(sx.PODRegression(task, rank=12, input_rank=12), train, val=val)
    finish("POD", pod, test, 0.1)


@pytest.mark.nightly
def test_seeds_train_at_once_and_differ(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 30, 17, key, cache=False, progress=False)
    train, val = data.split(train=20, val=10)
    task = sx.Task.fit(train, "f", "u")
    model = sx.FNO(task, width=6, modes=4, depth=1, key=key)
    fit = sx.fit(model, train, val=val, optimizer=optax.adam(1e-2), epochs=3, batch_size=10, seeds=2, progress=False)
    assert len(fit.members) == 2
    a, b = (m.predict(val)["u"] for m in fit.members)
    assert not np.allclose(a, b)
    table = sx.evaluate({"FNO": fit}, val, timing=False)
    assert {r.seed for r in table.rows} == {0, 1} and "2 seeds" in table.to_markdown()


# What arrives next, each as a toy -------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_space_time(key):
    """Time as one more coordinate: all frames at once from the initial field."""
    data = sx.generate(heat(), 30, 16, key, times=np.linspace(0, 1, 5), cache=False, progress=False)
    train, test = data.split(train=24, test=6)
    task = sx.Task.fit(train, "u0", "u", mode=sx.SpaceTime(frames=5))
    assert task.signature.ndim == 2 and task.signature.domain.shape == (5, 16)
    model = sx.FNO(task, width=12, modes=(2, 5), depth=2, padding=0.25, key=key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=60, batch_size=8, progress=False)
    finish("space-time FNO", fit, test, 0.2)
    assert fit.predict(test)["u"].shape == (6, 5, 16)


@pytest.mark.nightly
def test_a_network_asked_at_arbitrary_points(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 80, 33, key, cache=False, progress=False)
    train, test = data.split(train=70, test=10)
    task = sx.Task.fit(train, "f", "u")
    model = sx.NetworkSurrogate.build(BranchTrunkConfig(basis=24), task, key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(3e-3), epochs=150, batch_size=10, progress=False)
    assert fit.capabilities.any_points and not fit.capabilities.resolution_free
    finish("branch and trunk", fit, test, 0.2)
    x = np.random.default_rng(0).uniform(size=(7, 1)).astype(np.float32)
    there = fit.predict(test, at=sx.PointCloud(x))["u"]
    exact = np.stack([np.interp(x[:, 0], data.grid.coordinates[0], u) for u in test["u"]])
    assert np.linalg.norm(there - exact) < 0.25 * np.linalg.norm(exact)


@sx.register("test.BranchTrunkConfig")
@dataclass(frozen=True)
class BranchTrunkConfig(sx.AbstractNetworkConfig):
    basis: int

    def build(self, signature, key):
        (source,), (k1, k2) = signature.sources, jax.random.split(key)
        sensors = math.prod(source.domain.shape) * source.channels
        branch = eqx.nn.MLP(sensors, self.basis * signature.out_channels, 64, 1, key=k1)
        trunk = eqx.nn.MLP(signature.ndim, self.basis, 64, 2, activation=jnp.tanh, key=k2)
        return BranchTrunk(branch, trunk, self, signature)


class BranchTrunk(sx.AbstractNetwork):
    """y_c(x) = Σ_k b_kc(fields) t_k(x): it sees the values at all points of the training grid, and answers anywhere."""

    branch: eqx.nn.MLP
    trunk: eqx.nn.MLP
    config: BranchTrunkConfig = eqx.field(static=True)
    signature: sx.Signature = eqx.field(static=True)

    @property
    def abilities(self):
        return sx.Abilities(any_points=True)

    def initial_state(self):
        return None

    def __call__(self, inputs, *, key, state, train):
        points = inputs.query.points
        trunk = jax.vmap(self.trunk)(points.reshape(-1, points.shape[-1]))
        branch = self.branch(inputs.fields.ravel()).reshape(self.config.basis, -1)
        return (trunk @ branch).reshape(*points.shape[:-1], -1), state


@pytest.mark.nightly
def test_two_sets_of_sensors_and_other_points(key):
    """u(x) = (mean of p) x + Σ_j q_j sin πy_j: p and q are given at places of their own, u is asked for elsewhere."""
    rng = np.random.default_rng(0)
    first, second, asked = (np.sort(rng.uniform(size=(n, 1)), 0).astype(np.float32) for n in (7, 5, 11))
    p, q = rng.normal(size=(80, 7)), rng.normal(size=(80, 5))
    u = p.mean(1, keepdims=True) * asked[:, 0] + (q * np.sin(np.pi * second[:, 0])).sum(1, keepdims=True)
    data = sx.from_arrays(
        {"p": np.float32(p), "q": np.float32(q)}, {"u": np.float32(u)}, points=sx.PointCloud(asked),
        elsewhere={"p": sx.PointCloud(first), "q": sx.PointCloud(second)},
    )  # fmt: skip
    train, test = data.split(train=70, test=10)
    task = sx.Task.fit(train, ("p", "q"), "u")
    assert [source.domain.capacity for source in task.signature.sources] == [7, 5]
    model = sx.NetworkSurrogate.build(SensorSumsConfig(width=32), task, key)
    fit = sx.fit(
        model,
        train,
        val=test,
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, 1400)),
        epochs=200,
        batch_size=10,
        progress=False,
    )
    finish("sums over sensors", fit, test, 0.3)


@pytest.mark.nightly
@sx.register("test.SensorSumsConfig")
@dataclass(frozen=True)
class SensorSumsConfig(sx.AbstractNetworkConfig):
    width: int

    def build(self, signature, key):
        keys = jax.random.split(key, len(signature.sources) + 1)
        encoders = tuple(
            eqx.nn.MLP(source.domain.ndim, self.width * source.channels, 32, 1, activation=jnp.tanh, key=k)
            for source, k in zip(signature.sources, keys, strict=False)
        )
        n_in = self.width * len(encoders) + signature.ndim
        return SensorSums(encoders, eqx.nn.MLP(n_in, signature.out_channels, 64, 2, key=keys[-1]), self, signature)


class SensorSums(sx.AbstractNetwork):
    """Every set of sensors becomes sums of its values times learned functions of their places."""

    encoders: tuple[eqx.nn.MLP, ...]
    decode: eqx.nn.MLP
    config: SensorSumsConfig = eqx.field(static=True)
    signature: sx.Signature = eqx.field(static=True)

    @property
    def abilities(self):
        return sx.Abilities(any_points=True)

    def initial_state(self):
        return None

    def __call__(self, inputs, *, key, state, train):
        codes = []
        for encode, source in zip(self.encoders, inputs.sources, strict=True):
            factors = jax.vmap(encode)(source.sites.points).reshape(len(source.values), self.config.width, -1)
            codes.append(jnp.einsum("pwc,pc,p->w", factors, source.values, source.sites.weights))
        code = jnp.concatenate(codes)
        points = inputs.query.points.reshape(-1, inputs.query.points.shape[-1])
        return jax.vmap(lambda x: self.decode(jnp.concatenate([code, x])))(points), state


@pytest.mark.nightly
def test_edges_of_a_mesh_that_differs_by_sample(key):
    """u = the mean of f over a point and its neighbours in the mesh."""
    meshes, f, u, rng = [], [], [], np.random.default_rng(0)
    for i in range(60):
        x = rng.uniform(size=(12 + i % 5, 2))
        mesh = sx.Mesh.from_cells(x.astype(np.float32), Delaunay(x).simplices)
        values, edges = rng.normal(size=len(x)), np.asarray(mesh.edges)
        sums, counts = values.copy(), np.ones(len(x))
        np.add.at(sums, edges[:, 1], values[edges[:, 0]])
        np.add.at(counts, edges[:, 1], 1)
        meshes.append(mesh)
        f.append(np.pad(values, (0, 16 - len(x))))
        u.append(np.pad(sums / counts, (0, 16 - len(x)), constant_values=1e3))
    data = sx.from_arrays({"f": np.float32(f)}, {"u": np.float32(u)}, points=sx.Mesh.stack(meshes))
    train, test = data.split(train=50, test=10)
    task = sx.Task.fit(train, "f", "u")
    model = sx.NetworkSurrogate.build(MessagesConfig(width=16), task, key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=80, batch_size=10, progress=False)
    finish("messages", fit, test, 0.15)


@sx.register("test.MessagesConfig")
@dataclass(frozen=True)
class MessagesConfig(sx.AbstractNetworkConfig):
    width: int

    def build(self, signature, key):
        k1, k2 = jax.random.split(key)
        message = eqx.nn.MLP(2 * signature.in_channels, self.width, 16, 1, key=k1)
        return Messages(message, eqx.nn.MLP(self.width + 1, signature.out_channels, 32, 1, key=k2), self, signature)


class Messages(sx.AbstractNetwork):
    """One round of messages along the edges; the decoder sees their sum and number."""

    message: eqx.nn.MLP
    decode: eqx.nn.MLP
    config: MessagesConfig = eqx.field(static=True)
    signature: sx.Signature = eqx.field(static=True)

    @property
    def abilities(self):
        return sx.Abilities()

    def initial_state(self):
        return None

    def __call__(self, inputs, *, key, state, train):
        x, (edges,) = inputs.fields, inputs.edges
        own = jnp.arange(len(x))
        senders = jnp.concatenate([edges.index[:, 0], own])
        receivers = jnp.concatenate([edges.index[:, 1], own])
        real = jnp.concatenate([edges.mask, inputs.mask])
        sent = jax.vmap(self.message)(jnp.concatenate([x[senders], x[receivers]], -1))
        sums = jax.ops.segment_sum(jnp.where(real[:, None], sent, 0), receivers, len(x))
        counts = jax.ops.segment_sum(real.astype(x.dtype), receivers, len(x))[:, None]
        return jax.vmap(self.decode)(jnp.concatenate([sums / jnp.maximum(counts, 1), counts / 8], -1)), state


@pytest.mark.nightly
def test_two_unknowns_from_their_residual_alone(key):
    """u_t + q_x = 0, q = −ν u_x: no flux through the sides, u given at the start, ν a random number."""
    problem = sx.Problem(
        ("u", "q"),
        sx.Box(x=(0, 1, "neumann")),
        time=(0, 0.2),
        inputs={"nu": sx.random.Uniform(0.5, 1.5)},
        residual=lambda w, p: {"balance": w.u.t + w.q.x, "law": w.q + p.nu * w.u.x},
        boundary={"u": 0.0, "q": Dirichlet(0.0)},
        initial={"u": lambda x: jnp.cos(jnp.pi * x)},
    )
    task = sx.Task.of(problem, 17, mode=sx.SpaceTime(frames=9))
    assert task.parameters == ("nu",) and task.targets == ("u", "q")
    network = eqx.nn.MLP(3, 2, 24, 2, activation=jnp.tanh, key=key)
    model = sx.wrap(AtPoints(network), task, inputs=lambda inputs: inputs, any_points=True)
    objective = sx.Residual(problem, sx.R3(200), penalty=20.0, boundary_points=32)
    result = sx.fit(
        model,
        objective=objective,
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, 2500)),
        steps=2500,
        progress=False,
    )
    assert result.history.metrics["residual"][-1][0] < 0.2

    t, x = np.linspace(0, 0.2, 9)[:, None], task.domain.coordinates[0]
    nu = np.float32([0.6, 1.0, 1.4])
    decay = np.exp(-nu[:, None, None] * np.pi**2 * t)
    u, q = decay * np.cos(np.pi * x), nu[:, None, None] * np.pi * decay * np.sin(np.pi * x)
    data = sx.from_arrays(
        targets={"u": np.float32(u), "q": np.float32(q)}, parameters={"nu": nu}, grid=task.domain, times=t[:, 0]
    )
    finish("PINN of two unknowns", result, data, 0.15)


class AtPoints(eqx.Module):
    """A function of the coordinates and the numbers of a sample, at every query point."""

    function: eqx.Module

    def __call__(self, inputs):
        points = inputs.query.points
        flat = points.reshape(-1, points.shape[-1])
        values = jax.vmap(lambda x: self.function(jnp.concatenate([x, inputs.params])))(flat)
        return values.reshape(*points.shape[:-1], -1)


@pytest.mark.nightly
def test_a_conditional_generative_model(key):
    """u = 2 a + ½ ε with white noise ε: draws of u given a, scored by CRPS and coverage."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 8)).astype(np.float32)
    u = (2 * a + 0.5 * rng.normal(size=a.shape)).astype(np.float32)
    data = sx.from_arrays({"a": a}, {"u": u}, grid=sx.Grid.unit(8, 1, "periodic"))
    train, test = data.split(train=360, test=40)
    task = sx.Task.fit(train, "a", "u")
    model = Denoiser.build(sx.FNO.config(width=16, modes=2, depth=1), task, key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=60, batch_size=60, progress=False)
    finish("denoiser", fit, test, 0.6)
    table = sx.evaluate({"denoiser": fit}, test, metrics=("crps", "coverage_90"), timing=False)
    exact = 0.5 / np.sqrt(np.pi)
    assert exact / 1.3 < table.value("denoiser", metric="crps") < 1.3 * exact
    assert 0.7 < table.value("denoiser", metric="coverage_90") < 0.97


@sx.register("test.Denoiser")
class Denoiser(sx.AbstractGenerative, sx.AbstractTrainable):
    """D(x, σ; a), the mean of the normalised target given x = target + σ noise, in a network that sees a and x as fields and
    log σ as a number; draws follow the flow dx/dσ = (x − D)/σ from σ = 3 down."""

    network: sx.AbstractNetwork
    task: sx.Task
    state: None = None

    @classmethod
    def build(cls, config, task, key):
        """A network of its own signature: the target is one more input, the noise level one more number."""
        own = task.signature
        (source,) = own.sources
        seen = dataclasses.replace(source, channels=source.channels + own.out_channels)
        return cls(config.build(dataclasses.replace(own, sources=(seen,), params=own.params + 1), key), task)

    @property
    def capabilities(self):
        return sx.Capabilities(has_samples=True)

    def denoise(self, x, sigma, fields):
        packed = self.task.pack(fields)
        scale = jax.lax.rsqrt(1 + sigma**2)
        values = sx.FieldValues(jnp.concatenate([packed.fields, scale * x], -1), packed.query)
        inputs = sx.Inputs((values,), jnp.log(sigma)[None] / 4, packed.query)
        y, _ = self.network(jax.tree.map(lambda v: v[None], inputs), key=None, state=None, train=False)
        return scale**2 * x + sigma * scale * y[0]

    def samples(self, fields, n, *, key, at=None):
        levels = jnp.geomspace(3.0, 0.02, 30)

        def draw(key):
            def step(x, ends):
                high, low = ends
                return x + (low - high) / high * (x - self.denoise(x, high, fields)), None

            start = 3.0 * jax.random.normal(key, (*self.task.domain.shape, self.task.out_channels))
            x, _ = jax.lax.scan(step, start, (levels, jnp.append(levels[1:], 0.0)))
            return self.task.split(self.task.decode(x, fields))

        return jax.vmap(draw)(jax.random.split(key, n))

    def __call__(self, fields, at=None):
        x = jnp.zeros((*self.task.domain.shape, self.task.out_channels))
        return self.task.split(self.task.decode(self.denoise(x, jnp.float32(20.0), fields), fields))

    def objective(self, data, **options):
        return Denoising(**options)

    def renewed(self, key):
        raise NotImplementedError


class Denoising(sx.AbstractObjective):
    """Mean over samples of ‖D(u + σ ε, σ) − u‖² (1 + σ²)/σ², log σ normal."""

    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        k_level, k_noise = jax.random.split(key)
        sizes = batch["u"].shape
        return (
            batch,
            jnp.exp(1.2 * jax.random.normal(k_level, sizes[:1]) - 0.7),
            jax.random.normal(k_noise, (*sizes, 1)),
        )

    def value(self, model, points):
        def one(fields, sigma, noise):
            clean = model.task.encode_targets(model.task.wanted(fields))[0]
            error = model.denoise(clean + sigma * noise, sigma, fields) - clean
            return (1 + sigma**2) / sigma**2 * (error**2).mean()

        return jax.vmap(one)(*points).mean(), sx.Outcome()

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        size = len(batch["u"])
        levels = jnp.full(size, 0.5)
        noise = jax.random.normal(jax.random.key(0), (*batch["u"].shape, 1))
        return jax.vmap(lambda *one: self.value(model, jax.tree.map(lambda x: x[None], one))[0])(batch, levels, noise)


@pytest.mark.nightly
def test_an_ensemble_with_its_spread(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 50, 17, key, cache=False, progress=False)
    train, test = data.split(train=40, test=10)
    task = sx.Task.fit(train, "f", "u")
    model = sx.FNO(task, width=8, modes=5, depth=1, padding=0.25, key=key)
    fit = sx.fit(model, train, val=test, optimizer=optax.adam(1e-2), epochs=40, batch_size=10, seeds=3, progress=False)
    ensemble = fit.ensemble
    alone = [sx.evaluate({"FNO": m}, test, timing=False).value("FNO") for m in fit.members]
    assert finish("ensemble", ensemble, test, 0.3) < np.mean(alone)
    table = sx.evaluate({"ensemble": ensemble}, test, metrics=("crps", "spread", "rmse"), timing=False)
    assert table.value("ensemble", metric="spread") > 0 and table.value("ensemble", metric="crps") > 0
    expected = np.stack([m.predict(test)["u"] for m in fit.members]).std(0, ddof=1)
    np.testing.assert_allclose(ensemble.predict_std(test)["u"], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.nightly
def test_batches_made_by_a_solver_inside_the_loop(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))
    test = sx.generate(problem, 10, 17, jax.random.key(9), cache=False, progress=False)
    task = sx.Task.fit(sx.generate(problem, 20, 17, key, cache=False, progress=False), "f", "u")
    model = sx.FNO(task, width=16, modes=6, depth=1, padding=0.25, key=key)
    source = sx.SolverSource(problem, 17, key, round=100)
    fit = sx.fit(model, source, val=test, optimizer=optax.adam(1e-2), steps=400, batch_size=10, progress=False)
    assert len(fit.history.val) == 4
    finish("FNO, online", fit, test, 0.2)


_DIRECTION = """
import os, signal, sys
import jax, optax
import surrogax as sx
from surrogax.surrogates.learned_solvers import DirectionObjective, MultilevelDirection, RandomDomains

calls = []

def measure(direction):
    calls.append(direction)
    if len(calls) == 2 and "kill" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(abs(direction.base).sum())

direction = MultilevelDirection(2, 2, coarsest=8, key=jax.random.key(0))
objective = DirectionObjective(RandomDomains(6, steps=4), domains=2, lanes=1)
fit = sx.fit(direction, objective=objective, val=measure, optimizer=optax.adam(1e-2), steps=12, check_every=4,
             checkpoint_every=0, run=sys.argv[1], progress=False)
print(fit.history.loss, fit.history.val, [x.tolist() for x in jax.tree.leaves(fit.last)])
"""


@pytest.mark.nightly
def test_a_search_direction_is_trained_killed_and_resumed(tmp_path):
    """The run that is killed in a process of its own, and taken up again, ends with the numbers of an uninterrupted one."""
    # The second and third process find the programs of the first.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

    def run(folder, *words):
        command = [sys.executable, "-c", _DIRECTION, str(tmp_path / folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **cache})

    killed = run("cut", "kill")
    assert killed.returncode == -signal.SIGKILL and not killed.stdout, killed.stderr
    assert (tmp_path / "cut" / "checkpoints").is_dir()
    whole, cut = run("whole"), run("cut")
    assert cut.returncode == 0, cut.stderr
    assert whole.stdout == cut.stdout and len(cut.stdout) > 200


@pytest.mark.nightly
def test_a_second_order_optimiser(key):
    """Gauss-Newton steps on the residuals of a data-free problem reach in 40 what Adam does not reach in 500."""
    problem = sine()
    network = eqx.nn.MLP(1, 1, 8, 1, activation=jnp.tanh, key=key)
    model = sx.wrap(
        Pointwise(network), sx.Task.of(problem, 33), inputs=lambda inputs: inputs.query.points, any_points=True
    )
    objective = sx.Residual(problem, sx.UniformSampler(64), penalty=100.0)
    fit = sx.fit(model, objective=objective, optimizer=GaussNewton(), steps=40, check_every=20, progress=False)
    finish("PINN by Gauss-Newton", fit, sine_data(problem), 2e-3)
    with pytest.raises(TypeError, match="needs a sum of squares, which Parabola is not"):
        sx.fit(model, objective=Parabola(), optimizer=GaussNewton(), steps=2, progress=False)


class Parabola(sx.AbstractObjective):
    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        return None

    def value(self, model, points):
        return sum((x**2).sum() for x in jax.tree.leaves(eqx.filter(model.network, eqx.is_inexact_array))), sx.Outcome()

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        raise TypeError("no data")


class GaussNewton(sx.AbstractStep):
    """θ ← θ − (JᵀJ + μ I)⁻¹ Jᵀ r with a damping μ that falls when ‖r‖ does and rises, with the step refused, when not."""

    hold: int = 10

    def init(self, params):
        return jnp.float32(1e-2)

    def reset(self, memory):
        return jnp.maximum(memory, 1e-4)

    def __call__(self, params, memory, value, residuals):
        vector, unravel = ravel_pytree(params)

        def stacked(vector):
            r, outcome = residuals(unravel(vector))
            return ravel_pytree(r)[0], outcome

        (r, outcome), jacobian = stacked(vector), jax.jacobian(lambda v: stacked(v)[0])(vector)
        normal = jacobian.T @ jacobian + memory * jnp.eye(len(vector))
        trial = vector - jnp.linalg.solve(normal, jacobian.T @ r)
        loss, after = 0.5 * (r**2).sum(), value(unravel(trial))[0]
        accepted = after < loss
        return sx.Taken(
            unravel(jnp.where(accepted, trial, vector)),
            jnp.where(accepted, memory / 3, memory * 4),
            loss,
            outcome,
            jnp.isfinite(loss),
            accepted,
        )
