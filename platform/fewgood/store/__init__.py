"""Where results are kept: content-addressed artifacts, and the ledger with one row per run."""

from fewgood.store.artifacts import Artifact, ArtifactKey, ArtifactStore
from fewgood.store.home import Home
from fewgood.store.ledger import LEDGER_SCHEMA, Ledger

__all__ = ["LEDGER_SCHEMA", "Artifact", "ArtifactKey", "ArtifactStore", "Home", "Ledger"]
