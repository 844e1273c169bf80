"""Reference solutions in float64 of equations without a closed form: Cole-Hopf, Fourier with ETDRK4, finite differences."""

import itertools
from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg


def cole_hopf(z: np.ndarray, nu: float, order: int) -> np.ndarray:
    """Burgers' equation on the line from −sin πx, at points `(n, 2)`, x and t: a mean of −sin πy over the weights of Cole and
    Hopf by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite.hermgauss(order)
    x, t = z[:, :1], z[:, 1:]
    y = x - 2 * np.sqrt(nu * t) * nodes
    exponent = -np.cos(np.pi * y) / (2 * np.pi * nu)
    density = weights * np.exp(exponent - exponent.max(1, keepdims=True))
    return -(density * np.sin(np.pi * y)).sum(1) / density.sum(1)


def etdrk4(symbol: Callable, nonlinear: Callable, start: Callable, times: np.ndarray, n: int, steps: int) -> np.ndarray:
    """u_t = L u + N(u) on [−1, 1], periodic, on n points and at `times` within [0, 1]: Fourier modes with steps 1 / `steps` of
    ETDRK4 (Cox & Matthews; coefficients by contour integrals).

    **Arguments:** `symbol(k)`: L of the wave numbers k; `nonlinear(v, k, n)`: N of the modes v; `start(x)`.
    """
    x, h, k = -1 + 2 * np.arange(n) / n, 1 / steps, np.pi * np.fft.rfftfreq(n, 1 / n)
    linear = np.asarray(symbol(k), complex)
    z = h * linear[:, None] + np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    mean = lambda f: h * f.mean(1)  # noqa: E731
    q = mean((np.exp(z / 2) - 1) / z)
    f1 = mean((-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3)
    f2 = mean((2 + z + np.exp(z) * (z - 2)) / z**3)
    f3 = mean((-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3)
    whole, half = np.exp(h * linear), np.exp(h * linear / 2)
    v, found = np.fft.rfft(start(x)), {}
    wanted = {round(t * steps) for t in times}
    assert np.allclose(times * steps, np.round(times * steps)), "an instant of the reference lies between its steps"
    for number in range(steps + 1):
        if number in wanted:
            found[number] = np.fft.irfft(v, n)
        nv = nonlinear(v, k, n)
        a = half * v + q * nv
        na = nonlinear(a, k, n)
        b = half * v + q * na
        nb = nonlinear(b, k, n)
        c = half * a + q * (2 * nb - nv)
        v = whole * v + f1 * nv + 2 * f2 * (na + nb) + f3 * nonlinear(c, k, n)
    return np.stack([found[number] for number in sorted(found)])


def fourier_reference(symbol: Callable, nonlinear: Callable, start: Callable, n: int, steps: int) -> Callable:
    """A function of points `(n, 2)`, x and t, by `etdrk4`. It prints how much the solution changes when it is coarsened twice."""

    def exact(z):
        times = np.unique(z[:, 1])
        fine = etdrk4(symbol, nonlinear, start, times, n, steps)
        coarse = etdrk4(symbol, nonlinear, start, times, n // 2, steps // 2)
        print(f"  the reference changes by {np.abs(fine[:, ::2] - coarse).max():.1e} when it is coarsened twice")
        modes = np.fft.fft(fine, axis=1) / n
        k = np.fft.fftfreq(n, 1 / n)
        return np.array([(modes[np.searchsorted(times, t)] @ np.exp(1j * np.pi * k * (x + 1))).real for x, t in z])

    return exact


def cavity(n: int, reynolds: float) -> np.ndarray:
    """Velocities `(n + 1, n + 1, 2)` at the nodes of the unit square under a lid of speed 4 x (1 − x): ∇²ω = Re (u ω_x + v ω_y),
    ω = −∇²ψ by central differences of second order with the vorticity of Thom on the walls, solved by Newton's method."""
    h = 1 / n
    node = np.linspace(0, 1, n + 1)
    one, inner = sparse.identity(n + 1), sparse.identity(n + 1).tocsr()[1:-1]
    second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n + 1, n + 1)).tolil()
    # Where ψ = ψ_n = 0 the value beyond the wall is that before it.
    second[0, 1] = second[-1, -2] = 2.0
    second = second.tocsr() / h**2
    first = sparse.diags_array([-0.5, 0.5], offsets=[-1, 1], shape=(n + 1, n + 1)).tocsr() / h
    inside = sparse.kron(inner, inner).tocsr()
    grow = inside.T
    vorticity = -(sparse.kron(second, one) + sparse.kron(one, second)) @ grow
    lid = np.zeros((n + 1, n + 1))
    lid[:, -1] = -2 * 4 * node * (1 - node) / h
    dx, dy = inside @ sparse.kron(first, one), inside @ sparse.kron(one, first)
    laplace = inside @ (sparse.kron(second, one) + sparse.kron(one, second))
    psi_x, psi_y = dx @ grow, dy @ grow
    psi = np.zeros((n - 1) ** 2)
    for _ in range(20):
        w = vorticity @ psi + lid.ravel()
        wx, wy, px, py = dx @ w, dy @ w, psi_x @ psi, psi_y @ psi
        residual = laplace @ w - reynolds * (py * wx - px * wy)
        diagonal = sparse.diags_array
        change = (
            diagonal(wx) @ psi_y + diagonal(py) @ dx @ vorticity - diagonal(wy) @ psi_x - diagonal(px) @ dy @ vorticity
        )
        move = scipy.sparse.linalg.spsolve((laplace @ vorticity - reynolds * change).tocsc(), residual)
        psi = psi - move
        if np.abs(move).max() < 1e-12:
            break
    velocity = np.zeros((n + 1, n + 1, 2))
    velocity[1:-1, 1:-1, 0] = (psi_y @ psi).reshape(n - 1, n - 1)
    velocity[1:-1, 1:-1, 1] = -(psi_x @ psi).reshape(n - 1, n - 1)
    velocity[:, -1, 0] = 4 * node * (1 - node)
    return velocity


