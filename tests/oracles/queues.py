"""One server, first in, first out, for a whole array of customers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def lindley(services: NDArray[Any], gaps: NDArray[Any]) -> NDArray[np.float64]:
    """The wait of each customer; ``gaps`` lie behind it (Lindley 1952: a sum less its minimum)."""
    steps = np.concatenate([[0.0], services[:-1] - gaps[:-1]])
    walk = np.cumsum(steps)
    waits: NDArray[np.float64] = walk - np.minimum.accumulate(walk)
    return waits
