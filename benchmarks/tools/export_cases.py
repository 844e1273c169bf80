"""Public numerical functions with small arguments: `tests/test_export.py` exports them for all platforms, `tpu_check.py`
compiles them for a TPU."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import surrogax as sx
from surrogax.core.domains import Sites
from surrogax.solvers.kernels import exponential, gaussian_field, gram, interpolate, norms, stencil
from surrogax.solvers.linear import CG, FGMRES, SOR, SSOR, BiCGStab, DeepCG, Diffusion, Multigrid, Sparse
from surrogax.surrogates.task.signature import SourceSignature


def solve_gradient(a):
    grid = sx.Grid.unit_square(len(a))
    darcy = sx.problem("darcy")
    return jax.grad(lambda a: darcy.solve({"a": a}, grid)["u"].sum())(a)


def network_gradient(x):
    grid = sx.Grid.unit((8, 7))
    signature = sx.Signature((SourceSignature(1, grid),), 0, 1, grid)
    network = sx.FNO.config(width=4, kept=(4, 3), depth=2, padding=0.25).build(signature, jax.random.key(0))
    sites = Sites(jnp.zeros((2, 8, 7, 2)), jnp.ones((2, 8, 7)))
    inputs = sx.Inputs((sx.FieldValues(x, sites),), None, sites)
    return eqx.filter_grad(lambda n: (n(inputs, key=None, state=None, train=False)[0] ** 2).sum())(network).lifting


def evolution_gradient(name, nu, u0):
    declared = sx.problem(name, nu=sx.random.Uniform(0.01, 0.1))
    grid = declared.box.grid(u0.shape)
    return jax.grad(lambda nu: (declared.solve({"nu": nu, "u0": u0}, grid, times=[0.0, 0.5])["u"] ** 2).sum())(nu)


def linear_gradient(method, b):
    """Through a solve with an obstacle."""
    walls, solid = ("dirichlet", "neumann"), np.zeros(b.shape, bool)
    solid[tuple(slice(n // 3, n // 2) for n in b.shape)] = True
    operator = Diffusion(stencil.unit_faces(b.shape, walls), b.shape, (0.1, 0.1), walls).with_obstacle(solid, "neumann")
    return jax.grad(lambda b: (sx.linear.solve(operator, b, method).value ** 2).sum())(b)


def sparse_gradient(method, offsets, b):
    """Through a solve with a non-symmetric matrix of these diagonals; if they are short it is stored by rows."""
    n = len(b)
    entries = [np.full(n - abs(o), 4.0 if o == 0 else -1.0 / (2 + np.sign(o))) for o in offsets]
    matrix = Sparse.from_scipy(scipy.sparse.diags_array(entries, offsets=offsets, shape=(n, n), dtype=np.float32))
    return jax.grad(lambda b: (sx.linear.solve(matrix, b, method).value ** 2).sum())(b)


def smoke_gradient(side, buoyancy):
    flow = sx.problem("smoke", grid=(side, side))
    return jax.grad(lambda b: flow.solve(steps=2, buoyancy=b)["density"][-1].sum())(buoyancy)


def gas_gradient(n, gamma):
    """Through steps as long as the state allows, with shocks and contacts."""
    tube = sx.problem(
        "euler", box=sx.Box.unit(1, "neumann"), density0=1.0, velocity0=0.0, pressure0=np.linspace(1, 2, n)
    )
    return jax.grad(lambda g: tube.solve({"gamma": g}, tube.box.grid(n), times=[0.1])["density"].sum())(gamma)


def channel_gradient(side, inflow):
    solid = np.zeros((side, side), bool)
    solid[side // 2, side // 2] = True
    flow = sx.problem("channel_flow", grid=(side, side), solid=solid)
    return jax.grad(lambda u: flow.solve(steps=2, inflow=u, dt=0.01).diagnostics["force"].sum())(inflow)


def periodic_gradient(name, parameter, value):
    """Through short solves with respect to a number that is random; forcings depend on time."""
    forced = {"f": sx.pde.Stirring(sx.random.GaussianField(boundary="periodic"))} if name == "navier_stokes" else {}
    declared = sx.problem(name, **{parameter: sx.random.Uniform(0.01, 0.1)}, **forced)
    grid = declared.box.grid(8)
    fields = {k: jnp.ones((2,) * law.is_timed + grid.shape) for k, law in declared.laws.items() if law.is_field}

    def total(p):
        return sum(
            (u**2).sum() for u in declared.solve({**fields, parameter: p}, grid, times=[0.01, 0.02]).fields.values()
        )

    return jax.grad(total)(value)


def torus_gradient(n, nu):
    flow = sx.problem("navier_stokes_velocity")
    v = jnp.ones((n, n, 2))
    return jax.grad(lambda nu: flow.solve({"nu": nu, "velocity0": v}, flow.box.grid(n), times=[0.1])["velocity"].sum())(
        nu
    )


def bandit_step(c):
    tuner = sx.linear.TunedSolver(SOR(rtol=1e-3), omega=np.linspace(1, 1.9, 4), policy=sx.linear.ChebCB(context=(0, 1)))
    operator = sx.linear.Laplacian((6, 6), (0.2, 0.2), ("dirichlet",) * 2, shift=c)
    _, found = tuner.solve(tuner.init(jax.random.key(0)), sx.linear.System(operator, jnp.ones((6, 6)), c))
    return found.value


SQUARE = jnp.ones((9, 9))
OBLONG = jnp.ones((12, 10))


def sampling_gradient(gain):
    def denoise(x, sigma, condition):
        return jnp.tanh(gain * x / (1 + sigma**2))

    drawn = sx.diffusion.sample(
        denoise, sx.diffusion.UniPC(3), schedule=sx.diffusion.EDM(), times=5, shape=(4,), n=2, key=jax.random.key(0)
    )
    return (drawn**2).sum()


CASES = {
    "gradient of a Darcy solve": (solve_gradient, SQUARE),
    "gradient of an FNO": (network_gradient, jnp.ones((2, 8, 7, 1))),
    "Gaussian field": (
        lambda k: gaussian_field.sample(k, sx.Grid.unit_square(9), "neumann", lambda e: 1 / (1 + e)),
        jax.random.key(0),
    ),
    "gradient of diffusion sampling": (jax.grad(sampling_gradient), 0.5),
    "relative H1": (lambda u: norms.relative_h1(u, u + 1, SQUARE, (0.1, 0.1), (True, False)), jnp.ones((9, 9, 2))),
    "interpolation": (lambda u: interpolate.apply_along_axes(u, [np.ones((5, 9)), np.ones((4, 9))]), SQUARE),
    "interpolation at points": (
        lambda x: interpolate.interpolate_at(jnp.ones((9, 8, 2)), x, (False, True)),
        jnp.ones((5, 2)),
    ),
    "gradient of Burgers": (functools.partial(evolution_gradient, "burgers"), 0.05, jnp.ones(16)),
    "gradient of heat": (functools.partial(evolution_gradient, "heat"), 0.05, jnp.ones(16)),
    "ETDRK2 with dispersion": (
        lambda u: exponential.integrate(
            lambda dt: exponential.etdrk2(1j * np.arange(5.0), lambda v, t: -v, dt), u, [1], 0.1
        )[0],
        jnp.ones(5, jnp.complex64),
    ),
    "gradient of multigrid-CG": (functools.partial(linear_gradient, CG(Multigrid())), OBLONG),
    "gradient of red-black SOR": (functools.partial(linear_gradient, SOR()), OBLONG),
    "gradient of natural SSOR-CG": (functools.partial(linear_gradient, CG(SSOR())), OBLONG),
    "gradient of deep CG": (functools.partial(linear_gradient, DeepCG(sx.load("deepcg-poisson-64"))), OBLONG),
    "gradient of FGMRES, diagonals": (functools.partial(sparse_gradient, FGMRES(), (-1, 0, 1)), jnp.ones(20)),
    "gradient of BiCGStab, rows": (functools.partial(sparse_gradient, BiCGStab(), (-17, 0, 16)), jnp.ones(20)),
    "Gram matrix": (gram.gram, jnp.ones((3, 200)), jnp.ones(200)),
    "gradient of smoke": (functools.partial(smoke_gradient, 8), 1.0),
    "gradient of gas": (functools.partial(gas_gradient, 8), 1.4),
    "gradient of a channel's drag": (functools.partial(channel_gradient, 8), 1.0),
    "gradient of flow on a torus": (functools.partial(torus_gradient, 8), 0.1),
    **{
        f"gradient of {name}": (functools.partial(periodic_gradient, name, parameter), 0.05)
        for name, parameter in [
            ("navier_stokes", "nu"),
            ("gray_scott", "feed"),
            ("klein_gordon", "speed"),
            ("korteweg_de_vries", "mu"),
            ("allen_cahn", "epsilon"),
            ("advection", "speed"),
            ("wave", "speed"),
        ]
    },
    "a bandit's step": (bandit_step, 0.1),
    "threshold field": (lambda k: sx.random.Threshold().sample(k, sx.Grid.unit_square(9)), jax.random.key(0)),
}