def cavity_reference(reynolds: float, n: int) -> Callable:
    """A function of the nodes of the square, n + 1 along each side, by Richardson's extrapolation of n and 2 n intervals."""

    def exact(z):
        half, whole, double = (cavity(m, reynolds) for m in (n // 2, n, 2 * n))
        fine = whole + (double[::2, ::2] - whole) / 3
        coarse = half + (whole[::2, ::2] - half) / 3
        change = np.linalg.norm(fine[::2, ::2] - coarse) / np.linalg.norm(coarse)
        print(f"  the reference changes by {change:.1e} (relative L2) when it is coarsened twice")
        index = np.round(z * n).astype(int)
        assert np.allclose(index / n, z), "points of the reference lie between its nodes"
        return fine[index[:, 0], index[:, 1]]

    return exact


def porous_diffusion(start: Callable, n: int, times: np.ndarray) -> np.ndarray:
    """u_t = .05 ∇·(u ∇u) on [−1, 1]² with u = 0 on the sides, at the nodes `(times, n + 1, n + 1)`: central differences of u²/2
    and Runge-Kutta steps of fourth order."""
    x, h = np.linspace(-1, 1, n + 1), 2 / n
    u = start(x[:, None], x[None])
    u[[0, -1]] = u[:, [0, -1]] = 0
    per_interval = int(np.ceil(np.diff(times).max() / (0.6 * h**2 / (0.05 * 4 * 0.7))))

    def slope(u):
        w, found = u**2 / 2, np.zeros_like(u)
        found[1:-1, 1:-1] = w[2:, 1:-1] + w[:-2, 1:-1] + w[1:-1, 2:] + w[1:-1, :-2] - 4 * w[1:-1, 1:-1]
        return 0.05 * found / h**2

    found = [u]
    for before, after in itertools.pairwise(times):
        dt = (after - before) / per_interval
        for _ in range(per_interval):
            a = slope(u)
            b = slope(u + dt / 2 * a)
            c = slope(u + dt / 2 * b)
            u = u + dt / 6 * (a + 2 * b + 2 * c + slope(u + dt * c))
        found.append(u)
    return np.stack(found)


def porous_reference(start: Callable, n: int) -> Callable:
    """A function of points `(m, 3)`, x, y and t, that are nodes of n intervals, by Richardson's extrapolation of n and 2 n."""

    def exact(z):
        times = np.unique(z[:, 2])
        half, whole, double = (porous_diffusion(start, m, times) for m in (n // 2, n, 2 * n))
        fine = whole + (double[:, ::2, ::2] - whole) / 3
        coarse = half + (whole[:, ::2, ::2] - half) / 3
        change = np.linalg.norm(fine[:, ::2, ::2] - coarse) / np.linalg.norm(coarse)
        print(f"  the reference changes by {change:.1e} (relative L2) when it is coarsened twice")
        index = np.round((z[:, :2] + 1) * n / 2).astype(int)
        assert np.allclose(index * 2 / n - 1, z[:, :2]), "points of the reference lie between its nodes"
        return fine[np.searchsorted(times, z[:, 2]), index[:, 0], index[:, 1]]

    return exact
