"""What all instruments have in common: construction, label sets, and being read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, Unpack

from metricsmith.sdk.atomic import new_lock
from metricsmith.sdk.exemplars import Exemplars, make_exemplar
from metricsmith.sdk.family import Extra, Family, LabelValues, as_text
from metricsmith.sdk.guard import DEFAULT_POLICY, Limits
from metricsmith.sdk.names import check_labels, full_name, number
from metricsmith.sdk.reading import Exemplar, Reading, Sample

if TYPE_CHECKING:
    from prometheus_client import Metric

Own = TypeVar("Own", bound="Instrument")


class AnyRegistry(Protocol):
    """Ours, or a CollectorRegistry of prometheus_client."""

    def register(self, collector: Any) -> None:
        """Take a collector."""
        ...


class Instrument:
    """A metric, or one label set of it.

    A metric with label names has no value itself: `labels` returns the child that has.
    """

    __slots__ = ("__weakref__", "_children", "_exemplars", "_family", "_labelvalues", "_lock", "_template")
    _type: ClassVar[str]
    _reserved: ClassVar[tuple[str, ...]] = ()
    _updating: ClassVar[tuple[str, ...]] = ()
    """Methods that change the value."""
    _family: Family
    _labelvalues: LabelValues
    _children: dict[LabelValues, Any] | None
    _template: str | None
    _exemplars: Exemplars | None

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: AnyRegistry | None = None,
        **limits: Unpack[Limits],
    ) -> None:
        full = full_name(self._type, name, namespace, subsystem, unit)
        labels = check_labels(full, labelnames, self._reserved)
        if unknown := limits.keys() - Limits.__annotations__.keys():
            raise TypeError(f"{full}: got unexpected arguments {sorted(unknown)}")
        policy = getattr(registry, "policy", DEFAULT_POLICY)
        self._family = Family(self._type, full, str(documentation), labels, unit, policy, limits)
        self._family.make = self._make_child
        self._labelvalues = ()
        self._children = self._family.children if labels else None
        self._template = self._exemplars = None
        self._lock = new_lock()
        if not labels:
            self._begin()
        if registry is not None:
            registry.register(self)

    def _begin(self) -> None:
        """Set the state of an instrument that has values."""
        raise NotImplementedError

    def _like(self, parent: Any) -> None:
        """Take over what the constructor was told beside names."""

    def _make_child(self: Own, labelvalues: LabelValues) -> Own:
        child = type(self).__new__(type(self))
        child._family = self._family
        child._labelvalues = labelvalues
        child._children = child._template = child._exemplars = None
        child._lock = new_lock()
        child._like(self)
        child._begin()
        return child

    def labels(self: Own, *labelvalues: object, **labelkwargs: object) -> Own:
        """Return the child of these label values, by position or by name."""
        try:
            if labelkwargs and not labelvalues and len(labelkwargs) == len(self._family.labelnames):
                labelvalues, labelkwargs = self._family.in_order(labelkwargs), {}
            if not labelkwargs:
                child = self._children.get(labelvalues)  # type: ignore[union-attr, arg-type]
                if child is not None:
                    return child  # type: ignore[no-any-return]
        except (AttributeError, KeyError, TypeError):
            pass  # told by what follows
        return self._find(labelvalues, labelkwargs)

    def _find(self: Own, labelvalues: tuple[object, ...], labelkwargs: dict[str, object]) -> Own:
        """Return the child of values that are not text yet, that there is none of, or that are wrong."""
        if self._labelvalues:
            raise ValueError(f"{self}: got label values for what is already one label set")
        if self._children is not None and not labelkwargs:
            known = self._children.get(as_text(labelvalues))
            if known is not None:
                return known  # type: ignore[no-any-return]
        child: Own = self._family.child(self._family.values_of(labelvalues, labelkwargs))
        return child

    def remove(self, *labelvalues: object) -> None:
        """Forget one label set. Who holds its child can go on using it, unseen."""
        self._family.remove(self._family.values_of(labelvalues, {}))

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Forget all label sets that have these values."""
        self._family.remove_where(labels)

    def clear(self) -> None:
        """Forget all label sets."""
        self._family.clear()

    def _updates(self) -> float:
        """Return a number that differs after each update."""
        raise NotImplementedError

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        """Return suffix and further labels of each of its lines."""
        return (("", ()),)

    def _values(self) -> Sequence[float]:
        """Return the values, in the order of `_shape`."""
        raise NotImplementedError

    def _make_template(self) -> str:
        """Return the lines with `%s` where a value goes, made for this and later documents."""
        self._template = self._family.template(self._labelvalues, self._shape())
        return self._template

    def _texts(self) -> tuple[object, ...]:
        return tuple([number(value) for value in self._values()])

    def _exemplar_places(self) -> int:
        """Return how many of its numbers can have an exemplar."""
        return 0

    def _watch_traces(self) -> None:
        """Take exemplars from the traces that are active from now on."""
        if self._exemplars is None and (places := self._exemplar_places()):
            self._exemplars = Exemplars(places)

    def _note(self, labels: Mapping[str, str] | None, amount: float, at: int) -> None:
        """Remember an event: what the application says of it, else its trace."""
        exemplars, clock = self._exemplars, self._family.clock
        if exemplars is None:
            exemplars = self._exemplars = Exemplars(self._exemplar_places())
        if labels is not None:
            exemplars[at] = make_exemplar(labels, amount, clock)
        else:
            exemplars.note_trace(at, amount, clock)

    def _line_exemplars(self) -> Sequence[Exemplar | None] | None:
        """Return the exemplars, in the order of `_shape`, if there are any."""
        return self._exemplars

    def _not_a_number(self) -> None:
        family = self._family
        text = "observations that are no number (NaN) are left out: they would spoil the sum for ever"
        family.policy.findings.note("not_a_number", family.name, lambda: text)

    def _failed(self, error: Exception) -> None:
        """Tell that the value could not be read; the sample is left out."""
        family = self._family
        text = f"its function failed: {error!r}"
        family.policy.findings.note("function_failed", family.name, lambda: text)

    def _require(self) -> None:
        """Raise if this is a metric with labels, which has no value itself."""
        if self._children is not None:
            raise self._no_value()

    def _no_value(self) -> ValueError:
        names = ", ".join(self._family.labelnames)
        return ValueError(
            f"{self._family.name}: {self._type} metric is missing label values; call .labels({names})"
        )

    def read(self) -> Reading:
        """Return what this metric tells now."""
        family = self._family
        samples: list[Sample] = []
        for child in family.live(self):
            try:
                values = child._values()
            except Exception as error:
                child._failed(error)
                continue
            labels, exemplars = family.labels_of(child._labelvalues), child._line_exemplars()
            for at, ((suffix, extra), value) in enumerate(zip(child._shape(), values, strict=True)):
                exemplar = exemplars[at] if exemplars else None
                samples.append(Sample(family.name + suffix, {**labels, **dict(extra)}, value, exemplar))
        return Reading(family.name, family.type, family.documentation, family.unit, samples)

    def describe(self) -> list[Metric]:
        """Return the family of prometheus_client without samples."""
        from metricsmith.sdk.foreign import to_metric

        family = self._family
        return [to_metric(Reading(family.name, family.type, family.documentation, family.unit, ()))]

    def collect(self) -> list[Metric]:
        """Return the family of prometheus_client with samples."""
        from metricsmith.sdk.foreign import to_metric

        return [to_metric(self.read())]

    def __repr__(self) -> str:
        family = self._family
        labels = family.labels_of(self._labelvalues)
        return f"{type(self).__name__}({family.name}{labels or ''})"
