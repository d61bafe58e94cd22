"""Named random streams: the same seed, part and index give the same draws on every machine.

Nothing shares a stream, so drawing more of one thing never moves another. The key is a stable
hash of the name, not Python's ``hash``, which changes with ``PYTHONHASHSEED``.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log

import numpy as np
from numpy.typing import NDArray

from scenarios.parts import LatencyMs

Z99 = 2.3263478740408408
"""The 99 % point of the standard normal law."""


def stream(seed: int, part: str, index: int) -> np.random.Generator:
    """The random generator of ``part`` for block number ``index`` of a run with ``seed``.

    Philox is counter-based (Salmon et al., SC 2011): seed and part make its key, the index the
    top word of its counter, so blocks cannot overlap and any one is reached without the others.

    Raises:
        ValueError: when ``index`` is negative.
    """
    if index < 0:
        raise ValueError(f"index of stream {part!r} is {index}, expected 0 or more")
    digest = blake2b(f"{seed}/{part}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def lognormal_us(generator: np.random.Generator, law: LatencyMs, count: int) -> NDArray[np.int64]:
    """``count`` draws of a latency law, in whole microseconds.

    mu = ln(p50), sigma = ln(p99 / p50) / z(0.99). Rounding comes before any use, so that the
    last bit of a processor's arithmetic does not reach a result.
    """
    sigma = log(law.p99 / law.p50) / Z99
    drawn = law.p50 * 1000.0 * np.exp(sigma * generator.standard_normal(count))
    return np.rint(drawn).astype(np.int64)


def fractions(generator: np.random.Generator, count: int) -> NDArray[np.int64]:
    """``count`` uniform integers below :data:`ONE`, to compare with :func:`threshold`."""
    return generator.integers(0, ONE, size=count, dtype=np.int64)


ONE = 1 << 32
"""A probability of 1 on the integer scale in which marks are drawn."""


def threshold(probability: float) -> int:
    """``probability`` on the integer scale: a draw below it is a "yes"."""
    return round(probability * ONE)


def stable_fraction(seed: int, part: str, number: int, use: int) -> int:
    """One uniform integer below :data:`ONE` for what is asked seldom: a hash, no generator."""
    text = f"{seed}/{part}/{number}/{use}".encode()
    return int.from_bytes(blake2b(text, digest_size=4).digest(), "little")
