"""Neural spectral methods (Du, Chalapathi, Krishnapriyan, ICLR 2024): operators in coefficient space, trained without data."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key
from ...core.domains import Grid
from ...core.storage import register
from ...solvers.pde.declaration import Problem
from ..networks.layers import ACTIVATIONS, Pointwise, PointwiseMLP
from ..surrogate import AbstractSurrogate, Capabilities
from ..task.task import Fields, Place, Task
from ..trainable import AbstractTrainable, Buffer
from .spectral_residual import SpectralResidual
from .spectral_solution import Solved, SpectralSettings, completed, from_start, scales, started
from .spectral_space import SpectralSpace


class SpectralBlock(eqx.Module):
    """v ↦ σ(K v + W v + b) at the collocation points: K multiplies every coefficient of every channel by a trained number."""

    multiplier: Float[Array, "*modes c"]
    pointwise: Pointwise

    def __init__(self, modes: tuple[int, ...], width: int, *, key: Array):
        k1, k2 = jax.random.split(key)
        self.multiplier = jax.random.normal(k1, (*modes, width)) / math.sqrt(2)
        self.pointwise = Pointwise(width, width, key=k2)

    def __call__(self, v, space: SpectralSpace, grid: Grid):
        hat = space.coefficients(v, grid) * self.multiplier
        return space.values(hat, grid, instants=space.instants()) + self.pointwise(v)


@register("NeuralSpectralSurrogate")
class NeuralSpectralSurrogate(AbstractSurrogate, AbstractTrainable):
    """The solution operator of a problem in coefficient space; see `NeuralSpectral`.

    **Fields:** `blocks`, `lifting`, `projection` and `linear`, the trained parts; `scales`, of the inputs and the output, from
    draws of the laws; `task`; `settings`, from which it was built. Files hold its arrays; to load one, pass
    `load(path, like=NeuralSpectral(problem, …))` with the same arguments.
    """

    lifting: PointwiseMLP
    blocks: tuple[SpectralBlock, ...]
    projection: PointwiseMLP
    linear: Float[Array, "*modes i o"] | None
    scales: Buffer
    task: Task
    settings: SpectralSettings = eqx.field(static=True)
    state: None = None

    @classmethod
    def build(cls, settings: SpectralSettings, key: Array) -> "NeuralSpectralSurrogate":
        """A surrogate with new random weights."""
        space, width = settings.inner, settings.width
        given = len(settings.field_names) + len(settings.number_names)
        seen = given + sum(2 if b == "periodic" else 1 for b in space.box.conditions) + (space.time is not None)
        unknowns = len(settings.unknowns)
        keys = jax.random.split(key, settings.depth + 2)
        linear = None
        if settings.linear and settings.field_names:
            linear = jnp.zeros((*space.shape, len(settings.field_names), unknowns))
        return cls(
            lifting=PointwiseMLP(seen, width, activation=settings.activation, key=keys[0]),
            blocks=tuple(SpectralBlock(space.shape, width, key=k) for k in keys[2:]),
            projection=PointwiseMLP(width, 2 * width, unknowns, activation=settings.activation, key=keys[1]),
            linear=linear,
            scales=Buffer(scales(settings)),
            task=Task.of(settings.problem, space.grid()),
            settings=settings,
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=True, any_points=True, self_contained=False)

    def start(self, fields: Fields, grid: Grid) -> Float[Array, "*modes unknowns"]:
        """The coefficients of what the solution is where the network returns zero: zero, or the initial value at all times."""
        return completed(self.settings, started(self.settings, fields, grid))

    def coefficients(self, fields: Fields, grid: Grid) -> Float[Array, "*modes unknowns"]:
        """The solution's coefficients for one sample, from its random inputs with fields at the points of `grid`."""
        settings, space = self.settings, self.settings.inner
        shifts, factors, out = (jax.lax.stop_gradient(scale) for scale in self.scales.value)
        given, collocation, instants = len(settings.field_names), space.grid(), space.instants()
        shape = collocation.shape if instants is None else (len(instants), *collocation.shape)
        channels, direct = [], 0.0
        if given:
            values = jnp.stack([jnp.asarray(fields[name], float) for name in settings.field_names], -1)
            hat = space.still.coefficients((values - shifts[:given]) * factors[:given], grid)
            channels.append(jnp.broadcast_to(space.still.values(hat, collocation), (*shape, given)))
            direct = 0.0 if self.linear is None else jnp.einsum("...i,...io->...o", hat, self.linear)
        if settings.number_names:
            numbers = jnp.stack([jnp.asarray(fields[name], float).reshape(()) for name in settings.number_names])
            numbers = (numbers - shifts[given:]) * factors[given:]
            channels.append(jnp.broadcast_to(numbers, (*shape, len(numbers))))
        v = self.lifting(jnp.concatenate([*channels, _features(space, collocation, instants)], -1))
        for block in self.blocks:
            v = ACTIVATIONS[settings.activation](block(v, space, collocation))
        u = (space.coefficients(self.projection(v), collocation) + direct) * out
        return completed(settings, started(settings, fields, grid) + from_start(settings, u))

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        own = self.task.domain_of(fields)
        hat = self.coefficients(fields, own.as_grid("NeuralSpectral"))
        values = self.settings.space.at(hat, self.task.mode.domain(own if at is None else at, self.task.dt))
        return self.task.split(self.task.mode.frames_of(values))

    def objective(self, data: Any, **options: Any):
        """The default objective of `fit`: `SpectralResidual` with these options."""
        if data is not None:
            raise ValueError("fit: NeuralSpectral is trained on the residual of its problem alone; leave out data")
        return SpectralResidual(self.settings.problem, self.settings.space, **options)

    def renewed(self, key: Array) -> "NeuralSpectralSurrogate":
        return NeuralSpectralSurrogate.build(self.settings, key)


