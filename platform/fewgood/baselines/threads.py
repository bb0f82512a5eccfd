"""Threads for work in small pieces: one thread each, so that none waits for another and sums are taken in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["each_on_one_thread", "one_thread"]

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch's CPU kernels use one thread inside, and as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def each_on_one_thread(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of every item, in order; as many items at once as PyTorch has threads, each by one thread.

    Gradients are not recorded. The result does not depend on the number of threads.
    """

    @torch.no_grad()
    def alone(item: T) -> R:
        return work(item)

    workers = min(torch.get_num_threads(), len(items))
    with one_thread():
        if workers <= 1:
            return [alone(item) for item in items]
        # The setting is each thread's own.
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, items))
