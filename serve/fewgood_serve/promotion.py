"""Choosing the generator of a cell by the leaderboard's rule, and putting it into the registry with its model card."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fewgood.errors import DataError, SpecError, StoreError
from fewgood.execution.events import EventLog
from fewgood.execution.study_folder import StudyFolder, known_studies
from fewgood.leaderboard.runs import METRICS, Configuration, Run, configurations, group_rankings, read_runs
from fewgood.leaderboard.statistics import choose, difference, partner
from fewgood.pipeline import open_context
from fewgood.specs import GENERATING_ARMS, TrialSpec, plain
from fewgood.stages.embedding_model import embedding_identity
from fewgood.stages.prompts import keyword_of, read_prompts
from fewgood.store import Artifact, ArtifactStore, Home, Ledger
from fewgood_serve.bundle import write_bundle
from fewgood_serve.card import Gain
from fewgood_serve.names import Reference, slug
from fewgood_serve.registry import Registry

__all__ = ["Chosen", "best_of_study", "cell_label", "of_spec", "promote"]

_CONTROLS = ("none", "augment")
_ARM = "generate"
_CANDIDATES = 16
"""Prompts that a card lists."""


@dataclass(frozen=True)
class Chosen:
    """The run whose generator is promoted, and what it is judged by."""

    run: Run
    configuration: Configuration
    partners: dict[str, Configuration]
    """Control arm -> the configuration that the leaderboard compares with."""
    study: str | None
    remarks: tuple[str, ...]

    @property
    def cell(self) -> str:
        """Dataset/category, detector and shots, as `--cell` takes it."""
        return cell_label(self.run)


def cell_label(run: Run) -> str:
    """`dataset/category/baseline/shots`."""
    return f"{run.dataset}/{run.category}/{run.baseline}/{run.shots}"


def best_of_study(home: Home, name: str, cell: str | None = None) -> list[Chosen]:
    """The best generator of each cell of a study, or of the one that `cell` names.

    The configuration is the one that stands for `generate` on the leaderboard; of equals the one that cost least. Of its seeds
    the one with the highest proxy score is taken, which reads support images alone; without proxy scores the first seed.

    Raises:
        SpecError: if there is no such study or cell, or nothing in it was generated.
    """
    if name not in known_studies(home):
        known = ", ".join(known_studies(home)) or "none"
        raise SpecError(f"--study is {name!r}, which is not in this home or its store; known are {known}")
    folder = StudyFolder(home, name)
    folder.load()
    runs = _runs(home, _study_runs(folder.log))
    found = []
    for cells in group_rankings(runs).values():
        for members in cells.values():
            chosen = _best(members, name)
            if chosen is not None:
                found.append(chosen)
    if cell is not None:
        known = ", ".join(sorted({one.cell for one in found}))
        found = [one for one in found if one.cell == cell]
        if not found:
            raise SpecError(f"--cell is {cell!r}, cells of study {name} with a generator are {known or 'none'}")
    if not found:
        raise SpecError(f"study {name} has no finished run of the arm {_ARM}: there is no generator to promote")
    return found


def of_spec(home: Home, spec_hash: str) -> Chosen:
    """The finished run of one spec, with the controls that the ledger has of its cell.

    Raises:
        SpecError: if no finished run of a generating arm has this hash, or several have.
    """
    runs = read_runs(Ledger(home).rows())
    mine = [run for run in runs if run.ok and run.spec_hash.startswith(spec_hash)]
    hashes = {run.spec_hash for run in mine}
    if len(spec_hash) < 8 or len(hashes) != 1:
        raise SpecError(
            f"--spec-hash is {spec_hash!r}, which {len(hashes)} finished runs of the ledger have: give 8 characters or more "
            "of one, as `fewgood leaderboard --format json` and the Runs page show it"
        )
    run = max(mine, key=lambda one: one.started_utc)
    if run.arm not in GENERATING_ARMS:
        raise SpecError(f"--spec-hash {spec_hash} is a run of the arm {run.arm}, which trains no generator")
    members = group_rankings(runs)[run.ranking][run.cell]
    own = next(item for item in configurations(members) if (item.arm, item.config_hash) == (run.arm, run.config_hash))
    return Chosen(run, own, _partners(own, members), run.study, ())


def promote(
    chosen: Chosen,
    home: Home,
    registry: Registry,
    *,
    name: str | None = None,
    licence: str = "not stated",
    latest: bool = True,
) -> Reference:
    """Put a run's generator into the registry as a new version of `name`, and make it the latest.

    Args:
        chosen: The run.
        home: Where its artifacts are; the data must be where the run found them, for the support images.
        registry: Where it goes.
        name: The generator's name; made of the cell's without it.
        licence: What the card says of the images' licence.
        latest: Whether it becomes the latest.

    Raises:
        DataError: if the support images are no longer those of the run.
        StoreError: if an artifact was pruned, or the registry cannot be written.
        SpecError: if the name is not allowed.
    """
    run = chosen.run
    spec = TrialSpec.from_json(run.spec)
    context = open_context(spec, home)
    if context.support.digest != run.support_digest:
        raise DataError(
            f"the support images of {run.dataset}/{run.category} seed {run.seed} are no longer those of the run "
            f"({context.support.digest[:8]}, not {run.support_digest[:8]}): put the data back as they were"
        )
    store = ArtifactStore(home)
    pool = _input(store, run, "pool")
    generator = _opened(store, "generator", pool.manifest["inputs"]["generator"], run)
    ranking = read_prompts(_input(store, run, "prompts"))
    with tempfile.TemporaryDirectory(dir=home.prepare().temporary) as folder:
        identity = embedding_identity(spec.embedding)
        trained_on = write_bundle(
            Path(folder),
            generator=generator.path,
            support=context.support_images,
            kind=context.category.kind,
            sampling=spec.sampling,
            embedding=spec.embedding,
            embedding_identity=identity,
            prompt=ranking.best.prompt,
        )
        gains = [_gain(chosen, control) for control in _CONTROLS]
        card: dict[str, Any] = {
            "promoted_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "dataset": run.dataset,
            "category": run.category,
            "kind": context.category.kind,
            "baseline": run.baseline,
            "shots": run.shots,
            "keyword": keyword_of(context),
            "prompt": ranking.best.prompt,
            "candidates": [
                {"prompt": one.prompt, "score": one.image_similarity}
                for one in ranking.candidates[:_CANDIDATES]
                if one.image_similarity is not None
            ],
            "trained_on": trained_on,
            "gains": gains,
            "image_auroc": chosen.configuration.mean(METRICS[0]),
            "selected_on": run.select_on,
            "limits": _limits(chosen, gains, spec),
            "licence": licence,
            "study": chosen.study,
            "spec_hash": run.spec_hash,
            "run_id": run.run_id,
            "generator_digest": generator.key.digest,
            "support_digest": run.support_digest,
            "settings": {
                part: plain(getattr(spec, part)) for part in ("prompts", "generator", "sampling", "selection")
            },
            "embedding": {**plain(spec.embedding), "identity": identity},
            "precision": run.precision,
            "seconds": generator.seconds,
            "hardware": run.hardware,
            "versions": dict(run.versions),
        }
        words = (run.dataset, run.category, run.baseline, f"{run.shots}-shot" if run.shots != "full" else "full")
        reference = registry.publish(name or slug(*words), Path(folder), card)
    if latest:
        registry.point(reference, why="promoted")
    return reference


def _study_runs(log: EventLog) -> set[str]:
    return {str(event["run"]) for event in log.read() if event["event"] == "run_finished"}


def _runs(home: Home, run_ids: Iterable[str]) -> list[Run]:
    return read_runs(Ledger(home).rows(run_ids=sorted(run_ids)))


def _best(members: Sequence[Run], study: str) -> Chosen | None:
    candidates = [item for item in configurations(members) if item.arm == _ARM and item.runs]
    if not candidates:
        return None
    select_on = members[0].select_on
    picked, remark = choose(candidates, select_on)
    equals = [item for item in candidates if _value(item, select_on) == _value(picked, select_on) is not None]
    best = min(equals or [picked], key=lambda item: (_cost(item), item.config_hash))
    run = max(best.runs, key=lambda one: (one.proxy_score if one.proxy_score is not None else -math.inf, -one.seed))
    return Chosen(run, best, _partners(best, members), study, (remark,) if remark else ())


def _value(item: Configuration, select_on: str) -> float | None:
    return {"proxy": item.proxy, "test": item.mean(METRICS[0])}.get(select_on)


def _cost(item: Configuration) -> float:
    """Mean seconds of a run, what came from the cache counted as when it was made."""
    spent = [(run.seconds or 0.0) + (run.reused_seconds or 0.0) for run in item.runs]
    return math.fsum(spent) / len(spent)


def _partners(own: Configuration, members: Sequence[Run]) -> dict[str, Configuration]:
    found = {}
    for control in _CONTROLS:
        candidates = [item for item in configurations(members) if item.arm == control and item.runs]
        if candidates and (other := partner(own, candidates, members[0].select_on)):
            found[control] = other[0]
    return found


def _gain(chosen: Chosen, control: str) -> dict[str, Any]:
    other = chosen.partners.get(control)
    if other is None:
        return Gain(against=control, mean=None, low=None, high=None, seeds=0, over="nothing").model_dump()
    gap = difference(chosen.configuration.runs, other.runs, METRICS[0])
    return Gain(
        against=control, mean=gap.mean, low=gap.low, high=gap.high, seeds=len(gap.values), over=gap.resampled
    ).model_dump()


def _limits(chosen: Chosen, gains: Sequence[dict[str, Any]], spec: TrialSpec) -> list[str]:
    run = chosen.run
    limits = [
        f"Trained on {'all' if run.shots == 'full' else run.shots} good image(s) of {run.dataset}/{run.category}; "
        "for any other part it was not measured.",
        f"Gains were measured with {run.baseline} at {run.image_size or 'its'} px only.",
    ]
    for gain in gains:
        if gain["mean"] is None:
            limits.append(f"No gain against {gain['against']} was measured.")
        elif gain["low"] is None:
            limits.append(f"The gain against {gain['against']} has no interval: {gain['seeds']} seed(s).")
        elif gain["low"] <= 0.0:
            limits.append(
                f"A gain against {gain['against']} was not shown: its interval [{gain['low']:+.3f}, {gain['high']:+.3f}] holds 0."
            )
    if run.select_on == "test":
        limits.append("Chosen by its test score: its gains are too good by that choice.")
    if spec.data.dataset == "sample":
        limits.append("The sample set is drawn by code: it shows how things work, not what they are worth.")
    return limits


def _input(store: ArtifactStore, run: Run, stage: str) -> Artifact:
    """The artifact of a stage that led to the run's training set."""
    digests = run.stages.get(stage, {}).get("artifacts", ())
    if stage == "pool" and len(run.stages.get("generator", {}).get("artifacts", ())) > 1:
        raise SpecError(
            f"run {run.run_id[:8]} has generators of several rounds, of which the row does not say the kept one: "
            "promote a run with selection.rounds=1"
        )
    if not digests:
        raise StoreError(
            f"run {run.run_id[:8]} names no artifact of stage {stage}: run it again with its command ({run.command})"
        )
    return _opened(store, stage, str(digests[0]), run)


def _opened(store: ArtifactStore, stage: str, digest: str, run: Run) -> Artifact:
    found = store.open(stage, digest)
    if found is None:
        raise StoreError(
            f"the {stage} {digest[:8]} of run {run.run_id[:8]} is not in this home or its store (pruned?): "
            f"run it again ({run.command})"
        )
    return found
