"""Does generation pay? Runs or resumes the studies of docs/RESULTS.md; writes its tables, pictures and runs from the ledger.

    python benchmarks/results.py --home results-home            # 3 to 4 hours on two cores; what is done is not run again
    python benchmarks/results.py --home results-home --no-run   # tables, pictures and list of what is there

No light, pose, choice of images or schedule was set on scores of the products in the table's mean; the others chose them, and
stand apart as development. Use a home of its own: every run in the home's ledger counts whose detector has the default
options. FEWGOOD_TEST_DATA holds magnetic_tile, mvtec_ad, elpv and hazelnut_toy.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from fewgood.baselines.registry import baseline_spec
from fewgood.leaderboard.formats import format_interval
from fewgood.leaderboard.runs import CellKey, Run, read_runs
from fewgood.leaderboard.statistics import Estimate, difference, estimate, pool
from fewgood.pictures import run_pictures
from fewgood.specs import GeneratorSpec, PromptSpec, SamplingSpec, SelectionSpec, TrialSpec, plain
from fewgood.store import Home, Ledger

ROOT = Path(__file__).resolve().parents[1]
STUDIES = [
    ROOT / "docs" / "studies" / f"results{part}.yaml"
    for part in ("", "-cflow", "-hazelnut", "-undrawn", "-undrawn-shots", "-parts", "-variance", "-development")
]
PAGE = ROOT / "docs" / "RESULTS.md"
LIST = ROOT / "docs" / "results-runs.csv"
"""Every run that the tables are made of."""
MEAN = ("screw", "mono", "hazelnut")
UNDRAWN, UNDRAWN_CHOSEN = "generate-random sampling.scale=0.0", "generate sampling.scale=0.0"
ARMS = ("none", "augment", UNDRAWN, "noise", "generate-random", "generate")
AGAINST = ARMS[:-1]
LABELS = {UNDRAWN: "undrawn", UNDRAWN_CHOSEN: "undrawn, chosen"}
"""Of those that are no arm of their own."""
KINDS = {"mono": "texture", "tile": "texture", "hazelnut": "object"}
"""Of the products that are read as plain folders, whose kind no dataset says."""
PICTURED = ("washer", "hazelnut")
DEFAULTS = {
    "prompts": {"count": PromptSpec().count},  # the keyword belongs to the product
    "generator": plain(GeneratorSpec()),
    "sampling": plain(SamplingSpec()),
    "selection": plain(SelectionSpec()),
}
DECODE = "sampling.mode=decode"
FIXED = "generator.variance=False, sampling.mode=decode"
SIZE = "generate selection.count="

Runs = Mapping[tuple[str, str], Mapping[tuple[CellKey, str], list[Run]]]
"""(baseline, shots) -> (cell, arm and settings) -> its finished runs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--no-run", action="store_true", help="only write what the home's ledger holds")
    parser.add_argument("--study", type=Path, action="append", help="run this study instead of all of them")
    flags = parser.parse_args()
    for study in flags.study or ():
        if not study.is_file():
            parser.error(f"--study {study}: no such file")
    home = Home.locate(flags.home)
    for study in [] if flags.no_run else flags.study or STUDIES:
        name = yaml.safe_load(study.read_text())["name"]
        word = "resume" if (home.root / "studies" / name).exists() else "sweep"
        command = [sys.executable, "-c", "from fewgood.cli import main; main()", word, str(study)]
        ended = subprocess.run([*command, "--home", str(home.root)], check=False)
        if ended.returncode != 0:
            return ended.returncode
    rows = Ledger(home).rows()
    runs = _grouped(read_runs(rows))
    if not runs:
        parser.error(f"{home.root} has no finished run whose detector has the default options: the page stays as it is")
    before, _, rest = PAGE.read_text().partition("<!-- tables -->\n")
    _, _, after = rest.partition("<!-- end of tables -->")
    made = "\n".join(_page(runs))
    PAGE.write_text(f"{before}<!-- tables -->\n{made}\n<!-- end of tables -->{after}")
    _list(runs)
    _pictures(rows, home)
    return 0


