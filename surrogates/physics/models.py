"""Models that are trained on the residual of a problem alone: `PINN`, `PIG`, `RandomFeatures`."""

from jaxtyping import Array

from ...core.arguments import checked, count, number, random_key
from ...solvers.pde.declaration import Problem
from .trial_functions import MLP, Gaussians, RandomSines
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
    exact_boundary: bool = True,
    exact_initial: bool = True,
) -> TrialSurrogate:
    """A physics-informed neural network: a perceptron with tanh of the coordinates, trained on the residual of a problem.

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
    - `exact_boundary`, `exact_initial`: False leaves these conditions to the loss. Do so where a value is not smooth, or where
      values contradict each other in a corner.

    **Raises:** `ValueError` for a problem without residual or with random fields, and for exact conditions that contradict each
    other. **Warns**, in `fit`, of solutions that are far from 1.

    Source: Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378 (2019); exact conditions: Lagaris, Likas & Fotiadis, IEEE
    Trans. Neural Netw. 9 (1998); periodic inputs: Dong & Ni, J. Comput. Phys. 435 (2021).
    """
    width, depth = count("PINN", "width", width), count("PINN", "depth", depth)
    settings = TrialSettings(
        problem,
        lambda coordinates, out, key: MLP(coordinates, out, width, depth, factorised, key=key),
        exact_boundary,
        exact_initial,
        count("PINN", "harmonics", harmonics),
    )
    return TrialSurrogate.build(settings, random_key("PINN", key))


@checked
def PIG(
    problem: Problem,
    *,
    key: Array,
    gaussians: int = 200,
    features: int = 4,
    spread: float = 0.1,
    exact_boundary: bool = True,
    exact_initial: bool = True,
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
    - `exact_boundary`, `exact_initial`: as of `PINN`.

    **Raises:** as `PINN`.

    Source: Kang, Oh, Hong & Park, ICLR 2025 (PIG); closed derivatives, periodic Gaussians and exact conditions are ours.
    """
    gaussians, features = count("PIG", "gaussians", gaussians), count("PIG", "features", features)
    spread = number("PIG", "spread", spread, above=0)
    settings = TrialSettings(
        problem,
        lambda coordinates, out, key: Gaussians(coordinates, out, gaussians, features, spread, key=key),
        exact_boundary,
        exact_initial,
        1,
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
