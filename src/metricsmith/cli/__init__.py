"""The command line: one file per group of commands."""

import gc

# Nearly all objects are freed by their reference counts. With the default thresholds garbage collection
# took an eighth of the time of a start, and 7 % of the CPU time of a steady scrape.
gc.set_threshold(20_000, 20, 50)
