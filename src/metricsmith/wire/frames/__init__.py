"""Frames: batches as bytes, as the journal keeps them and as agents send them to one another."""
