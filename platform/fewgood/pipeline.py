"""TrialSpec -> TrialResult: the stages in order, each through the artifact store, and one row in the ledger.

    support set -> prompts -> generator -> pool -> scores -> training set (arm) -> detector -> metrics

A stage whose artifact is there is not run again, whichever trial made it.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fewgood.data import Category, load_category, select_support
from fewgood.errors import FewgoodError, StoreError
from fewgood.hardware import describe_hardware, versions
from fewgood.progress import Progress, silent
from fewgood.specs import TrialSpec, canonical_json, digest
from fewgood.stages import (
    detector,
    embedding_model,
    embeddings,
    features,
    feedback,
    generator,
    pool,
    prompts,
    rounds,
    scores,
)
from fewgood.stages import training_set as training_set_stage
from fewgood.stages.context import Context, GeneratorTraining
from fewgood.stages.detector import detector_node, proxy_node, read_proxy, read_result
from fewgood.stages.rounds import final_training_set
from fewgood.stages.training_set import read_origins
from fewgood.store import Artifact, ArtifactStore, Home, Leases, Ledger
from fewgood.store.home import no_space

__all__ = ["STAGE_VERSIONS", "TrialResult", "make_training_set", "open_context", "run", "run_id"]

STAGE_VERSIONS: Mapping[str, int] = {
    module.STAGE: module.VERSION
    for module in (
        embedding_model,
        prompts,
        generator,
        pool,
        embeddings,
        scores,
        feedback,
        rounds,
        training_set_stage,
        features,
        detector,
    )
} | {detector.PROXY: detector.PROXY_VERSION}
"""The version of each stage's code."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialResult:
    """What one run yielded."""

    spec: TrialSpec
    run_id: str
    row: Mapping[str, Any]
    """The ledger's row."""

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that exist for this data; pixel metrics are absent without masks."""
        names = ("image_auroc", "image_aupr", "image_f1_max", "pixel_auroc", "pixel_aupro")
        return {name: self.row[name] for name in names if self.row[name] is not None}

    def to_json(self) -> dict[str, Any]:
        """The document that `fewgood evaluate --json` prints."""
        groups = self.row["group_metrics_json"]
        return {
            "status": self.row["status"],
            "spec": self.spec.to_json(),
            "spec_hash": self.spec.spec_hash,
            "run_id": self.run_id,
            "metrics": self.metrics,
            "group_metrics": json.loads(groups) if groups else {},
            "proxy_score": self.row["proxy_score"],
            "support": self.row["support_files"],
            "support_note": self.row["support_note"],
            "support_digest": self.row["support_digest"],
            "data_fingerprint": self.row["data_fingerprint"],
            "prompt": self.row["prompt"],
            "added": self.row["added"],
            "stages": json.loads(self.row["stages_json"]),
            "seconds": self.row["seconds"],
            "hardware": self.row["hardware"],
            "versions": json.loads(self.row["versions_json"]),
            "started_utc": self.row["started_utc"],
        }


def run_id(spec: TrialSpec, fingerprint: str) -> str:
    """The name of a run's row: what it depends on, the data's content and the stages' versions included."""
    return digest({"spec": spec.relevant(), "data": fingerprint, "stages": dict(STAGE_VERSIONS)})


def open_context(
    spec: TrialSpec,
    home: Home,
    *,
    category: Category | None = None,
    progress: Progress = silent,
    leases: Leases | None = None,
    training: GeneratorTraining | None = None,
) -> Context:
    """The run's data and store, with the support set chosen and nothing computed yet.

    Raises:
        DataError: if the root, the category or the number of shots cannot be used.
    """
    if category is None:
        root = None if spec.data.root is None else Path(spec.data.root)
        category = load_category(spec.data.dataset, spec.data.category, root=root, home=home.root)
    support = select_support(category, spec.data.shots, spec.seed)
    return Context(
        spec,
        category=category,
        support=support,
        store=ArtifactStore(home, leases=leases),
        progress=progress,
        training=training,
    )


def make_training_set(context: Context) -> Artifact:
    """The artifact with the arm's images: everything up to the detector."""
    return context.ensure(final_training_set(context))


