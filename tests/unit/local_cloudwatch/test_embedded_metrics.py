"""Metrics in log lines are read as CloudWatch reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.cloudwatch.emf import Datum, metrics_in


def line(**changed: Any) -> str:
    document = {
        "_aws": {
            "Timestamp": 1_700_000_000_123,
            "CloudWatchMetrics": [
                {
                    "Namespace": "PlaidSync",
                    "Dimensions": [["service"], ["service", "reason"]],
                    "Metrics": [{"Name": "Rows", "Unit": "Count"}, {"Name": "Lag", "Unit": "Milliseconds"}],
                }
            ],
        },
        "service": "s",
        "reason": "stale",
        "Rows": [2.0, 3.0, 2.0],
        "Lag": 12.5,
    }
    return json.dumps({**document, **changed})


def test_every_metric_is_read_once_for_each_set_of_dimensions_with_all_its_values() -> None:
    log = f"START RequestId: 1\n{line()}\nEND RequestId: 1"
    rows, lag = {2.0: 2, 3.0: 1}, {12.5: 1}
    assert list(metrics_in(log)) == [
        Datum("PlaidSync", "Rows", {"service": "s"}, 1_700_000_000.123, "Count", rows),
        Datum("PlaidSync", "Lag", {"service": "s"}, 1_700_000_000.123, "Milliseconds", lag),
        Datum("PlaidSync", "Rows", {"service": "s", "reason": "stale"}, 1_700_000_000.123, "Count", rows),
        Datum("PlaidSync", "Lag", {"service": "s", "reason": "stale"}, 1_700_000_000.123, "Milliseconds", lag),
    ]


@pytest.mark.parametrize(
    "log",
    [
        "",
        '{"message": "no metric"}',
        '{"_aws": "what"}',
        '{"_aws": {',
        line(Rows="many", Lag=None),
    ],
)
def test_what_is_no_metric_is_none(log: str) -> None:
    assert list(metrics_in(log)) == []
