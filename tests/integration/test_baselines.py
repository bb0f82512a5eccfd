"""Every registered detector on small real photographs, and PatchCore against anomalib's own Engine."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewgood.baselines import BASELINES, baseline_spec, detect
from fewgood.baselines.seeding import seeded
from fewgood.metrics import image_metrics

pytestmark = pytest.mark.integration

CPU = torch.device("cpu")
DATA = Path(os.environ.get("FEWGOOD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
QUICK = {
    "patchcore": {"image_size": 128},
    # At this size an image has 84 vectors: at the default's learning rate the flows know them by heart.
    "cflow": {"image_size": 64, "steps": 120, "coupling_blocks": 4, "lr": 2e-4},
    "reverse_distillation": {"image_size": 128, "steps": 60},
    "efficient_ad": {"width": 0.125, "teacher_out_channels": 32, "steps": 12, "teacher_steps": 15},
}
"""Options that make a baseline quick enough for a test; a newly registered one needs none if it is quick already."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def _crop(index, side=128, defect=False, places=(96, 102)):
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / "brick.png") as image:
        photograph = np.array(image.convert("RGB"))
    # By default the same part of the wall, a few pixels off: a product in front of a fixed camera.
    top, left = np.random.default_rng(index).integers(*places, 2)
    crop = photograph[top : top + side, left : left + side].copy()
    if defect:
        crop[40:80, 50:90] = (20, 220, 30)
    return crop


GOOD = [_crop(index) for index in range(2)]
TEST = [_crop(10), _crop(11), _crop(12, defect=True), _crop(13, defect=True)]


@pytest.mark.parametrize("name", BASELINES)
def test_one_image_is_enough_to_tell_a_gross_defect(name, home):
    spec = baseline_spec(name, QUICK.get(name, {}))
    steps = []
    first = detect(spec, GOOD[:1], TEST, seed=0, home=home, device=CPU, progress=lambda *event: steps.append(event))
    assert first.image_scores[2:].min() > first.image_scores[:2].max(), first.image_scores
    assert first.image_scores.dtype == np.float64
    size = spec.option_dict()["image_size"]
    assert first.anomaly_maps.shape == (4, size, size)
    assert first.anomaly_maps.dtype == np.float32
    assert {"backbone", "weights_digest", "image_size", "anomalib", "fit_seconds"} <= first.provenance.keys()
    assert {done for _, done, total, *_ in steps if done == total}, "progress reaches its end"
    again = detect(spec, GOOD[:1], TEST, seed=0, home=home, device=CPU)
    assert np.array_equal(first.image_scores, again.image_scores)
    assert np.array_equal(first.anomaly_maps, again.anomaly_maps)


@pytest.mark.parametrize("name", BASELINES)
def test_two_images_and_nothing_to_score(name, home):
    spec = baseline_spec(name, {**QUICK.get(name, {}), **({"steps": 2} if name != "patchcore" else {})})
    found = detect(spec, GOOD, [], seed=1, home=home, device=CPU)
    assert found.image_scores.shape == (0,)
    assert len(found.anomaly_maps) == 0


def test_scores_do_not_depend_on_the_batch_size(home):
    """anomalib's CFlow scales likelihoods per batch; here the batch size must not show."""
    found = [
        detect(
            baseline_spec("cflow", {**QUICK["cflow"], "steps": 20, "batch_size": size}),
            GOOD[:1], TEST, seed=0, home=home, device=CPU,
        ).image_scores
        for size in (1, 4)
    ]  # fmt: skip
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def _build_teacher(home):
    from fewgood.baselines.pdn_teacher import pdn_teacher
    from fewgood.progress import silent

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, digest = pdn_teacher(
            home, model_size="small", out_channels=16, width=0.0625, steps=3, device=CPU, progress=silent
        )
    return digest


def test_two_processes_may_build_the_teacher_at_once(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(_build_teacher, [tmp_path, tmp_path])
    assert first == second
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock")
    assert names == ["manifest.json", "teacher.safetensors"]


def _write_tree(root, train, test):
    for folder, images in (("train/good", train), ("test/good", test[0]), ("test/defect", test[1])):
        (root / folder).mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image).save(root / folder / f"{index:03}.png")


