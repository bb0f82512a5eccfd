"""Screens ideas for better training images: recipes make them, one detector measures them, seed by seed beside `augment`.

    python benchmarks/screen.py --categories brick,washer --seeds 0,1,2 --recipes none,augment,views:light=0.4
    python benchmarks/screen.py --root $FEWGOOD_TEST_DATA/magnetic_tile --categories tile --recipes augment,drawn:scale=1

A recipe is `none`, `augment` (the control), `views` with the ranges of `Ranges`, `drawn` with settings of `SamplingSpec` (a
generator of `--steps` is trained once for each support set; the first images are taken, none is selected), or `real` (other
good images of the category: what real variety is worth). What looks good here goes through `fewgood compare`. Choose
defaults on sample and magnetic_tile only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewgood.baselines import detect
from fewgood.data import read_image
from fewgood.data.augmentation import Ranges, augment
from fewgood.generator import load_generator, sample_candidates
from fewgood.metrics import image_metrics
from fewgood.pipeline import open_context
from fewgood.seeds import stream_seed
from fewgood.stages import detector
from fewgood.stages.context import Context, LazyImages
from fewgood.stages.features import StoredFeatures
from fewgood.stages.generator import generator_node
from fewgood.stages.pool import Bases, noise_seed
from fewgood.store import Home
from fewgood.trials import make_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder above the categories; without it, the sample")
    parser.add_argument("--categories", default="brick,grass,gravel,washer")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--recipes", default="none,augment,drawn")
    parser.add_argument("--count", type=int, default=16, help="images added")
    parser.add_argument("--steps", type=int, default=100, help="of the generator's training")
    parser.add_argument("--baseline", default="patchcore")
    parser.add_argument("--home", type=Path)
    flags = parser.parse_args()
    home = Home.locate(flags.home).prepare()
    found: dict[str, dict[tuple[str, int], float]] = {}
    for category in flags.categories.split(","):
        for seed in map(int, flags.seeds.split(",")):
            spec = make_spec(
                dataset="folder" if flags.root else "sample",
                root=flags.root,
                category=category,
                baseline=flags.baseline,
                shots=flags.shots,
                seed=seed,
                settings={"generator.steps": flags.steps},
            )
            context = open_context(spec, home)
            for recipe in _recipes(flags.recipes):
                value = _measure(context, _images(context, recipe, flags.count))
                found.setdefault(recipe, {})[(category, seed)] = value
                print(f"{category} {seed} {recipe}: {value:.4f}", flush=True)
    _summary(found)


def _recipes(text: str) -> list[str]:
    """The recipes of a list in which settings of one recipe are separated by commas, too."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part and ":" not in part:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _images(context: Context, recipe: str, count: int) -> Sequence[np.ndarray]:
    """What a recipe adds to the support images."""
    name, _, rest = recipe.partition(":")
    settings = dict(pair.split("=") for pair in rest.split(",") if pair)
    support, seed, kind = context.support_images, context.spec.seed, context.category.kind
    if name == "none":
        return []
    if name == "real":
        own = {item.name for item in context.support.items}
        return [read_image(item.path) for item in context.category.train if item.name not in own][:count]
    if name in ("augment", "views"):
        ranges = Ranges(**{key: float(value) for key, value in settings.items()})
        return [augment(support[i % len(support)], seed, i, kind, ranges=ranges) for i in range(count)]
    if name != "drawn":
        raise SystemExit(f"no recipe {name!r}: none, augment, views, drawn, real")
    node = generator_node(context)
    sampling = make_spec(
        dataset=context.spec.data.dataset,
        category=context.spec.data.category,
        root=context.spec.data.root,
        settings={"sampling.latent_samples": 1} | {f"sampling.{key}": value for key, value in settings.items()},
    ).sampling
    bases = Bases.of(support, sampling, kind=kind)
    views = [bases.base(seed, index) for index in range(count)]
    generator = load_generator(context.ensure(node).path, device=context.device)
    return sample_candidates(generator, views, list(range(count)), sampling, seed=noise_seed(seed)).images


def _measure(context: Context, added: Sequence[np.ndarray]) -> float:
    """Image AUROC of a detector fitted on the support images and what was added."""
    items = context.category.test
    detection = detect(
        context.spec.baseline,
        [*context.support_images, *added],
        LazyImages(items),
        seed=stream_seed(context.spec.seed, detector.STAGE),
        home=context.store.home.root,
        device=context.device,
        cache=StoredFeatures(context),
        test_digest=context.category.fingerprint,
        good_images=len(context.support_images),
    )
    return image_metrics(np.array([item.is_defect for item in items]), detection.image_scores)["image_auroc"]


def _summary(found: dict[str, dict[tuple[str, int], float]]) -> None:
    control = found.get("augment", {})
    print("\nrecipe: mean image AUROC, difference from augment, by category")
    for recipe, values in found.items():
        gaps = {key: value - control[key] for key, value in values.items() if key in control}
        categories = sorted({category for category, _ in values})
        shown = [
            f"{category} {np.mean([value for key, value in gaps.items() if key[0] == category]):+.3f}"
            for category in categories
            if gaps
        ]
        gap = f"{np.mean(list(gaps.values())):+.4f}" if gaps else "-"
        print(f"{recipe}: {np.mean(list(values.values())):.4f}, {gap}, {', '.join(shown)}")


if __name__ == "__main__":
    main()
