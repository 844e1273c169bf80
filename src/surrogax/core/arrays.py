"""`AnyArray`: the annotation of arguments that may be NumPy or JAX arrays (traced ones included)."""

import numpy as np
from jaxtyping import Array

AnyArray = Array | np.ndarray
