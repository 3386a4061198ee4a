"""The dictionary of metrics, the catalogue in code, the alarms and the dashboard say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.signals import ALSO_BY, ONLY_BY, Signal

from tests.template.cloudformation import PROJECT, Template
from tests.template.operations import alarms_of, widgets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS: Final = "PlaidSync"
COLD_START: Final = "ColdStart"
"""Powertools' own metric."""
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the dictionary; `alarms` and `widgets` by their names."""

    namespace: str
    name: str
    unit: str
    dimensions: str
    alarms: frozenset[str]
    widgets: frozenset[str]


def rows() -> Iterator[Row]:
    namespace = OURS
    for line in (PROJECT / "docs" / "metrics.md").read_text().splitlines():
        if line.startswith("## "):
            namespace = line[3:] if line.startswith("## AWS/") else OURS
        if line.startswith("| `"):
            name, unit, _, dimensions, alarms, widgets = (cell.strip() for cell in line.strip("|").split(" | "))
            slugs = frozenset(re.findall(r"\[([\w-]+)\]\(runbook\.md#\1\)", alarms))
            yield Row(namespace, name.strip("`"), unit, dimensions, slugs, frozenset(widgets.split("; ")) - {NOTHING})


def dimensions_of(signal: Signal) -> str:
    if signal in ONLY_BY:
        return f"`service` + `{ONLY_BY[signal]}`"
    return f"`service`; `service` + `{ALSO_BY[signal]}`" if signal in ALSO_BY else "`service`"


def test_the_dictionary_has_exactly_the_metrics_of_the_catalogue() -> None:
    documented = [(row.name, row.unit, row.dimensions) for row in rows() if row.namespace == OURS]
    told = [(signal.value, signal.unit.value, dimensions_of(signal)) for signal in Signal]
    assert sorted(documented) == sorted([*told, (COLD_START, "Count", "`service` + `function_name`")])


def test_the_dictionary_names_each_metrics_alarms_and_widgets(alarms: Template, dashboard: Template) -> None:
    watched: dict[tuple[str, str], set[str]] = {}
    for alarm in alarms_of(alarms):
        watched.setdefault((alarm.metric.namespace, alarm.metric.name), set()).add(alarm.slug)
    shown: dict[tuple[str, str], set[str]] = {}
    for widget in widgets_of(dashboard):
        for line in widget.lines():
            shown.setdefault((line.metric.namespace, line.metric.name), set()).add(widget.title)
    documented = {(row.namespace, row.name): row for row in rows()}
    assert documented.keys() == watched.keys() | shown.keys()  # and none is told that nobody sees
    for metric, row in documented.items():
        assert (metric, row.alarms) == (metric, frozenset(watched.get(metric, ())))
        assert (metric, row.widgets) == (metric, frozenset(shown.get(metric, ())))


def test_the_graphs_use_the_dimensions_that_are_told(dashboard: Template) -> None:
    known = {(row.namespace, row.name): row.dimensions for row in rows()}
    for widget in widgets_of(dashboard):
        for line in widget.lines():
            names = " + ".join(f"`{name}`" for name, _ in line.metric.dimensions)
            assert names in known[line.metric.namespace, line.metric.name].split("; "), line
