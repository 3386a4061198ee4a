"""The whole dashboard as an HTML page that needs nothing else: charts are SVG, texts and alarms are HTML."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from local.dashboard.definition import COLUMNS
from local.dashboard.picture import STATES, note, save_chart

if TYPE_CHECKING:
    from local.dashboard.definition import Widget
    from local.dashboard.readings import Readings

_STYLE = f"""\
body {{ margin: 16px; background: #f2f3f3; color: #16191f; font: 14px/1.4 system-ui, sans-serif }}
h1 {{ margin: 0 }} .note {{ color: #687078; margin: 4px 0 12px }} .empty {{ color: #687078 }}
main {{ display: grid; grid-template-columns: repeat({COLUMNS}, minmax(0, 1fr)); grid-auto-rows: 46px; gap: 8px }}
section {{ background: white; border: 1px solid #d5dbdb; overflow: auto }}
section.text {{ background: none; border: none; padding: 0 8px }} section.text * {{ margin: 0 0 6px }}
section.alarm {{ padding: 8px 12px }} section.alarm h2 {{ margin: 0 0 6px; font-size: 14px }}
ul.alarms {{ list-style: none; margin: 0; padding: 0; columns: 5; font-size: 12px }}
svg {{ width: 100%; height: 100%; display: block }}"""


def page_of(readings: Readings, to_project: str) -> str:
    """Return the page.

    Args:
        readings: What it shows.
        to_project: The path from the page's folder to the project's, for links to its documents.
    """
    name = escape(readings.definition.name)
    empty = "".join(
        f"<p class=empty>No data: {escape(title)}</p>"
        for title in [*readings.without_data(), *readings.missing_alarms()]
    )
    widgets = "\n".join(_section(widget, readings) for widget in readings.definition.widgets)
    return f"""\
<!doctype html>
<html lang="en"><meta charset="utf-8"><base href="{escape(to_project)}/"><title>{name}</title>
<style>{_STYLE}</style>
<h1>{name}</h1><p class="note">{escape(note(readings))}</p>{empty}
<main>
{widgets}
</main></html>
"""


def _section(widget: Widget, readings: Readings) -> str:
    place = f"grid-column: {widget.x + 1} / span {widget.width}; grid-row: {widget.y + 1} / span {widget.height}"
    content = {"text": _text, "alarm": _alarms}.get(widget.kind, _chart)(widget, readings)
    return f'<section class="{widget.kind}" style="{place}" title="{escape(widget.title)}">{content}</section>'


def _text(widget: Widget, _readings: Readings) -> str:
    # HTML in it is escaped.
    html: str = MarkdownIt("js-default").render(widget.markdown)
    return html


def _alarms(widget: Widget, readings: Readings) -> str:
    lines = []
    for name in widget.alarms:
        state = readings.alarms.get(name, "not deployed")
        color = STATES.get(state, "#d13212")
        shown = escape(name.removeprefix(f"{readings.definition.name}-"))
        lines.append(f'<li><span style="color: {color}">●</span> {shown} <small>{state}</small></li>')
    return f'<h2>{escape(widget.title)}</h2><ul class="alarms">{"".join(lines)}</ul>'


def _chart(widget: Widget, readings: Readings) -> str:
    file = io.StringIO()
    save_chart(widget, readings, file)
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
