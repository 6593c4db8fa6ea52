"""What a destination refuses for good: gathered by reason, and series that it refuses again and again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metricsmith.contracts import Delivery
from metricsmith.delivery.pieces import only
from metricsmith.model.arrays import F64, U32, Bool
from metricsmith.model.batch import Batch

MOST_REASONS = 8
"""So many reasons of one delivery are kept apart; destinations that quote a sample give one for each."""
PATIENCE = 2
"""So many times in a row a series is refused before it rests: one bad sample must not cost those after it."""
FIRST_REST_S, LONGEST_REST_S = 60.0, 3600.0
_MOST_TIMES = 20


class Refusals:
    """What was refused of one delivery; what has a reason in common is kept together."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[Delivery]] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._by_reason)

    def add(self, delivery: Delivery, reason: str) -> None:
        """Add what was refused."""
        if delivery.batches:
            self._by_reason.setdefault(reason, []).append(delivery)

    def gathered(self) -> Iterator[tuple[Delivery, str]]:
        """Yield all that was refused for one reason as a delivery, with the reason; a few at most."""
        reasons = list(self._by_reason)
        for reason in reasons[: MOST_REASONS - 1]:
            yield _joined(self._by_reason[reason]), reason
        if rest := reasons[MOST_REASONS - 1 :]:
            others = f" (and {len(rest) - 1} other reasons)" if len(rest) > 1 else ""
            yield _joined([d for reason in rest for d in self._by_reason[reason]]), rest[0] + others


class Outcome:
    """What became of one delivery: what was taken, what was refused, and what was found bad by itself.

    When the search for bad samples is given up, good ones are among what is set aside.
    """

    def __init__(self) -> None:
        self.taken: list[Delivery] = []
        self.refusals = Refusals()
        self._proven: list[Delivery] = []
        self._given_up: list[Delivery] = []

    def refuse(self, delivery: Delivery, reason: str, proven: bool = True, late: bool = False) -> None:
        """Note what was refused; `proven` if each of its samples was, `late` as in `Rejected`."""
        self.refusals.add(delivery, reason)
        if not late:
            (self._proven if proven else self._given_up).append(delivery)

    @property
    def nothing_taken(self) -> bool:
        """Whether the destination took none of it."""
        return not any(delivery.batches for delivery in self.taken)

    def bad_series(self) -> U32:
        """Return the series that only refusals came of, and not for the times of their samples."""
        refused = [*self._proven, *(self._given_up if self.nothing_taken else ())]
        return np.setdiff1d(_series(refused), _series(self.taken))


class RefusedSeries:
    """Which series rest because they were refused several times in a row. Used in the event loop alone.

    Each refusal doubles the rest, from a minute to an hour; what is taken once
    is as new. Takes 9 bytes for each series that the agent knows.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let all series be sent again."""
        self._times = np.zeros(0, dtype=np.uint8)
        self._until_s: F64 = np.zeros(0)

    def refused(self, ids: U32, now_s: float) -> None:
        """Note that series were refused once more."""
        if not ids.size:
            return
        if (missing := int(ids.max()) + 1 - self._times.size) > 0:
            self._times = np.pad(self._times, (0, missing))
            self._until_s = np.pad(self._until_s, (0, missing))
        times = np.minimum(self._times[ids] + 1, _MOST_TIMES)
        rest_s = np.minimum(FIRST_REST_S * 2.0 ** (times - float(PATIENCE)), LONGEST_REST_S)
        self._times[ids] = times
        self._until_s[ids] = np.where(times >= PATIENCE, now_s + rest_s, 0.0)

    def taken(self, delivery: Delivery) -> None:
        """Note that series were taken."""
        if self._times.size:
            ids = _series([delivery])
            known = ids[ids < self._times.size]
            self._times[known], self._until_s[known] = 0, 0.0

    def without_resting(self, delivery: Delivery, now_s: float) -> Delivery:
        """Return what is to be sent now; events always are."""

        def awake(batch: Batch) -> Bool:
            found: Bool = np.full(batch.size, True)
            if not batch.events:
                known = batch.layout.ids < self._times.size
                found[known] = self._until_s[batch.layout.ids[known]] <= now_s
            return found

        return only(delivery, awake) if self._times.size else delivery


def _series(deliveries: list[Delivery]) -> U32:
    ids = [batch.layout.ids for delivery in deliveries for batch in delivery.batches if not batch.events]
    found: U32 = np.unique(np.concatenate(ids)) if ids else np.zeros(0, dtype=np.uint32)
    return found


def _joined(deliveries: list[Delivery]) -> Delivery:
    sequences = [number for delivery in deliveries for number in delivery.sequences]
    return Delivery(sequences, [batch for delivery in deliveries for batch in delivery.batches])
