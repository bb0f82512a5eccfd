"""Random state for third-party code that only knows the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch, and give them their old state back afterwards.

    anomalib draws from all of them: the coreset's projection from NumPy and torch, the flows' permutations and every
    initialisation from torch. Algorithms of cuDNN that change from run to run are switched off meanwhile.

    Args:
        seed: Any whole number from 0; its streams are spread by NumPy's SeedSequence.
        device: Its generator is seeded too.
    """
    torch_seed, numpy_seed, python_seed = (int(word) for word in np.random.SeedSequence(seed).generate_state(3))
    kept_python, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    kept_cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        random.seed(python_seed)
        np.random.seed(numpy_seed)  # noqa: NPY002
        torch.manual_seed(torch_seed)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            random.setstate(kept_python)
            np.random.set_state(kept_numpy)  # noqa: NPY002
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = kept_cudnn
