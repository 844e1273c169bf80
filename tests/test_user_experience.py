"""The code that people type works as written: the README's example, and the blocks of the target experience at small size."""

import re
from pathlib import Path

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_fifteen_lines_of_the_readme(monkeypatch, tmp_path):
    """From two NumPy arrays to a saved operator; sizes alone are changed."""
    (code,) = re.findall(r"```python\n(import jax.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    small = {"64": "16", "800": "24", "100": "8", "epochs=50": "epochs=2", "width=32": "width=6", "modes=12": "modes=4"}
    for old, new in small.items():
        assert old in code
        code = code.replace(old, new)
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", rng.normal(size=(40, 16, 16)).astype(np.float32))
    np.save("u.npy", rng.normal(size=(40, 16, 16)).astype(np.float32))
    scope = {}
    exec(code, scope)
    again = sx.load("fno.sgx").predict(scope["test"][:4])["u"]
    np.testing.assert_array_equal(again, scope["fno"].predict(scope["test"][:4])["u"])


class MyFlaxUNet(nnx.Module):
    """A network of somebody who has never heard of this library."""

    def __init__(self, n_in, n_out, *, rngs):
        self.down = nnx.Conv(n_in, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.up = nnx.Conv(8, n_out, (3, 3), rngs=rngs)

    def __call__(self, x):
        return self.up(nnx.gelu(self.norm(self.down(x))))


@pytest.mark.nightly
def test_blocks_data_train_compare_and_own_network(key, tmp_path, monkeypatch):
    monkeypatch.setenv("SURROGAX_CACHE", str(tmp_path / "cache"))
    opt = optax.adam(1e-3)
    # 1 Data
    darcy = sx.problem("darcy", a=sx.random.Threshold(12, 3))
    ds = sx.generate(darcy, n=28, grid=21, key=key, progress=False)
    train, val, test = ds.split(train=20, val=4, test=4, key=key)
    tr, va = train.subsample(space=2), val.subsample(space=2)
    tr.plot("a", "u", n=3)
    # 2 Train
    task = sx.Task.fit(tr, inputs="a", targets="u")
    model = sx.FNO(task, width=6, modes=4, depth=2, key=key)
    fno = sx.fit(
        model, tr, val=va, optimizer=opt, loss=sx.losses.RelativeL2(), epochs=2, batch_size=10, seeds=2,
        run=tmp_path / "fno", progress=False,
    )  # fmt: skip
    fno.history.plot()
    assert fno.predict(test[:4])["u"].shape == (4, 21, 21)
    assert fno.best is fno.members[0] and fno.last is fno.lasts[0]
    # 3 Compare
    pod = sx.fit(sx.PODRegression(task, rank=8, regressor="gp"), tr, val=va)
    base = {"mean": sx.MeanField(task), "solver 11²": sx.SolverSurrogate(darcy, grid=11, rtol=1e-3)}
    table = sx.evaluate({"FNO": fno, "POD-GP": pod, **base}, {"11": test.subsample(space=2), "21": test})
    table.pareto(x="ms_per_sample", y="rel_l2")
    assert table.to_markdown().count("\n| ") == 4 + 1
    assert table.value("solver 11²", "11") < table.value("mean", "11")
    # 9 Somebody's own network
    unet = sx.fit(
        sx.wrap(MyFlaxUNet(task.in_channels, task.out_channels, rngs=nnx.Rngs(0)), task, batched=True),
        tr, val=va, optimizer=opt, epochs=1, progress=False,
    )  # fmt: skip
    sx.check_surrogate(unet)
    unet.save(tmp_path / "unet")


def test_block_solve_is_differentiable_from_the_face():
    grid = sx.Grid.unit_square(9)
    darcy = sx.problem("darcy")
    gradient = jax.grad(lambda a: darcy.solve({"a": a}, grid)["u"].sum())(jnp.ones(grid.shape))
    assert gradient.shape == grid.shape and float(gradient.sum()) < 0  # more permeable, less pressure


@pytest.mark.nightly
def test_block_solver_that_learns_over_a_sequence(key):
    c = sx.random.Beta(2, 6, scale=0.6, shift=-0.15)
    seq = sx.generate(
        sx.problem("shifted_laplacian", c=c), n=30, grid=10, key=key, cache=False, progress=False
    ).systems()
    policy = sx.linear.ChebCB(context=(-0.15, 0.65))
    tuner = sx.linear.TunedSolver(sx.linear.SOR(rtol=1e-4), omega=jnp.linspace(1, 1.95, 5), policy=policy)
    _, sols = jax.lax.scan(tuner.solve, tuner.init(key), seq)
    assert (sols.stats.status == 0).all()
    figure = sx.linear.plot_regret(sols.stats.iterations, against=sx.linear.best_fixed(tuner, seq))
    assert figure is not None


def test_block_sampler_by_itself(key):
    def denoise(x, sigma, condition):
        return x / (1 + sigma**2)

    options = {"schedule": sx.diffusion.EDM(), "times": 10, "shape": (8, 8, 1), "n": 64, "key": key}
    assert sx.diffusion.sample(denoise, sx.diffusion.UniPC(3), **options).shape == (64, 8, 8, 1)
    # Of N(0, 1): on this wide range of levels ten evaluations of UniPC are 20 % wrong, those of "auto" are not.
    assert abs(float(sx.diffusion.sample(denoise, "auto", **options).std()) - 1) < 0.05


@pytest.mark.nightly
def test_blocks_posterior_and_hard_constraints(key):
    opt, grid = optax.adam(1e-3), sx.Grid.unit_square(9)
    a = jax.vmap(lambda k: sx.random.GaussianField().sample(k, grid))(jax.random.split(key, 24))
    everything = sx.from_arrays(targets={"a": a, "u": 2 * np.asarray(a) + 1}, grid=grid)
    tr, va, test = (everything.select(part) for part in (slice(0, 16), slice(16, 20), slice(20, 24)))
    xy, y = np.array([[0.25, 0.5], [0.75, 0.5]]), np.array([1.1, 0.9])
    # 8 Posterior from sparse observations
    joint = sx.Task.fit(tr, targets=("a", "u"))
    prior = sx.fit(sx.Denoiser(joint, network=sx.FNO.config(width=4, modes=3, depth=1), key=key, schedule=sx.diffusion.EDM(),
                   noise=sx.random.Matern(0.1)), tr, val=va, optimizer=opt, epochs=2, progress=False)  # fmt: skip
    obs = sx.Observe("u", at=xy, values=y, std=0.5)
    guidance = sx.diffusion.MomentMatched()
    post = prior.posterior(obs, guidance=guidance, solver=sx.diffusion.UniPC(3), steps=6, n=8, key=key)
    assert post.mean["a"].shape == post.std["a"].shape == (9, 9)
    conditioned = prior.conditioned(sx.Observe("u", at=xy, std=0.5), n=4, key=key)
    table = sx.evaluate({"EDM": conditioned}, test, metrics=["rel_l2", "crps", "coverage_90", "data_misfit"])
    assert "EDM" in table.to_markdown()

    # 17 Hard constraints
    def mass(fields):
        return fields["u"].mean() - 1.5

    post = prior.posterior(
        obs,
        constraint=sx.diffusion.Constraint(mass),
        guidance=guidance,
        solver=sx.diffusion.UniPC(3),
        steps=6,
        n=8,
        key=key,
    )
    np.testing.assert_allclose(post.samples["u"].mean((1, 2)), 1.5, atol=1e-4)


@pytest.mark.nightly
def test_blocks_no_data_and_high_accuracy(key):
    opt = optax.adam(1e-3)
    # 5 No data
    ac = sx.Problem("u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), residual=lambda u, p: u.t - 1e-4 * u.xx + 5 * u**3 - 5 * u,
                    initial=lambda x: x**2 * jnp.cos(jnp.pi * x))  # fmt: skip
    with pytest.warns(UserWarning, match="not smooth where the periodic axis 'x' closes"):
        model = sx.PIG(ac, gaussians=6, key=key)
    pig = sx.fit(model, sampler=sx.R3(30), optimizer=opt, steps=2, progress=False)
    assert pig.predict({})["u"].shape == (1, 33, 257)
    # 16 Few parameters, high accuracy, no data
    with pytest.warns(UserWarning, match="not smooth"):
        model = sx.PINN(ac, width=6, depth=2, key=key)
    u = sx.fit(model, sampler=sx.RAD(90), optimizer=sx.LevenbergMarquardt(), steps=6, dtype="float64", progress=False)
    start = u.predict({})["u"][0, 0]
    x = ac.box.grid(257).coordinates[0]
    assert start.dtype == np.float64
    np.testing.assert_allclose(start, x**2 * np.cos(np.pi * x), atol=1e-14)
    assert {line.get_label() for line in u.history.plot().axes[0].lines} >= {"residual", "independent residual"}
