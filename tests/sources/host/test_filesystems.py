"""A file system that hangs holds up nobody, and is asked again when it is back."""

from __future__ import annotations

import os
import threading
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from metricsmith.sources.host.filesystems import FileSystems, Space
from metricsmith.testing.programs import eventually

real = os.statvfs


class Hanging(dict[str, threading.Event]):
    """Paths that hang until their event is set. Time passes while all that is asked hangs, and only then."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._others, self._held = threads(), set[threading.Thread]()

    def statvfs(self, path: str) -> os.statvfs_result:
        if path in self:
            self._held.add(threading.current_thread())
            self[path].wait(60)
            self._held.remove(threading.current_thread())
        return real("/")

    def all_hang(self) -> bool:
        return threads() - self._others <= self._held

    def end(self) -> None:
        for gate in self.values():
            gate.set()
        eventually(lambda: not self._held)

    def answers(self) -> SimpleQueue[Any]:
        return Answers(self)


class Answers:
    """A queue whose waiting is over when nothing can come any more."""

    def __init__(self, hanging: Hanging) -> None:
        self._hanging, self._queue = hanging, SimpleQueue[Any]()
        self.put, self.get_nowait = self._queue.put, self._queue.get_nowait

    def get(self, timeout: float | None = None) -> Any:
        if timeout is None:  # a worker, of its jobs
            return self._queue.get()
        while True:
            all_hang = self._hanging.all_hang()
            try:
                return self._queue.get(timeout=0.001)
            except Empty:
                if all_hang:
                    self._hanging.now_s += timeout
                    raise


@pytest.fixture
def hanging(monkeypatch):
    """Paths that hang."""
    made = Hanging()
    monkeypatch.setattr("os.statvfs", made.statvfs)
    monkeypatch.setattr("metricsmith.sources.host.filesystems.SimpleQueue", made.answers)
    clock = SimpleNamespace(monotonic=lambda: made.now_s)
    monkeypatch.setattr("metricsmith.sources.host.filesystems.time", clock)
    yield made
    made.end()


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "file systems"}


def test_spaces_and_errors(tmp_path):
    found = FileSystems().read([str(tmp_path), "/nowhere/at/all"], 5)
    assert isinstance(found[str(tmp_path)], Space)
    assert isinstance(found["/nowhere/at/all"], FileNotFoundError)


def test_those_behind_one_that_hangs_are_told(hanging):
    hanging["/nfs"] = threading.Event()
    systems, before = FileSystems(), threads()
    for _ in range(3):
        began_s = hanging.now_s
        found = systems.read(["/a", "/nfs", "/b"], 5)
        assert hanging.now_s <= began_s + 5
        assert found["/nfs"] is None
        assert isinstance(found["/a"], Space) and isinstance(found["/b"], Space)
    assert len(threads() - before) <= 2, "one for the hanging, one for the others"
    hanging["/nfs"].set()
    assert eventually(lambda: systems.read(["/nfs"], 5)["/nfs"]), "it is asked again"


def test_many_that_hang_take_twice_the_time_out_at_most(hanging):
    hanging.update({f"/nfs{i}": threading.Event() for i in range(100)})
    found = FileSystems().read([*hanging, "/a"], 5)
    assert hanging.now_s == pytest.approx(2 * 5, abs=0.6)
    assert set(found) == {*hanging, "/a"}


def test_the_source_tells_which_hangs(host, hanging, caplog):
    hanging[f"{host.root}/data set"] = threading.Event()
    got = host.read(mount_timeout="100ms")
    assert host.failures("filesystem", "timeout") == 1
    assert "data set: gave no answer in time" in caplog.text
    assert "disk_usage_bytes" in got and any('mountpoint="/"' in name for name in got)
    assert not any("data set" in name for name in got)
