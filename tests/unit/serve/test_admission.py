"""Rates per key, and bounds on what waits."""

import pytest

from fewgood_serve.admission import Admission
from fewgood_serve.monitoring import Monitor
from fewgood_serve.problems import Problem
from fewgood_serve.settings import Limits


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make(clock, **limits):
    return Admission(Limits(**limits), Monitor(), clock)


def test_a_key_that_asks_too_often_is_told_when_to_come_again(clock):
    admission = make(clock, requests_per_minute=6, images_per_minute=1000)
    for _ in range(6):
        admission.rate("a", images=1)
    with pytest.raises(Problem) as caught:
        admission.rate("a", images=1)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "10")
    admission.rate("b", images=1)
    clock.now = 10.0
    admission.rate("a", images=1)


def test_images_have_a_rate_of_their_own(clock):
    admission = make(clock, images_per_minute=60)
    admission.rate("a", images=50)
    with pytest.raises(Problem) as caught:
        admission.rate("a", images=20)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "10")
    with pytest.raises(Problem) as caught:
        admission.rate("a", images=61)
    assert caught.value.status == 422


def test_the_queue_is_bounded_and_places_come_back(clock):
    admission = make(clock, queued_images=10)
    first = admission.enter(6)
    with pytest.raises(Problem) as caught:
        admission.enter(5)
    assert (caught.value.status, "Retry-After" in caught.value.headers) == (503, True)
    first.done(2)
    second = admission.enter(5)
    first.leave()
    first.leave()
    second.done(100)
    assert admission.queued == 0


def test_requests_in_progress_are_bounded(clock):
    admission = make(clock, requests=1)
    with admission.request():
        with pytest.raises(Problem) as caught, admission.request():
            pass
        assert caught.value.status == 503
    with admission.request():
        pass
