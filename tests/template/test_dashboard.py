"""The dashboard shows what the functions tell, with the alarms' thresholds drawn where they hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from plaid_sync.adapters.plaid.observing import UNREACHABLE
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.items import ItemStatus

from tests.template.cloudformation import PROJECT, Template
from tests.template.operations import HALVES, Alarm, Widget, alarms_of, slugs_of, widgets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS: Final = 24
LINKS_FROM: Final = 20
NOT_BY_FIVE_MINUTES: Final = {"webhooks-silent", "removals-unfinished"}


def problems_of_thresholds(alarms: Template, dashboard: Template) -> Iterator[str]:
    """Each alarm's threshold stands on a graph of its metric and statistic, and no other line is drawn."""
    watched = {alarm.slug: alarm for alarm in alarms_of(alarms)}
    for alarm in watched.values():
        shown = [widget for widget in widgets_of(dashboard) if _axis(widget, alarm)]
        if not any(_draws(widget, alarm) for widget in shown):
            yield f"{alarm.slug} is drawn nowhere"
    for widget in widgets_of(dashboard):
        for slug, _, _ in widget.thresholds():
            if slug not in watched or not _draws(widget, watched[slug]):
                yield f"{widget.title}: {slug} does not fit"


def _axis(widget: Widget, alarm: Alarm) -> str | None:
    wanted = alarm.metric, alarm.statistic
    return next((line.axis for line in widget.lines() if (line.metric, line.statistic) == wanted), None)


def _draws(widget: Widget, alarm: Alarm) -> bool:
    if widget.properties["period"] != alarm.period and alarm.slug not in NOT_BY_FIVE_MINUTES:
        return False
    return (alarm.slug, alarm.properties["Threshold"], _axis(widget, alarm)) in set(widget.thresholds())


def test_the_thresholds_are_those_of_the_alarms(alarms: Template, dashboard: Template) -> None:
    assert list(problems_of_thresholds(alarms, dashboard)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ItemsStaleAlarm/Properties/Threshold", 43_200),
        ("SyncBacklogAlarm/Properties/ExtendedStatistic", "p90"),
        ("WebhookErrorsAlarm/Properties/Threshold", 2),
        ("Api5xxAlarm/Properties/Period", 60),
    ],
)
def test_an_alarm_that_changes_leaves_the_graphs_behind(
    alarms: Template, dashboard: Template, path: str, value: object
) -> None:
    assert list(problems_of_thresholds(alarms.broken(f"Resources/{path}", value), dashboard))


def test_the_widgets_fill_the_grid_without_a_gap(dashboard: Template) -> None:
    cells: list[tuple[int, int]] = []
    for widget in widgets_of(dashboard):
        left, top, width, height = widget.area
        cells += [(column, row) for column in range(left, left + width) for row in range(top, top + height)]
        assert left + width <= LINKS_FROM or (left == LINKS_FROM and widget.kind == "text")
    rows = max(row for _, row in cells) + 1
    assert sorted(cells) == [(column, row) for column in range(COLUMNS) for row in range(rows)]


def test_the_alarm_widget_has_every_alarm_that_can_page(alarms: Template, dashboard: Template) -> None:
    [widget] = [widget for widget in widgets_of(dashboard) if widget.kind == "alarm"]
    shown = [arn.rpartition(":alarm:${StackName}-")[2] for arn in widget.properties["alarms"]]
    assert sorted(shown) == sorted(set(slugs_of(alarms)) - HALVES)


@pytest.mark.parametrize(
    ("metric", "dimension", "values"),
    [
        ("Items", "state", set(ItemStatus)),
        ("PlaidErrors", "class", {*FailureClass, UNREACHABLE}),
        (
            "WebhookRejected",
            "reason",
            {
                reason
                for folder in ("functions/webhook", "layers/plaid_sync/plaid_sync/core/webhooks")
                for path in (PROJECT / folder).glob("*.py")
                for reason in re.findall(r'RejectedError\("(\w+)"\)', path.read_text())
            },
        ),
    ],
)
def test_each_value_of_a_dimension_is_shown(dashboard: Template, metric: str, dimension: str, values: set[str]) -> None:
    lines = [line.metric for widget in widgets_of(dashboard) for line in widget.lines() if line.metric.name == metric]
    shown = {dict(line.dimensions)[dimension] for line in lines if dimension in dict(line.dimensions)}
    assert shown == values
