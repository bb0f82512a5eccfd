"""One self-contained HTML file that says what was found, how sure that is, and how it was measured."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewgood.leaderboard.charts import Chart
from fewgood.leaderboard.compare import CellComparison, RankingComparison, compare
from fewgood.leaderboard.figure import charts_css, environment
from fewgood.leaderboard.formats import COLUMNS, format_interval, plain_text
from fewgood.leaderboard.headline import cautions, headline
from fewgood.leaderboard.report_charts import (
    arms_chart,
    gain_chart,
    history_chart,
    proxy_chart,
)
from fewgood.leaderboard.report_sections import (
    board_sections,
    cost_sections,
    coverage_section,
    finding_sections,
    published_section,
    ranking_name,
    saturation_sections,
)
from fewgood.leaderboard.runs import Run, group_rankings, read_runs
from fewgood.leaderboard.statistics import Estimate
from fewgood.leaderboard.tables import EMPTY, LeaderboardRow, leaderboard

__all__ = ["ARM_WORDS", "CellPictures", "answer_tone", "gain_tile", "render_report"]

ARM_WORDS = {
    "none": "the support images only",
    "duplicate": "the support images repeated, as many as the arms below get: does the mere number help?",
    "augment": "geometric and photometric augmentations of the support images: the control to beat",
    "noise": "what is drawn on, plus unlearned noise with the power spectrum of the generated detail",
    "generate-random": "generated images picked at random: what the text-guided choice adds to",
    "generate": "generated images chosen by the text-guided integrator: the method",
    "full": "all good training images: the ceiling",
}
"""Arm -> its training set, for readers who have not read the paper."""


@dataclass(frozen=True, kw_only=True)
class CellPictures:
    """Pictures of one cell for the report; every image is the bytes of a PNG.

    Attributes:
        label: Heading, usually `dataset/category`.
        support: The support images.
        generated: (image, caption) of kept images; the caption holds prompt and score.
        rejected: (image, caption) of candidates that the integrator did not keep.
        detections: (test image, the image under its anomaly map, true mask or None, caption).
    """

    label: str
    support: Sequence[bytes] = ()
    generated: Sequence[tuple[bytes, str]] = ()
    rejected: Sequence[tuple[bytes, str]] = ()
    detections: Sequence[tuple[bytes, bytes, bytes | None, str]] = ()


def render_report(rows: Iterable[Mapping[str, Any]], *, title: str, pictures: Sequence[CellPictures] = ()) -> str:
    """The report of ledger rows as one HTML file that opens offline.

    Args:
        rows: Ledger rows in any order; their order does not change a byte.
        title: Heading of the page.
        pictures: Images to show, in this order.

    Returns:
        HTML without any reference to another file or server: images are data URIs, charts inline SVG, and a content
        security policy forbids the rest.
    """
    held = list(rows)
    runs = read_runs(held)
    groups = group_rankings(runs)
    lines = leaderboard(held)
    compared = compare(runs)
    template = environment().get_template("report.html.j2")
    return template.render(
        charts_css=charts_css(),
        title=plain_text(title),
        empty=EMPTY,
        summary=_summary(runs),
        rankings=[
            _ranking(item, groups[item.key], [line for line in lines if line.ranking == item.key.digest])
            for item in compared
        ],
        boards=board_sections(runs),
        families=finding_sections(compared, runs),
        saturations=saturation_sections(compared, groups),
        coverage=coverage_section(runs),
        costs=cost_sections(compared, runs),
        published=published_section(runs),
        pictures=[_pictures(item) for item in pictures],
        arms=[(arm, words) for arm, words in ARM_WORDS.items() if any(run.arm == arm for run in runs)],
        provenance=_provenance(runs),
        failures=[
            {
                "where": f"{run.dataset}/{run.category}, {run.baseline}, {run.arm}, seed {run.seed}",
                "error": plain_text(run.error or "no message was recorded"),
                "command": plain_text(run.command),
            }
            for run in runs
            if not run.ok
        ],
    )


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    finished = [run for run in runs if run.ok]
    return {
        "runs": len(finished),
        "failed": len(runs) - len(finished),
        "cells": len({(run.dataset, run.category, run.baseline, run.shots) for run in runs}),
        "seeds": len({run.seed for run in finished}),
        "first": min((run.started_utc for run in runs if run.started_utc), default=""),
        "last": max((run.started_utc for run in runs if run.started_utc), default=""),
    }


def _ranking(
    ranking: RankingComparison, cells: Mapping[Any, list[Run]], lines: Sequence[LeaderboardRow]
) -> dict[str, Any]:
    key = ranking.key
    first, second = headline(ranking)
    main = [chart for control in ("none", "augment") if (chart := gain_chart(ranking, control))]
    others = ("duplicate", "noise", "generate-random")
    return {
        "name": ranking_name(key),
        "digest": key.digest,
        "headline": first,
        "second": second,
        "tone": answer_tone(ranking),
        "cautions": cautions(ranking),
        "tiles": [
            gain_tile("gain against none", ranking.differences.get(("generate", "none"), {}).get("image_auroc")),
            gain_tile("gain against augment", ranking.differences.get(("generate", "augment"), {}).get("image_auroc")),
        ],
        "gains": main,
        "other_gains": [chart for control in others if (chart := gain_chart(ranking, control))],
        "tests": _tests(ranking),
        "cells": [_cell(cell, cells[cell.key], lines) for cell in ranking.cells],
    }


def _cell(cell: CellComparison, runs: Sequence[Run], lines: Sequence[LeaderboardRow]) -> dict[str, Any]:
    label = cell.key.label
    own = [line for line in lines if (line.dataset, line.category) == (cell.key.dataset, cell.key.category)]
    charts: list[Chart | None] = [
        arms_chart(cell),
        history_chart(runs, label),
        proxy_chart(runs, label),
    ]
    supports = sorted({(run.seed, ", ".join(run.support_files)) for run in runs if run.ok and run.arm != "full"})
    return {
        "label": label,
        "kind": cell.kind,
        "notes": [plain_text(note) for note in cell.notes],
        "charts": [chart for chart in charts if chart is not None],
        "columns": [(column.heading, column.numeric) for column in COLUMNS],
        "lines": [
            ([(plain_text(column.cell(line)), column.numeric) for column in COLUMNS], line.arm == "generate")
            for line in own
        ],
        "supports": [(str(seed), plain_text(files)) for seed, files in supports if files],
        "prompts": sorted({plain_text(run.prompt) for run in runs if run.prompt}),
    }


def answer_tone(ranking: RankingComparison) -> str:
    """The answer's colour: good where both intervals lie above zero, bad where one lies below, else open."""
    verdicts = [
        ranking.differences[pair]["image_auroc"].verdict
        for pair in (("generate", "none"), ("generate", "augment"))
        if pair in ranking.differences
    ]
    if "lower" in verdicts:
        return "bad"
    return "good" if verdicts == ["higher", "higher"] else "open"


