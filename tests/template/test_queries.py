"""The saved queries look for what the functions log."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final

from plaid_sync.signals import Signal

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

TELLING: Final = [
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
LAMBDAS_OWN: Final = {"type", "record", "metrics", "initDurationMs", "durationMs", "requestId"}
"""https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html, `platform.report`."""
POWERTOOLS_OWN: Final = {"message", "service", "function_request_id", "correlation_id"}
"""https://docs.powertools.aws.dev/lambda/python/latest/core/logger/#standard-structured-keys"""


def texts_of(queries: Template) -> Iterator[tuple[str, str]]:
    """Name and text of each query, without comments."""
    for name, found in queries.of("AWS::Logs::QueryDefinition").items():
        lines = found["Properties"]["QueryString"].splitlines()
        yield name, "\n".join(line for line in lines if not line.startswith("#"))


def test_the_messages_are_those_of_the_code(queries: Template) -> None:
    for name, text in texts_of(queries):
        for message in re.findall(r'message = "([^"]+)"', text):
            assert any(f'"{message}"' in code for code in TELLING), name


def test_the_fields_are_those_of_the_logs(queries: Template, template: Template) -> None:
    keywords = {word for text in TELLING for word in chain.from_iterable(re.findall(r'\b(\w+)=|"(\w+)":', text))}
    access_log = set(re.findall(r'"(\w+)":', template.properties("Api")["AccessLogSettings"]["Format"]))
    logged = keywords | access_log | set(Signal) | LAMBDAS_OWN | POWERTOOLS_OWN
    for name, text in texts_of(queries):
        words = re.findall(r"(?<![@\w])[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", text))
        named = set(re.findall(r"\bas (\w+)", text))
        assert set(words) - named - LANGUAGE <= logged, name


def test_they_stand_in_the_stacks_folder_and_search_its_log_groups(queries: Template, template: Template) -> None:
    functions = {found["FunctionName"]["Fn::Sub"] for found in template.functions.values()}
    groups = {f"/aws/lambda/{name}" for name in functions} | {"/aws/vendedlogs/${AWS::StackName}-api"}
    for found in queries.of("AWS::Logs::QueryDefinition").values():
        properties = found["Properties"]
        assert properties["Name"]["Fn::Sub"].startswith("${StackName}/")
        searched = {group["Fn::Sub"] for group in properties["LogGroupNames"]}
        assert {name.replace("${StackName}", "${AWS::StackName}") for name in searched} <= groups
