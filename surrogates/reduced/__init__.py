"""Reduced-order bases: few modes in place of a whole field.

Surrogates, which `surrogax.fit` fits to a dataset:

- `PODRegression`, `LocalPOD`: fields in a POD basis, or in one of several, whose coefficients come from a regression.
- `GalerkinRB`: the problem's own equations on a basis, with a bound of the error.

What they are made of works on arrays, with snapshots as rows `(n, points)`:

- Bases: `pod` (→ `POD`) in the inner product of weights, a matrix or a function.
- Clusters of snapshots: the dissimilarities `sine`, `l2`, `normalized_l2` from the Gram matrix (`gram`), between trajectories
  `chordal_sine`, `projection_error`; then `kmedoids`, `kmeans` (→ `Clustering`), and `silhouette`, `medoid_silhouette`,
  `choose_k` for how many.
- Local bases: `local_bases` (→ `LocalBases`), `fit_classifier` (→ `Classifier`) that chooses one before the solution is known,
  and `break_even`, `compare_dictionaries`, `recommend`, which tell whether they pay.
- Interpolation from few points: `eim`, `deim`, `q_deim` (→ `EIM`); `gappy_pod` (→ `GappyPOD`); sums over few elements,
  `empirical_cubature` (→ `Cubature`).
- Parametrised matrices as sums of few: `matrix_eim` of `Coefficient` functions, `matrix_eim_from_entries` (→ `MatrixEIM`), and
  of their inverses, log-determinants and powers: `inverse_eim`, `logdet_eim`, `power_eim`.
- Certified reduced bases of affine systems: `weak_greedy` (→ `CertifiedBasis`, online `ReducedBasis`) with an `ErrorBound`, its
  coercivity bounds `MinTheta`, `successive_constraints`, and `eim_residual`.
- Nonlinear problems: `nonlinear_galerkin` (→ `NonlinearGalerkin`), on few elements `with_cubature`, `with_interpolation`.
- Regression of coefficients: `fit_regressor`, `fit_gaussian_process` (→ `GaussianProcess`).

`help(surrogax.reduced.pod)` and the like give equations, shapes, good values and sources.
"""

from .basis.pod import POD as POD
from .basis.pod import pod as pod
from .certified.coercivity import MinTheta as MinTheta
from .certified.coercivity import successive_constraints as successive_constraints
from .certified.greedy import CertifiedBasis as CertifiedBasis
from .certified.greedy import ErrorBound as ErrorBound
from .certified.greedy import weak_greedy as weak_greedy
from .certified.nonlinear_galerkin import NonlinearGalerkin as NonlinearGalerkin
from .certified.nonlinear_galerkin import nonlinear_galerkin as nonlinear_galerkin
from .certified.nonlinear_galerkin import with_cubature as with_cubature
from .certified.nonlinear_galerkin import with_interpolation as with_interpolation
from .certified.reduced_basis import ReducedBasis as ReducedBasis
from .certified.residual_bound import eim_residual as eim_residual
from .clustering.block_dissimilarity import chordal_sine as chordal_sine
from .clustering.block_dissimilarity import projection_error as projection_error
from .clustering.clustering import Clustering as Clustering
from .clustering.clustering import medoid_silhouette as medoid_silhouette
from .clustering.clustering import silhouette as silhouette
from .clustering.dissimilarity import gram as gram
from .clustering.dissimilarity import l2 as l2
from .clustering.dissimilarity import normalized_l2 as normalized_l2
from .clustering.dissimilarity import sine as sine
from .clustering.kmeans import kmeans as kmeans
from .clustering.kmedoids import choose_k as choose_k
from .clustering.kmedoids import kmedoids as kmedoids
from .galerkin import GalerkinRB as GalerkinRB
from .interpolation.cubature import Cubature as Cubature
from .interpolation.cubature import empirical_cubature as empirical_cubature
from .interpolation.eim import EIM as EIM
from .interpolation.eim import deim as deim
from .interpolation.eim import eim as eim
from .interpolation.eim import q_deim as q_deim
from .interpolation.gappy_pod import GappyPOD as GappyPOD
from .interpolation.gappy_pod import gappy_pod as gappy_pod
from .interpolation.matrix_eim import Coefficient as Coefficient
from .interpolation.matrix_eim import MatrixEIM as MatrixEIM
from .interpolation.matrix_eim import matrix_eim as matrix_eim
from .interpolation.matrix_eim import matrix_eim_from_entries as matrix_eim_from_entries
from .interpolation.matrix_function_eim import inverse_eim as inverse_eim
from .interpolation.matrix_function_eim import logdet_eim as logdet_eim
from .interpolation.matrix_function_eim import power_eim as power_eim
from .local.break_even_criterion import break_even as break_even
from .local.break_even_criterion import compare_dictionaries as compare_dictionaries
from .local.break_even_criterion import recommend as recommend
from .local.classifier import Classifier as Classifier
from .local.classifier import fit_classifier as fit_classifier
from .local.local_bases import LocalBases as LocalBases
from .local.local_bases import local_bases as local_bases
from .local_pod import LocalPOD as LocalPOD
from .pod_regression import PODRegression as PODRegression
from .regression.gaussian_process import GaussianProcess as GaussianProcess
from .regression.gaussian_process import fit_gaussian_process as fit_gaussian_process
from .regression.regressors import fit_regressor as fit_regressor
