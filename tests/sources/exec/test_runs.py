"""Whatever an executable does, it is told with a reason, ended with all its children, and run again."""

from __future__ import annotations

import asyncio
import json
import os
import select
from pathlib import Path

import pytest

from metricsmith.errors import DiskFull
from metricsmith.sources.exec.process import Command, End, Run

WAIT_S = 60.0
DOCUMENT = {
    "name": "n",
    "protocol_version": "3",
    "integration_version": "1",
    "data": [{"metrics": [{"event_type": "TestSample", "x": 1}]}],
}
UP, X = 'integration_up{integration="test"}', 'test_x{integration="test"}'


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that was killed: a busy machine needs a moment for it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], WAIT_S)[0])
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["sh", "-c", "exit 3"], "exit_code"),
        (["sh", "-c", "kill -9 $$"], "exit_code"),
        ("/nowhere/at/all", "not_started"),
        ("true", "nothing_usable"),
        (["/"], "not_started"),
        ("yes", "flood"),
        (["cat", "/dev/zero"], "flood"),
        (["sh", "-c", "yes >&2"], "flood"),
    ],
)
async def test_a_run_that_goes_wrong_is_counted_and_shown(execute, command, reason, caplog):
    async with execute(command, config={"max_output": "1MB", "max_line": "10KB"}) as source:
        got = await source.first()
        (status,) = source.source.targets().active
    assert got[UP] == 0
    assert source.failures(reason) == 1
    assert status.health == "down" and reason.replace("_", " ") in status.last.error
    assert "integration test" in caplog.text


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"Traceback (most recent call last):\n", "not_a_document"),
        (b'{"name":"half', "not_a_document"),
        (b'{"name":"\xff\xfe"}\n', "not_a_document"),
        (b'{"protocol_version":9}\n', "not_a_document"),
        (b'{"command_request_version":"1"}\n', "request"),
        (b'"' + b"x" * 30_000 + b'"\n', "line_too_long"),
        (b'{"protocol_version":3,"data":[{"metrics":[{"x":1}]}]}\n', "event_type"),
    ],
)
async def test_output_that_cannot_be_used_is_counted_and_disturbs_nothing_else(
    execute, tmp_path, output, reason
):
    line = json.dumps(DOCUMENT).encode()
    (tmp_path / "output").write_bytes(line + b"\n" + output)
    async with execute(["cat", str(tmp_path / "output")], config={"max_line": "20KB"}) as source:
        got = await source.first()
    assert source.problems(reason) == 1
    assert (got[X], got[UP]) == (1, 1)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("depth=7\n", "JSON"),
        (json.dumps(DOCUMENT, indent=1), "one document is one line"),
        ('{"protocol_version":3,"data":[{"metrics":[{"x":1}]}]}', "event_type"),
    ],
)
async def test_a_run_of_which_nothing_can_be_used_is_down(execute, output, told):
    async with execute(["printf", "%s", output]) as source:
        got = await source.first()
        (status,) = source.source.targets().active
    assert got[UP] == 0
    assert status.health == "down" and told in status.last.error
    assert source.failures("nothing_usable") == 1


@pytest.mark.parametrize("output", ["{}", json.dumps({**DOCUMENT, "data": []})])
async def test_a_run_with_nothing_to_tell_is_up(execute, output):
    async with execute(["printf", "%s", output]) as source:
        assert (await source.first())[UP] == 1


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"command": ["/nowhere/at/all", "secret"]}, "/nowhere/at/all: No such file"),
        ({"command": ["/"]}, "/: Permission denied"),
        ({"command": ["true"], "working_dir": "/no/folder"}, "working_dir /no/folder: No such file"),
    ],
)
async def test_what_cannot_be_started_is_named_without_its_arguments(execute, entry, told):
    async with execute(**entry) as source:
        await source.first()
        (status,) = source.source.targets().active
    assert told in status.last.error and "secret" not in status.last.error


async def test_events_are_emitted_by_themselves(execute):
    event = {"summary": "reloaded", "category": "config", "attributes": {"by": "me"}}
    document = {**DOCUMENT, "data": [{**DOCUMENT["data"][0], "events": [event]}]}
    async with execute(["printf", "%s", json.dumps(document)]) as source:
        await source.advance(10)
        batch = await source.recorder.batch()
        (told,) = batch.events
        assert (told.summary, told.category, told.attributes["by"]) == ("reloaded", "config", "me")
        assert (told.time_ms, len(batch)) == (source.clock.now_ms(), 0)
        assert (await source.reading())[X] == 1


