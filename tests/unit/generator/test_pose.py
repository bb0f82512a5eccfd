"""The pose that the support images show: rings and turned parts may be turned, textures and aligned parts may not."""

import numpy as np
import pytest
from scipy import ndimage

from fewgood.generator.pose import any_pose

ROWS, COLUMNS = np.mgrid[:160, :160]


def coloured(grey):
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def ring(row=80, column=80):
    distance = np.hypot(ROWS - row, COLUMNS - column)
    return np.where((distance > 22) & (distance < 52), 190.0, 60.0)


def bolt():
    """A long part with a head at one end: it looks like itself at no other angle."""
    grey = np.full((160, 160), 70.0)
    grey[74:86, 30:130] = 200
    grey[58:102, 30:48] = 200
    return grey


def turned(grey, angle):
    return ndimage.rotate(grey, angle, reshape=False, order=1, mode="nearest")


def noise(seed):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((160, 160)), 3) * 300 + 128


@pytest.mark.parametrize("middle", [(80, 80), (74, 90)])
def test_a_ring_may_be_turned_wherever_it_lies(middle):
    assert any_pose([coloured(ring(*middle))])


def test_a_part_is_turned_once_two_images_show_that_it_turns():
    assert not any_pose([coloured(bolt())])
    assert not any_pose([coloured(bolt()), coloured(ndimage.shift(bolt(), (4, -5), mode="nearest"))])
    assert any_pose([coloured(bolt()), coloured(turned(bolt(), 100))])
    assert any_pose([coloured(bolt()), coloured(bolt()), coloured(turned(bolt(), 215))])


def test_textures_are_not_turned():
    assert not any_pose([coloured(noise(seed)) for seed in range(4)])
    stripes = 128 + 60 * np.sin(COLUMNS / 4.0)
    assert not any_pose([coloured(stripes)])


def test_light_from_the_middle_does_not_make_a_ring_of_a_texture():
    stripes = 128 + 60 * np.sin(COLUMNS / 4.0)
    fading = 1 - 0.6 * ((ROWS - 80) ** 2 + (COLUMNS - 80) ** 2) / 80**2 / 2
    assert not any_pose([coloured(stripes * fading)])


def test_a_single_hole_does_not_turn_a_plate():
    plate = np.where(np.hypot(ROWS - 85, COLUMNS - 80) < 8, 40.0, 180.0)
    assert not any_pose([coloured(plate + np.random.default_rng(0).integers(0, 3, plate.shape))])


def test_oblong_images_are_left_as_they_lie():
    rows, columns = np.mgrid[:160, :320]
    oval = np.where(((rows - 80) / 50) ** 2 + ((columns - 160) / 100) ** 2 < 1, 200.0, 60.0)
    assert not any_pose([coloured(oval)])
    nearly = np.pad(ring(), ((0, 0), (16, 16)), mode="edge")
    assert any_pose([coloured(nearly)])


def test_a_blank_image_shows_nothing():
    assert not any_pose([np.full((5, 9, 3), 77, np.uint8), np.full((200, 3, 3), 0, np.uint8)])
