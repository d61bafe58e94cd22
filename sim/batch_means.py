"""The mean of one long run with its interval, by batch means and control variates.

Neighbours in a queue are not independent, but the means of long batches nearly are (Conway 1963).
A control is a quantity of the same run whose true mean is known to be 0, for example how much
longer than their law the services were. What the controls explain of the batches' differences is
taken off, with the coefficients fitted to the batches (Lavenberg and Welch, Management Science 27,
1981). That does not touch what is estimated: the mean stays that of the run, whatever its server
did, only its chance error shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[Any]

BATCHES = 40


class Mean(NamedTuple):
    """An estimated mean: its standard error, and the degrees of freedom that this rests on."""

    value: float
    error: float
    freedom: int

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the interval of Student's t that covers the true mean with that probability."""
        return self.error * float(special.stdtrit(self.freedom, (1 + confidence) / 2))


def batch_mean(values: Numbers, controls: Sequence[Numbers] = (), batches: int = BATCHES) -> Mean:
    """The mean of ``values``, in their order in time.

    ``controls`` are as long as ``values``, sample for sample; one that is 0 throughout says
    nothing and is left out. Samples that do not fill the last batch are left out too.

    Raises:
        ValueError: fewer samples than batches, or too few batches for so many controls.
    """
    telling = [_means(control, batches) / control.std() for control in controls if control.any()]
    freedom = batches - 1 - len(telling)
    if len(values) < batches or freedom < 1:
        raise ValueError(f"{len(values)} samples and {len(telling)} controls for {batches} batches")
    wanted = _means(values, batches)
    design = np.column_stack([np.ones(batches), *telling])
    fitted, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    left = wanted - design @ fitted
    spread = float(left @ left) / freedom
    own = float(np.linalg.inv(design.T @ design)[0, 0])
    return Mean(float(fitted[0]), math.sqrt(spread * own), freedom)


def _means(values: Numbers, batches: int) -> NDArray[np.float64]:
    size = len(values) // batches
    means: NDArray[np.float64] = values[: size * batches].reshape(batches, size).mean(axis=1)
    return means
