"""Reads all samples of a data directory's blocks as docs/formats says, with pyarrow and no metricsmith.

`read_blocks.py DIRECTORY` writes a pickled dictionary to standard output: (name, labels) → time → value,
where labels is a sorted tuple of pairs, and None is a staleness marker.
"""

import json
import pickle
import re
import sqlite3
import sys
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NEWEST_FORMAT, NEWEST_DIRECTORY = 1, 1


def read_directory(folder):
    """Return all samples; where blocks overlap that with the higher number is right."""
    name, _, version = (folder / "FORMAT").read_text().rpartition(" ")
    if name != "metricsmith data" or int(version) > NEWEST_DIRECTORY:
        raise SystemExit(f"{folder}: got {name} {version}")
    manifest = sqlite3.connect(f"{(folder / 'manifest.sqlite').absolute().as_uri()}?mode=ro", uri=True)
    blocks = manifest.execute("SELECT name, meta_crc32 FROM blocks ORDER BY number").fetchall()
    deletes = []
    if manifest.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tombstones'").fetchall():  # else old
        deletes = manifest.execute("SELECT number, start_ms, end_ms, selectors FROM tombstones").fetchall()
    manifest.close()
    found = {}
    for block, crc32 in blocks:
        for series, samples in read_block(folder / "blocks" / block, crc32, deletes):
            if samples:
                found.setdefault(series, {}).update(samples)
    return found


def read_block(folder, crc32, deletes):
    """Yield each series of a block with its samples, those that were deleted left out."""
    text = (folder / "meta.json").read_bytes()
    check(folder / "meta.json", text, crc32)
    meta = json.loads(text)
    if meta["format"] > NEWEST_FORMAT:
        raise SystemExit(f"{folder}: got format {meta['format']}")
    series = read_series(folder / "series.parquet", meta["series_file"])
    samples = read_samples(folder / "samples.parquet", meta["samples_file"])
    if (len(series), len(samples["series"])) != (meta["series"], meta["samples"]):
        raise SystemExit(f"{folder}: got {len(series)} series and {len(samples['series'])} samples")
    deletes = [
        (start, end, json.loads(text)) for number, start, end, text in deletes if meta["number"] <= number
    ]
    for row in series:
        at = slice(row["first_row"], row["first_row"] + row["row_count"])
        if set(samples["series"][at]) != {row["series"]}:
            raise SystemExit(f"{folder}: samples of series {row['series']} are not where it says")
        labels = dict(row["labels"])
        hidden = [(start, end) for start, end, any_of in deletes if selected(any_of, row["name"], labels)]
        pairs = zip(samples["time_ms"][at], samples["value"][at], strict=False)
        yield (
            (row["name"], tuple(sorted(labels.items()))),
            {time: value for time, value in pairs if not any(start <= time <= end for start, end in hidden)},
        )


def read_series(path, meta):
    data = path.read_bytes()
    if len(data) != meta["bytes"]:
        raise SystemExit(f"{path}: got {len(data)} bytes, wanted {meta['bytes']}")
    check(path, data, meta["crc32"])
    return pq.read_table(pa.BufferReader(data)).to_pylist()


def read_samples(path, meta):
    """Return the columns of all row groups; each group's bytes, and the footer's, have a checksum."""
    data, at = path.read_bytes(), 0
    sizes = [*meta["row_group_bytes"], meta["footer_bytes"]]
    for size, crc32 in zip(sizes, [*meta["row_group_crc32"], meta["footer_crc32"]], strict=False):
        check(path, data[at : at + size], crc32)
        at += size
    if at != len(data):
        raise SystemExit(f"{path}: got {len(data)} bytes, wanted {at}")
    file = pq.ParquetFile(pa.BufferReader(data))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    if groups != meta["row_group_samples"]:
        raise SystemExit(f"{path}: got row groups of {groups} rows")
    return file.read().to_pydict()


def selected(any_of, name, labels):
    """Return whether one of the selectors matches: lists of label name, operator and value."""
    values = labels | {"__name__": name}
    return any(all(matches(op, wanted, values.get(label, "")) for label, op, wanted in one) for one in any_of)


def matches(operator, wanted, value):
    if operator in ("=", "!="):
        return (value == wanted) == (operator == "=")
    return bool(re.fullmatch(wanted, value, re.DOTALL)) == (operator == "=~")


def check(path, data, crc32):
    if zlib.crc32(data) != crc32:
        raise SystemExit(f"{path}: wrong checksum")


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(read_directory(Path(sys.argv[1]))))