def _features(space: SpectralSpace, grid: Grid, instants: np.ndarray | None) -> Float[np.ndarray, "*points f"]:
    """Periodic coordinates as sine and cosine, others and time in [−1, 1]."""
    points, features = grid.scaled(grid.points), []
    for axis, wrap in enumerate(grid.periodic):
        x = points[..., axis]
        features += [np.sin(2 * np.pi * x), np.cos(2 * np.pi * x)] if wrap else [2 * x - 1]
    if space.time is not None and instants is not None:
        t = 2 * instants / space.time.length - 1
        features = np.broadcast_arrays(t[(slice(None), *(None,) * grid.ndim)], *features)
    return np.stack(features, -1).astype(np.float32)


def _check(problem: Problem) -> None:
    """**Raises:** `ValueError` for a problem whose solutions the basis does not hold, or that has no residual."""
    problem.needs("residual", "NeuralSpectral")
    if problem.time is not None and not problem.initial:
        raise ValueError(f"NeuralSpectral: {problem!r} is in time and declares no initial value")
    if timed := [name for name, law in problem.laws.items() if law.is_timed]:
        raise ValueError(
            f"NeuralSpectral: the inputs {timed} of {problem!r} depend on time; it serves inputs that do not"
        )
    for condition in problem.boundary:
        for value in condition.condition.prescribes:
            value = problem.constants.get(value, value) if isinstance(value, str) else value
            if callable(value) or isinstance(value, str) or np.any(np.asarray(value)):
                raise ValueError(
                    f"NeuralSpectral: {problem!r} prescribes {value!r} on a side; its sines and cosines fulfil homogeneous "
                    "conditions alone, so subtract a function with these values"
                )


