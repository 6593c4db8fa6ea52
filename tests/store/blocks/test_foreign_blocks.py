"""A block of another data directory, put into `blocks`: it displaces none of the store's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metricsmith.runtime.verify import Verification, rebuild
from metricsmith.store.verify import kept_from_others

OWN, FOREIGN = {5000: 1.0}, {1000: 2.0}


def only_block(folder: Path) -> Path:
    [block] = (folder / "blocks").iterdir()
    return block


@pytest.fixture
def own(open_store, tools, tmp_path):
    """A closed data directory with a block; into it was put one of another, whose name sorts first."""
    for folder, samples in (("own", OWN), ("other", FOREIGN)):
        one = open_store(folder=tmp_path / folder)
        one.write({tools.key(0): samples})
        one.store.close()
    foreign = only_block(tmp_path / "other")
    shutil.copytree(foreign, tmp_path / "own" / "blocks" / foreign.name)
    return tmp_path / "own"


def test_of_two_blocks_with_one_number_the_own_serves_and_the_other_is_told(own, open_store, tools, caplog):
    foreign = min((own / "blocks").iterdir())
    rebuilt = rebuild(own)
    assert (rebuilt.blocks, rebuilt.same_number, rebuilt.cursor) == (1, 1, 1)
    assert f"{foreign.name} has the number of" in caplog.text
    with kept_from_others(own) as user:
        [fault] = Verification(own, bool(user)).run(lambda _: None)
    assert (fault.file, fault.harmless) == (f"blocks/{foreign.name}", False)
    assert "store import" in fault.advice
    one = open_store(folder=own)
    assert one.contents() == tools.expected({tools.key(0): OWN})
    assert one.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="same_number") == 1
    assert f"store import {own / 'strays' / foreign.name}" in caplog.text


def test_without_the_old_manifest_one_of_them_serves_and_the_other_is_kept(own, open_store, caplog):
    for path in own.glob("manifest.sqlite*"):
        path.unlink()
    one = open_store(folder=own)
    assert one.store.block_count == 1
    assert one.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="same_number") == 1
    assert len(list((own / "strays").iterdir())) == 1


def test_a_second_copy_of_a_block_is_no_loss(own, open_store):
    shutil.rmtree(min((own / "blocks").iterdir()))
    shutil.copytree(only_block(own), own / "blocks" / "copy")
    assert rebuild(own).same_number == 0
    one = open_store(folder=own)
    assert one.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="same_number") == 0
    assert one.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="unknown") == 1


def test_what_a_block_of_elsewhere_was_merged_of_is_not_taken_for_the_own(own, open_store, tools):
    """Names are of window and number: those of another directory may be the same."""
    foreign, mine = sorted((own / "blocks").iterdir())
    meta = json.loads((foreign / "meta.json").read_text())
    meta.update(number=7, sources=[mine.name])
    (foreign / "meta.json").write_text(json.dumps(meta))
    foreign.rename(foreign.with_name(foreign.name[:-8] + "00000007"))
    assert rebuild(own).blocks == 2
    assert open_store(folder=own).contents() == tools.expected({tools.key(0): {**OWN, **FOREIGN}})
