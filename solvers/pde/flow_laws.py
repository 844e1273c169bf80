"""Laws of initial states, forcings and velocities of flows, among them those of published data sets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count, number
from ...core.domains import Grid
from ..kernels.differentiation import fourier_matrix
from ..kernels.interpolate import apply_along_axes
from ..random import Distribution, GaussianField, JointLaw, LogUniform, TimedDistribution, Uniform

Number = Distribution | float


def drawn(law: Number, key: jax.Array, grid: Grid) -> Array:
    """A draw of a law of numbers, or the number."""
    return law.sample(key, grid) if isinstance(law, Distribution) else jnp.asarray(law, jnp.float32)


@dataclass(frozen=True)
class WaveSum(Distribution):
    """±Σ_i A_i sin(2π n_i (x − x_0)/L + φ_i) along the first axis with `waves` terms: A_i ~ U(0, 1), φ_i ~ U(0, 2π), n_i uniform
    on 1 … `modes`. The initial fields of PDEBench in one dimension (Takamoto et al. 2022, eq. 8); their released code also adds
    a constant, the sines of the phases that were not chosen. `random.SumOfWaves` is the plain sum in any direction, which an
    equation may differentiate.

    **Arguments:**

    - `waves`, `modes`: 2 and 8 for PDEBench's advection and Burgers, 2 and 10 for its gas dynamics.
    - `folded`: probability that the absolute value is taken (0.1 there).
    - `windowed`: probability that a smooth window from between 10 and 45 % to between 55 and 90 % of the axis cuts the ends off
      (0.1 there, 0.5 for gas dynamics).
    - `between`: if given, the sum is scaled to [0, 1], multiplied by one number and another one is added, both log-uniform
      between these two positive ones: a positive field (density (1, 10) and pressure (10, 100) of PDEBench's gas).

    **Example:**

        >>> sx.pde.WaveSum(waves=2).sample(key, sx.Grid.unit(32, 1, "periodic")).shape
        (32,)
    """

    waves: int = 2
    modes: int = 8
    folded: float = 0.1
    windowed: float = 0.1
    between: tuple[float, float] | None = None
    is_field, isotropic, smooth = True, False, False

    def __post_init__(self):
        check_fields(self)
        for name, value in (("waves", self.waves), ("modes", self.modes)):
            count("WaveSum", name, value)
        for name, share in (("folded", self.folded), ("windowed", self.windowed)):
            number("WaveSum", name, share, least=0, below=1 + 1e-12)
        if self.between is not None and not 0 < self.between[0] <= self.between[1]:
            raise ValueError(f"WaveSum(between={self.between}): expected two positive numbers, the smaller first")

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        keys = jax.random.split(key, 9)
        share = grid.scaled(grid.points)[..., 0]
        amplitude, phase = jax.random.uniform(keys[0], (2, self.waves), jnp.float32)
        cycles = jax.random.randint(keys[1], (self.waves,), 1, self.modes + 1)
        u = (amplitude * jnp.sin(2 * jnp.pi * (cycles * share[..., None] + phase))).sum(-1)
        u = jnp.where(jax.random.bernoulli(keys[2], float(self.folded)), abs(u), u)
        u = u * jax.random.rademacher(keys[3], (), jnp.float32)
        low, high = (jax.random.uniform(k, (), jnp.float32, a, a + 0.35) for k, a in ((keys[4], 0.1), (keys[5], 0.55)))
        window = (jnp.tanh((share - low) / 0.01) - jnp.tanh((share - high) / 0.01)) / 2
        u = u * jnp.where(jax.random.bernoulli(keys[6], float(self.windowed)), window, 1)
        if self.between is None:
            return u
        factor, base = (LogUniform(*self.between).sample(k) for k in keys[7:])
        u = u - u.min()
        return base + factor * u / jnp.maximum(u.max(), 1e-12)


@dataclass(frozen=True)
class GasWaves(JointLaw):
    """Gas with random waves (PDEBench's compressible data in two dimensions): on a background of density ρ_0 and temperature T_0,
    ρ = ρ_0 (1 + δ_ρ s / mean|s|), p = ρ_0 T_0 (1 + δ_p s' / mean|s'|) and a velocity of mean length M √(γT_0) with
    components of the same kind, where every s = Σ_k |k|^(−½) sin(2π k·x/L + φ_k) over −4 ≤ k_i ≤ 4, k_i ≠ 0.

    ρ_0, T_0 ~ U(0.1, 10) and δ ~ U(0.01, 0.2) by default, and no value below a hundredth of the background. Those data
    (η = 1e-8) have M 0.1 and 1 and γ = 5/3; half of theirs are set to the background outside of a window, which this law leaves
    out.

    **Arguments:** `mach`: M. `modes`: the largest k_i. `gamma`: γ of the speed of sound.

    **Example:**

        >>> sorted(sx.pde.GasWaves(mach=0.1).inputs())
        ['density0', 'pressure0', 'velocity0']
    """

    mach: float = 0.1
    modes: int = 4
    gamma: float = 5 / 3
    density: Distribution = field(default_factory=lambda: Uniform(0.1, 10))
    temperature: Distribution = field(default_factory=lambda: Uniform(0.1, 10))
    contrast: Distribution = field(default_factory=lambda: Uniform(0.01, 0.2))
    parts = ("density0", "velocity0", "pressure0")

    def __post_init__(self):
        check_fields(self)
        number("GasWaves", "mach", self.mach, least=0)
        count("GasWaves", "modes", self.modes)
        number("GasWaves", "gamma", self.gamma, above=1)

    def sample(self, key: jax.Array, grid: Grid) -> Mapping[str, Array]:
        keys = jax.random.split(key, 5)
        d, shares = grid.ndim, grid.scaled(grid.points)
        each = np.array([k for k in range(-self.modes, self.modes + 1) if k])
        k = np.stack(np.meshgrid(*[each] * d, indexing="ij"), -1).reshape(-1, d)
        norms = np.linalg.norm(2 * np.pi * k / np.array(grid.box.extent), axis=-1)
        phases = jax.random.uniform(keys[0], (d + 2, len(k)), jnp.float32)

        def waves(phase):
            return jnp.tensordot(jnp.sin(2 * jnp.pi * (shares @ k.T + phase)), norms**-0.5, 1)

        density, pressure, *velocity = map(waves, phases)
        velocity = jnp.stack(velocity, -1)
        rho0, t0 = drawn(self.density, keys[1], grid), drawn(self.temperature, keys[2], grid)
        speed = self.mach * jnp.sqrt(self.gamma * t0) / jnp.linalg.norm(velocity, axis=-1).mean()
        scaled = [
            jnp.maximum(1 + drawn(self.contrast, k, grid) * s / abs(s).mean(), 0.01)
            for k, s in ((keys[3], density), (keys[4], pressure))
        ]
        v = velocity * speed
        return {
            "density0": rho0 * scaled[0],
            "velocity0": v[..., 0] if d == 1 else v,
            "pressure0": rho0 * t0 * scaled[1],
        }


_QUIRK = LogUniform(math.exp(-0.5), math.exp(0.5))  # PDEBench's code takes the exponential of U(−½, ½)


@dataclass(frozen=True)
class Riemann(JointLaw):
    """Gas in two states on both sides of a plane across the first axis: shock tubes.

    **Arguments:** each is a number or a law of numbers.

    - `density`, `velocity`, `pressure`: on the left and on the right; the velocity is along the first axis. By default those
      of PDEBench's shock tubes (γ = 5/3): density log-uniform in (1, 10), pressure in (10, 100), velocity in (e^−½, e^½).
    - `position`: of the plane, as a share of the axis; by default U(0.25, 0.75).

    `Riemann((1, 0.125), (0, 0), (1, 0.1), 0.5)` with γ = 1.4 is Sod's tube.

    **Example:**

        >>> sorted(sx.pde.Riemann().inputs())
        ['density0', 'pressure0', 'velocity0']
    """

    density: tuple[Number, Number] = (LogUniform(1, 10), LogUniform(1, 10))
    velocity: tuple[Number, Number] = (_QUIRK, _QUIRK)
    pressure: tuple[Number, Number] = (LogUniform(10, 100), LogUniform(10, 100))
    position: Number = field(default_factory=lambda: Uniform(0.25, 0.75))
    parts = ("density0", "velocity0", "pressure0")

    def __post_init__(self):
        check_fields(self)

    def sample(self, key: jax.Array, grid: Grid) -> Mapping[str, Array]:
        keys = jax.random.split(key, 7)
        left = grid.scaled(grid.points)[..., 0] < drawn(self.position, keys[6], grid)

        def jump(pair, i):
            return jnp.where(left, drawn(pair[0], keys[i], grid), drawn(pair[1], keys[i + 1], grid))

        velocity = jump(self.velocity, 2)
        if grid.ndim > 1:
            velocity = jnp.stack([velocity] + [jnp.zeros_like(velocity)] * (grid.ndim - 1), -1)
        return {"density0": jump(self.density, 0), "velocity0": velocity, "pressure0": jump(self.pressure, 4)}


@dataclass(frozen=True)
class Dam(Distribution):
    """`inner` inside of a ball round the centre of the box, `outer` outside: a dam that breaks at t = 0 (radial dam break of
    PDEBench: heights 2 and 1, radius U(0.3, 0.7) on (−2.5, 2.5)²). In one dimension an interval.

    **Arguments:** numbers or laws of numbers; `radius` is a length.

    **Example:**

        >>> sx.pde.Dam().inner
        2.0
    """

    radius: Number = field(default_factory=lambda: Uniform(0.3, 0.7))
    inner: Number = 2.0
    outer: Number = 1.0
    is_field, isotropic, smooth = True, True, False

    def __post_init__(self):
        check_fields(self)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space"]:
        keys = jax.random.split(key, 3)
        centre = np.array(grid.box.lower) + np.array(grid.box.extent) / 2
        distance = np.linalg.norm(grid.points - centre, axis=-1)
        radius, inner, outer = (
            drawn(v, k, grid) for v, k in zip((self.radius, self.inner, self.outer), keys, strict=True)
        )
        return jnp.where(distance <= radius, inner, outer)


@dataclass(frozen=True)
class TravellingWaves(TimedDistribution):
    """A forcing Σ_i A_i sin(ω_i t + 2π l_i (x − x_0)/L + φ_i) along the first axis with `waves` terms: A ~ U(−½, ½) times 2
    `amplitude`, ω ~ U(−0.4, 0.4), φ ~ U(0, 2π), l uniform on 1 … `modes` (Brandstetter, Worrall and Welling 2022).

    **Example:**

        >>> sx.pde.TravellingWaves().sample(key, sx.Grid.unit(16, 1, "periodic"), np.array([0.0, 0.1])).shape
        (2, 16)
    """

    amplitude: float = 0.5
    waves: int = 5
    modes: int = 3
    frequency: float = 0.4
    isotropic, smooth = False, True

    def __post_init__(self):
        check_fields(self)
        for name, value in (("waves", self.waves), ("modes", self.modes)):
            count("TravellingWaves", name, value)

    def sample(self, key: jax.Array, grid: Grid, times: np.ndarray) -> Float[Array, "t *space"]:
        keys = jax.random.split(key, 3)
        amplitude, omega = (
            bound * jax.random.uniform(k, (self.waves,), jnp.float32, -1, 1)
            for k, bound in ((keys[0], self.amplitude), (keys[1], self.frequency))
        )
        phase = 2 * jnp.pi * jax.random.uniform(keys[2], (self.waves,), jnp.float32)
        cycles = jax.random.randint(jax.random.fold_in(keys[2], 1), (self.waves,), 1, self.modes + 1)
        at = 2 * jnp.pi * cycles * grid.scaled(grid.points)[..., 0, None] + phase
        t = jnp.asarray(times, jnp.float32).reshape(-1, *[1] * at.ndim)
        return (amplitude * jnp.sin(omega * t + at)).sum(-1)


@dataclass(frozen=True)
class Swirls(Distribution):
    """A velocity without divergence on a periodic rectangle or cuboid, with the root of its mean square `speed`: the derivatives
    (∂ψ/∂y, −∂ψ/∂x) of a random stream function ψ, `(x, y, 2)`, or the curl of three independent ones, `(x, y, z, 3)`.

    **Arguments:** `stream`: the law of ψ.

    **Example:**

        >>> sx.pde.Swirls(speed=1.0).sample(key, sx.Grid.unit((8, 8), layout="periodic")).shape
        (8, 8, 2)
    """

    speed: float = 1.0
    stream: GaussianField = field(default_factory=lambda: GaussianField(4, 7, 1, "periodic"))
    is_field, isotropic, smooth = True, False, True

    def __post_init__(self):
        check_fields(self)
        number("Swirls", "speed", self.speed, above=0)

    def sample(self, key: jax.Array, grid: Grid) -> Float[Array, "*space d"]:
        if set(grid.layouts) != {"periodic"} or not 2 <= grid.ndim <= 3:
            raise ValueError(f"Swirls live on a periodic rectangle or cuboid, not on {grid}")

        def slope(psi, axis):
            return apply_along_axes(psi, [slopes[axis]], axis)

        slopes = [fourier_matrix(x, x, length, 1) for x, length in zip(grid.coordinates, grid.box.extent, strict=True)]
        if grid.ndim == 2:
            psi = self.stream.sample(key, grid)
            v = jnp.stack([slope(psi, 1), -slope(psi, 0)], -1)
        else:
            a = [self.stream.sample(k, grid) for k in jax.random.split(key, 3)]
            v = jnp.stack([slope(a[i - 1], i - 2) - slope(a[i - 2], i - 1) for i in range(3)], -1)
        return self.speed * v / jnp.sqrt((v**2).sum(-1).mean())


@dataclass(frozen=True)
class Stirring(TimedDistribution):
    """A forcing that turns in time: Σ_i s_i(x) cos(ω_i t + φ_i) over `terms` independent fields s_i with ω_i ~ U(−`frequency`,
    `frequency`) and φ_i ~ U(0, 2π), `(t, *space, d)` or `(t, *space)`.

    **Arguments:** `swirls`: the law of s_i, by default a velocity without divergence; a scalar one, such as
    `GaussianField(4, 7, 0.1, "periodic")`, forces vorticity.

    **Example:**

        >>> law = sx.pde.Stirring(sx.random.GaussianField(4, 7, 0.1, "periodic"))
        >>> law.sample(key, sx.Grid.unit(8, 2, "periodic"), np.linspace(0, 1, 3)).shape
        (3, 8, 8)
    """

    swirls: Distribution = Swirls(0.1)
    terms: int = 2
    frequency: float = 2.0
    isotropic, smooth = False, True

    def __post_init__(self):
        check_fields(self)
        count("Stirring", "terms", self.terms)
        if not self.swirls.is_field:
            raise TypeError(f"Stirring(swirls={self.swirls!r}): expected a law of fields, such as Swirls(0.1)")

    def sample(self, key: jax.Array, grid: Grid, times: np.ndarray) -> Float[Array, "t *field"]:
        *keys, last = jax.random.split(key, self.terms + 1)
        fields = jnp.stack([self.swirls.sample(k, grid) for k in keys])
        omega = self.frequency * jax.random.uniform(last, (self.terms,), jnp.float32, -1, 1)
        phase = 2 * jnp.pi * jax.random.uniform(jax.random.fold_in(last, 1), (self.terms,), jnp.float32)
        waves = jnp.cos(jnp.asarray(times, jnp.float32)[:, None] * omega + phase)
        return jnp.tensordot(waves, fields, 1)
