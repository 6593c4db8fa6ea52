"""Any order within the accepted times; a time is one sample; what is refused is counted with its reason."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from metricsmith.testing.programs import AgentProgram

Make = Callable[..., AgentProgram]
DAY_MS = 86_400_000
DROPPED = "metricsmith_samples_dropped_total"


def remote_write(samples: list[tuple[int, float]], name: bytes = b"written") -> bytes:
    """Return a remote-write body of one series, encoded by hand: the format is the peer's, not ours."""
    import struct

    import cramjam

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def varint(value: int) -> bytes:
        out = bytearray()
        value &= (1 << 64) - 1
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    series = field(1, field(1, b"__name__") + field(2, name))
    for time_ms, value in samples:
        series += field(2, varint(1 << 3 | 1) + struct.pack("<d", value) + varint(2 << 3) + varint(time_ms))
    return bytes(cramjam.snappy.compress_raw(field(1, series)))


def write(agent: AgentProgram, samples: list[tuple[int, float]]) -> None:
    import urllib.request

    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    request = urllib.request.Request(f"{agent.url}/api/v1/write", remote_write(samples), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 204


def now_ms() -> int:
    return int(time.time()) * 1000


def test_messages_outside_the_accepted_times_are_refused_with_the_field(agent_program: Make) -> None:
    agent = agent_program(base=SEVEN_DAYS)
    agent.start()
    for time_ms, wanted in (
        (now_ms() - 7 * DAY_MS - 60_000, 422),
        (now_ms() - 7 * DAY_MS + 60_000, 201),
        (now_ms() + 9 * 60_000, 201),
        (now_ms() + 11 * 60_000, 422),
    ):
        answer = agent.push({"m": 1}, time_ms)
        assert answer.status == wanted, answer.text
        assert ("timestamp" in answer.text) == (wanted == 422)
    assert len(agent.query("m[8d]", time.time() + 700)[0]["values"]) == 2


SEVEN_DAYS = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}", retention: 7d}}\n'


def test_remote_write_outside_the_accepted_times_is_counted_and_the_rest_is_kept(agent_program: Make) -> None:
    agent = agent_program(base=SEVEN_DAYS)
    agent.start()
    good = now_ms() - 1000
    write(agent, [(now_ms() - 8 * DAY_MS, 1), (now_ms() - 9 * DAY_MS, 2), (good, 3), (good + 20 * 60_000, 4)])
    assert agent.samples("written", "30d") == [(good, 3)]
    assert agent.own(DROPPED, component="store", reason="too_old") == 2
    assert agent.own(DROPPED, component="store", reason="too_far_in_future") == 1
    assert "retention is" in agent.log.wait_for("too old")


def test_any_order_gives_the_same_series_also_after_a_flush(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    base = now_ms() - 3 * DAY_MS
    samples = [(base + i * 1_800_000, float(i)) for i in range(140)]
    shuffled = samples.copy()
    random.Random(3).shuffle(shuffled)
    for i in range(0, 140, 20):
        write(agent, shuffled[i : i + 20])
    assert agent.samples("written", "7d") == samples
    assert agent.stop() == 0
    agent.start()
    assert agent.get("/storage/status")["blocks"] > 1, "late samples go to blocks of their own times"
    assert agent.samples("written", "7d") == samples


def test_a_time_is_one_sample_and_the_last_value_wins(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    at = now_ms() - 60_000
    write(agent, [(at, 1), (at, 2)])
    assert agent.samples("written") == [(at, 2)]
    write(agent, [(at, 2), (at + 5, 9)])
    write(agent, [(at, 3)])
    expected = [(at, 3), (at + 5, 9)]
    assert agent.samples("written") == expected
    agent.kill()
    agent.start()
    assert agent.samples("written") == expected
    assert agent.stop() == 0
    agent.start()
    write(agent, [(at + 5, 10)])  # the older value is in a block by now
    assert agent.samples("written") == [(at, 3), (at + 5, 10)]
    assert agent.stop() == 0
    agent.start()
    assert agent.samples("written") == [(at, 3), (at + 5, 10)]
    assert agent.value("count_over_time(written[1h])") == 2
