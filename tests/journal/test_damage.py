"""Damaged files: a torn tail is cut, damage elsewhere is counted and passed over, nothing altered comes."""

from __future__ import annotations

import asyncio
import random
import shutil
import zlib

import numpy as np
import pytest

from metricsmith.errors import FormatTooNew
from metricsmith.journal.format import SEGMENT_HEADER, pack_segment_header
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.events import Event
from metricsmith.wire.frames.format import FRAME_HEADER, MARK


def write(bench, count: int = 12, **settings) -> list[tuple[object, ...]]:
    """Fill a journal with all kinds of frames; return what must come back."""

    async def run() -> list[tuple[object, ...]]:
        journal = bench.open(**settings)
        rng = np.random.default_rng(0)
        seen = []
        for i in range(count):
            layout = bench.layout(range(i // 4, i // 4 + 9), "shop", "help")
            if i % 3 == 2:
                layout = Layout(bench.series.intern_many([b"rw\xffi\xfe%d" % (i % 5)]).repeat(4))
            n = len(layout)
            times = i if i % 2 else np.arange(n, dtype=np.int64) * i
            batch = Batch(layout, times, rng.random(n), rng.random(n) < 0.5 if i % 5 == 0 else None)
            if i % 6 == 4:
                batch = event_batch([Event(i, f"deployed {i}", "notifications", {"n": i})], i)
            assert await journal.append(batch) == i
            seen.append(bench.seen(batch))
        await journal.close()
        return seen

    return asyncio.run(run())


def replayed(bench) -> dict[int, tuple[object, ...]]:
    bench.restart()
    found = list(bench.open().replay(0))
    assert [s for s, _ in found] == sorted({s for s, _ in found})
    return {s: bench.seen(b) for s, b in found}


def test_a_tail_torn_at_any_byte_is_cut_and_writing_goes_on(bench):
    expected = write(bench)
    (path,) = bench.segments()
    data = path.read_bytes()
    last_three = [i for i in range(len(data)) if data.startswith(MARK, i)][-3]
    for size in (*range(SEGMENT_HEADER.size), *range(last_three, len(data))):
        path.write_bytes(data[:size])
        found = replayed(bench)
        assert list(found.values()) == expected[: len(found)]
        assert len(found) >= (8 if size >= last_three else 0)
        journal = bench.open()
        assert journal.next_sequence == len(found)
        assert journal.size_bytes() == (bench.segments()[0].stat().st_size if bench.segments() else 0)
        for stray in bench.segments():
            stray.unlink()

    path.write_bytes(data[:-1])
    bench.restart()

    async def go_on() -> list[int]:
        journal = bench.open()
        assert bench.telemetry.value("metricsmith_journal_repaired_bytes_total") > 0
        await journal.append(Batch(bench.layout(range(2)), 0, np.zeros(2)))
        await journal.close()
        return [s for s, _ in journal.replay(0)]

    assert asyncio.run(go_on()) == list(range(12))


def test_garbage_behind_the_last_frame_is_cut(bench):
    expected = write(bench)
    (path,) = bench.segments()
    size = path.stat().st_size
    for garbage in (bytes(5000), random.Random(1).randbytes(5000), MARK * 100):
        with path.open("ab") as out:
            out.write(garbage)
        assert list(replayed(bench).values()) == expected
        assert path.stat().st_size == size
        assert bench.telemetry.value("metricsmith_journal_repaired_bytes_total") == len(garbage)


def test_random_damage_never_crashes_and_never_alters_a_sample(bench):
    expected = write(bench, 40, segment_size=4096)
    assert len(bench.segments()) > 1
    original = bench.folder.with_name("original")
    shutil.copytree(bench.folder, original)
    rnd = random.Random(7)
    lost = 0
    for _ in range(150):
        shutil.rmtree(bench.folder)
        shutil.copytree(original, bench.folder)
        path = rnd.choice(bench.segments())
        data = bytearray(path.read_bytes())
        at = rnd.randrange(len(data))
        match rnd.choice(["flip", "bytes", "cut", "drop", "double", "zero"]):
            case "flip":
                data[at] ^= 1 << rnd.randrange(8)
            case "bytes":
                data[at : at + 50] = rnd.randbytes(50)
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + rnd.randrange(1, 400)]
            case "double":
                data[at:at] = data[max(at - 300, 0) : at]
            case "zero":
                data[at : at + 512] = bytes(512)
        path.write_bytes(data)
        found = replayed(bench)
        assert all(found[s] == expected[s] for s in found)
        lost += len(found) < len(expected)
    assert lost > 50


def test_damage_in_the_middle_costs_only_what_depends_on_it_and_is_counted(bench):
    expected = write(bench)
    (path,) = bench.segments()
    data = path.read_bytes()
    frames = [i for i in range(len(data)) if data.startswith(MARK, i)]
    kinds = [data[i + 4] for i in frames]
    samples = [i for i, kind in zip(frames, kinds, strict=True) if kind >= 3]

    def damaged(at: int) -> dict[int, tuple[object, ...]]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        return replayed(bench)

    assert sorted(damaged(samples[3] + FRAME_HEADER.size + 3)) == [0, 1, 2, *range(4, 12)]
    assert bench.damaged("payload") == 1
    assert sorted(damaged(samples[3] + 20)) == [0, 1, 2, *range(4, 12)]
    assert bench.damaged("header") == 1
    found = damaged(frames[0] + FRAME_HEADER.size + 3)  # the series of the first four batches
    assert found
    assert all(found[s] == expected[s] for s in found)
    assert not {0, 1} & set(found)
    assert bench.damaged("undecodable") > 0
    assert list(damaged(3).values()) == expected  # the file's own header
    assert bench.damaged("segment_header") == 1


def test_a_vanished_segment_is_counted(bench):
    write(bench, 40, segment_size=4096)
    bench.restart()
    journal = bench.open()
    bench.segments()[0].unlink()
    assert list(journal.replay(0))
    assert bench.damaged("missing") == 1


def test_what_was_being_created_is_removed(bench):
    write(bench, 3)
    strays = [bench.folder / f"{3:020d}.journal.tmp", bench.folder / "oci.cursor.tmp"]
    for stray in strays:
        stray.write_bytes(b"half")
    assert len(replayed(bench)) == 3
    assert not any(stray.exists() for stray in strays)


@pytest.mark.parametrize("last", [True, False])
def test_a_newer_format_is_refused(bench, last):
    write(bench, 40, segment_size=4096)
    path = bench.segments()[-1 if last else 0]
    data = bytearray(path.read_bytes())
    head = bytearray(pack_segment_header(int(path.stem)))
    head[8] = 2
    head[-4:] = zlib.crc32(head[:-4]).to_bytes(4, "little")
    path.write_bytes(bytes(head) + bytes(data[len(head) :]))
    before = [p.read_bytes() for p in bench.segments()]
    with pytest.raises(FormatTooNew, match="version 2"):
        bench.open()
    assert [p.read_bytes() for p in bench.segments()] == before


def test_what_a_failed_commit_left_behind_is_not_replayed(bench):
    """A tail that could not be cut holds numbers which the next segment gives again."""
    expected = write(bench, 10)
    other = type(bench)(bench.folder.with_name("other"))
    write(other, 6)
    whole = other.segments()[0].read_bytes()
    old = bench.segments()[0]
    old.rename(bench.folder / f"{4:020d}.journal")
    (bench.folder / f"{0:020d}.journal").write_bytes(whole)
    found = replayed(bench)
    assert sorted(found) == list(range(10))
    assert [found[i] for i in range(4)] == expected[:4]


JUNK = ["99999999999999999999", "9" * 19, "٣" * 20, "notes", f"{(1 << 62) + 1:020d}"]


@pytest.mark.parametrize("name", JUNK)
def test_a_file_that_is_no_segment_is_ignored_with_a_log_line(bench, caplog, name):
    expected = write(bench)
    junk = bench.folder / f"{name}.journal"
    junk.write_bytes(b"junk")
    assert list(replayed(bench).values()) == expected
    assert f"{junk}: ignored" in caplog.text
    journal = bench.open()
    assert asyncio.run(journal.append(Batch(bench.layout(range(3)), 1, np.ones(3)))) == len(expected)
    assert junk.read_bytes() == b"junk"
