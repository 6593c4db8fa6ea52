"""OTLP requests: what a sender says in Protobuf or JSON is what comes out, again and again."""

from __future__ import annotations

import contextlib
import math
import random

import numpy as np
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from metricsmith.errors import InputError
from metricsmith.model.labels import encode_labels
from metricsmith.testing.otlp import CUMULATIVE, NOW_NS, attributes, gauge, histogram, request, total
from metricsmith.wire.otlp.json_form import protobuf_of
from metricsmith.wire.otlp.names import label_name, metric_name


def expected(message: ExportMetricsServiceRequest) -> list[tuple]:
    """The samples of a message by walking its objects: no deltas, no staleness, attributes are texts."""
    out = []
    for part in message.resource_metrics:
        resource = {a.key: a.value.string_value for a in part.resource.attributes}
        own = {"job": resource.get("service.name", ""), "instance": resource.get("service.instance.id", "")}
        times = []

        def add(name: str, labels: dict, time_ns: int, value: float, own=own, times=times) -> None:
            out.append(
                (encode_labels({**labels, **own, "__name__": name}), time_ns // 10**6, repr(float(value)))
            )
            times.append(time_ns // 10**6)

        for metric in (m for scope in part.scope_metrics for m in scope.metrics):
            kind = metric.WhichOneof("data")
            counter = kind == "sum" and metric.sum.is_monotonic
            name = metric_name(metric.name, metric.unit, counter=counter, gauge=kind == "gauge")
            for point in getattr(metric, kind).data_points:
                labels: dict[str, str] = {}
                for a in sorted(point.attributes, key=lambda a: a.key):
                    label = label_name(a.key)
                    if not label:
                        continue
                    joined = [labels[label]] if label in labels else []
                    labels[label] = ";".join([*joined, a.value.string_value])
                at = point.time_unix_nano
                if kind in ("gauge", "sum"):
                    add(name, labels, at, getattr(point, point.WhichOneof("value")))
                    continue
                add(f"{name}_count", labels, at, point.count)
                if kind == "summary":
                    add(f"{name}_sum", labels, at, point.sum)
                    for q in point.quantile_values:
                        text = np.format_float_positional(q.quantile, trim="-")
                        add(name, {**labels, "quantile": text}, at, q.value)
                    continue
                if point.HasField("sum"):
                    add(f"{name}_sum", labels, at, point.sum)
                add(f"{name}_bucket", {**labels, "le": "+Inf"}, at, point.count)
                for i, bound in enumerate(point.explicit_bounds):
                    text = np.format_float_positional(bound, trim="-")
                    add(f"{name}_bucket", {**labels, "le": text}, at, sum(point.bucket_counts[: i + 1]))
        others = {k: v for k, v in resource.items() if not k.startswith("service.")}
        if times and others and any(own.values()):
            labels = {label_name(k): v for k, v in others.items()}
            out.append((encode_labels({**labels, **own, "__name__": "target_info"}), max(times), "1.0"))
    return sorted(out)


NAMES = ["http.server.duration", "a", "queue_depth", "1st.try", "disk usage"]
KEYS = ["http.method", "path", "__", "_x", "9", "a.b", "a_b", "ü"]


def random_request(rnd: random.Random, shape: random.Random) -> ExportMetricsServiceRequest:
    """A request whose shape comes from one generator and whose numbers come from another."""

    def time_ns() -> int:
        return NOW_NS + rnd.randrange(10**12)

    def number() -> float:
        return rnd.choice([0.0, -0.0, rnd.random(), -1e300, math.inf, math.nan])

    message = ExportMetricsServiceRequest()
    for i in range(shape.randrange(3)):
        part = message.resource_metrics.add()
        if shape.random() < 0.8:
            part.resource.attributes.extend(
                attributes(**{"service.name": f"s{i}", "service.instance.id": "x"})
            )
        if shape.random() < 0.7:
            part.resource.attributes.extend(attributes(**{"host.name": "h" * shape.randrange(200)}))
        for _ in range(shape.randrange(3)):
            scope = part.scope_metrics.add(schema_url=shape.choice(["", "http://x"]))
            scope.scope.name = shape.choice(["", "lib"])
            for _ in range(shape.randrange(5)):
                metric = scope.metrics.add(
                    name=shape.choice(NAMES),
                    unit=shape.choice(["", "s", "1", "By/s", "{x}"]),
                    description="What.",
                )
                kind = shape.choice(["gauge", "sum", "histogram", "summary"])
                data = getattr(metric, kind)
                data.SetInParent()
                if kind in ("sum", "histogram"):
                    data.aggregation_temporality = CUMULATIVE
                if kind == "sum":
                    data.is_monotonic = shape.random() < 0.5
                for _ in range(shape.choice([0, 1, 3, 40])):
                    keys = shape.sample(KEYS, shape.randrange(4))
                    point = data.data_points.add(
                        time_unix_nano=time_ns(),
                        start_time_unix_nano=time_ns() if shape.random() < 0.8 else 0,
                        attributes=attributes(**{k: shape.choice(["", "v", "ü" * 70]) for k in keys}),
                    )
                    if kind in ("gauge", "sum"):
                        if shape.random() < 0.5:
                            point.as_double = number()
                        else:
                            point.as_int = rnd.choice([0, 5, -7, 2**63 - 1, -(2**63)])
                    if kind == "summary":
                        point.count, point.sum = rnd.randrange(1, 2**64), number()
                        for quantile in shape.choice([[], [0.5], [0.0, 0.99, 1.0]]):
                            point.quantile_values.add(quantile=quantile, value=rnd.random())
                    if kind == "histogram":
                        bounds = shape.choice([[], [1.0], [-5.0, 0.0, 0.005, 10.0, 1e21]])
                        if bounds or shape.random() < 0.5:
                            point.explicit_bounds.extend(bounds)
                            point.bucket_counts.extend(rnd.randrange(2**53) for _ in range(len(bounds) + 1))
                        point.count = sum(point.bucket_counts) or 1
                        if shape.random() < 0.7:
                            point.sum = number()
                        if shape.random() < 0.5:
                            point.min = number()
                    if kind != "summary" and shape.random() < 0.2:
                        point.exemplars.add(as_int=3, trace_id=bytes(16), time_unix_nano=time_ns())
    return message


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=3))
def test_what_is_sent_comes_out_in_either_form_for_the_first_and_for_later_times(otlp_receiver, seeds):
    """One decoder for all, so that plans are used; the shapes of the first requests come back."""
    receiver = otlp_receiver()
    for turn in range(4):
        for seed in seeds:
            message = random_request(random.Random(f"{seed} {turn}"), random.Random(seed))
            want = expected(message)
            assert receiver.samples(message) == want
            assert receiver.samples(protobuf_of(MessageToJson(message).encode())) == want
            assert (
                receiver.samples(protobuf_of(MessageToJson(message, use_integers_for_enums=True).encode()))
                == want
            )