def _grouped(runs: Sequence[Run]) -> Runs:
    found: dict[tuple[str, str], dict[tuple[CellKey, str], list[Run]]] = {}
    for run in runs:
        if not run.ok:
            continue
        spec = TrialSpec.from_json(run.spec)
        if spec.baseline == baseline_spec(run.baseline, {}):
            ranking = found.setdefault((run.baseline, run.shots), {})
            ranking.setdefault((run.cell, _name(spec)), []).append(run)
    return found


def _name(spec: TrialSpec) -> str:
    """The arm, and the settings that it depends on where they are not the defaults."""
    used = spec.relevant()
    changed = [
        f"{section}.{name}={value}"
        for section, defaults in DEFAULTS.items()
        for name, default in sorted(defaults.items())
        if (value := used.get(section, {}).get(name, default)) != default
    ]
    return " ".join([spec.arm, ", ".join(changed)]).strip()


def _page(runs: Runs) -> Iterator[str]:
    for (baseline, shots), ranking in sorted(runs.items()):
        if {name for _, name in ranking} >= set(ARMS) - {UNDRAWN}:
            yield from _table(f"{baseline}, {shots} shot{'s' if shots != '1' else ''}", ranking)
    yield from _together(runs)
    yield from _kinds(runs)
    yield from _parts(runs)
    yield from _saturation(runs)
    yield from _costs(runs)


def _cells(ranking: Mapping[tuple[CellKey, str], list[Run]], *, mean: bool) -> list[CellKey]:
    return sorted({cell for cell, _ in ranking if (cell.category in MEAN) == mean})


def _gap(
    ranking: Mapping[tuple[CellKey, str], list[Run]], cell: CellKey, arm: str, against: str, metric: str = "image_auroc"
) -> Estimate:
    return difference(ranking.get((cell, arm), []), ranking.get((cell, against), []), metric)


def _pooled(parts: Sequence[tuple[str, Estimate]]) -> Estimate:
    return pool([(label, part) for label, part in parts if part.mean is not None], bounds=(-1.0, 1.0))


def _signed(gap: Estimate) -> str:
    return format_interval(gap.mean, gap.low, gap.high, signed=True)


def _gains(ranking: Mapping[tuple[CellKey, str], list[Run]], cells: Sequence[CellKey]) -> list[str]:
    """`generate` against every control, over cells."""
    return [_signed(_pooled([(cell.label, _gap(ranking, cell, "generate", arm)) for cell in cells])) for arm in AGAINST]


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _less(arm: str, *controls: str) -> list[str]:
    """Headings of differences."""
    return [f"{_label(arm)} - {_label(control)}" for control in controls]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*["---"] * len(cells))


def _table(title: str, ranking: Mapping[tuple[CellKey, str], list[Run]]) -> Iterator[str]:
    yield from (f"### {title}", "")
    yield from _head("product", "seeds", *map(_label, ARMS), *_less("generate", *AGAINST))
    for mean in (True, False):
        cells = _cells(ranking, mean=mean)
        for cell in cells:
            runs = ranking.get((cell, "generate"), [])
            levels = [estimate(ranking.get((cell, arm), []), "image_auroc").mean for arm in ARMS]
            gaps = [_signed(_gap(ranking, cell, "generate", arm)) for arm in AGAINST]
            label = _products([cell], mean=mean)
            yield _row(label, str(len(runs)), *("-" if one is None else f"{one:.3f}" for one in levels), *gaps)
        if mean and cells:
            gaps = _gains(ranking, cells)
            measured = sum(_gap(ranking, cell, "generate", "none").mean is not None for cell in cells)
            yield _row(f"**mean of {measured}**", "", *[""] * len(ARMS), *(f"**{gap}**" for gap in gaps))
    yield ""


