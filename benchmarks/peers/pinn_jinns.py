"""jinns (JAX) on Burgers' and Helmholtz' equation; asked by `pinn_speed.py`, line by line.

step NAME STEPS: seconds per step of Adam after a run of the same length, which compiles.
"""

import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jinns
import optax


class Helmholtz(jinns.loss.PDEStatio):
    def equation(self, z, u, params):
        value = lambda z: u(z, params).squeeze()  # noqa: E731
        # Forward over forward: the same derivatives as on our side.
        second = lambda i: jax.jvp(  # noqa: E731
            lambda p: jax.jvp(value, (p,), (jnp.eye(2)[i],))[1], (z,), (jnp.eye(2)[i],)
        )[1]
        q = (1 - 17 * jnp.pi**2) * jnp.sin(jnp.pi * z[0]) * jnp.sin(4 * jnp.pi * z[1])
        return (second(0) + second(1) + value(z) - q)[None]


def network(kind: str):
    layers = [(eqx.nn.Linear, 2, 20), (jax.nn.tanh,), (eqx.nn.Linear, 20, 20), (jax.nn.tanh,)]
    layers += [(eqx.nn.Linear, 20, 20), (jax.nn.tanh,), (eqx.nn.Linear, 20, 1)]
    return jinns.nn.PINN_MLP.create(key=jax.random.PRNGKey(0), eqx_list=tuple(layers), eq_type=kind)


def burgers():
    u, start = network("PDENonStatio")
    data = jinns.data.CubicMeshPDENonStatio(
        key=jax.random.PRNGKey(1), n=2540, nb=80, ni=160, dim=1, min_pts=(-1.0,), max_pts=(1.0,), tmin=0.0, tmax=1.0,
        method="uniform",
    )  # fmt: skip
    params = jinns.parameters.Params(nn_params=start, eq_params={"nu": jnp.array(0.01 / jnp.pi)})
    loss = jinns.loss.LossPDENonStatio(
        u=u, dynamic_loss=jinns.loss.BurgersEquation(Tmax=1), boundary_condition=jinns.loss.Dirichlet(),
        initial_condition_fun=lambda x: -jnp.sin(jnp.pi * x), params=params,
        loss_weights=jinns.loss.LossWeightsPDENonStatio(dyn_loss=1, initial_condition=1, boundary_loss=1),
    )  # fmt: skip
    return params, data, loss


def helmholtz():
    u, start = network("PDEStatio")
    data = jinns.data.CubicMeshPDEStatio(
        key=jax.random.PRNGKey(1), n=2540, nb=240, dim=2, min_pts=(-1.0, -1.0), max_pts=(1.0, 1.0), method="uniform"
    )
    params = jinns.parameters.Params(nn_params=start, eq_params={"k": jnp.array(1.0)})
    loss = jinns.loss.LossPDEStatio(
        u=u, dynamic_loss=Helmholtz(), boundary_condition=jinns.loss.Dirichlet(), params=params,
        loss_weights=jinns.loss.LossWeightsPDEStatio(dyn_loss=1, boundary_loss=100),
    )  # fmt: skip
    return params, data, loss


def step(name: str, steps: str) -> str:
    params, data, loss = {"burgers": burgers, "helmholtz": helmholtz}[name]()
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        found = jinns.solve(
            init_params=params, data=data, optimizer=optax.adam(1e-3), loss=loss, n_iter=int(steps), verbose=False
        )
        jax.block_until_ready(jax.tree.leaves(eqx.filter(found[0], eqx.is_array)))
        seconds = time.perf_counter() - start
    return str(seconds / int(steps))


for line in sys.stdin:
    word, *arguments = line.split()
    print({"step": step}[word](*arguments), flush=True)
