"""The arm `noise`: what the generator draws on, plus unlearned noise that has the power spectrum of its residuals.

It asks whether the *learned* variance is worth more than any variance of the same strength and the same spatial scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewgood.arms.base import AddedImage, ArmInputs, Candidate, TrainingSet
from fewgood.seeds import stream

__all__ = ["amplitude_spectrum", "noise", "shaped_noise"]

_GRID = 64
"""Residual spectra are averaged on a grid of this many frequencies a side, so that images of any size share one."""


def noise(inputs: ArmInputs) -> TrainingSet:
    """The first m candidates with noise of the pool's mean residual power spectrum in place of their own residuals.

    Pose and light are the candidates' own, so that what remains of `generate` against it is what the network learned.
    """
    spectrum = amplitude_spectrum(inputs.candidates)
    added = []
    for candidate in inputs.candidates[: inputs.count]:
        assert candidate.base is not None, "the arm noise is given the bases"
        field = shaped_noise(spectrum, candidate.base.shape[:2], stream(inputs.seed, "noise", candidate.index))
        noisy = np.clip(np.rint(candidate.base + field), 0, 255).astype(np.uint8)
        origin = {"arm": "noise", "source": inputs.support_names[candidate.source], "index": candidate.index}
        added.append(AddedImage(noisy, {**origin, "rms": round(float(np.sqrt(np.mean(field**2))), 3)}))
    return TrainingSet(inputs.support, added)


def amplitude_spectrum(candidates: Sequence[Candidate]) -> np.ndarray:
    """Root mean power per frequency of the residuals image - base, and how the colour channels vary together.

    Args:
        candidates: Pool candidates; at least one.

    Returns:
        float64 (64, 64, 3, 3): at each frequency (fftfreq order) a square root A of the 3 x 3 cross-power of the
        channels, in gray levels of 255 per pixel, so that A times unit white noise has the residuals' power and colour.
    """
    power = np.zeros((_GRID, _GRID, 3, 3))
    for candidate in candidates:
        assert candidate.base is not None, "the arm noise is given the bases"
        residual = candidate.image.astype(np.float64) - candidate.base
        height, width = residual.shape[:2]
        transform = np.fft.fft2(residual, axes=(0, 1)) / np.sqrt(height * width)
        cross = np.einsum("hwc,hwd->hwcd", transform, transform.conj()).real
        rows, columns = _nearest(height, _GRID), _nearest(width, _GRID)
        binned = np.zeros((_GRID, _GRID, 3, 3))
        hits = np.zeros((_GRID, _GRID, 1, 1))
        np.add.at(binned, (rows[:, None], columns[None, :]), cross)
        np.add.at(hits, (rows[:, None], columns[None, :]), 1.0)
        fill = cross.mean(axis=(0, 1))  # frequencies that an image below 64 pixels does not have
        power += np.where(hits > 0, binned / np.maximum(hits, 1), fill)
    power /= max(len(candidates), 1)
    values, vectors = np.linalg.eigh(power)
    return np.asarray(np.einsum("...ij,...j,...kj->...ik", vectors, np.sqrt(np.maximum(values, 0)), vectors))


def shaped_noise(spectrum: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random field with the given spectrum and random phases.

    Args:
        spectrum: From `amplitude_spectrum`, (64, 64, 3, 3).
        size: Height and width, pixels.
        rng: The stream that the phases come from.

    Returns:
        float64 (H, W, 3), gray levels, mean power equal to the spectrum's in expectation.
    """
    height, width = size
    white = np.fft.fft2(rng.standard_normal((height, width, 3)), axes=(0, 1))
    shape = spectrum[_nearest(height, _GRID)[:, None], _nearest(width, _GRID)[None, :]]
    # White noise is real, so its transform is Hermitian; a symmetric spectrum keeps it so.
    return np.asarray(np.fft.ifft2(np.einsum("hwcd,hwd->hwc", shape, white), axes=(0, 1)).real)


def _nearest(length: int, grid: int) -> np.ndarray:
    """For each FFT frequency of `length` samples, the index of the nearest frequency of `grid` samples."""
    return np.asarray(np.rint(np.fft.fftfreq(length) * grid).astype(int) % grid)
