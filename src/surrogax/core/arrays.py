"""The arrays that functions accept which work on the host and under a trace."""

import numpy as np
from jaxtyping import Array

AnyArray = Array | np.ndarray
