"""The embedded store: a head in memory, immutable blocks on disk, one manifest that says what exists."""
