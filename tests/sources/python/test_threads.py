"""Threads for calls that nobody can stop: few, but never too few for the quick ones."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from metricsmith.sources.python.threads import Interrupted, Threads
from metricsmith.testing.programs import eventually

WAIT_S = 60.0


@pytest.fixture
def threads():
    made = Threads("test", quick=2)
    yield made
    made.close()


async def test_quick_calls_share_few_threads(threads):
    results = [threads.submit(lambda n=n: (n, threading.get_ident())) for n in range(50)]
    found = [await each for each in results]
    assert [number for number, _ in found] == list(range(50))
    assert len({thread for _, thread in found}) <= 2 and len(threads) <= 2


async def test_calls_that_hang_hold_up_no_other_and_their_threads_go_with_them(threads):
    release = threading.Event()
    hung = [threads.submit(lambda: release.wait(60)) for _ in range(20)]
    assert await asyncio.wait_for(threads.submit(lambda: 42), WAIT_S) == 42
    assert not any(each.done() for each in hung) and len(threads) >= 21
    release.set()
    assert all(await asyncio.gather(*hung))
    await asyncio.to_thread(eventually, lambda: len(threads) <= 2)
    assert await threads.submit(lambda: 42) == 42


@pytest.mark.parametrize("error", [ValueError, StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_a_call_raises_is_an_exception_of_its_result(threads, error):
    def fail():
        raise error("no")

    with pytest.raises(Exception, match="no"):
        await threads.submit(fail)
    assert await threads.submit(lambda: 1) == 1


async def test_a_loop_without_end_is_interrupted_and_its_thread_serves_again(threads):
    begun = threading.Event()

    def endless():
        begun.set()
        while True:
            with contextlib.suppress(Exception):
                time.monotonic()

    result = threads.submit(endless)
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    threads.interrupt(result)
    with pytest.raises(RuntimeError, match=Interrupted.__name__):
        await asyncio.wait_for(result, WAIT_S)
    assert await threads.submit(lambda: 1) == 1


async def test_an_interruption_never_hits_another_call(threads):
    for _ in range(300):
        result = threads.submit(lambda: sum(range(50)))
        await asyncio.sleep(0)
        threads.interrupt(result)
        others = [threads.submit(lambda: 7) for _ in range(3)]
        assert await asyncio.wait_for(asyncio.gather(*others), WAIT_S) == [7, 7, 7]
        try:
            assert await asyncio.wait_for(result, WAIT_S) == 1225
        except RuntimeError as error:
            assert "Interrupted" in str(error)
        except TimeoutError as error:
            assert "interrupted" in str(error)


async def test_a_system_without_threads_fails_nobody_else(threads, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no thread"))
        )
        result = threads.submit(lambda: 1)
        assert len(threads) == 0 and not result.done()
    assert await asyncio.wait_for(result, WAIT_S) == 1, "as soon as there is one again"