def _together(runs: Runs) -> Iterator[str]:
    """The table's products over all shots, and what happens to the pixels."""
    yield from ("### The table's products together", "")
    shown = [("generate", arm) for arm in (*AGAINST, UNDRAWN_CHOSEN)]
    shown += [("generate-random", UNDRAWN), ("generate-random", "noise"), (UNDRAWN, "augment")]
    titles = [title for arm, against in shown for title in _less(arm, against)]
    yield from _head("detector", "metric", "cells", *titles, "worst cell against none")
    names = sorted({baseline for baseline, _ in runs})
    for among in [*([name] for name in names), *([names] if len(names) > 1 else [])]:
        rankings = [(key, ranking) for key, ranking in sorted(runs.items()) if key[0] in among]
        for metric in ("image_auroc", "pixel_auroc", "pixel_aupro"):
            pairs = {
                (arm, against): [
                    (f"{cell.category}, {baseline}, shots {shots}", gap)
                    for (baseline, shots), ranking in rankings
                    for cell in _cells(ranking, mean=True)
                    if (gap := _gap(ranking, cell, arm, against, metric)).mean is not None
                ]
                for arm, against in shown
            }
            gains = pairs["generate", "none"]
            if not gains:
                continue
            label, worst = min(gains, key=lambda pair: pair[1].mean or 0.0)
            products = ", ".join(sorted({cell.partition(",")[0] for cell, _ in gains}))
            gaps = [_signed(_pooled(pairs[pair])) for pair in shown]
            yield _row(" and ".join(among), metric, f"{len(gains)} ({products})", *gaps, f"{label}: {_signed(worst)}")
    yield ""


def _kinds(runs: Runs) -> Iterator[str]:
    yield from ("### Objects against textures", "")
    yield from _head("detector, shots", "kind", "products", *_less("generate", *AGAINST))
    for (baseline, shots), ranking in sorted(runs.items()):
        for mean in (True, False):
            for kind in ("object", "texture"):
                of_kind = {cell for (cell, _), own in ranking.items() if KINDS.get(cell.category, own[0].kind) == kind}
                cells = [
                    cell for cell in _cells(ranking, mean=mean) if cell in of_kind and (cell, "generate") in ranking
                ]
                if not cells:
                    continue
                gaps = _gains(ranking, cells)
                yield _row(f"{baseline}, {shots}", kind, _products(cells, mean=mean), *gaps)
    yield ""


def _products(cells: Sequence[CellKey], *, mean: bool) -> str:
    names = ", ".join(cell.category for cell in cells)
    return names if mean else f"*{names} (development)*"


def _parts(runs: Runs) -> Iterator[str]:
    """What each part is worth: the defaults less the same without it, seed by seed (in brackets, how many)."""
    yield from ("### Every part switched off", "")
    yield from _head("detector, shots", "difference", "the table's products", "development", "by product (seeds)")
    for (baseline, shots), ranking in sorted(runs.items()):
        names = {name for _, name in ranking}
        pairs = [
            ("generate", name)
            for name in sorted(names)
            if name.startswith("generate ") and name != f"generate {FIXED}" and not name.startswith(SIZE)
        ]
        pairs += [(f"{arm} {DECODE}", f"{arm} {FIXED}") for arm in ("generate", "generate-random")]
        for arm, against in pairs:
            if not names >= {arm, against}:
                continue
            gaps = {
                mean: [(cell.category, _gap(ranking, cell, arm, against)) for cell in _cells(ranking, mean=mean)]
                for mean in (True, False)
            }
            each = ", ".join(
                f"{label} {gap.mean:+.3f} ({len(gap.values)})"
                for found in gaps.values()
                for label, gap in found
                if gap.mean is not None
            )
            means = [_signed(_pooled(gaps[mean])) for mean in (True, False)]
            yield _row(f"{baseline}, {shots}", f"`{arm}` - `{against}`", *means, each)
    yield ""


def _saturation(runs: Runs) -> Iterator[str]:
    """Gain against number of images, on the seeds that every number has."""
    yield from ("### How many generated images", "")
    yield from _head("detector, shots", "products", "images", "generate - none", "less 16 images")
    for (baseline, shots), ranking in sorted(runs.items()):
        sizes = {16: "generate"} | {
            int(name.removeprefix(SIZE)): name
            for _, name in ranking
            if name.startswith(SIZE) and name.removeprefix(SIZE).isdigit()
        }
        if len(sizes) == 1:
            continue
        for mean in (True, False):
            cells = [
                cell for cell in _cells(ranking, mean=mean) if all((cell, name) in ranking for name in sizes.values())
            ]
            for size, name in sorted(sizes.items()) if cells else ():
                gains, steps = [], []
                for cell in cells:
                    seeds = set.intersection(*({run.seed for run in ranking[cell, one]} for one in sizes.values()))
                    own, default, none = (
                        [run for run in ranking.get((cell, one), []) if run.seed in seeds]
                        for one in (name, "generate", "none")
                    )
                    gains.append((cell.label, difference(own, none, "image_auroc")))
                    steps.append((cell.label, difference(own, default, "image_auroc")))
                step = "" if size == 16 else _signed(_pooled(steps))
                yield _row(
                    f"{baseline}, {shots}", _products(cells, mean=mean), str(size), _signed(_pooled(gains)), step
                )
    yield ""


