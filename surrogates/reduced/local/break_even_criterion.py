"""When local bases pay: a criterion from projections alone, before a reduced model or a classifier is built.

The *break-even criterion* is our own; it has the purpose of the a priori efficiency criterion of Daniel et al. (arXiv
2103.13683) but another formula.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from ....core.arguments import checked
from ..basis.inner_product import Product
from .local_bases import LocalBases, local_bases, local_bases_of_ranks


@dataclass(frozen=True)
class BreakEven:
    """Mean relative projection errors of unseen snapshots on K local bases of N modes and on one global basis of N.

    **Fields:** `clusters` K, `rank` N; `whole` e_g, on the global basis; `own`, on the basis of the own cluster; `wrong`, on
    that of another one.
    """

    clusters: int
    rank: int
    whole: float
    own: float
    wrong: float

    @property
    def gain(self) -> float:
        """G = 1 − e_own/e_g: the part of the error that perfect assignment removes; 0 where there is none."""
        return 1 - self.own / self.whole if self.whole > 0 else 0.0

    @property
    def accuracy(self) -> float:
        """a* = (e_wrong − e_g)/(e_wrong − e_own), the accuracy of the classifier above which local bases beat the global one.

        0: they win with any classifier, even where it errs; infinite: they never do."""
        if self.own >= self.whole:
            return np.inf
        return max(self.wrong - self.whole, 0.0) / (max(self.wrong, self.whole) - self.own)

    def expected(self, accuracy: float) -> float:
        """a e_own + (1 − a) e_wrong for a classifier that is right with probability a."""
        return accuracy * self.own + (1 - accuracy) * self.wrong


@checked
def break_even(
    local: LocalBases,
    whole: LocalBases,
    snapshots: Float[Array | np.ndarray, "n points"],
    mistakes: Literal["random", "second"] | Float[Array | np.ndarray, "k k"] = "random",
) -> BreakEven:
    """The criterion from snapshots that were not used for the bases.

    **Arguments:**

    - `local`, `whole`: of the same rank; `whole` has one cluster (`local_bases(snapshots, 1, rank)`).
    - `mistakes`: which basis a classifier takes where it errs: any other ("random"), the best of the others ("second", close
      to what trained classifiers do), or a confusion matrix whose row i has the frequencies of clusters chosen for members of
      i, of which the diagonal is ignored.

    **Raises:** `ValueError` for fewer than two local bases, or a `whole` of several.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> bumps = np.exp(-200 * (np.linspace(0, 1, 40) - t[:, None]) ** 2)
        >>> local, whole = sx.reduced.local_bases(bumps, 3, 4), sx.reduced.local_bases(bumps, 1, 4)
        >>> found = sx.reduced.break_even(local, whole, bumps)
        >>> found.own < found.whole < found.wrong
        True
    """
    k = len(local.bases)
    if k < 2 or len(whole.bases) != 1:
        raise ValueError(f"break_even compares several bases with one global basis, got {k} and {len(whole.bases)}")
    errors, labels = local.projection_errors(snapshots), local.assign(snapshots)
    own = np.arange(k) == labels[:, None]
    if isinstance(mistakes, str) and mistakes == "second":
        wrong = np.where(own, np.inf, errors).min(1)
    else:
        frequencies = np.ones((k, k)) if isinstance(mistakes, str) else np.asarray(mistakes, float)
        frequencies = np.where(own, 0, frequencies[labels])
        seldom = frequencies.sum(1, keepdims=True)
        # A cluster without mistakes in the matrix: any other is as likely.
        frequencies = np.where(seldom > 0, frequencies / np.where(seldom > 0, seldom, 1), ~own / (k - 1))
        wrong = np.sum(frequencies * errors, axis=1)
    on_whole = whole.projection_errors(snapshots)
    return BreakEven(k, local.bases.shape[2], float(on_whole.mean()), float(errors[own].mean()), float(wrong.mean()))


@checked
def compare_dictionaries(
    train: Float[Array | np.ndarray, "n points"],
    unseen: Float[Array | np.ndarray, "m points"],
    clusters: Sequence[int],
    ranks: Sequence[int],
    product: Product = None,
    *,
    members: int = 5,
    clustering: str = "sine",
    key: Array | None = None,
) -> list[BreakEven]:
    """`break_even` for all pairs of a number of clusters K and a rank N, each against the global basis of N modes, which has
    the same online cost. `recommend` chooses among them.

    **Arguments:**

    - `train`: snapshots that bases are made of. `unseen`: those that errors are measured on, from other trajectories.
    - `clusters`, `ranks`: the K and N to try.
    - `members`: a pair is left out unless a cluster has `members`·N snapshots on average.
    - `product`, `clustering`, `key`: as for `local_bases`.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> bumps = np.exp(-200 * (np.linspace(0, 1, 40) - t[:, None]) ** 2)
        >>> rows = sx.reduced.compare_dictionaries(bumps, bumps[::2], clusters=(2, 3), ranks=(4,), members=2)
        >>> [(row.clusters, row.rank) for row in rows]
        [(2, 4), (3, 4)]
    """
    whole = local_bases(train, 1, max(ranks), product)
    rows = []
    for k in clusters:
        enough = [r for r in ranks if len(train) >= members * k * r]
        found = local_bases_of_ranks(train, k, enough, product, clustering=clustering, key=key) if enough else []
        for r, local in zip(enough, found, strict=True):
            if len(local.bases) > 1:
                rows.append(break_even(local, whole.truncated(r), unseen))
    return rows


@checked
def recommend(
    candidates: Sequence[BreakEven],
    *,
    accuracy: float = 0.9,
    budget: float = np.inf,
    cost: Callable[[int, int], float] = lambda k, rank: k * rank,
) -> BreakEven | None:
    """The K and N of the smallest expected error whose cost is within the budget; None if no candidate within it beats the
    global basis of N modes.

    **Arguments:**

    - `candidates`: from `compare_dictionaries`.
    - `accuracy`: expected of the classifier; where it errs a random basis is taken.
    - `budget`, `cost`: the cost of (K, N), by default the K·N stored modes. With n solutions to be computed at c each,
      hyper-reduction h(N) per cluster and online cost N³ for q queries: `lambda k, r: n * c + k * h(r) + q * r**3`.

    **Example:**

        >>> t = np.linspace(0, 1, 30)
        >>> bumps = np.exp(-200 * (np.linspace(0, 1, 40) - t[:, None]) ** 2)
        >>> rows = sx.reduced.compare_dictionaries(bumps, bumps[::2], clusters=(2, 3), ranks=(4,), members=2)
        >>> sx.reduced.recommend(rows, accuracy=1.0, budget=8).clusters
        2
    """
    affordable = [row for row in candidates if cost(row.clusters, row.rank) <= budget]
    better = [row for row in affordable if row.expected(accuracy) < row.whole]
    return min(better, key=lambda row: row.expected(accuracy), default=None)
