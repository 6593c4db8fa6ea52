"""What a recording rule writes: the result of its expression under its own name and labels."""

from __future__ import annotations

from collections.abc import Mapping

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64
from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels, format_labels
from metricsmith.rules.model import Answer, Group, RecordingRule


class Recording:
    """A recording rule at work: remembers under which key each series of its result is written."""

    def __init__(self, group: Group, rule: RecordingRule) -> None:
        self.rule = rule
        self._labels = {**group.labels, **rule.labels, NAME_LABEL: rule.name}
        self._limit = group.limit
        self._from: list[bytes] = []
        self._to: list[bytes] = []

    def record(self, answer: Answer) -> tuple[list[bytes], F64]:
        """Return the keys to write, and a value for each.

        Shapes:
            returns: S keys, (S,) values, in the order of the answer.
        Raises:
            ExecutionError: two series would be written under one key, or there are more than the limit.
        """
        if self._limit and len(answer.keys) > self._limit:
            raise ExecutionError(f"exceeded limit of {self._limit} with {len(answer.keys)} series")
        if answer.keys != self._from:
            known = dict(zip(self._from, self._to, strict=True))
            to = [known.get(key) or relabelled(key, self._labels) for key in answer.keys]
            refuse_same(to)
            self._from, self._to = answer.keys, to
        return self._to, answer.values


def relabelled(key: bytes, labels: Mapping[str, str]) -> bytes:
    """Return a key with labels set; an empty value removes one."""
    return encode_labels({**decode_labels(key), **labels})


def refuse_same(keys: list[bytes]) -> None:
    """Raise ExecutionError when a key occurs twice."""
    if len(set(keys)) == len(keys):
        return
    seen: set[bytes] = set()
    twice = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    raise ExecutionError(
        "vector contains metrics with the same labelset after applying rule labels: got "
        f"{format_labels(decode_labels(twice))} twice, wanted labels that keep the series apart"
    )
