"""Queries that follow one another use the same memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, threading
import numpy as np
from metricsmith.store import memory

def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

def query():
    arrays = [np.ones(1_300_000) for _ in range(4)]
    del arrays

def queries():
    query()
    before = faults()
    for _ in range(10):
        query()
    print((faults() - before) // 10)

memory.keep_freed()
thread = threading.Thread(target=queries)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries decide by themselves")
def test_a_query_uses_the_memory_that_the_one_before_has_freed() -> None:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert int(answer.stdout) < 100
