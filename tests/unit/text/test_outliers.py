from __future__ import annotations

import numpy as np
import pytest

from fewgood.text.candidates import Word
from fewgood.text.outliers import text_distances, text_outliers


def word(text, root, thing=True, relation="hyponym"):
    return Word(text=text, bare=text, synset=root, relation=relation, depth=1, root=root, thing=thing)


KEYWORD = word("nut", None, relation="keyword")


def test_distance_is_to_the_first_text():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    np.testing.assert_allclose(text_distances(vectors), [0, 1, 2, 0.4], atol=1e-6)


def test_minority_of_the_right_sense_survives_a_majority_of_persons():
    words = [KEYWORD, word("hex nut", "nut.n.03"), word("wing nut", "nut.n.03")]
    words += [word(f"person {index}", "crackpot.n.01", thing=False) for index in range(20)]
    distances = np.array([0, 0.16, 0.18, *np.linspace(0.35, 0.55, 20)])
    reasons = text_outliers(words, distances)
    assert reasons[:3] == [None, None, None]
    assert all(reason and "crackpot.n.01" in reason for reason in reasons[3:])


def test_distant_sense_of_a_thing_keeps_its_nearest_word():
    words = [KEYWORD] + [word(f"near {index}", "a") for index in range(4)] + [word("far 0", "b"), word("far 1", "b")]
    reasons = text_outliers(words, np.array([0, 0.1, 0.12, 0.14, 0.16, 0.6, 0.7]))
    assert reasons[5] is None
    assert reasons[6] is not None


def test_single_far_word_of_the_right_sense_is_dropped():
    words = [KEYWORD] + [word(f"near {index}", "a") for index in range(8)] + [word("odd", "a")]
    reasons = text_outliers(words, np.array([0, *np.linspace(0.1, 0.2, 8), 0.9]))
    assert [reason is not None for reason in reasons] == [False] * 9 + [True]


@pytest.mark.parametrize("distances", [[0.0], [0.0, 0.3], [0.0, 0.3, 0.3, 0.3]])
def test_few_or_equal_words_are_kept(distances):
    words = [KEYWORD] + [word(f"w{index}", "a") for index in range(len(distances) - 1)]
    assert text_outliers(words, np.array(distances)) == [None] * len(distances)


def test_templates_are_never_outliers():
    words = [word("zz", None, relation="template")] * 5
    assert text_outliers(words, np.array([0, 0, 0, 0, 1.0])) == [None] * 5
