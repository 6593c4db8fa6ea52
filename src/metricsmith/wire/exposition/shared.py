"""Documents that several targets expose alike, kept once: replicas of a service differ in numbers only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from weakref import WeakValueDictionary

from metricsmith.model.labels import PAIR
from metricsmith.wire.exposition.comments import Comment
from metricsmith.wire.exposition.structure import Structure
from metricsmith.wire.exposition.template import Template


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Document:
    """What a document says besides its numbers."""

    structure: Structure
    comments: tuple[Comment, ...]
    template: Template


class DocumentPool:
    """Gives equal documents one object, for as long as some parser remembers it.

    Safe for several threads.
    """

    def __init__(self) -> None:
        self._documents: WeakValueDictionary[bytes, Document] = WeakValueDictionary()
        self._lock = threading.Lock()

    def share(self, document: Document, strict: bool, empty_labels: Sequence[bytes]) -> Document:
        """Return the document that was first given with the same text between its numbers, read alike."""
        pieces = document.template.pieces
        digest = blake2b(pieces.literals, digest_size=32, person=b"strict" if strict else b"text")
        digest.update(pieces.sizes.tobytes())
        digest.update(PAIR.join(empty_labels))
        with self._lock:
            return self._documents.setdefault(digest.digest(), document)
