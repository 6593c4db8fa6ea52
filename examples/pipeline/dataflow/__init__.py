"""A small event-sourced pipeline that reports its metrics."""
