"""JSON schemas of successful answers, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

STRING: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
TEXTS: Schema = {"type": "array", "items": STRING}
LABELS: Schema = {"type": "object", "additionalProperties": STRING}
OPTIONAL_TEXT: Schema = {"type": ["string", "null"]}
OPTIONAL_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
VALUE: Schema = {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "+Inf", "-Inf"]}]}


def listing(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def record(optional: Mapping[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """Return the schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }


def prometheus(data: Schema) -> Schema:
    """Return the schema of a success in Prometheus' API."""
    return record({"warnings": TEXTS, "infos": TEXTS}, status={"const": "success"}, data=data)


HEALTH = record(
    {"reason": STRING},
    status={"type": "string", "enum": ["healthy", "unhealthy"]},
    ready={"type": "boolean"},
    checks=listing(record({"reason": STRING}, name=STRING, ok={"type": "boolean"})),
)
RELOADED = record(status={"const": "reloaded"})
_SINK = record(
    name=STRING,
    type=STRING,
    state={"type": "string", "enum": ["ok", "retrying", "refusing", "stopped", "removed"]},
    circuit={"type": "string", "enum": ["closed", "half_open", "open"]},
    behind_batches=COUNT,
    lag_seconds={"type": "number", "minimum": 0},
    buffered_samples=COUNT,
    delivered_samples=COUNT,
    dropped_samples=COUNT,
    retries=COUNT,
    last_success=OPTIONAL_TEXT,
    last_error=STRING,
    held_until=OPTIONAL_TEXT,
)
_SINKS = listing(_SINK)
STATUS = record(
    {"reason": STRING},
    status={"type": "string", "enum": ["healthy", "unhealthy"]},
    mode=STRING,
    uptime=STRING,
    uptime_seconds=COUNT,
    metrics_processed=COUNT,
    storage_status=STRING,
    last_metric=OPTIONAL_TEXT,
    name=STRING,
    version=STRING,
    sources=TEXTS,
    targets=record(up=COUNT, down=COUNT, unknown=COUNT),
    failing=listing(record(source=STRING, target=STRING, error=STRING)),
    sinks=_SINKS,
    warnings=TEXTS,
)
STORAGE = record(
    {"detail": STRING, "writing": _SINK},
    type=STRING,
    status=STRING,
    database=STRING,
    retention=OPTIONAL_TEXT,
    disk_usage=OPTIONAL_TEXT,
    disk_usage_bytes=OPTIONAL_COUNT,
    journal_bytes=COUNT,
    series=OPTIONAL_COUNT,
    blocks=OPTIONAL_COUNT,
    head_samples=OPTIONAL_COUNT,
    last_metric=OPTIONAL_TEXT,
)
ACCEPTED = record(status={"const": "accepted"}, messages=COUNT, samples=COUNT)
MESSAGES = record(
    metrics=listing(
        record(
            service=STRING,
            timestamp=STRING,
            metrics={"type": "object", "additionalProperties": VALUE},
            tags=LABELS,
        )
    ),
    cursor=OPTIONAL_TEXT,
)
BUCKETS = record(
    metric=STRING,
    func=STRING,
    interval=STRING,
    series=listing(record(service=STRING, tags=LABELS, buckets=listing(record(start=STRING, value=VALUE)))),
)
_STATS = record(
    timings=record(
        evalTotalTime=SECONDS,
        resultSortTime=SECONDS,
        queryPreparationTime=SECONDS,
        innerEvalTime=SECONDS,
        execQueueTime=SECONDS,
        execTotalTime=SECONDS,
    ),
    samples=record(totalQueryableSamples=COUNT, peakSamples=COUNT),
)
EXPLAIN = prometheus(
    record(
        resultType=STRING,
        series=COUNT,
        points=COUNT,
        seriesRead=COUNT,
        samplesRead=COUNT,
        peakSamples=COUNT,
        planSeconds=SECONDS,
        runSeconds=SECONDS,
        steps=listing(
            record(
                step=COUNT,
                operation=STRING,
                inputs=listing(COUNT),
                series=COUNT,
                samples=COUNT,
                samplesRead=COUNT,
                seconds=SECONDS,
            )
        ),
    )
)
QUERY = prometheus(record({"stats": _STATS}, resultType=STRING, result={"type": "array"}))
OBJECT = prometheus({"type": "object"})
NAMES = prometheus(TEXTS)
SERIES = prometheus(listing(LABELS))
TEXT = prometheus(STRING)
TREE = prometheus({"type": "object", "required": ["type"], "properties": {"type": STRING}})
EMPTY_LIST = prometheus({"type": "array"})
_ALERT = record(
    {"keepFiringSince": STRING, "noData": {"const": True}},
    labels=LABELS,
    annotations=LABELS,
    state={"type": "string", "enum": ["pending", "firing"]},
    activeAt=STRING,
    value=STRING,
)
_RULE: Mapping[str, Schema] = {
    "name": STRING,
    "query": STRING,
    "labels": LABELS,
    "health": {"type": "string", "enum": ["ok", "err", "unknown"]},
    "evaluationTime": SECONDS,
    "lastEvaluation": STRING,
    "lastSamples": COUNT,
    "lastSeries": COUNT,
}
_RECORDING = record({"lastError": STRING, "warnings": TEXTS}, **_RULE, type={"const": "recording"})
_ALERTING = record(
    {"lastError": STRING, "warnings": TEXTS},
    **_RULE,
    state={"type": "string", "enum": ["inactive", "pending", "firing"]},
    duration=SECONDS,
    keepFiringFor=SECONDS,
    annotations=LABELS,
    alerts=listing(_ALERT),
    noData={"type": "string", "enum": ["keep", "fire", "resolve"]},
    type={"const": "alerting"},
)
RULES = prometheus(
    record(
        {"groupNextToken": STRING},
        groups=listing(
            record(
                name=STRING,
                file=STRING,
                rules=listing({"oneOf": [_RECORDING, _ALERTING]}),
                interval=SECONDS,
                limit=COUNT,
                evaluationTime=SECONDS,
                lastEvaluation=STRING,
            )
        ),
    )
)
BACKFILL = prometheus(
    record(
        rounds={"type": "integer"},
        samples={"type": "integer"},
        nextMs={"type": ["integer", "null"]},
        failures=listing(STRING),
    )
)
ALERTS = prometheus(record(alerts=listing(_ALERT)))
_ALERTMANAGER = record(url=STRING)
ALERTMANAGERS = prometheus(
    record(activeAlertmanagers=listing(_ALERTMANAGER), droppedAlertmanagers=listing(_ALERTMANAGER))
)
DESTINATIONS = prometheus(
    record(
        destinations=listing(
            record(
                name=STRING,
                kind=STRING,
                address=STRING,
                waiting=COUNT,
                waitingBytes=COUNT,
                waitingSince=OPTIONAL_TEXT,
                toldAlerts=COUNT,
                lastSuccess=OPTIONAL_TEXT,
                lastError=STRING,
            )
        ),
        refused=listing(record(destination=STRING, at=STRING, reason=STRING, sent={})),
    )
)
_REFUSAL = {
    "id": STRING,
    "sink": STRING,
    "at": STRING,
    "at_ms": COUNT,
    "reason": STRING,
    "samples": COUNT,
    "events": COUNT,
    "series": COUNT,
    "metric": STRING,
}
SINKS = prometheus(_SINKS)
REFUSALS = prometheus(listing(record(**_REFUSAL)))
REFUSAL = prometheus(record(**_REFUSAL, content=listing({"type": "object"})))
SINK_TRIED = prometheus(record(sink=STRING, seconds={"type": "number"}, said=STRING))
SINK_DONE = prometheus(record(id=STRING, samples=COUNT))
BUS_MESSAGES = prometheus(record(next=COUNT, messages=listing(record(topic=STRING, body=STRING))))
TOPICS = prometheus(
    listing(record(topic=STRING, messages=COUNT, size_bytes=COUNT, rate={"type": "number"}, last_ms=COUNT))
)
TARGETS = prometheus(
    record(
        activeTargets=listing(
            record(
                discoveredLabels=LABELS,
                labels=LABELS,
                scrapePool=STRING,
                scrapeUrl=STRING,
                globalUrl=STRING,
                lastError=STRING,
                lastScrape=STRING,
                lastScrapeDuration={"type": "number"},
                health={"type": "string", "enum": ["up", "down", "unknown"]},
                scrapeInterval=STRING,
                scrapeTimeout=STRING,
            )
        ),
        droppedTargets=listing(record(discoveredLabels=LABELS, scrapePool=STRING)),
        droppedTargetCounts={"type": "object", "additionalProperties": COUNT},
    )
)
TARGET_METADATA = prometheus(
    listing(record({"metric": STRING}, target=LABELS, type=STRING, help=STRING, unit=STRING))
)
SCRAPE_POOLS = prometheus(record(scrapePools=TEXTS))
BUILD_INFO = prometheus(
    record(
        version=STRING,
        revision=STRING,
        branch=STRING,
        buildUser=STRING,
        buildDate=STRING,
        goVersion=STRING,
        application=STRING,
        applicationVersion=STRING,
        pythonVersion=STRING,
    )
)
RUNTIME_INFO = prometheus(
    record(
        startTime=STRING,
        serverTime=STRING,
        CWD=STRING,
        hostname=STRING,
        reloadConfigSuccess={"type": "boolean"},
        lastConfigTime=STRING,
        corruptionCount=COUNT,
        goroutineCount=COUNT,
        GOMAXPROCS=COUNT,
        GOMEMLIMIT=COUNT,
        GOGC=STRING,
        GODEBUG=STRING,
        storageRetention=STRING,
    )
)
CONFIG = prometheus(record(yaml=STRING))
FLAGS = prometheus(LABELS)
_COUNTS = listing(record(name=STRING, value=COUNT))
TSDB = prometheus(
    record(
        headStats=record(
            numSeries=COUNT,
            numLabelPairs=COUNT,
            chunkCount=COUNT,
            minTime={"type": "integer"},
            maxTime={"type": "integer"},
        ),
        seriesCountByMetricName=_COUNTS,
        labelValueCountByLabelName=_COUNTS,
        memoryInBytesByLabelName=_COUNTS,
        seriesCountByLabelValuePair=_COUNTS,
    )
)
WAL_REPLAY = prometheus(
    record(
        min=COUNT,
        max=COUNT,
        current=COUNT,
        state={"type": "string", "enum": ["waiting", "in progress", "done"]},
    )
)
NOTIFICATIONS = prometheus(listing(record(text=STRING, date=STRING, active={"type": "boolean"})))
