"""An agent does not pay for pandas that happens to be installed; who wants data frames still gets them."""

from __future__ import annotations

import subprocess
import sys

CONVERTS = """
import sys
from metricsmith.runtime.lean_arrow import spare_pandas
spare_pandas()
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
column = pa.array(np.arange(3))
assert np.asarray(column).tolist() == column.to_numpy().tolist() == [0, 1, 2]
assert "pandas" not in sys.modules, "imported by pyarrow"
frame = pa.table({"a": column}).to_pandas()
assert frame["a"].tolist() == [0, 1, 2] and "pandas" in sys.modules
assert pa.Table.from_pandas(frame)["a"].to_pylist() == [0, 1, 2]
"""


def test_arrays_come_without_pandas_and_data_frames_with_it():
    ended = subprocess.run([sys.executable, "-c", CONVERTS], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
