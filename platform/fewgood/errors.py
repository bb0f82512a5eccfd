"""The errors a user can meet, as one tree; each message names the thing, the value, what is allowed and the remedy.

FewgoodError              exit status 2 on the command line, one line, no traceback
|-- SpecError             a flag, a `--set` key, a study or a search space that cannot be meant
|-- DataError             a root, a category, an image or a mask that cannot be used
|   `-- ImageError        one unreadable, truncated or mismatched file
|-- AssetError            weights, WordNet or a model that is missing: says what to place where
|-- StoreError            the home folder: not writable, out of space, damaged
|-- BaselineError         a detector that refuses its options or its images
|-- ExecutionError        Ray: a sweep that cannot be scheduled or a cluster that cannot be reached
`-- ServiceError          a server of generators that refuses a request or cannot be reached
"""

from __future__ import annotations

__all__ = [
    "AssetError",
    "BaselineError",
    "DataError",
    "ExecutionError",
    "FewgoodError",
    "ImageError",
    "ServiceError",
    "SpecError",
    "StoreError",
]


class FewgoodError(Exception):
    """Something a user did or has, which a user can put right. `str(error)` is one line."""


class SpecError(FewgoodError):
    """A configuration that cannot be meant: an unknown key, a value outside its range."""


class DataError(FewgoodError):
    """A dataset, a category or a support set that cannot be used as it is."""


class ImageError(DataError):
    """One image or mask file that is unreadable, truncated or of another size than its partner."""


class AssetError(FewgoodError):
    """Weights, WordNet or another asset that is not on this machine."""


class StoreError(FewgoodError):
    """The home folder cannot hold what has to be kept: not writable, out of space, damaged."""


class BaselineError(FewgoodError):
    """A detector that cannot work with the options or the images it was given."""


class ExecutionError(FewgoodError):
    """A sweep that cannot be scheduled, or a Ray cluster that cannot be reached."""


class ServiceError(FewgoodError):
    """A server of generators that refuses a request, or cannot be reached after several tries."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status; None if there was no answer."""
        self.request_id = request_id
        """The request's id in the server's log."""
