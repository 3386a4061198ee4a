"""Dashboard, saved queries, metrics dictionary and runbook agree with the alarms and with the code."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from plaid_sync.domain.item import StateName
from plaid_sync.metrics import DIMENSIONS, Metric
from plaid_sync_cli.health import MAX_FAILURE_AGES

from tests.template import operations as ops
from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

# -- dashboard ---------------------------------------------------------------------------------------------------------


def test_the_alarm_widget_has_every_alarm(alarms: Template, dashboard: Template) -> None:
    [widget] = [widget for widget in ops.widgets_of(dashboard) if widget.kind == "alarm"]
    shown = [arn.rpartition(":alarm:${StackName}-")[2] for arn in widget.properties["alarms"]]
    optional = {"outbound-dead-letters", "outbound-errors"}  # a widget shows an alarm that does not exist as an error
    assert sorted(shown) == sorted({*ops.slugs_of(alarms)} - optional)


@pytest.mark.parametrize(
    ("metric", "dimension", "values"),
    [
        ("Items", "state", set(StateName)),
        ("ItemsFailing", "class", set(MAX_FAILURE_AGES)),
        ("OldestFailure", "class", set(MAX_FAILURE_AGES)),
    ],
)
def test_each_value_of_a_dimension_is_shown(dashboard: Template, metric: str, dimension: str, values: set[str]) -> None:
    lines = [
        line.metric for widget in ops.widgets_of(dashboard) for line in widget.lines() if line.metric.name == metric
    ]
    shown = {dict(line.dimensions)[dimension] for line in lines if dimension in dict(line.dimensions)}
    assert shown == values


# -- metrics -----------------------------------------------------------------------------------------------------------

OURS: Final = "PlaidSync"


class Row(NamedTuple):
    namespace: str
    name: str
    unit: str
    dimensions: str
    alarms: frozenset[str]


def rows() -> Iterator[Row]:
    namespace = OURS
    for line in (PROJECT / "docs" / "metrics.md").read_text().splitlines():
        if line.startswith("## "):
            namespace = line[3:] if line.startswith("## AWS/") else OURS
        if line.startswith("| `"):
            name, unit, _, dimensions, alarms = (cell.strip() for cell in line.strip("|").split(" | "))
            slugs = frozenset(re.findall(r"\[([\w-]+)\]\(runbook\.md#\1\)", alarms))
            yield Row(namespace, name.strip("`"), unit, dimensions, slugs)


def dimensions_of(signal: Metric) -> str:
    return f"`service` + `{DIMENSIONS[signal]}`" if signal in DIMENSIONS else "`service`"


def test_the_dictionary_has_exactly_the_metrics_of_the_catalogue() -> None:
    documented = [(row.name, row.unit, row.dimensions) for row in rows() if row.namespace == OURS]
    published = [(signal.value, signal.unit.value, dimensions_of(signal)) for signal in Metric]
    assert sorted(documented) == sorted(published)


def test_the_dictionary_has_each_metric_of_alarms_and_graphs_with_its_alarms_and_dimensions(
    alarms: Template, dashboard: Template
) -> None:
    watched: dict[tuple[str, str], set[str]] = {}
    for alarm in ops.alarms_of(alarms):
        for metric in alarm.metrics:
            watched.setdefault((metric.namespace, metric.name), set()).add(alarm.slug)
    documented = {(row.namespace, row.name): row for row in rows()}
    series = {line.metric for widget in ops.widgets_of(dashboard) for line in widget.lines()}
    assert documented.keys() == watched.keys() | {(metric.namespace, metric.name) for metric in series}
    for key, row in documented.items():
        assert (key, row.alarms) == (key, frozenset(watched.get(key, ())))
    for namespace, name, pairs in ((metric.namespace, metric.name, metric.dimensions) for metric in series):
        dimensions = " + ".join(f"`{dimension}`" for dimension, _ in pairs)
        assert dimensions in documented[namespace, name].dimensions.split("; "), name


# -- saved queries -----------------------------------------------------------------------------------------------------

LOGGING: Final = [
    text
    for folder in ("functions", "layers/plaid_sync")
    for path in (PROJECT / folder).rglob("*.py")
    if "logger" in (text := path.read_text())
]
"""The code that logs."""
LANGUAGE: Final = {
    *("fields", "filter", "stats", "sort", "limit", "by", "as", "and", "or", "asc", "desc", "like", "coalesce"),
    *("count", "count_distinct", "sum", "min", "max", "pct", "latest", "ispresent"),
}
"""Words of Logs Insights."""
OF_LAMBDA: Final = {"type", "record", "metrics", "initDurationMs", "durationMs", "requestId"}
"""https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html, `platform.report`."""
OF_POWERTOOLS: Final = {"message", "service", "function_request_id", "correlation_id"}
"""https://docs.powertools.aws.dev/lambda/python/latest/core/logger/#standard-structured-keys"""


