"""What a stack costs: the document's tables are what the formulas give, for what the templates really have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.domain.item import StateName
from plaid_sync.metrics import DIMENSIONS, Metric
from plaid_sync_cli.health import MAX_FAILURE_AGES

from local.cost import DOCUMENT, Stack, cost_table, idle, read_figures, savings_table, stacks
from tests.template import operations as ops
from tests.template.cloudformation import PROJECT, Resolver

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.template.cloudformation import Template

FIGURES: Final = read_figures()
MAX_IDLE: Final = 10.0
MAX_ALIVE: Final = 25.0
VALUES: Final[dict[str, Collection[str]]] = {
    "Items": list(StateName),
    "ItemsFailing": MAX_FAILURE_AGES,
    "OldestFailure": MAX_FAILURE_AGES,
}
"""The values of each second dimension."""


def test_the_document_has_the_tables_of_the_formulas() -> None:
    document = DOCUMENT.read_text()
    for table in (cost_table(FIGURES), savings_table(FIGURES)):
        assert table in document, f"`make cost` prints:\n{table}"


def test_an_idle_stack_and_one_whose_every_metric_is_alive_stay_within_their_bounds() -> None:
    assert idle(FIGURES).total() < MAX_IDLE
    assert Stack(0, FIGURES).total() < MAX_ALIVE


def test_the_documented_totals_are_those_of_the_formulas() -> None:
    unmonitored = replace(idle(FIGURES), monitored=False)
    for stack, file in ((idle(FIGURES), "README.md"), (idle(FIGURES), "docs/cost.md"), (unmonitored, "docs/cost.md")):
        assert f"${stack.total():.2f}" in (PROJECT / file).read_text()
    document, measured = DOCUMENT.read_text(), FIGURES["measured"]
    assert f"${Stack(0, FIGURES).total():.2f}" in document
    assert f"a sync that finds nothing takes {measured['look_writes']:g} write units" in document
    assert f"and one with changes {measured['sync_writes']:g}" in document
    assert f"A new transaction takes {measured['added_writes']:g} in its table" in document
    assert f"${stacks(FIGURES)[2].total():.0f}" in (PROJECT / "README.md").read_text()


def test_the_catalogue_has_the_documented_number_of_series() -> None:
    series = [len(VALUES[metric]) if metric in DIMENSIONS else 1 for metric in Metric]
    assert sum(series) == FIGURES["stack"]["metrics_alive"]


def test_the_templates_have_what_is_billed(template: Template, alarms: Template, dashboard: Template) -> None:
    documented, made = FIGURES["stack"], Resolver.of(template, {}).resolved()
    made_alarms = Resolver.of(alarms, {"OutboundDeadLetterQueueName": "none"}).resolved()
    alarm_metrics = sum(len(alarm.metrics) for alarm in ops.alarms_of(made_alarms))
    assert alarm_metrics == documented["alarm_metrics"]
    assert len(made.of("AWS::CloudWatch::Alarm")) == documented["version_alarms"]
    assert alarms.of("AWS::CloudWatch::CompositeAlarm") == made.of("AWS::CloudWatch::CompositeAlarm") == {}
    assert len(dashboard.of("AWS::CloudWatch::Dashboard")) == documented["dashboards"]
    keys = [*made.of("AWS::KMS::Key"), *Resolver.of(alarms, {}).resolved().of("AWS::KMS::Key")]
    assert len(keys) == documented["keys"]
    assert len(made.of("AWS::SecretsManager::Secret")) == documented["secrets"]
    assert template.document["Parameters"]["AuditSampleSize"]["Default"] == documented["audited_a_day"]


def test_only_the_documented_routes_have_metrics_of_their_own(template: Template) -> None:
    api = template.properties("Api")
    by_default = api["DefaultRouteSettings"].get("DetailedMetricsEnabled", False)
    settings = api.get("RouteSettings", {})
    routes = [f"{event['Method']} {event['Path']}" for _, event in template.events("HttpApi")]
    detailed = [route for route in routes if settings.get(route, {}).get("DetailedMetricsEnabled", by_default)]
    assert len(detailed) == FIGURES["stack"]["detailed_routes"]


@pytest.mark.parametrize("name", FIGURES["stack"]["memory_mb"])
def test_the_functions_have_the_documented_memory(template: Template, name: str) -> None:
    assert template.functions[f"{name.title()}Function"]["MemorySize"] == FIGURES["stack"]["memory_mb"][name]


def test_each_figure_counts() -> None:
    """A figure that changes nothing is no part of the formulas. The feed, which is off, is not in the tables."""
    base = {**FIGURES, "stack": FIGURES["stack"] | {"detailed_routes": 1}}

    def totals(figures: dict[str, Any], *, infrequent_access: bool) -> list[float]:
        return [replace(stack, infrequent_access=infrequent_access).total() for stack in stacks(figures)]

    for section, name in ((section, name) for section, figures in base.items() for name in figures):
        if isinstance(base[section][name], int | float) and not name.startswith("feed_"):
            figures = {**base, section: base[section] | {name: base[section][name] * 2 + 1}}
            of_class = name.startswith("ia_")
            assert totals(base, infrequent_access=of_class) != totals(figures, infrequent_access=of_class), name
