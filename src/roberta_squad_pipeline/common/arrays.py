"""Names of array types."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
