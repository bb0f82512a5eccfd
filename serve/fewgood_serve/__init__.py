"""The served generator: a registry of promoted generators, a Ray Serve application that draws from them, and its clients."""

import fewgood.execution  # noqa: F401 - sets what Ray reads, before any module here imports it
