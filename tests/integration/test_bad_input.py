"""Whatever a user does wrong: one line that names the thing and the remedy, exit status 2, nothing half written."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.integration


def picture(path: Path, size=(48, 40), mode="RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)))
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    Image.fromarray(rng.integers(60, 200, shape, dtype=np.uint8), mode=None).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """A small category `part` in MVTec layout with masks, and `bare` with good images only."""
    for index in range(3):
        picture(tmp_path / "data" / "part" / "train" / "good" / f"{index}.png")
        picture(tmp_path / "data" / "bare" / "train" / "good" / f"{index}.png")
        picture(tmp_path / "data" / "part" / "test" / "good" / f"{index}.png")
        picture(tmp_path / "data" / "part" / "test" / "hole" / f"{index}.png")
        picture(tmp_path / "data" / "part" / "ground_truth" / "hole" / f"{index}_mask.png", mode="L")
    (tmp_path / "data" / "empty").mkdir()
    return tmp_path / "data"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def evaluate(root: Path, *more: str, category: str = "part") -> list[str]:
    return ["evaluate", "--root", str(root), "--category", category, "--arm", "none", *more]


CASES = {
    "missing root": (lambda r: evaluate(r / "nowhere"), r"nowhere"),
    "root is a file": (lambda r: evaluate(r / "part" / "train" / "good" / "0.png"), r"0\.png"),
    "no root": (lambda r: ["evaluate", "--category", "part", "--arm", "none"], r"--root"),
    "unknown category": (lambda r: evaluate(r, category="prat"), r"prat.*part"),
    "empty category": (lambda r: evaluate(r, category="empty"), r"empty"),
    "category outside the root": (lambda r: evaluate(r, category="../data/part"), r"\.\./data/part"),
    "unknown dataset": (lambda r: evaluate(r, "--dataset", "mvtecad"), r"mvtecad.*mvtec_ad"),
    "0 shots": (lambda r: evaluate(r, "--shots", "0"), r"--shots is 0"),
    "negative shots": (lambda r: evaluate(r, "--shots", "-3"), r"--shots is -3"),
    "words for shots": (lambda r: evaluate(r, "--shots", "few"), r"--shots is 'few'"),
    "more shots than images": (lambda r: evaluate(r, "--shots", "4"), r"4.*3"),
    "unknown arm": (lambda r: evaluate(r, "--arm", "generat"), r"--arm is 'generat'.*generate"),
    "unknown baseline": (lambda r: evaluate(r, "--baseline", "patchcor"), r"patchcor.*patchcore"),
    "mistyped key": (lambda r: evaluate(r, "--set", "generator.stpes=3"), r"generator\.stpes.*generator\.steps"),
    "mistyped baseline key": (lambda r: evaluate(r, "--set", "baseline.image_sise=64"), r"image_sise.*image_size"),
    "a value of another type": (lambda r: evaluate(r, "--set", "generator.steps=many"), r"generator\.steps is 'many'"),
    "no value": (lambda r: evaluate(r, "--set", "generator.steps"), r"not key=value"),
    "negative seed": (lambda r: evaluate(r, "--seed", "-1"), r"--seed is -1"),
    "unknown flag": (lambda r: evaluate(r, "--sede", "1"), r"--sede"),
    "good images only": (lambda r: evaluate(r, category="bare"), r"bare.*no test images.*fewgood generate"),
    "compare arms": (
        lambda r: ["compare", "--root", str(r), "--category", "part", "--arms", "none,non"],
        r"non",
    ),
    "compare seeds": (lambda r: ["compare", "--root", str(r), "--category", "part", "--seeds", "0,x"], r"--seeds.*'x'"),
    "prompts without images": (lambda r: ["prompts", "nut", "--images", str(r / "empty")], r"no image"),
    "prompts of a missing folder": (lambda r: ["prompts", "nut", "--images", str(r / "gone")], r"gone"),
    "prompts of no word": (
        lambda r: ["prompts", " ", "--images", str(r / "bare" / "train" / "good")],
        r"--keyword is ' '",
    ),
    "leaderboard format": (lambda r: ["leaderboard", "--format", "pdf"], r"--format is 'pdf'.*latex"),
    "leaderboard study": (lambda r: ["leaderboard", "--study", "nope"], r"nope"),
    "generate into a full folder": (
        lambda r: ["generate", "--root", str(r), "--category", "bare", "--out", str(r)],
        r"--out .* not empty",
    ),
    "sweep without categories": (lambda r: ["sweep", "--root", str(r)], r"--categories"),
    "sweep study that is missing": (lambda r: ["sweep", str(r / "study.yaml")], r"study\.yaml"),
    "sweep space": (
        lambda r: ["sweep", "--dataset", "folder", "--root", str(r), "--categories", "part", "--space", "defualt"],
        r"defualt.*default",
    ),
    "sweep unknown category": (
        lambda r: ["sweep", "--dataset", "folder", "--root", str(r), "--categories", "part,prat"],
        r"prat",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_status_two(case, fewgood, root):
    words, pattern = CASES[case]
    outcome = fewgood(*words(root))
    assert outcome.status == 2, outcome.err
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("fewgood: ")
    assert re.search(pattern, lines[0]), lines[0]
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("break_it", "pattern"),
    [
        (lambda r: truncate(r / "part" / "train" / "good" / "0.png"), r"train/good/0\.png"),
        (lambda r: truncate(r / "part" / "test" / "hole" / "1.png"), r"test/hole/1\.png"),
        (lambda r: (r / "part" / "train" / "good" / "0.png").write_text("no image"), r"train/good/0\.png"),
        (lambda r: picture(r / "part" / "ground_truth" / "hole" / "2_mask.png", (10, 10), "L"), r"2_mask\.png.*10"),
        (lambda r: truncate(r / "part" / "ground_truth" / "hole" / "0_mask.png"), r"0_mask\.png"),
    ],
    ids=["truncated support", "truncated test", "no image at all", "mask of another size", "truncated mask"],
)
def test_a_broken_file_is_named(break_it, pattern, fewgood, root, tmp_path):
    break_it(root)
    outcome = fewgood(*evaluate(root, "--set", "baseline.image_size=64", "--json"), home=tmp_path / "home")
    assert outcome.status == 2, outcome.err
    assert re.search(pattern, outcome.document["error"])
    assert outcome.document["status"] == "failed"
    last = [line for line in outcome.err.splitlines() if line.startswith("fewgood: ")]
    assert len(last) == 1
    assert "Traceback" not in outcome.err


def test_a_failed_run_is_a_row_with_its_error(fewgood, root, tmp_path):
    home = tmp_path / "home"
    (root / "part").rename(root / "07")
    outcome = fewgood("evaluate", "--root", root, "--category", "07", "--arm", "generate", home=home)
    assert outcome.status == 2
    from fewgood.store import Home, Ledger

    (row,) = Ledger(Home(home)).rows()
    assert row["status"] == "failed"
    assert "--keyword" in row["error"]
    assert row["image_auroc"] is None
    assert row["support_files"] == ["train/good/0.png"]


def test_a_home_that_cannot_be_used(fewgood, root, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = fewgood(*evaluate(root), home=tmp_path / "file")
    assert outcome.status == 2
    assert re.search(r"home .*file.* --home or FEWGOOD_HOME", outcome.err)


def test_no_disk_space(fewgood, root, tmp_path, monkeypatch):
    import fewgood.store.home as module

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10 * 2**20})())
    outcome = fewgood(*evaluate(root), home=tmp_path / "home")
    assert outcome.status == 2
    assert re.search(r"10 MB free and 256 MB are needed: free some space", outcome.err)
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_the_disk_fills_up_while_a_stage_writes(fewgood, root, tmp_path, monkeypatch):
    import fewgood.stages.training_set as module

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_image", full)
    home = tmp_path / "home"
    outcome = fewgood(
        *("evaluate", "--root", root, "--category", "part", "--arm", "duplicate", "--set", "baseline.image_size=64"),
        home=home,
    )
    assert outcome.status == 2
    assert "no space left" in outcome.err
    assert not list(home.glob("artifacts/training_set/*"))
    assert not list(home.glob("tmp/*"))