def test_the_queries_use_messages_and_fields_of_the_logs(queries: Template, template: Template) -> None:
    keywords = {word for text in LOGGING for word in chain.from_iterable(re.findall(r'\b(\w+)=|"(\w+)":', text))}
    access_log = set(re.findall(r'"(\w+)":', template.properties("Api")["AccessLogSettings"]["Format"]))
    logged = keywords | access_log | set(Metric) | OF_LAMBDA | OF_POWERTOOLS
    for name, found in queries.of("AWS::Logs::QueryDefinition").items():
        lines = found["Properties"]["QueryString"].splitlines()
        text = "\n".join(line for line in lines if not line.startswith("#"))
        for message in re.findall(r'message = "([^"]+)"', text):
            assert any(f'"{message}"' in code for code in LOGGING), name
        words = re.findall(r"(?<![@\w])[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", text))
        assert set(words) - set(re.findall(r"\bas (\w+)", text)) - LANGUAGE <= logged, name


def test_the_queries_are_in_the_stacks_folder_and_search_its_log_groups(queries: Template, template: Template) -> None:
    functions = {found["FunctionName"]["Fn::Sub"] for found in template.functions.values()}
    groups = {f"/aws/lambda/{name}" for name in functions} | {"/aws/vendedlogs/${AWS::StackName}-api"}
    for found in queries.of("AWS::Logs::QueryDefinition").values():
        properties = found["Properties"]
        assert properties["Name"]["Fn::Sub"].startswith("${StackName}/")
        searched = {group["Fn::Sub"] for group in properties["LogGroupNames"]}
        assert {name.replace("${StackName}", "${AWS::StackName}") for name in searched} <= groups


# -- runbook -----------------------------------------------------------------------------------------------------------

TARGETS: Final = {anchor for level in ("##", "###") for anchor in ops.anchors(ops.RUNBOOK, level)}
OF_FUNCTIONS: Final = ("-errors", "-throttled")
"""Alarms whose common text is above their entries."""


def entries() -> dict[str, str]:
    """Return the text under each heading of the third level."""
    parts = re.split(r"^#{2,3} ", ops.RUNBOOK, flags=re.MULTILINE)
    return {part.split("\n")[0]: part for part in parts[1:] if part.split("\n")[0] in ops.anchors(ops.RUNBOOK, "###")}


def test_each_alarm_has_its_entry_and_each_entry_its_alarm(alarms: Template) -> None:
    assert sorted(ops.anchors(ops.RUNBOOK, "###")) == sorted(ops.slugs_of(alarms))


def test_each_entry_has_its_parts_or_shares_them_with_the_other_functions() -> None:
    parts = ("**Means**", "**Confirm**", "**Causes**", "**Steps**", "**Clears**", "**Escalate**")
    for slug, text in entries().items():
        expected = parts[:1] if slug.endswith(OF_FUNCTIONS) else parts
        assert [part for part in expected if f"- {part}:" not in text] == [], slug
    shared = [part.split("###")[0] for part in re.split(r"^## ", ops.RUNBOOK, flags=re.MULTILINE)]
    shared = [text for text in shared if text.startswith("A function")]
    assert len(shared) == len(OF_FUNCTIONS)
    for text in shared:
        assert [part for part in parts[1:] if part not in text] == []


def test_the_runbooks_timeouts_are_those_of_the_functions(template: Template) -> None:
    for properties in template.functions.values():
        function = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        seconds = properties["Timeout"]
        assert f"Timeout: {seconds} s." in entries()[f"{function}-errors"]


def test_the_runbook_and_the_links_to_it_name_existing_commands_queries_and_headings(
    queries: Template, dashboard: Template
) -> None:
    widgets = "\n".join(str(widget.properties) for widget in ops.widgets_of(dashboard))
    assert {*ops.commands_in(ops.RUNBOOK), *ops.commands_in(widgets)} <= ops.COMMANDS
    saved = {found["Properties"]["Name"]["Fn::Sub"].partition("/")[2] for found in queries.resources.values()}
    named = re.findall(r"[Ss]aved quer(?:y|ies) ((?:`[^`]+`(?:, | and )?)+)", ops.RUNBOOK)
    named += re.findall(r"Queries: ((?:`[^`]+`(?:, )?)+)", widgets)
    assert {name for names in named for name in re.findall(r"`([^`]+)`", names)} <= saved
    assert {*re.findall(r"\]\(#([\w-]+)\)", ops.RUNBOOK), *re.findall(r"\$\{RunbookUrl\}#([\w-]+)", widgets)} <= TARGETS
