"""The cardinality guard: how many label sets a metric may have, and what becomes of those beyond."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.filters import Rule, kept
from metricsmith.sdk.findings import Findings

if TYPE_CHECKING:
    from metricsmith.sdk.family import LabelValues

OVERFLOW = "__overflow__"
MAX_LABEL_SETS = 5_000
MIN_SPARE = 10
MAX_VALUE = 1_000
"""Characters of a label value."""
UNBOUNDED = frozenset(
    (
        *(
            "id",
            "uid",
            "uuid",
            "guid",
            "user_id",
            "userid",
            "account_id",
            "customer_id",
            "order_id",
            "item_id",
        ),
        *("request_id", "correlation_id", "trace_id", "span_id", "session", "session_id", "transaction_id"),
        *("batch_id", "record_id", "message_id", "event_id", "task_id", "job_id", "offset", "retry_count"),
        *("timestamp", "time", "date", "datetime", "ts", "email", "e_mail", "mail", "phone", "token"),
        *("url", "uri", "query", "sql", "ip", "client_ip", "remote_addr", "user_agent", "error_message"),
    )
)
"""Label names whose values have no end. Of such as `pipeline_id` there are hundreds, not millions."""


class Limits(TypedDict, total=False):
    """What a metric can be told beside prometheus_client's arguments; else the registry's policy holds."""

    max_label_sets: int
    label_set_ttl_s: float


class Policy:
    """What holds for the metrics of a registry. A limit that is changed holds for metrics made later."""

    def __init__(
        self,
        *,
        max_label_sets: int = MAX_LABEL_SETS,
        label_set_ttl_s: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.max_label_sets, self.label_set_ttl_s, self.clock = max_label_sets, label_set_ttl_s, clock
        self.rules: list[Rule] = []
        self.findings = Findings()

    def keeps(self, names: Sequence[str], labels: Mapping[str, str]) -> bool:
        """Return whether a label set of a metric is wanted; one without labels is an empty one."""
        return not self.rules or kept(self.rules, names, labels)


DEFAULT_POLICY = Policy()
"""That of the default registry, and of metrics that are in no registry of ours."""


class Guard:
    """Decides where a new label set of one metric goes. Called with the family's lock held."""

    def __init__(self, name: str, labelnames: tuple[str, ...], limit: int, findings: Findings) -> None:
        if limit < 1:
            raise ValueError(f"{name}: got max_label_sets={limit}, wanted 1 or more")
        self.limit = limit
        self.folded = 0
        self._name, self._labelnames, self._findings = name, labelnames, findings
        self._foldable: tuple[int, ...] = ()
        self._spare = max(limit // 10, MIN_SPARE)

    def check_names(self) -> None:
        """Tell of label names whose values have no end."""
        for label in self._labelnames:
            if label.lower() in UNBOUNDED:
                text = (
                    f"the label {label!r} looks like one whose values have no end; put it into logs instead"
                )
                self._findings.note("unbounded_label", self._name, lambda text=text: text)  # type: ignore[misc]

    def admit(self, key: LabelValues, taken: Collection[LabelValues]) -> LabelValues:
        """Return the label values under which a new label set is kept: its own, or folded ones.

        Labels with many values are folded first, so that sums over the others stay right. A tenth of the
        limit, at least MIN_SPARE, is there for such; when it is used up, all labels are folded. A value that
        is too long is folded by itself.
        """
        short = tuple([value if len(value) <= MAX_VALUE else OVERFLOW for value in key])
        if len(taken) < self.limit or short in taken:
            self.folded += short != key
            return short
        if not self._foldable:
            self._foldable = self._with_many_values(list(taken))
        self.folded += 1
        partly = tuple([OVERFLOW if at in self._foldable else value for at, value in enumerate(short)])
        if partly in taken or len(taken) < self.limit + self._spare:
            return partly
        return (OVERFLOW,) * len(key)

    def room_was_made(self) -> None:
        """Choose the labels to fold anew when there is no room next time."""
        self._foldable = ()

    def tell(self, key: LabelValues) -> None:
        """Tell of a label set that was folded. Called without the lock: a log handler may count, too."""
        if any(len(value) > MAX_VALUE for value in key):
            self._findings.note("long_label_value", self._name, lambda: self._too_long(key))
        else:
            self._findings.note("too_many_label_sets", self._name, lambda: self._too_many(key))

    def _too_long(self, key: LabelValues) -> str:
        at = next(at for at, value in enumerate(key) if len(value) > MAX_VALUE)
        return (
            f"the label {self._labelnames[at]!r} has a value of {len(key[at])} characters "
            f"({key[at][:40]!r}…), wanted at most {MAX_VALUE}; such are folded into {OVERFLOW!r}"
        )

    def _too_many(self, key: LabelValues) -> str:
        at = self._foldable[0] if self._foldable else 0
        return (
            f"more than {self.limit} label sets, most of them by the label {self._labelnames[at]!r} "
            f"(such as {key[at][:40]!r}); further ones are folded into {OVERFLOW!r}. "
            "Leave the label out, or raise max_label_sets"
        )

    def _with_many_values(self, keys: list[LabelValues]) -> tuple[int, ...]:
        """Return positions of labels to fold, the one with most values first."""
        values = [len({key[at] for key in keys}) for at in range(len(self._labelnames))]
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        return tuple([at for at in order if at == order[0] or values[at] > self._spare])