def gain_tile(label: str, gap: Estimate | None) -> tuple[str, str, str]:
    """A gain as a large number: (label, value, interval and cells)."""
    if gap is None or gap.mean is None:
        return (label, "-", "not measured")
    cells = f"mean of {len(gap.parts)} cells" if len(gap.parts) > 1 else "1 cell"
    value, low, high = (format_interval(part, None, None, signed=True) for part in (gap.mean, gap.low, gap.high))
    if gap.low is None or gap.high is None:
        return (label, value, f"no interval (one seed), {cells}")
    return (label, value, f"{low} to {high}, {cells}")


def _tests(ranking: RankingComparison) -> list[list[str]]:
    """One line per pair that ends in `generate`, for rankings of two and more cells."""
    if len(ranking.cells) < 2:
        return []
    lines = []
    for (arm, against), gain in ranking.gains.items():
        if arm != "generate":
            continue
        gap = ranking.differences[arm, against]["image_auroc"]
        counts = gain.cells
        p = "-" if gain.p_holm is None else f"{gain.p_holm:.3g}"
        lines.append(
            [
                against,
                format_interval(gap.mean, gap.low, gap.high, signed=True),
                f"{counts.wins} ({counts.certain_wins})",
                str(counts.ties),
                f"{counts.losses} ({counts.certain_losses})",
                p,
            ]
        )
    return lines


def _pictures(item: CellPictures) -> dict[str, Any]:
    return {
        "label": plain_text(item.label),
        "support": [_uri(image) for image in item.support],
        "generated": [(_uri(image), plain_text(caption)) for image, caption in item.generated],
        "rejected": [(_uri(image), plain_text(caption)) for image, caption in item.rejected],
        "detections": [
            {
                "image": _uri(image),
                "heat": _uri(heat),
                "mask": None if mask is None else _uri(mask),
                "caption": plain_text(caption),
            }
            for image, heat, mask, caption in item.detections
        ],
    }


def _uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def _provenance(runs: Sequence[Run]) -> dict[str, Any]:
    versions: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for name, version in run.versions.items():
            versions[plain_text(str(name))].add(plain_text(str(version)))
    finished = [run for run in runs if run.ok]
    return {
        "versions": [(name, ", ".join(sorted(found))) for name, found in sorted(versions.items())],
        "hardware": sorted({plain_text(run.hardware) for run in runs if run.hardware}),
        "precision": sorted({plain_text(run.precision) for run in runs if run.precision}),
        "data": sorted(
            {
                (
                    run.dataset + "/" + run.category,
                    run.data_fingerprint,
                    str(len(run.test_names)),
                    str(sum(run.defects)),
                )
                for run in finished
            }
        ),
        "detectors": sorted(
            {(run.baseline, run.backbone, run.backbone_digest, run.image_size, run.options) for run in finished}
        ),
        "hours": f"{sum(run.seconds or 0.0 for run in runs) / 3600:.2f}",
        "commands": sorted({plain_text(run.command) for run in runs if run.command})[:200],
    }
