"""Files of samples that people and other programs read: names, lines, Parquet. See docs/formats/files.md."""
