"""A file system that hangs holds up nobody, and is asked again when it is back."""

from __future__ import annotations

import os
import threading
import time

import pytest

from metricsmith.sources.host.filesystems import FileSystems, Space

real = os.statvfs


@pytest.fixture
def hanging(monkeypatch):
    """Paths that hang until their event is set."""
    gates: dict[str, threading.Event] = {}

    def statvfs(path):
        if path in gates:
            gates[path].wait(20)
        return real("/")

    monkeypatch.setattr("os.statvfs", statvfs)
    yield gates
    for gate in gates.values():
        gate.set()


def threads() -> int:
    return sum(thread.name == "file systems" for thread in threading.enumerate())


def test_spaces_and_errors(tmp_path):
    found = FileSystems().read([str(tmp_path), "/nowhere/at/all"], 5)
    assert isinstance(found[str(tmp_path)], Space)
    assert isinstance(found["/nowhere/at/all"], FileNotFoundError)


def test_those_behind_one_that_hangs_are_told(hanging):
    hanging["/nfs"] = threading.Event()
    systems, before = FileSystems(), threads()
    for _ in range(3):
        started = time.monotonic()
        found = systems.read(["/a", "/nfs", "/b"], 0.2)
        assert time.monotonic() - started < 5
        assert found["/nfs"] is None
        assert isinstance(found["/a"], Space) and isinstance(found["/b"], Space)
    assert threads() <= before + 2, "one for the hanging, one for the others"
    hanging["/nfs"].set()
    deadline = time.monotonic() + 20
    while not isinstance(systems.read(["/nfs"], 0.5)["/nfs"], Space):
        assert time.monotonic() < deadline, "it was never asked again"


def test_many_that_hang_take_twice_the_time_out_at_most(hanging):
    hanging.update({f"/nfs{i}": threading.Event() for i in range(100)})
    started = time.monotonic()
    found = FileSystems().read([*hanging, "/a"], 0.1)
    assert time.monotonic() - started < 5
    assert set(found) == {*hanging, "/a"}


def test_the_source_tells_which_hangs(host, hanging, caplog):
    hanging[f"{host.root}/data set"] = threading.Event()
    got = host.read(mount_timeout="100ms")
    assert host.failures("filesystem", "timeout") == 1
    assert "data set: gave no answer in time" in caplog.text
    assert "disk_usage_bytes" in got and any('mountpoint="/"' in name for name in got)
    assert not any("data set" in name for name in got)
