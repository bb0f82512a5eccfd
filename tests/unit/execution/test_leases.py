"""Leases without a cluster: who holds which, and when they end."""

import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewgood.execution.leases import LeaseTable, RayLeases


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def table(clock):
    return LeaseTable(clock)


def test_one_holder_at_a_time(table):
    assert table.acquire("work", "one", 10)
    assert not table.acquire("work", "two", 10)
    assert table.acquire("other", "two", 10)
    assert table.release("work", "one")
    assert table.acquire("work", "two", 10)


def test_a_lease_expires_at_its_end(table, clock):
    table.acquire("work", "one", 10)
    clock.now = 9.999
    assert not table.acquire("work", "two", 10)
    clock.now = 10
    assert table.holder("work") is None
    assert table.acquire("work", "two", 10)


def test_renewing_counts_from_now(table, clock):
    table.acquire("work", "one", 10)
    clock.now = 9
    assert table.acquire("work", "one", 10)
    clock.now = 18
    assert table.holder("work") == "one"
    clock.now = 19
    assert table.holder("work") is None


def test_an_old_holder_cannot_renew_what_another_holds(table, clock):
    table.acquire("work", "one", 10)
    clock.now = 11
    table.acquire("work", "two", 10)
    assert not table.acquire("work", "one", 10)
    assert table.holder("work") == "two"


def test_an_old_holder_takes_up_what_nobody_holds(table, clock):
    table.acquire("work", "one", 10)
    clock.now = 11
    assert table.acquire("work", "one", 10)
    assert table.holder("work") == "one"


def test_only_the_holder_releases(table, clock):
    table.acquire("work", "one", 10)
    assert not table.release("work", "two")
    assert not table.release("nothing", "one")
    assert table.holder("work") == "one"
    clock.now = 10
    assert not table.release("work", "one")


@given(
    st.lists(
        st.tuples(st.sampled_from(["acquire", "release", "wait"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 5)),
        max_size=40,
    )
)
def test_it_behaves_like_a_list_of_promises(steps):
    """Against a model that keeps every grant: a lease is given if and only if no other grant is running."""
    clock = Clock()
    table = LeaseTable(clock)
    grants = []  # [owner, end], the last one of an owner counts
    for what, owner, number in steps:
        running = {who: end for who, end in grants if end > clock.now}
        if what == "wait":
            clock.now += number
        elif what == "acquire":
            free = not set(running) - {owner}
            assert table.acquire("work", owner, number) == free
            if free:
                grants = [[owner, clock.now + number]]
        else:
            assert table.release("work", owner) == (owner in running)
            grants = [grant for grant in grants if grant[0] != owner]
        assert table.holder("work") == next((who for who, end in grants if end > clock.now), None)


def test_it_travels():
    leases = RayLeases(ttl=2.0, name="n", namespace="s")
    assert pickle.loads(pickle.dumps(leases)) == leases


def test_without_a_cluster_the_work_goes_on(caplog):
    done = []
    with caplog.at_level(logging.WARNING), RayLeases().hold("work"):
        done.append(1)
    assert done
    assert "goes on without one" in caplog.text
