"""Runs collectors that people write in Python."""
