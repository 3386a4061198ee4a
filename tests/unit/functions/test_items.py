"""The function of the Items API: what it counts of link sessions that webhooks report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.fakes.functions import import_app, lambda_context
from tests.fakes.plaid import login

if TYPE_CHECKING:
    import pytest

    from tests.fakes.api import Api

COUNTED = ("ItemLinked", "LinkRefused", "LinkFailed", "RequestServed", "RequestRefused", "RequestFailed")


def complete(api: Api, capsys: pytest.CaptureFixture[str], link_token: str, *public_tokens: str) -> dict[str, float]:
    """Let the function complete a session; return what it counted."""
    app = import_app("items")
    session = {"link_token": link_token, "public_tokens": list(public_tokens)}
    capsys.readouterr()
    with patch.object(app, "api", replace(app.api, completer=api.completer())):
        app.lambda_handler({"finished_link_session": session, "correlation_id": "request"}, lambda_context())
    documents: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metrics,) = [document for document in documents if "_aws" in document and "ColdStart" not in document]
    counts = {name: sum(metrics.get(name, [])) for name in COUNTED}
    return {name: number for name, number in counts.items() if number}


def test_an_item_counts_as_linked_once_however_many_webhooks_report_it(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    token = api.link_token("user", enable_multi_item_link=True)
    first, second = (api.plaid.complete(token, login(name)) for name in ("one", "two"))
    assert complete(api, capsys, token, first) == {"ItemLinked": 1}
    assert complete(api, capsys, token, first, second) == {"ItemLinked": 1, "RequestServed": 1}
    hosted = api.went_through_link("other", hosted_link={})["link_token"]
    assert complete(api, capsys, hosted) == {"ItemLinked": 1}
    assert complete(api, capsys, hosted) == {"RequestServed": 1}


def test_an_update_mode_counts_as_a_request_and_not_as_a_link(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id, hosted_link={})
    assert complete(api, capsys, token) == {"RequestRefused": 1}
    api.plaid.complete(token)
    assert complete(api, capsys, token) == {"RequestServed": 1}
    api.fail("queue", "send")
    assert complete(api, capsys, token) == {"RequestFailed": 1}


def test_a_link_that_is_refused_counts_as_such(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.linked()
    body = api.went_through_link("user", hosted_link={})
    assert complete(api, capsys, body["link_token"], body["public_token"]) == {"LinkRefused": 1}