async def test_a_last_line_without_its_end_is_read_all_the_same(execute):
    async with execute(["printf", "%s", json.dumps(DOCUMENT)]) as source:
        assert (await source.first())[X] == 1


async def test_silence_ends_it_with_all_its_children(execute, tmp_path):
    pids = tmp_path / "pids"
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    # A child that ignores the polite request, and holds the pipes open.
    text = f"trap '' TERM; sleep 1000 & echo $$ $! > {pids}; echo > {ready}; wait; sleep 1000"
    async with execute(["sh", "-c", text], timeout="5s") as source:
        await source.advance(10)
        await asyncio.to_thread(ready.read_bytes)
        started = [int(pid) for pid in pids.read_text().split()]
        assert all(lives(pid) for pid in started)
        await source.advance(5, sleepers=2)
        got = await source.reading()
        assert got[UP] == 0
    assert source.failures("timeout") == 1
    assert all(has_ended(pid) for pid in started)


@pytest.mark.parametrize("held", ["sleep 1000", "sleep 1000 >/dev/null", "sleep 1000 2>/dev/null"])
async def test_children_that_hold_pipes_open_are_ended_when_their_parent_has(
    execute, tmp_path, monkeypatch, held
):
    monkeypatch.setattr("metricsmith.sources.exec.process.PIPE_GRACE_S", 0.05)
    text = f"{held} & echo $! > {tmp_path}/pid; echo '{json.dumps(DOCUMENT)}'"
    async with execute(["sh", "-c", text]) as source:
        got = await source.first()
    assert (got[X], got[UP]) == (1, 1), "what was said counts"
    assert has_ended(int((tmp_path / "pid").read_text()))


async def test_the_wait_doubles_after_each_kill(execute):
    settings = {
        "refresh": "1d",
        "repeat": "0",
        "integrations": [{"name": "test", "exec": "sleep 1000", "timeout": "1s"}],
    }
    async with execute(config=settings) as source:
        await source.advance(10)
        waits = []
        for _ in range(3):
            await source.advance(1)
            await source.reading()
            await asyncio.wait_for(source.clock.sleeping(2), WAIT_S)
            waits.append(source.clock.next_wake_s())
            source.clock.advance(waits[-1])
    assert waits[0] <= 30, "the first time, it is due again after its interval"
    assert waits[1:] == [60, 120]


async def test_a_long_running_one_lives_by_its_heartbeats(execute, fifo):
    async with execute(
        ["cat", str(fifo)], interval="30s", timeout="100s", config={"refresh": "1d"}
    ) as source:
        await source.advance(10)
        with await asyncio.to_thread(fifo.open, "wb", 0) as pipe:
            pipe.write(json.dumps(DOCUMENT).encode() + b"\n")
            batch = await source.recorder.batch()
            assert source.recorder.read(batch) == {X: 1}
            for _ in range(3):
                await source.advance(90)
                pipe.write(b"{}\n")
                assert (await source.reading())[UP] == 1
            pipe.write(json.dumps(DOCUMENT).encode() + b"\n")
            again = await source.recorder.batch()
            assert again.layout is batch.layout, "the same series have the same layout"
            assert source.failures("timeout") == 0
            await source.advance(100)
            got = await source.reading()
    assert source.failures("timeout") == 1
    assert (got[X], got[UP]) == ("stale", 0)


async def test_series_that_a_long_running_one_no_longer_tells_of_end(execute, fifo):
    def told(*names):
        metrics = [{"event_type": "TestSample", "x": 1, "of": of} for of in names]
        return json.dumps({**DOCUMENT, "data": [{"metrics": metrics}]}).encode() + b"\n"

    a, b = (f'test_x{{integration="test", of="{of}"}}' for of in ("a", "b"))
    ended = []
    async with execute(["cat", str(fifo)], interval="30s", config={"refresh": "1d"}) as source:
        await source.advance(10)
        with await asyncio.to_thread(fifo.open, "wb", 0) as pipe:
            pipe.write(told("a", "b"))
            await source.recorder.batch()
            for turn in range(8):
                await source.advance(31)
                pipe.write(told("a"))
                got = await source.reading()
                assert got[a] == 1
                ended += [turn] if got.get(b) == "stale" else []
            pipe.write(told("a", "b"))
            back = source.recorder.read(await source.recorder.batch())
    assert ended == [2], "after three intervals, and told once"
    assert back[b] == 1


