"""The memory bank's picks: anomalib's own, and the same ones when most distances are ruled out beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.baselines.coreset import _plain_picks, _screened_picks, k_center_greedy
from fewgood.baselines.seeding import seeded

CPU = torch.device("cpu")


@pytest.mark.parametrize(("patches", "count"), [(300, 60), (5000, 100)], ids=["every distance", "screened"])
def test_the_picks_are_anomalib_s(capfd, patches, count):
    from fewgood.baselines.anomalib_parts import KCenterGreedy

    embedding = torch.randn(patches, 40, generator=torch.Generator().manual_seed(1))
    with seeded(3, CPU):
        expected = KCenterGreedy(embedding, sampling_ratio=count / patches).select_coreset_idxs()
    capfd.readouterr()
    with seeded(3, CPU):
        assert k_center_greedy(embedding, count).tolist() == expected
    assert capfd.readouterr().err == ""


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    patches=st.integers(2, 700),
    width=st.integers(1, 90),
    different=st.integers(1, 700),
    rank=st.integers(1, 8),
    grid=st.sampled_from([0.0, 0.5, 4.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    offset=st.sampled_from([0.0, 100.0]),
)
def test_screening_changes_no_pick(seed, patches, width, different, rank, grid, scale, offset):
    """Few directions or none that stand out, duplicates, exact ties on a grid, far from the origin, more picks than points."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(different, rank)) @ rng.normal(size=(rank, width)) + 0.1 * rng.normal(
        size=(different, width)
    )
    if grid:
        points = np.round(points * grid) / grid
    chosen = scale * (points[rng.integers(0, different, patches)] + offset)
    features = torch.from_numpy(chosen.astype(np.float32))
    first = torch.tensor([int(rng.integers(patches))])
    expected = _plain_picks(features, first, patches)
    assert torch.equal(_screened_picks(features, first, patches), expected)


def test_screening_leaves_few_distances_to_compute(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3000, 8, generator=generator) @ torch.randn(8, 60, generator=generator)
    computed = []
    real = torch.linalg.vector_norm
    monkeypatch.setattr(
        torch.linalg, "vector_norm", lambda rows, **options: computed.append(len(rows)) or real(rows, **options)
    )
    _screened_picks(features, torch.tensor([0]), 200)
    assert computed[0] == 3000
    assert sum(computed) < 0.2 * 3000 * 199


def test_features_that_are_not_finite_are_not_screened():
    embedding = torch.randn(5000, 40, generator=torch.Generator().manual_seed(1))
    embedding[7, 3] = torch.inf
    with seeded(3, CPU):
        assert len(k_center_greedy(embedding, 5)) == 5
