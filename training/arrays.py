"""The arrays that the training job passes around, named by what they hold."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]
# From encoded rows, (rows, features), to a model's outputs, (rows, outputs).
Answer: TypeAlias = Callable[[FloatArray], FloatArray]
