"""Models that are trained on the residual of a problem alone: `PINN`, `SPINN`, `PIG`, `RandomFeatures`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax
from jaxtyping import Array

from ...core.arguments import checked, count, number, random_key
from ...solvers.pde.declaration import Problem
from .trial_functions import AbstractTrialFunction, Coordinates, Gaussians, RandomSines
from .trial_networks import MLP, Activation, Embedding, ModifiedMLP, PirateNet, Separable
from .trial_surrogate import TrialSettings, TrialSurrogate


@checked
def PINN(
    problem: Problem,
    *,
    key: Array,
    width: int = 20,
    depth: int = 3,
    harmonics: int = 1,
    factorised: bool = False,
    architecture: Literal["mlp", "modified", "pirate"] = "mlp",
    activation: Activation = "tanh",
    frequency: float = 10.0,
    fourier: int = 0,
    fourier_scale: float = 1.0,
    exact_boundary: bool = True,
    exact_initial: bool = True,
    learn: Mapping[str, float] | None = None,
) -> TrialSurrogate:
    """A physics-informed neural network: a perceptron of the coordinates, trained on the residual of a problem.

        u = fit(PINN(problem, width=20, depth=3, key=key), sampler=RAD(3000), optimizer=LevenbergMarquardt(), steps=200)

    u = L + D N for each unknown, with the network N. Conditions on Dirichlet sides and at the initial time hold exactly: L
    has their values, D vanishes there. Periodic axes enter as cosines and sines, so that u is periodic. What else the problem
    prescribes is a term of the loss. The random numbers of the problem are further inputs of the network.

    **Arguments:**

    - `problem`: a problem that declares `residual`; its random inputs are numbers. State its unknowns in units in which they are
      near 1; the box may have any size.
    - `width`, `depth`: size of the hidden layers and their number; 20 to 40 and 3 to 5 with `LevenbergMarquardt`.
    - `harmonics`: number M of waves cos(2πmx/L), sin(2πmx/L), m ≤ M, along periodic axes; 1 to 10.
    - `factorised`: whether rows of the weights are a trained length times a vector (random weight factorisation).
    - `architecture`: "mlp"; "modified", whose layers are gated by two encoders of the point; or "pirate", residual blocks that
      are off at first and switched on by training, for Adam and SOAP with 3 to 9 blocks (`depth`); it needs `fourier`, and its
      width is 2 `fourier`.
    - `activation`, of the "mlp": "tanh", or "sine" (SIREN) of `frequency` times its argument, 3 to 30, for many waves.
    - `fourier`: number of random waves cos(b · z), sin(b · z) through which the network sees the coordinates z, on [−1, 1]; 0
      shows it z itself. `fourier_scale` is the deviation of b, about π times the number of waves of the solution.
    - `exact_boundary`, `exact_initial`: False leaves these conditions to the loss. Do so where a value is not smooth (a periodic
      initial value with a kink where the axis closes warns: the kink would stay), or where values contradict each other in a
      corner.
    - `learn`: constants of the problem that are unknown, with start values, such as `{"nu": .01}`. They are trained with the
      solution from `fit(…, observations=dataset)`, and found in `learned` of the result. State them near 1, a positive one of
      unknown size by its logarithm. An unknown field is one more unknown of the problem, with `Free()` sides.

    **Raises:** `ValueError` for a problem without residual or with random fields, and for exact conditions that contradict each
    other. **Warns**, in `fit`, of solutions that are far from 1.

    Source: Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378 (2019); exact conditions: Lagaris, Likas & Fotiadis, IEEE
    Trans. Neural Netw. 9 (1998); periodic inputs: Dong & Ni, J. Comput. Phys. 435 (2021).

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)
        >>> model = sx.PINN(line, width=8, depth=2, key=key)
        >>> model.predict({}, at=sx.Box(x=(0, 1)).grid(5))["u"].shape
        (1, 5)
    """
    width, depth = count("PINN", "width", width), count("PINN", "depth", depth)
    fourier = count("PINN", "fourier", fourier, least=0)
    frequency = number("PINN", "frequency", frequency, above=0)
    fourier_scale = number("PINN", "fourier_scale", fourier_scale, above=0)
    if architecture == "pirate" and not fourier:
        raise ValueError('PINN(architecture="pirate") needs fourier=…, half the width of its blocks, for example 32')
    if architecture != "mlp" and activation != "tanh":
        raise ValueError(f'PINN(architecture={architecture!r}) has tanh; activation={activation!r} is for the "mlp"')
    if architecture == "pirate" and width not in (20, 2 * fourier):
        raise ValueError(
            f'PINN(architecture="pirate", width={width}): blocks are 2 fourier = {2 * fourier} wide; leave out width'
        )
    if frequency != 10 and activation != "sine":
        raise ValueError(f'PINN(frequency={frequency:g}) is for activation="sine"')
    if fourier_scale != 1 and not fourier:
        raise ValueError(f"PINN(fourier_scale={fourier_scale:g}) needs fourier=…, the number of waves")

    def build(coordinates: Coordinates, out: int, key: Array) -> AbstractTrialFunction:
        embedding = Embedding(coordinates, fourier, fourier_scale, key=jax.random.fold_in(key, 1))
        if architecture == "pirate":
            return PirateNet(embedding, out, depth, factorised, key=key)
        if architecture == "modified":
            return ModifiedMLP(embedding, out, width, depth, factorised, key=key)
        return MLP(embedding, out, width, depth, factorised, frequency if activation == "sine" else 0.0, key=key)

    waves = _harmonics("PINN", harmonics, problem)
    settings = TrialSettings(problem, build, exact_boundary, exact_initial, waves, learn)
    return TrialSurrogate.build(settings, random_key("PINN", key))


@checked
def SPINN(
    problem: Problem,
    *,
    key: Array,
    rank: int = 16,
    width: int = 20,
    depth: int = 2,
    harmonics: int = 1,
    exact_boundary: bool = True,
    exact_initial: bool = True,
) -> TrialSurrogate:
    """A separable network u = Σ_r ∏_i f_ir(x_i), with a perceptron per coordinate, trained on the residual of a problem.

    Conditions are fulfilled as by `PINN`. It has few parameters for what is nearly separable, and cheap derivatives.
    The points are those of the sampler; the tensor grids of the paper, which let a graphics processor see millions of points,
    are not used.

    **Arguments:** `rank`: number of terms, 8 to 64. Others as of `PINN`.

    **Raises:** as `PINN`.

    Source: Cho et al., NeurIPS 2023 (SPINN).

    **Example:**

        >>> plate = sx.Problem("u", sx.Box(x=(0, 1), y=(0, 1)), residual=lambda u, p: u.xx + u.yy + 1)
        >>> sx.count_parameters(sx.SPINN(plate, rank=4, width=8, key=key)) > 100
        True
    """
    rank, width, depth = count("SPINN", "rank", rank), count("SPINN", "width", width), count("SPINN", "depth", depth)
    settings = TrialSettings(
        problem,
        lambda coordinates, out, key: Separable(coordinates, out, rank, width, depth, key=key),
        exact_boundary,
        exact_initial,
        _harmonics("SPINN", harmonics, problem),
    )
    return TrialSurrogate.build(settings, random_key("SPINN", key))


@dataclass(frozen=True)
class GaussianBuilder:
    """Builds the trial function of `PIG`, with its arguments."""

    gaussians: int
    features: int
    spread: float
    full: bool

    def __call__(self, coordinates: Coordinates, out: int, key: Array) -> Gaussians:
        return Gaussians(coordinates, out, self.gaussians, self.features, self.spread, self.full, key=key)


@checked
def PIG(
    problem: Problem,
    *,
    key: Array,
    gaussians: int = 200,
    features: int = 4,
    spread: float = 0.1,
    covariance: Literal["diagonal", "full"] = "diagonal",
    exact_boundary: bool = True,
    exact_initial: bool = True,
    learn: Mapping[str, float] | None = None,
) -> TrialSurrogate:
    """Physics-informed Gaussians: a tiny network of a few features, each a sum of Gaussians whose centres, widths and weights are
    trained, so that they move to where they are needed.

        pig = fit(PIG(problem, gaussians=400, key=key), sampler=R3(2000), optimizer=optax.adam(1e-2), steps=20_000)

    Conditions are fulfilled as by `PINN`; Gaussians along periodic axes are periodic. A Gaussian has 2 d + 1 numbers in d
    dimensions for every feature.

    **Arguments:**

    - `problem`: a problem that declares `residual`; its random inputs are numbers.
    - `gaussians`: Gaussians per feature; 100 to 4000, with `LevenbergMarquardt` at most 100 in two dimensions.
    - `features`: number of features, the inputs of the network.
    - `spread`: initial widths, where every axis has length 2; .05 to .5.
    - `covariance`: "diagonal", or "full" for Gaussians that also turn, with d² + d + 1 numbers each; not along periodic axes.
    - `exact_boundary`, `exact_initial`, `learn`: as of `PINN`.

    **Raises:** as `PINN`, and `ValueError` for full covariances along periodic axes.

    Source: Kang, Oh, Hong & Park, ICLR 2025 (PIG); closed derivatives, periodic Gaussians and exact conditions are ours.

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)
        >>> sx.count_parameters(sx.PIG(line, gaussians=10, key=key)) > 10
        True
    """
    gaussians, features = count("PIG", "gaussians", gaussians), count("PIG", "features", features)
    spread = number("PIG", "spread", spread, above=0)
    settings = TrialSettings(
        problem,
        GaussianBuilder(gaussians, features, spread, covariance == "full"),
        exact_boundary,
        exact_initial,
        1,
        learn,
    )
    return TrialSurrogate.build(settings, random_key("PIG", key))


@checked
def RandomFeatures(
    problem: Problem,
    *,
    key: Array,
    features: int = 800,
    scale: float = 10.0,
    exact_boundary: bool = True,
    exact_initial: bool = True,
) -> TrialSurrogate:
    """Sines with random fixed frequencies and phases, and trained coefficients: the cheap opponent of every network.

        u = fit(RandomFeatures(problem, features=800, key=key), sampler=UniformSampler(3000), optimizer=GaussNewton(), steps=1)

    The unknowns are linear in the coefficients, so that a linear equation is solved by one step of `GaussNewton`, in seconds, and
    another one by a few. It is best for smooth solutions in one or two dimensions. Conditions are fulfilled as by `PINN`; along
    periodic axes the sines have whole numbers of waves.

    **Arguments:**

    - `problem`: a problem that declares `residual`; its random inputs are numbers.
    - `features`: number of sines, 200 to 2000.
    - `scale`: frequencies are uniform on [−scale, scale] where every axis has length 2; about 1.5 times those of the solution.
    - `exact_boundary`, `exact_initial`: as of `PINN`.

    **Raises:** as `PINN`.

    Source: Rahimi & Recht, NeurIPS 2007; Chen, Chi, E & Yang, J. Mach. Learn. 1 (2022).

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)          # u = x (1 − x)
        >>> sx.count_parameters(sx.RandomFeatures(line, features=40, key=key))
        40
    """
    features, scale = count("RandomFeatures", "features", features), number("RandomFeatures", "scale", scale, above=0)
    settings = TrialSettings(
        problem,
        lambda coordinates, out, key: RandomSines(coordinates, out, features, scale, key=key),
        exact_boundary,
        exact_initial,
        1,
    )
    return TrialSurrogate.build(settings, random_key("RandomFeatures", key))


def _harmonics(call: str, harmonics: int, problem: Problem) -> int:
    """**Raises:** `ValueError` for waves along periodic axes in a problem that has none."""
    if count(call, "harmonics", harmonics) > 1 and "periodic" not in problem.box.conditions:
        raise ValueError(f"{call}(harmonics={harmonics}) is for periodic axes, of which {problem!r} has none")
    return harmonics
