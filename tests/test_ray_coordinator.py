"""The coordinator of Ray's actors: an exchange reaches all members or none, and a loss is recovered from by all."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from psgd.group.ray.coordinator import Coordinator, Gathered, News

DONE = 10.0  # seconds; all here takes milliseconds


def together(*calls: Awaitable[Any]) -> list[Any]:
    """What calls return that wait for each other."""

    async def all_of_them() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*calls), DONE)

    return asyncio.run(all_of_them())


def gathered(*rows: str, members: tuple[int, ...] = (0, 1, 2)) -> Gathered:
    return Gathered(dict(zip(members, rows, strict=True)), None, 0)


LOST = Gathered(None, None, 0)
OUT = Gathered(None, (5, ""), 0)


def test_everyone_receives_the_rows_in_order_of_processes():
    coordinator = Coordinator(3, DONE)
    for turn in "ab":
        found = together(*(coordinator.all_gather(p, f"{turn}{p}") for p in (2, 0, 1)))
        assert found == [gathered(f"{turn}0", f"{turn}1", f"{turn}2")] * 3
        assert list(found[0].rows) == [0, 1, 2]


def test_a_loss_fails_all_exchanges_until_all_have_recovered():
    coordinator = Coordinator(3, DONE)
    assert together(coordinator.all_gather(2, "before"), coordinator.lose(1)) == [LOST, None]
    assert together(coordinator.all_gather(0, "before")) == [LOST]

    async def recover_one_after_another() -> list[Any]:
        first = asyncio.create_task(coordinator.recover(0))
        await asyncio.sleep(0)
        assert not first.done()
        assert await coordinator.all_gather(2, "has not recovered yet") == LOST
        return [await coordinator.recover(2), await first]

    assert asyncio.run(recover_one_after_another()) == [gathered(None, None, members=(0, 2))] * 2
    both = together(coordinator.all_gather(0, "a"), coordinator.all_gather(2, "b"))
    assert both == [gathered("a", "b", members=(0, 2))] * 2, "nothing of what was sent before the loss"


def test_the_rows_of_one_lost_after_all_were_there_reach_the_others():
    coordinator = Coordinator(2, DONE)

    async def lost_at_once() -> list[Any]:
        waiting = asyncio.create_task(coordinator.all_gather(0, "a"))
        await asyncio.sleep(0)
        dead = asyncio.create_task(coordinator.all_gather(1, "b"))
        await asyncio.sleep(0)
        await coordinator.lose(1)
        await dead
        return [await waiting, await coordinator.all_gather(0, "c")]

    assert asyncio.run(lost_at_once()) == [gathered("a", "b", members=(0, 1)), LOST]


def test_one_that_knows_of_a_loss_first_fails_the_exchange_of_the_others():
    """The others recover with it; the lost one is not waited for once the driver has told of it."""
    coordinator = Coordinator(3, DONE)
    assert together(
        coordinator.all_gather(0, "a"), coordinator.recover(2), coordinator.lose(1), coordinator.recover(0)
    )[::3] == [LOST, gathered(None, None, members=(0, 2))]


def test_another_loss_ends_a_recovery_among_those_left():
    coordinator = Coordinator(3, DONE)
    calls = coordinator.lose(0), coordinator.recover(1), coordinator.lose(2)
    assert together(*calls)[1] == gathered(None, members=(1,))
    assert together(coordinator.all_gather(1, "alone")) == [gathered("alone", members=(1,))]


def test_without_a_loss_all_recover_from_a_message_that_was():
    coordinator = Coordinator(2, DONE)
    assert together(coordinator.recover(0), coordinator.recover(1)) == [gathered(None, None, members=(0, 1))] * 2


def test_one_that_was_taken_for_lost_has_to_leave():
    coordinator = Coordinator(2, DONE)
    together(coordinator.lose(1))
    assert together(coordinator.all_gather(1, "a"), coordinator.recover(1)) == [OUT, OUT]
    together(coordinator.end(5, "", process=1))  # as it leaves
    assert together(coordinator.recover(0)) == [gathered(None, members=(0,))], "the other goes on"
    together(coordinator.end(5, "", process=0))
    assert together(coordinator.all_gather(0, "a")) == [OUT]


def test_a_missing_process_is_named_after_the_patience():
    for wait in (lambda c: c.all_gather(1, "a"), lambda c: c.recover(1)):
        coordinator = Coordinator(3, 0.05)
        (found,) = together(wait(coordinator))
        assert found.early_end == (5, "process 0, 2 did not come to an exchange within 0.05 s")
        assert together(coordinator.all_gather(0, "too late")) == [found]


def test_rows_that_come_at_the_last_moment_reach_all():
    """The coordinator's process may be suspended until a wait's time is over, and then find the last row."""
    coordinator = Coordinator(2, 0.05)

    async def late() -> Any:
        await asyncio.sleep(0)
        time.sleep(0.1)
        await asyncio.sleep(0)
        return await coordinator.all_gather(1, "b")

    assert together(coordinator.all_gather(0, "a"), late()) == [gathered("a", "b", members=(0, 1))] * 2


def test_the_driver_answers_the_question_that_it_was_asked():
    """Also when the process that asked before was lost, and its question is answered too late."""
    coordinator = Coordinator(2, DONE)

    async def ask_twice() -> list[Any]:
        lost = asyncio.create_task(coordinator.ask("a"))
        first = (await coordinator.news()).question
        next_one = asyncio.create_task(coordinator.ask("b"))
        second = (await coordinator.news()).question
        await coordinator.answer(first.number, "to a")
        await asyncio.sleep(0)
        assert not next_one.done()
        await coordinator.answer(second.number, "to b")
        return [first.content, await lost, second.content, await next_one]

    assert together(ask_twice()) == [["a", "to a", "b", "to b"]]
    assert together(coordinator.close(), coordinator.news())[1] == News("", None, None), "it was asked once"


def test_an_end_ends_all_waits():
    coordinator = Coordinator(3, DONE)
    found = together(coordinator.all_gather(0, "a"), coordinator.end(4, "why"), coordinator.end(3, "later"))
    assert found[0] == Gathered(None, (4, "why"), 0)
    coordinator = Coordinator(3, DONE)
    found = together(coordinator.recover(0), coordinator.end(4, ""), coordinator.recover(1))
    assert found[::2] == [Gathered(None, (4, ""), 0)] * 2
