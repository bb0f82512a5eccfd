"""Independent random streams from one seed: each use names its own, so that none disturbs another."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream", "stream_seed"]


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed that is a pure function of `seed` and the names of its use, on every machine."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for the named use of `seed`."""
    return np.random.default_rng(stream_seed(seed, *names))
