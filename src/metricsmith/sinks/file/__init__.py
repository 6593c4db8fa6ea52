"""The `file` sink: samples in JSON lines, CSV or Parquet."""
