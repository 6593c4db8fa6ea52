"""The way from the journal to sinks: one engine for all of them."""