def _costs(runs: Runs) -> Iterator[str]:
    """Median seconds of an arm's run from nothing, and of each stage, once for each of its results whichever run made it."""
    made: dict[str, dict[tuple[str, ...], float]] = {}
    whole: dict[tuple[str, str], list[float]] = {}
    for ranking in runs.values():
        for (_, name), members in ranking.items():
            for run in members:
                if name in ARMS and run.seconds is not None:
                    whole.setdefault((run.baseline, name), []).append(run.seconds + (run.reused_seconds or 0.0))
                for stage, about in run.stages.items():
                    title = f"{stage} ({run.baseline})" if stage in ("detector", "proxy") else stage
                    seconds = float(about.get("seconds") or 0.0) + float(about.get("reused_seconds") or 0.0)
                    made.setdefault(title, {})[tuple(about.get("artifacts") or (run.run_id,))] = seconds
    yield from ("### What it costs", "")
    yield from _head("a run with nothing made before, seconds, median", *map(_label, ARMS))
    for baseline in sorted({baseline for baseline, _ in whole}):
        spent = (whole.get((baseline, arm)) for arm in ARMS)
        yield _row(baseline, *("-" if one is None else f"{statistics.median(one):.0f}" for one in spent))
    yield ""
    yield from _head("stage", "different results", "seconds, median")
    medians = {stage: statistics.median(results.values()) for stage, results in made.items()}
    for stage, median in sorted(medians.items(), key=lambda item: -item[1]):
        yield _row(stage, str(len(made[stage])), f"{median:.1f}")
    yield ""


def _list(runs: Runs) -> None:
    """The runs themselves, so that others can reckon with them."""
    with LIST.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        metrics = ("image_auroc", "image_aupr", "pixel_auroc", "pixel_aupro")
        writer.writerow(
            ["detector", "product", "in_the_mean", "shots", "arm_and_settings", "seed", *metrics, "seconds", "run"]
        )
        for (baseline, shots), ranking in sorted(runs.items()):
            for (cell, name), members in sorted(ranking.items()):
                for run in sorted(members, key=lambda run: run.seed):
                    values = [f"{run.metrics[metric]:.6f}" if metric in run.metrics else "" for metric in metrics]
                    seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
                    about = [baseline, cell.category, "yes" if cell.category in MEAN else "development", shots, name]
                    writer.writerow([*about, run.seed, *values, seconds, run.run_id[:16]])


def _pictures(rows: Sequence[Mapping[str, Any]], home: Home) -> None:
    """One sheet per pictured product: a row of support images, one of kept, one of rejected candidates."""
    for category in PICTURED:
        row = next(
            (
                row
                for row in sorted(rows, key=lambda row: (row["shots"], row["seed"], row["run_id"]))
                if (row["category"], row["arm"], row["status"]) == (category, "generate", "ok")
                and _name(TrialSpec.from_json(Run.from_row(row).spec)) == "generate"
            ),
            None,
        )
        if row is None:
            continue
        found = run_pictures(row, home, side=160)
        shown = [list(found.support), [png for png, _ in found.generated[:8]], [png for png, _ in found.rejected]]
        images = [[Image.open(io.BytesIO(png)) for png in line] for line in shown]
        width, height = max(image.width for image in images[0]), max(image.height for image in images[0])
        sheet = Image.new("RGB", (8 * (width + 4), len(images) * (height + 4)), "white")
        for y, line in enumerate(images):
            for x, image in enumerate(line[:8]):
                sheet.paste(image, (x * (width + 4), y * (height + 4)))
        sheet.save(ROOT / "docs" / "images" / f"results-{category}.png", optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
