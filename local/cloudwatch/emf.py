"""Metrics in CloudWatch's embedded metric format: log lines that hold, and describe, the values of metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Datum:
    """Values of one metric at one time, as `PutMetricData` takes them.

    Attributes:
        values: How often each value occurred.
    """

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    timestamp: float
    unit: str
    values: Mapping[float, int]


def metrics_in(log: str) -> Iterator[Datum]:
    """Yield the metrics in a piece of log, a datum for each metric and each of its sets of dimensions.

    A line that is not valid JSON, or names a metric or a dimension that it does not hold, yields nothing for it, as on
    AWS.
    """
    for line in log.splitlines():
        if line.startswith("{") and '"_aws"' in line:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            yield from _metrics_of(document)


def _metrics_of(document: Mapping[str, Any]) -> Iterator[Datum]:
    metadata = document.get("_aws")
    if not isinstance(metadata, dict):
        return
    for directive in metadata.get("CloudWatchMetrics", ()):
        for names in directive.get("Dimensions") or [[]]:
            if not all(name in document for name in names):
                continue
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive.get("Metrics", ()):
                if values := _values(document.get(metric["Name"])):
                    yield Datum(
                        directive["Namespace"],
                        metric["Name"],
                        dimensions,
                        metadata["Timestamp"] / 1000,
                        metric.get("Unit", "None"),
                        values,
                    )


def _values(value: Any) -> Counter[float]:  # noqa: ANN401 - any JSON
    values = value if isinstance(value, list) else [value]
    return Counter(float(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool))
