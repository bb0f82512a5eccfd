"""Where results are kept: content-addressed artifacts, and the ledger with one row per run."""

from fewgood.store.artifacts import Artifact, ArtifactKey, ArtifactStore
from fewgood.store.compaction import Compaction, write_part
from fewgood.store.home import Home
from fewgood.store.index import LedgerIndex
from fewgood.store.leases import Leases
from fewgood.store.ledger import Ledger
from fewgood.store.location import Location
from fewgood.store.schema import LEDGER_SCHEMA, SCHEMA_VERSION
from fewgood.store.shared import SharedArtifacts

__all__ = [
    "LEDGER_SCHEMA",
    "SCHEMA_VERSION",
    "Artifact",
    "ArtifactKey",
    "ArtifactStore",
    "Compaction",
    "Home",
    "Leases",
    "Ledger",
    "LedgerIndex",
    "Location",
    "SharedArtifacts",
    "write_part",
]