def _anomalib_scores(root, out, monkeypatch, *, ratio, size, seed):
    """Raw scores of anomalib's Engine by path; post-processor and evaluator off, since they clamp and threshold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from anomalib.models import Patchcore
        from anomalib.models.components import KCenterGreedy
        from torch.utils.data import DataLoader

        from fewgood.baselines.backbone import load_weights
        from fewgood.baselines.registry import LITE0

        class InOrder(Folder):
            """Training images by name: a shuffled memory bank would start the coreset elsewhere."""

            def train_dataloader(self):
                self.train_data.samples = self.train_data.samples.sort_values("image_path", ignore_index=True)
                return DataLoader(self.train_data, batch_size=16, collate_fn=self.train_data.collate_fn)

        original = KCenterGreedy.select_coreset_idxs

        def seeded_picks(self):
            with seeded(seed, CPU):
                return original(self)

        monkeypatch.setattr(KCenterGreedy, "select_coreset_idxs", seeded_picks)
        model = Patchcore(
            backbone=LITE0, layers=("blocks.2", "blocks.4"), pre_trained=False, coreset_sampling_ratio=ratio,
            pre_processor=Patchcore.configure_pre_processor((size, size)),
            post_processor=False, evaluator=False, visualizer=False,
        )  # fmt: skip
        load_weights(model.model.feature_extractor, LITE0)
        # val_split_mode="none" makes Engine.fit fail in this version, and "synthetic" would take support images.
        data = InOrder(
            name="tree", root=root, normal_dir="train/good", abnormal_dir="test/defect", normal_test_dir="test/good",
            val_split_mode="same_as_test", test_split_mode="from_dir", num_workers=0, eval_batch_size=16,
        )  # fmt: skip
        engine = Engine(default_root_dir=out, accelerator="cpu", logger=False, max_epochs=1)
        engine.fit(model=model, datamodule=data)
        batches = engine.predict(model=model, dataloaders=data.test_dataloader())
    return {
        Path(path).relative_to(root).as_posix(): float(score)
        for batch in batches
        for path, score in zip(batch.image_path, batch.pred_score, strict=True)
    }


def _hazelnut():
    folder = DATA / "hazelnut_toy" / "hazelnut"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set FEWGOOD_TEST_DATA")

    def read(path, count):
        return [np.array(Image.open(file).convert("RGB")) for file in sorted((folder / path).iterdir())[:count]]

    return read("train/good", 2), (read("test/good", 5), read("test/colour", 5))


def _bricks():
    # Different parts of the wall: distances between almost equal patches would be rounding errors.
    crops = [_crop(index, places=(0, 384)) for index in range(15)]
    for index, crop in enumerate(crops[9:]):
        crop[50:70, 50:70] = (crop[50:70, 50:70].astype(int) + 25 + 5 * index).clip(0, 255)
    return crops[:3], (crops[3:9], crops[9:])


@pytest.mark.parametrize("images", [_bricks, _hazelnut], ids=["bricks", "hazelnut"])
@pytest.mark.parametrize("ratio", [1.0, 0.1])
def test_patchcore_equals_anomalib_s_engine(tmp_path, monkeypatch, home, images, ratio):
    train, test = images()
    root = tmp_path / "tree"
    _write_tree(root, train, test)
    expected = _anomalib_scores(root, tmp_path / "out", monkeypatch, ratio=ratio, size=128, seed=3)
    spec = baseline_spec("patchcore", {"image_size": 128, "coreset_sampling_ratio": ratio})
    found = detect(spec, train, [*test[0], *test[1]], seed=3, home=home, device=CPU).image_scores
    names = [f"test/good/{i:03}.png" for i in range(len(test[0]))] + [
        f"test/defect/{i:03}.png" for i in range(len(test[1]))
    ]
    theirs = np.array([expected[name] for name in names])
    assert found == pytest.approx(theirs, rel=1e-4)
    defect = np.array(["defect" in name for name in names])
    assert image_metrics(defect, found)["image_auroc"] == pytest.approx(
        image_metrics(defect, theirs)["image_auroc"], abs=1e-4
    )


def test_a_study_s_trials_send_no_image_through_the_backbone_twice(tmp_path, shared_home, monkeypatch):
    """Arms, seeds and options of one cell, each with its proxy; then the last where nothing is kept."""
    from fewgood.baselines.anomalib_parts import TimmFeatureExtractor
    from fewgood.data import load_category
    from fewgood.pipeline import run
    from fewgood.specs import DataSpec, SelectionSpec, TrialSpec
    from fewgood.store import Home

    category = load_category("sample", "brick", root=None, home=shared_home)
    seen = []
    real = TimmFeatureExtractor.forward
    monkeypatch.setattr(
        TimmFeatureExtractor, "forward", lambda self, inputs: seen.append(len(inputs)) or real(self, inputs)
    )

    def trial(home, *, arm="augment", seed=0, **options):
        spec = TrialSpec(
            data=DataSpec(dataset="sample", category="brick"), arm=arm, seed=seed, selection=SelectionSpec(count=3),
            baseline=baseline_spec("patchcore", {"image_size": 64, **options}),
        )  # fmt: skip
        seen.clear()
        # The latency is that of images nobody has seen: four more.
        result = run(spec, Home(home), category=category, proxy=True)
        return sum(seen) - 4, result.metrics | {"proxy": result.row["proxy_score"]}

    home = tmp_path / "study"
    views = 64
    calls, _ = trial(home)
    assert calls == len(category.test) + views + 1 + 3
    calls, _ = trial(home, coreset_size=100)
    assert calls == 3
    calls, _ = trial(home, arm="none")
    assert calls == 0
    calls, _ = trial(home, arm="full")
    assert calls == len(category.train)
    calls, kept = trial(home, arm="full", seed=1)
    assert calls == views
    assert trial(tmp_path / "alone", arm="full", seed=1)[1] == pytest.approx(kept, abs=1e-6)
