"""Weights of exponential Adams methods: the one routine behind the multistep samplers.

In the log-SNR λ the solution is, exactly,

    y(λ_t) = e^(−h) y(λ_s) + ∫ e^(−(λ_t − λ)) D(λ) dλ,   h = λ_t − λ_s.

D is replaced by the polynomial through its values at some nodes. With r_j = (λ_j − λ_s)/h the weights c_j of the values solve
Σ_j c_j r_j^q = I_q, q = 0, 1, …, with the moments I_q = h ∫₀¹ e^(−h(1 − u)) u^q du = h q! φ_{q+1}(−h). Past nodes give a
predictor, the new node r = 1 as well a corrector.
"""

import math

import numpy as np

_SERIES = 2.0  # below this |h| the moments are summed as series: the recurrence divides by h
_TERMS = 40


def moments(h: float, count: int) -> np.ndarray:
    """I_q(h), q = 0 … `count` − 1; h may be negative (the integrals of the noise prediction) or ∞.

    |h| < 2: h Σ_k (−h)^k q!/(q + k + 1)!. Beyond: I_0 = 1 − e^(−h), I_q = 1 − (q/h) I_{q−1}.
    """
    if abs(h) < _SERIES:
        orders = range(count)
        return np.array(
            [h * sum((-h) ** k * math.factorial(q) / math.factorial(q + k + 1) for k in range(_TERMS)) for q in orders]
        )
    found = [-math.expm1(-h)]
    for q in range(1, count):
        found.append(1 - q / h * found[-1])
    return np.array(found)


def polynomial_weights(nodes: np.ndarray, integrals: np.ndarray) -> np.ndarray:
    """w with Σ_j w_j nodes_j^q = integrals_q: quadrature through the values at the nodes."""
    return np.linalg.solve(np.vander(nodes, increasing=True).T, integrals)


def adams_weights(log_snrs, start: float, stop: float, speed: float = 1.0) -> np.ndarray:
    """Weights c_j of D(λ_j) for the step from λ = `start` to `stop`, through the nodes `log_snrs`.

    A step to no noise at all (`stop` = ∞) and one from infinite noise have order one: all the weight lies on the first node.

    **Arguments:** `speed`: 1 for the ODE, 1 + η² for the SDE, whose integral has e^(−(1 + η²)(λ_t − λ)).
    """
    nodes, h = np.asarray(log_snrs, np.float64), stop - start
    weights = np.zeros(len(nodes))
    usable = np.isfinite(nodes)
    if not math.isfinite(h):
        weights[0] = 1.0
        return weights
    weights[usable] = polynomial_weights((nodes[usable] - start) / h, moments(speed * h, int(usable.sum())))
    return weights


def noise_weights(log_snrs, start: float, stop: float) -> np.ndarray:
    """Weights w_j of the noise ε(λ_j) in y_t = y_s + Σ_j w_j ε_j = y_s − ∫ e^(−λ) ε(λ) dλ, for finite λ."""
    nodes, h = np.asarray(log_snrs, np.float64), stop - start
    return math.exp(-stop) * polynomial_weights((nodes - start) / h, moments(-h, len(nodes)))
