"""Places are shared in turn, and none is lost when a waiter gives up."""

import asyncio

import pytest

from fewgood_serve.turns import Turns

pytestmark = pytest.mark.anyio


async def test_one_image_does_not_wait_behind_somebodys_many():
    turns, order = Turns(1), []

    async def use(owner, count):
        async def once():
            async with turns.turn(owner):
                order.append(owner)
                await asyncio.sleep(0)

        await asyncio.gather(*(once() for _ in range(count)))

    await asyncio.gather(use("many", 6), use("one", 1), use("two", 2))
    assert order[:4] == ["many", "many", "one", "two"]
    assert order.index("one") < 4
    assert sorted(order) == ["many"] * 6 + ["one"] + ["two"] * 2


async def test_no_more_hold_a_place_than_there_are():
    turns, held, most = Turns(3), 0, 0

    async def use(number):
        nonlocal held, most
        async with turns.turn(number % 4):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= 1

    await asyncio.gather(*(use(number) for number in range(40)))
    assert most == 3


async def test_a_waiter_that_gives_up_loses_no_place():
    turns = Turns(1)

    async def use(seconds):
        async with turns.turn("a"):
            await asyncio.sleep(seconds)

    for give_up in (0.0, 0.01, 0.05):
        tasks = [asyncio.create_task(use(0.02)) for _ in range(5)]
        await asyncio.sleep(give_up)
        for task in tasks[1:4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(use(0.0), 1)
    # Cancelled in the moment in which the place was given.
    first, second = asyncio.create_task(use(0.0)), asyncio.create_task(use(0.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.wait_for(use(0.0), 1)
