"""API keys: hashes alone are kept, scopes and ends hold, a revoked key is gone."""

from datetime import UTC, datetime, timedelta

import pytest

from fewgood.errors import SpecError, StoreError
from fewgood_serve.keys import find_key


def now():
    return datetime.now(UTC)


def test_a_key_is_found_by_itself_and_not_kept(key_file, tmp_path):
    key = key_file.add("team a", ["brick"])
    path = tmp_path / "home" / "serve" / "keys.json"
    assert key.split("_", 2)[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    record = find_key(key_file.read(), key, now())
    assert (record.owner, record.allows("brick"), record.allows("washer")) == ("team a", True, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "x",
        lambda key: key.swapcase(),
        lambda _: "",
        lambda _: "fg_00000000_" + "A" * 43,
    ],
)
def test_anything_else_is_no_key(key_file, change):
    key = key_file.add("a", ["*"])
    assert find_key(key_file.read(), change(key), now()) is None


def test_keys_end(key_file):
    key = key_file.add("a", ["*"], days=1)
    assert find_key(key_file.read(), key, now()) is not None
    assert find_key(key_file.read(), key, now() + timedelta(days=1, minutes=1)) is None


def test_a_revoked_key_is_gone_and_the_others_stay(key_file):
    old, new = key_file.add("a", ["*"]), key_file.add("a", ["*"])
    key_file.revoke(old.split("_")[1])
    assert find_key(key_file.read(), old, now()) is None
    assert find_key(key_file.read(), new, now()) is not None
    with pytest.raises(SpecError, match="no key"):
        key_file.revoke(old.split("_")[1])


def test_bad_scopes_and_a_broken_file_are_refused(key_file, tmp_path):
    with pytest.raises(SpecError):
        key_file.add("a", ["../x"])
    with pytest.raises(SpecError):
        key_file.add("a", [])
    key_file.add("a", ["*"])
    (tmp_path / "home" / "serve" / "keys.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        key_file.read()
