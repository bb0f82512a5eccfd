"""Support sets: which of a category's good images a trial may learn from, fixed by the shots and the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewgood.data.hashing import content_digest, sha256_file
from fewgood.data.items import Category, Item, SupportSet
from fewgood.errors import DataError, SpecError
from fewgood.specs import Shots

__all__ = ["choose_indices", "select_support"]


def select_support(category: Category, shots: Shots, seed: int) -> SupportSet:
    """The support set of a seed: a block of the sorted training images.

    Ours (arXiv 2403.06247 does not say how its shots are chosen): seed s takes images s*k to (s+1)*k - 1, so the support
    sets of different seeds share no image as long as there are enough; after that a seed draws k of all images without
    replacement, and the note says so.

    Args:
        category: The category.
        shots: k, 1 or more, or "full" for all training images.
        seed: s, 0 or more.

    Raises:
        SpecError: When shots or seed is not a number that can be meant.
        DataError: When the category has fewer training images than shots.
    """
    indices, note = choose_indices(len(category.train), shots, seed, where=f"{category.dataset}/{category.name}")
    items = tuple(category.train[index] for index in indices)
    return SupportSet(items=items, digest=_digest(items), note=note)


def choose_indices(count: int, shots: Shots, seed: int, *, where: str) -> tuple[list[int], str | None]:
    """Sorted positions of the support set among `count` training images, and the note of `SupportSet`."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecError(f"--seed is {seed!r}, allowed is a whole number from 0")
    if shots == "full":
        return list(range(count)), None
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 1:
        raise SpecError(
            f'--shots is {shots!r}, allowed is a whole number from 1 to {count}, or "full" for all good images'
        )
    if shots > count:
        raise DataError(
            f'--shots is {shots} but {where} has {count} good training images: use --shots {count} or fewer, or "full"'
        )
    blocks = count // shots
    if seed < blocks:
        return list(range(seed * shots, (seed + 1) * shots)), None
    if shots == count:
        return list(range(count)), f"every seed has the same support set: {where} has just {count} good training images"
    stream = np.random.default_rng(np.random.SeedSequence([seed, shots, count]))
    chosen = sorted(int(index) for index in stream.choice(count, size=shots, replace=False))
    return chosen, (
        f"seed {seed} has no block of its own: {count} good training images hold {blocks} blocks of {shots}; it drew "
        f"{shots} of all at random, so its support set overlaps those of other seeds"
    )


def _digest(items: Sequence[Item]) -> str:
    return content_digest([(item.name, sha256_file(item.path)) for item in items])
