"""FNO and TFNO of neojax-operators, FNO of foundax and of opifex, timed on request: the JAX peers of
`benchmarks/operators_speed.py`.

    python operators_speed_jax.py CASE

CASE is a JSON object: kind, batch, shape, width, modes, rank, jax (names of packages). Runs in the environment of
`benchmarks/peers/requirements-operators-jax.txt`. Prints the numbers of parameters by package as JSON, then answers every line
"PACKAGE WHAT N" on the standard input, WHAT "train" or "infer", with the seconds of N calls, half as many in training, as a JSON
list. A training call is five steps of a compiled loop whose state is donated, as here, and counts as its fifth.
"""

import json
import sys
import time

import equinox as eqx
import foundax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from neojax.models import FNO, TFNO
from opifex.neural.operators.fno.base import FourierNeuralOperator

STEPS, KEY = 5, jax.random.key(0)


# Each returns the parameters, a tree of arrays, and a function of them and a batch `(b, *shape, 1 + ndim)`.


def neojax(case: dict):
    """The structure of neuraloperator 2.0: lifting and projection of twice the width, channel MLP of half of it, soft gating."""
    shape, width = case["shape"], case["width"]
    kept = (*(case["modes"],) * (len(shape) - 1), case["modes"] + 1)
    settings = dict(
        in_channels=1 + len(shape), out_channels=1, hidden_channels=width, n_layers=4, normalization=None,
        use_fno_residual=False, enforce_hermitian_symmetry=False,
    )  # fmt: skip
    if case["kind"] == "tfno":
        share = case["rank"] ** (1 / (2 + len(shape)))
        ranks = tuple(max(1, round(share * n)) for n in (width, width, *kept))
        model = TFNO(KEY, modes=kept, ranks=ranks, **settings)
    else:
        model = FNO(KEY, modes=kept, **settings)
    return over_batch(model, lambda model, x: model(jnp.moveaxis(x, -1, 0))[0])


def foundax_fno(case: dict):
    """Four blocks of a spectral convolution and a pointwise map with bias, an activation after each, projection by 128."""
    family = {2: foundax.fno2d, 3: foundax.fno3d}[len(case["shape"])]
    model = family(
        1 + len(case["shape"]),
        hidden_channels=case["width"],
        n_modes=case["modes"],
        linear_conv=False,
        norm=None,
        key=KEY,
    )
    return over_batch(model, lambda model, x: model(x)[..., 0])


def opifex(case: dict):
    """The same without the last activation."""
    n = len(case["shape"])
    model = FourierNeuralOperator(
        1 + n, 1, case["width"], case["modes"], num_layers=4, spatial_dims=n, rngs=nnx.Rngs(0)
    )
    graph, arrays = nnx.split(model)
    return arrays, lambda arrays, x: nnx.merge(graph, arrays)(jnp.moveaxis(x, -1, 1))[:, 0]


def over_batch(model, apply):
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    return arrays, lambda arrays, x: jax.vmap(lambda one: apply(eqx.combine(arrays, static), one))(x)


class Timed:
    """Training and inference of one model on one batch of values and coordinates."""

    def __init__(self, arrays, predict, x, target):
        optimizer = optax.adamw(1e-3, weight_decay=1e-4)

        def norm(y):
            return jnp.sqrt(jnp.sum(y.reshape(len(y), -1) ** 2, -1))

        def step(state, _):
            arrays, memory = state
            loss, slope = jax.value_and_grad(lambda a: jnp.mean(norm(predict(a, x) - target) / norm(target)))(arrays)
            change, memory = optimizer.update(slope, memory, arrays)
            return (optax.apply_updates(arrays, change), memory), loss

        self.parameters = sum(a.size * (2 if jnp.iscomplexobj(a) else 1) for a in jax.tree.leaves(arrays))
        self.arrays, self.x = jax.tree.map(jnp.copy, arrays), x
        self.state = (arrays, optimizer.init(arrays))
        self._train = jax.jit(lambda state: jax.lax.scan(step, state, None, STEPS), donate_argnums=0)
        self._infer = jax.jit(predict)

    def train(self):
        begin = time.perf_counter()
        self.state, losses = self._train(self.state)
        jax.block_until_ready((self.state, losses))
        return (time.perf_counter() - begin) / STEPS

    def infer(self):
        begin = time.perf_counter()
        jax.block_until_ready(self._infer(self.arrays, self.x))
        return time.perf_counter() - begin


def main():
    case = json.loads(sys.argv[1])
    generator = np.random.default_rng(0)
    a, target = (generator.normal(size=(case["batch"], *case["shape"])).astype(np.float32) for _ in range(2))
    places = np.meshgrid(*(np.arange(n, dtype=np.float32) / n for n in case["shape"]), indexing="ij")
    x = np.stack([a, *(np.broadcast_to(place, a.shape) for place in places)], -1)
    makers = {"neojax": neojax, "foundax": foundax_fno, "opifex": opifex}
    models = {name: Timed(*makers[name](case), jnp.asarray(x), jnp.asarray(target)) for name in case["jax"]}
    print(json.dumps({name: int(model.parameters) for name, model in models.items()}), flush=True)
    for line in sys.stdin:
        name, what, calls = line.split()
        number = max(1, int(calls) // 2) if what == "train" else int(calls)
        print(json.dumps([getattr(models[name], what)() for _ in range(number)]), flush=True)


if __name__ == "__main__":
    main()
