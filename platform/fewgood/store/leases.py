"""Who may make an artifact: where several hosts might, one of them does and the others wait for it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Leases"]


class Leases(Protocol):
    """Grants the right to do a named piece of work to one holder at a time.

    A lease saves work and is no guarantee: one whose holder seems dead expires, and then two may do the same work, which
    the store must survive.
    """

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Wait until the work `name` is free, hold it while the block runs, then let it go."""
