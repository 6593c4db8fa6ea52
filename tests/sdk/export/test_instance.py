"""The name of a process within its service: the same after a restart, and no other process has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from metricsmith.sdk.export.instance import MOST, Instance

HOST = socket.gethostname()
SERVICE = f"test-{os.getpid()}"
CHILD = f"""
import os, sys
from metricsmith.sdk.export.instance import Instance
held = Instance({SERVICE!r})
print(held.name, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def started() -> tuple[subprocess.Popen[str], str]:
    """Start a process; return it and its name."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_a_process_that_is_killed_and_started_again_has_the_name_that_it_had() -> None:
    first, second = started(), started()
    assert [name for _, name in (first, second)] == [HOST, f"{HOST}/2"]
    first[0].communicate()
    third = started()
    assert third[1] == HOST
    second[0].communicate()
    third[0].communicate()


def test_each_service_counts_for_itself_and_a_name_that_is_given_is_taken() -> None:
    names = [Instance(SERVICE), Instance(f"{SERVICE}-b"), Instance(SERVICE, "blue"), Instance(SERVICE)]
    assert [each.name for each in names] == [HOST, HOST, "blue", f"{HOST}/2"]
    names[0].release()
    names[0].release()
    names.append(Instance(SERVICE))
    assert names[-1].name == HOST
    for each in names:
        each.release()


def test_beyond_all_places_a_process_has_its_id() -> None:
    places = [Instance(SERVICE) for _ in range(MOST + 1)]
    assert [places[-2].name, places[-1].name] == [f"{HOST}/{MOST}", f"{HOST}:{os.getpid()}"]
    for each in places:
        each.release()
