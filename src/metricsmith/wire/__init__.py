"""Formats and nothing else: bytes to columns and back. Nothing here opens a socket or a file."""