def run(
    spec: TrialSpec,
    home: Home,
    *,
    category: Category | None = None,
    progress: Progress = silent,
    study: str | None = None,
    select_on: str = "fixed",
    proxy: bool = False,
    leases: Leases | None = None,
    training: GeneratorTraining | None = None,
) -> TrialResult:
    """Run one spec: every stage that is not there yet, and its row in the ledger if it has none.

    Args:
        spec: What to run.
        home: Where everything is kept.
        category: The category if the caller has loaded it already.
        progress: Told about the stages' progress.
        study: The study that asks, for the row.
        select_on: How the configuration was chosen: `fixed` by hand, `proxy` or `test` by a search.
        proxy: Also measure the proxy score, which reads support images alone.
        leases: Who may make an artifact, where several hosts might; None on one machine, where a file lock is enough.
        training: How generators are trained; None trains in this process.

    Raises:
        FewgoodError: what a user can put right. A run that fails once its data are known leaves a row with its error.
    """
    started_utc = datetime.now(UTC).isoformat(timespec="seconds")
    wall, cpu = time.perf_counter(), time.process_time()
    context = open_context(spec, home, category=category, progress=progress, leases=leases, training=training)
    name = run_id(spec, context.category.fingerprint)
    ledger = Ledger(home)
    row = _row_start(context, name, study=study, select_on=select_on, started_utc=started_utc)
    try:
        row |= _measure(context, proxy=proxy)
    except Exception as error:
        row |= {"status": "failed", "error": _one_line(error)}
        _finish(row, context, wall, cpu)
        try:
            ledger.append(row)
        except StoreError:
            logger.warning("the failed run %s could not be entered in the ledger", name)
        if isinstance(error, FewgoodError):
            raise
        if no_space(error):
            raise StoreError(f"no space left under {home.root}: free some space, or give another --home") from error
        raise
    _finish(row, context, wall, cpu)
    known = ledger.find(name)
    if known is None or (row["proxy_score"] is not None and known["proxy_score"] is None):
        ledger.append(row)
    return TrialResult(spec, name, row)


def _measure(context: Context, *, proxy: bool) -> dict[str, Any]:
    training_node = final_training_set(context)
    node = detector_node(context, training_node)
    result = read_result(context.ensure(node))
    context.record_reused(node)
    proxy_score = read_proxy(context.ensure(proxy_node(context, training_node))) if proxy else None
    origins = read_origins(context.ensure(training_node))
    provenance = result["provenance"]
    return {
        **result["metrics"],
        "status": "ok",
        "group_metrics_json": canonical_json(result["group_metrics"]) if result["group_metrics"] else None,
        "test_names": result["names"],
        "test_labels": result["labels"],
        "test_scores": result["scores"],
        "backbone": provenance.get("backbone"),
        "backbone_digest": provenance.get("weights_digest"),
        "image_size": provenance.get("image_size"),
        "latency_ms": provenance.get("latency_ms"),
        "prompt": origins["prompt"],
        "added": len(origins["added"]),
        "proxy_score": proxy_score,
    }


def _row_start(context: Context, name: str, *, study: str | None, select_on: str, started_utc: str) -> dict[str, Any]:
    spec, category, support = context.spec, context.category, context.support
    return dict.fromkeys(
        (
            "error",
            "image_auroc",
            "image_aupr",
            "image_f1_max",
            "pixel_auroc",
            "pixel_aupro",
            "proxy_score",
            "prompt",
            "group_metrics_json",
            "added",
            "latency_ms",
        )
    ) | {
        "run_id": name,
        "spec_hash": spec.spec_hash,
        "config_hash": spec.config_hash,
        "study": study,
        "select_on": select_on,
        "dataset": category.dataset,
        "category": category.name,
        "kind": category.kind,
        "keyword": spec.prompts.keyword or category.keyword,
        "baseline": spec.baseline.name,
        "shots": str(spec.data.shots),
        "arm": spec.arm,
        "seed": spec.seed,
        "spec_json": canonical_json(spec.to_json()),
        "data_fingerprint": category.fingerprint,
        "support_files": [item.name for item in support.items],
        "support_digest": support.digest,
        "support_note": support.note,
        "precision": spec.precision,
        "started_utc": started_utc,
        "command": repeat_command(spec),
    }


def _finish(row: dict[str, Any], context: Context, wall: float, cpu: float) -> None:
    seconds = round(time.perf_counter() - wall, 3)
    row |= {
        "stages_json": canonical_json(context.stages),
        "seconds": seconds,
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "gpu_seconds": seconds if context.device.type == "cuda" else 0.0,
        "reused_seconds": round(sum(entry["reused_seconds"] for entry in context.stages.values()), 3),
        "hardware": describe_hardware(),
        "versions_json": canonical_json(versions()),
    }


def repeat_command(spec: TrialSpec) -> str:
    """The command line that repeats a run, with the settings that differ from the defaults."""
    from fewgood.trials import settings_of

    words = ["fewgood", "evaluate", "--dataset", spec.data.dataset]
    if spec.data.root is not None:
        words += ["--root", spec.data.root]
    words += ["--category", spec.data.category, "--baseline", spec.baseline.name, "--shots", str(spec.data.shots)]
    words += ["--arm", spec.arm, "--seed", str(spec.seed)]
    for key, value in settings_of(spec).items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, FewgoodError):
        text = f"{type(error).__name__}: {text}"
    return text.replace(os.linesep, " ")[:2000]
