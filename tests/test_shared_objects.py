"""The proof of the shared objects: six kinds of surrogate, from the declaration of a problem to a saved file, through the
same `Problem`, `Dataset`, `Task`, `fit`, `evaluate` and contract."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import surrogax as sx
from surrogax.solvers.pde import Solved


def heat(nu: float = 0.02) -> sx.Problem:
    """u_t = ν u_xx on the periodic unit interval, solved exactly in Fourier space."""

    def solve(fields, grid, *, times):
        u0 = fields["u0"]
        n = grid.shape[0]
        k = 2 * jnp.pi * jnp.fft.rfftfreq(n, 1 / n)
        frames = jnp.fft.irfft(jnp.fft.rfft(u0) * jnp.exp(-nu * k**2 * times[:, None]), n)
        stats = sx.linear.Stats(jnp.asarray(0), jnp.asarray(0), jnp.asarray(0.0))
        return Solved({"u": frames.astype(u0.dtype)}, stats)

    return sx.Problem(
        "u",
        sx.Box.unit(1, "periodic"),
        time=(0, 1),
        inputs={"u0": sx.random.GaussianField(alpha=3.0, tau=7.0, sigma=3.0, boundary="periodic")},
        solve=solve,
    )


def finish(name: str, result, data, limit: float, **options) -> float:
    """What every surrogate goes through after `fit`: the table beside others, the contract, a file."""
    table = sx.evaluate({name: result}, {"test": data}, timing=False, **options)
    error = table.value(name, "test")
    assert error < limit, f"{name}: relative L2 error {error:.3f}"
    assert name in table.to_markdown()
    sx.check_surrogate(result, data)
    return error


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


def test_autoregressive_with_rollout(key):
    data = sx.generate(heat(), 24, 16, key, times=np.linspace(0, 1, 7), cache=False, progress=False)
    train, test = data.split(train=16, test=8)
    task = sx.Task.fit(train, "u", "u", mode=sx.Autoregressive(2, increments=True))
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
        x = jnp.concatenate([inputs.fields, inputs.query], -1)
        features = jnp.where(inputs.mask[:, None], jnp.tanh(jax.vmap(self.encode)(x)), 0)
        mean = features.sum(0) / inputs.mask.sum()
        return jax.vmap(lambda p: self.decode(jnp.concatenate([p, mean])))(x)


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


def test_without_data(key):
    problem = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + jnp.pi**2 * jnp.sin(jnp.pi * u.at["x"]))
    grid = problem.box.grid(33)
    exact = np.sin(np.pi * grid.coordinates[0])[None].repeat(2, 0).astype(np.float32)
    data = sx.from_arrays(targets={"u": exact}, grid=grid)
    task = sx.Task.of(problem, grid)
    network = eqx.nn.MLP(1, 1, 16, 2, activation=jnp.tanh, key=key)
    model = sx.wrap(Pointwise(network), task, inputs=lambda inputs: inputs.query)
    objective = sx.Residual(problem, sx.R3(64), penalty=100.0)
    result = sx.fit(model, objective=objective, optimizer=optax.adam(1e-2), steps=500, progress=False)
    finish("PINN", result, data, 0.05)


class Pointwise(eqx.Module):
    """A function of coordinates, evaluated at every one of them."""

    function: eqx.Module

    def __call__(self, query):
        return jax.vmap(self.function)(query.reshape(-1, query.shape[-1])).reshape(*query.shape[:-1], -1)


def test_pod_with_regression(key):
    problem = sx.problem("poisson", f=sx.random.GaussianField(alpha=4.0), box=sx.Box.unit(1))
    data = sx.generate(problem, 80, 33, key, cache=False, progress=False)
    train, val, test = data.split(train=60, val=10, test=10, key=key)
    task = sx.Task.fit(train, "f", "u")
    pod = sx.fit(sx.PODRegression(task, rank=12, input_rank=12), train, val=val)
    finish("POD", pod, test, 0.1)


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