async def test_series_that_a_run_no_longer_has_are_marked(execute, script, tmp_path):
    said = tmp_path / "said"
    both = [{"event_type": "TestSample", "x": 1, "of": of} for of in ("a", "b")]
    a, b = (f'test_x{{integration="test", of="{of}"}}' for of in ("a", "b"))

    def say(metrics):
        said.write_text(json.dumps({**DOCUMENT, "data": [{"metrics": metrics}]}))

    async with execute(["cat", str(said)], interval="15s") as source:
        say(both)
        first = await source.first()
        say(both[:1])
        await source.advance(15)
        second = await source.reading()
        said.unlink()
        await source.advance(15)
        third = await source.reading()
    assert (first[a], first[b]) == (1, 1)
    assert (second[a], second[b]) == (1, "stale")
    assert third[a] == "stale" and b not in third, "after a failure nothing of it is there"


async def test_the_end_of_the_agent_ends_it_without_markers(execute, fifo):
    async with execute(["cat", str(fifo)]) as source:
        await source.advance(10)
        with await asyncio.to_thread(fifo.open, "wb", 0) as pipe:
            pipe.write(json.dumps(DOCUMENT).encode() + b"\n")
            await source.recorder.batch()
    assert source.recorder.waiting() == 0


async def test_samples_that_are_refused_are_told_and_it_goes_on(execute, printing):
    async with execute(printing(x=1), interval="15s") as source:
        source.recorder.refuse = DiskFull("no space left")
        await source.first()
        source.recorder.refuse = None
        await source.advance(15)
        assert (await source.reading())[X] == 1
    assert source.failures("journal_error") == 2, "the samples and the report"


async def test_output_is_read_to_its_end_however_slowly_it_is_taken(clock, tmp_path, monkeypatch):
    monkeypatch.setattr("metricsmith.sources.exec.process.PIPE_GRACE_S", 0.005)
    (tmp_path / "output").write_text("{}\n" * 4)
    taken = []

    async def take(line):
        await asyncio.sleep(0.03)  # the process has long ended, and a silent pipe is given up after 5 ms
        taken.append(line)
        return True

    arguments = ["cat", str(tmp_path / "output")]
    command = Command(arguments, dict(os.environ), None, None, 1000, 1000, 1000, 1000)
    outcome = await Run(command, clock, take, taken.append).finish(asyncio.Event())
    assert (outcome.end, len(taken)) == (End.DONE, 4)


async def test_values_are_told_again_between_runs_that_are_far_apart(execute, script):
    path = script(f"#!/bin/sh\n[ -e $0.ran ] && exit 1\ntouch $0.ran\necho '{json.dumps(DOCUMENT)}'\n")
    async with execute(path, interval="150s", config={"refresh": "1d"}) as source:
        first = await source.first()
        again = []
        for _ in range(2):
            await source.advance(60)
            again.append(await source.reading())
        await source.advance(30)
        failed = await source.reading()
        await source.advance(60)
        after = await source.reading()
    assert (first[X], first[UP]) == (1, 1)
    assert again == [first, first]
    assert (failed[X], failed[UP]) == ("stale", 0)
    assert X not in after and after[UP] == 0, "what failed is not told again, that it failed is"


async def test_one_that_hangs_does_not_hold_up_another(execute, printing):
    entries = [
        {"name": "hang", "exec": "sleep 1000"},
        {"name": "test", "exec": printing(x=1), "interval": "15s"},
    ]
    async with execute(config={"integrations": entries, "refresh": "1d"}) as source:
        assert (await source.first(sleepers=3))[X] == 1
        await source.advance(15, sleepers=3)
        assert (await source.reading())[X] == 1


async def test_a_talkative_one_is_cut_short_in_the_log(execute, caplog):
    caplog.set_level("INFO")
    async with execute(["sh", "-c", "seq 1000 >&2"]) as source:
        await source.first()
    assert "test: 50" in caplog.text and "test: 51" not in caplog.text
    counted = {"source": "shop", "integration": "test"}
    assert source.context.telemetry.value("metricsmith_exec_stderr_lines_total", **counted) == 1000