def test_requests_of_one_shape_share_their_layout(otlp_receiver):
    receiver = otlp_receiver()
    taken = [
        receiver.take(request(gauge("a", float(value)), total("b", value), histogram("c", [1.0], [value, 2])))
        for value in (1, 2, 3, 4)
    ]
    assert len({id(t.batch.layout) for t in taken[1:]}) == 1
    other = receiver.take(request(gauge("a", 1.0), total("B", 1), histogram("c", [1.0], [1, 2])))
    assert other.batch.layout is not taken[-1].batch.layout


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.binary(max_size=60))
def test_damaged_requests_are_input_errors_and_change_nothing_for_others(otlp_receiver, seed, damage, noise):
    rnd = random.Random(damage)
    message = random_request(random.Random(seed), random.Random(seed))
    receiver, want = otlp_receiver(), expected(message)
    receiver.samples(message)
    for _ in range(6):
        for body in (message.SerializeToString(), MessageToJson(message).encode(), noise):
            wrong = bytearray(body)
            for _ in range(rnd.randrange(1, 4)):
                if wrong:
                    at = rnd.randrange(len(wrong))
                    match rnd.randrange(4):
                        case 0:
                            wrong[at] ^= 1 << rnd.randrange(8)
                        case 1:
                            del wrong[at : at + rnd.randrange(30)]
                        case 2:
                            wrong[at:at] = wrong[at : at + rnd.randrange(30)]
                        case 3:
                            del wrong[at:]
            with contextlib.suppress(InputError):
                receiver.take(bytes(wrong))
            with contextlib.suppress(InputError):
                receiver.take(protobuf_of(bytes(wrong)))
    assert receiver.samples(message) == want