class NeuralSpectral:
    """The solution operator of a problem in coefficient space, trained without data.

        nsm = sx.fit(sx.NeuralSpectral(problem, modes=31, key=key), optimizer=optax.adam(1e-3, b2=0.95), steps=10_000)

    The solution is u = Σ_k û_k φ_k with the products φ_k of sines and cosines that suit the box (Fourier series along periodic,
    sines along Dirichlet, cosines along Neumann axes), so that homogeneous conditions hold exactly. A network maps the
    coefficients of the random inputs, fields and numbers, to

        û_k = s (N(â)_k + L_k â_k),   v_{l+1} = σ(K_l v_l + W_l v_l + b_l),

    where s is a size found from the equation, K_l multiplies every coefficient of every channel of v_l by a trained number, and
    W_l and σ act at as many collocation points as there are modes. `fit` minimises Σ_k |r̂_k|² of the residual r of the
    equation, by Parseval's identity its square integral, for new random inputs in every step (`SpectralResidual`, whose option
    `samples` is the batch). Derivatives are exact. The cost of training and of a prediction's coefficients does not depend on
    the grid of evaluation.

    In time every φ_k has a factor more, an orthonormal polynomial of t (Legendre's, so that Parseval's identity needs no weight),
    and u = u₀ + t/T û starts exactly at the initial value, as far as the modes hold it. All instants are found at once;
    predictions have the 33 instants of `Task.of`.

    **Arguments:**

    - `problem`: a problem with a `residual`, homogeneous conditions and random inputs, steady, or in time with an initial value.
      A mean of u on which the equation does not depend is zero.
    - `modes`: functions per axis, one number or one per axis; an odd number on periodic axes, where 31 means 15 waves.
    - `degrees`: number of polynomials in time, 6 to 20, for problems in time alone (8 if it is not given); more for longer times.
    - `width`, `depth`: channels, 16 to 64, and number of blocks, 2 to 10.
    - `activation`: "gelu", "relu" or "tanh".
    - `solved`: unknowns that follow from the others in the coefficients, which the network then does not return: by name a
      function of a dict of coefficients and the `SpectralSpace`, such as `{"psi": InverseLaplacian("w")}` for the stream function
      of a flow.
    - `linear`: whether there is the term L, trained per coefficient; it alone solves a linear equation with constant
      coefficients and one random source. False is the network of the paper.
    - `key`: random key of the initial weights.

    Give Adam `b2=0.95`: with 0.999 the large first gradients starve the low waves, and errors are 10 to 100 times larger.

    Sines represent a source or an initial value that does not vanish on Dirichlet sides slowly, so that the error falls like a
    power of `modes` only; next to these sides the initial value is not met at all. Over long times of a flow that is not smooth
    in time polynomials need many degrees, and the residual many steps.

    **Raises:** `ValueError` for problems without residual, without random inputs, in time without initial value, with inputs that
    depend on time, or with other conditions; for an even number of modes on a periodic axis, `degrees` of a steady problem, and
    `solved` of what is no unknown.

    **Source:** Du, Chalapathi and Krishnapriyan, "Neural spectral methods", ICLR 2024. They use Chebyshev polynomials where we
    use sines, and in time, with the unweighted sum of squares, which is no integral; they have 1e-3 for s and no L.

    **Example:**

        >>> helmholtz = sx.Problem("u", sx.Box(x=(0, 1, "periodic")), inputs={"f": sx.random.PeriodicGP(0.2)},
        ...                        residual=lambda u, p: u.xx - u + p.f)
        >>> model = sx.NeuralSpectral(helmholtz, modes=7, width=8, depth=1, key=key)        # train it by fit(model, steps=…)
        >>> model.task.inputs
        ('f',)
    """

    @checked
    def __new__(
        cls,
        problem: Problem,
        *,
        modes: int | tuple[int, ...],
        width: int = 32,
        depth: int = 4,
        degrees: int | None = None,
        activation: Literal["gelu", "relu", "tanh"] = "gelu",
        linear: bool = True,
        solved: Mapping[str, Solved] | None = None,
        key: Array,
    ) -> NeuralSpectralSurrogate:
        key = random_key("NeuralSpectral", key)
        _check(problem)
        axes = problem.box.axes
        modes = (modes,) * len(axes) if isinstance(modes, int) else tuple(modes)
        if len(modes) != len(axes):
            raise ValueError(f"NeuralSpectral: modes={modes} for a box of {len(axes)} axes")
        if even := [a.name for a, m in zip(axes, modes, strict=True) if a.boundary == "periodic" and m % 2 == 0]:
            raise ValueError(
                f"NeuralSpectral: modes={modes} are even along {even}; a cosine would lack its sine, take one more"
            )
        if degrees is not None and problem.time is None:
            raise ValueError(f"NeuralSpectral(degrees={degrees}): {problem!r} is steady")
        degrees = (
            0 if problem.time is None else count("NeuralSpectral", "degrees", 8 if degrees is None else degrees, 2)
        )
        follow = tuple((solved or {}).items())
        wrong = [name for name, _ in follow if name not in problem.unknowns or name in problem.initial]
        if wrong or len(follow) == len(problem.unknowns):
            raise ValueError(
                f"NeuralSpectral(solved={list(dict(follow))}): expected some of the unknowns {problem.unknowns} that have no "
                "initial value, and not all of them"
            )
        settings = SpectralSettings(problem, modes, width, depth, activation, linear, degrees, follow)
        if not problem.laws:
            raise ValueError(
                f"NeuralSpectral: {problem!r} has no random input, so that there is one solution to find; use PINN"
            )
        return NeuralSpectralSurrogate.build(settings, key)
