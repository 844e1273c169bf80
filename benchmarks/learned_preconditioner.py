"""Iterations of conjugate gradients with learned and classical preconditioners on 2D diffusion, to a relative residual of 1e-8.

−∇·(a∇u) = b with Dirichlet sides, a lognormal or two-valued (12 and 3), white-noise b, float64. Networks are trained on 32²
points and tested on unseen coefficients, on a grid twice as fine, and around unseen obstacles. Columns beside the learned
ones are their classical starts and rivals: a learned factor counts beside IC(0) and the modified factor, a learned inverse beside
the polynomial it starts from.

    python benchmarks/learned_preconditioner.py [--quick]

The last line is a JSON object: mean iterations per preconditioner on unseen coefficients at the trained size; the same under
"larger_grid" and "obstacles".
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import options, record

import surrogax as sx
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Jacobi, solve
from surrogax.solvers.linear.preconditioners.incomplete_cholesky import IncompleteCholesky
from surrogax.solvers.linear.preconditioners.sparse_inverse import PolynomialInverse
from surrogax.surrogates.learned_solvers.graph_preconditioner import GraphPreconditioner
from surrogax.surrogates.learned_solvers.graph_training import train_preconditioner

N = 32
SIDES = ("dirichlet", "dirichlet")
FIELDS = (sx.random.Lognormal(2.0), sx.random.Threshold(12, 3))
# Relaxation of the modified factor and shifts of the polynomials, chosen on other systems than those tested.
MODIFIED, SHIFTS = 0.95, {1: 0.2, 2: 0.5}


def coefficients(key, count: int, n: int):
    """`(count, n + 2, n + 2)`, the two families in turn."""
    keys = jax.random.split(key, count)
    return jnp.stack([FIELDS[i % 2].sample(k, sx.Grid.unit_square(n + 2)) for i, k in enumerate(keys)])


def diffusion(a) -> Diffusion:
    n = a.shape[0] - 2
    return Diffusion(stencil.face_means(a, SIDES, "harmonic"), (n, n), (1 / (n + 1),) * 2, SIDES)


def obstacles(seed: int, count: int, n: int):
    """Two discs per system."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*(np.arange(1, n + 1) / (n + 1),) * 2, indexing="ij")
    discs = [(rng.uniform(0.2, 0.8, (2, 2)), rng.uniform(0.08, 0.2, 2)) for _ in range(count)]
    return np.stack([((x - c[:, 0, None, None]) ** 2 + (y - c[:, 1, None, None]) ** 2 < r[:, None, None] ** 2).any(0)
                     for c, r in discs])  # fmt: skip


def iterations(preconditioner, a, solid, key) -> np.ndarray:
    """One number per system; every one must converge."""
    with jax.enable_x64(True):
        a = jnp.asarray(np.asarray(a), jnp.float64)
        b = jax.random.normal(key, solid.shape, jnp.float64) * ~solid

        def one(a, solid, b):
            operator = diffusion(a).with_obstacle(solid)
            return solve(operator, b, CG(preconditioner, rtol=1e-8, max_steps=5000)).stats

        stats = jax.jit(jax.vmap(one))(a, jnp.asarray(solid), b)
        assert (stats.status == 0).all(), stats.status
        return np.asarray(stats.iterations)


def train(name: str, preconditioner: GraphPreconditioner, loss: str, a, steps: int, key) -> GraphPreconditioner:
    operators = [diffusion(x) for x in a]
    noise = jax.random.normal(key, (len(a), 2, N, N))
    if loss == "solution":
        exact = jax.jit(lambda op, b: solve(op, b, CG(IncompleteCholesky(MODIFIED), rtol=1e-5)).value)
        noise = jnp.stack([jnp.stack([exact(op, b) for b in bs]) for op, bs in zip(operators, noise, strict=True)])
    schedule = optax.adam(optax.cosine_decay_schedule(5e-3, steps))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), schedule)
    result = train_preconditioner(preconditioner, operators, noise, loss=loss, optimizer=optimizer, steps=steps)
    print(f"trained {name}: loss {result.losses[0]:.3g} -> {result.losses[-1]:.3g}", flush=True)
    return result.preconditioner


def main():
    quick = options(__doc__, "fewer networks, systems and steps").quick
    count, steps, tested = (6, 60, 4) if quick else (16, 400, 12)
    k_train, k_noise, k_model, k_test, k_b = jax.random.split(jax.random.key(0), 5)

    learned = {
        "factor": (GraphPreconditioner("factor", classical=False, key=k_model), "solution"),
        "factor_frobenius": (GraphPreconditioner("factor", classical=False, key=k_model), "frobenius"),
        "factor_from_ic0": (GraphPreconditioner("factor", key=k_model), "solution"),
        "factor_from_ic0_frobenius": (GraphPreconditioner("factor", key=k_model), "frobenius"),
        "factor_from_mic0": (GraphPreconditioner("factor", modified=MODIFIED, key=k_model), "solution"),
        "sparse_inverse": (GraphPreconditioner("inverse", shift=SHIFTS[1], key=k_model), "inverse"),
        "sparse_inverse_2": (GraphPreconditioner("inverse", factors=2, shift=SHIFTS[2], key=k_model), "inverse"),
    }
    if quick:
        learned = {name: entry for name, entry in learned.items() if "frobenius" not in name and "mic0" not in name}
    a = coefficients(k_train, count, N)
    preconditioners = {
        "none": None,
        "jacobi": Jacobi(),
        "ic0": IncompleteCholesky(),
        "mic0": IncompleteCholesky(MODIFIED),
        "polynomial_inverse": PolynomialInverse(1, SHIFTS[1]),
        "polynomial_inverse_2": PolynomialInverse(2, SHIFTS[2]),
        **{name: train(name, model, loss, a, steps, k_noise) for name, (model, loss) in learned.items()},
    }

    coarse = coefficients(jax.random.fold_in(k_test, 0), 2 * tested, N)
    solid = np.concatenate([np.zeros((tested, N, N), bool), obstacles(0, tested, N)])
    fine = coefficients(jax.random.fold_in(k_test, 1), tested, 2 * N)
    found = {"unseen": {}, "larger_grid": {}, "obstacles": {}}
    for name, preconditioner in preconditioners.items():
        counts = iterations(preconditioner, coarse, solid, k_b)
        found["unseen"][name] = round(float(counts[:tested].mean()), 1)
        found["obstacles"][name] = round(float(counts[tested:].mean()), 1)
        counts = iterations(preconditioner, fine, np.zeros((tested, 2 * N, 2 * N), bool), k_b)
        found["larger_grid"][name] = round(float(counts.mean()), 1)
    print(f"\n{'':28}" + "".join(f"{name:>14}" for name in found))
    for name in preconditioners:
        print(f"{name:28}" + "".join(f"{found[case][name]:14.1f}" for case in found))
    unseen = found.pop("unseen")
    record("learned_preconditioner", quick, {"iterations_none": unseen.pop("none"), **unseen, **found})


if __name__ == "__main__":
    main()
