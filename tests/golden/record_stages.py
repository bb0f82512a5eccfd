"""Records the digest of each stage's code with its version: `make stages`, after a version was raised.

It refuses to record changed code under an unchanged version. Where a change is sure to leave every result as it was
(a rename, a message), say so: `python tests/golden/record_stages.py --same-results STAGE ...`.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
RECORD = HERE / "stages.json"


def load_digests():
    """The module beside this file, by its path: tests/ is not a package."""
    spec = importlib.util.spec_from_file_location("stage_digests", HERE / "stage_digests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same-results", nargs="*", default=[], metavar="STAGE")
    allowed = set(parser.parse_args().same_results)
    old = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    new = load_digests().current()
    stale = [
        stage
        for stage, entry in new.items()
        if stage in old and old[stage]["version"] == entry["version"] and old[stage]["code"] != entry["code"]
    ]
    refused = sorted(set(stale) - allowed)
    if refused:
        sys.stderr.write(f"code changed under an unchanged version: {', '.join(refused)}; raise VERSION first\n")
        return 2
    RECORD.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
