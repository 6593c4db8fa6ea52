"""The name of a container image, which must say which one it is."""

from __future__ import annotations

import re

from metricsmith import __version__

DEFAULT = f"metricsmith:{__version__}"
USER = 10001
"""The user of the image; a number, so that a cluster sees that it is not root."""
_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[A-Za-z0-9./_:-]+:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})")


def check_image(image: str) -> str:
    """Return the name of an image.

    Raises:
        ValueError: it may be another image tomorrow.

    >>> check_image("registry.example:5000/metricsmith:0.1.0")
    'registry.example:5000/metricsmith:0.1.0'
    """
    tag = _TAGGED.fullmatch(image)
    if _DIGEST.fullmatch(image) or (tag and tag[1] != "latest" and "/" not in tag[1]):
        return image
    raise ValueError(f'got the image "{image[:200]}", wanted one with a version or digest, such as {DEFAULT}')
