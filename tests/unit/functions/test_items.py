"""The function of the Items API: what it counts and logs of link sessions that webhooks report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias
from unittest.mock import patch

import pytest

from tests.fakes.functions import import_app, lambda_context
from tests.fakes.plaid import login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.api import Api

    Complete: TypeAlias = Callable[..., tuple[int, int, list[tuple[str, str]]]]


@pytest.fixture
def complete(api: Api, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Complete:
    """Let the function complete a session; return how many Items it linked, how many others it served, and failures."""

    def complete(link_token: str, *public_tokens: str) -> tuple[int, int, list[tuple[str, str]]]:
        app = import_app("items")
        session = {"link_token": link_token, "public_tokens": list(public_tokens)}
        capsys.readouterr()
        caplog.clear()
        with caplog.at_level("INFO"), patch.object(app, "api", replace(app.api, completer=api.completer())):
            app.lambda_handler({"finished_link_session": session, "correlation_id": "request"}, lambda_context())
        documents = map(json.loads, capsys.readouterr().out.splitlines())
        linked = sum(sum(document.get("ItemLinked", [])) for document in documents if "_aws" in document)
        *failures, completed = [vars(record) for record in caplog.records]
        assert (completed["message"], completed["linked"]) == ("link session completed", linked)
        failed = [(failure["message"], failure["route"]) for failure in failures]
        return linked, len(completed["item_ids"]) - linked, failed

    return complete


def test_an_item_counts_as_linked_once_however_many_webhooks_report_it(api: Api, complete: Complete) -> None:
    token = api.link_token("user", enable_multi_item_link=True)
    first, second = (api.plaid.complete(token, login(name)) for name in ("one", "two"))
    assert complete(token, first) == (1, 0, [])
    assert complete(token, first, second) == (1, 1, [])
    hosted = api.went_through_link("other", hosted_link={})["link_token"]
    assert complete(hosted) == (1, 0, [])
    assert complete(hosted) == (0, 1, [])


def test_an_update_mode_counts_as_a_request_and_not_as_a_link(api: Api, complete: Complete) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id, hosted_link={})
    assert complete(token) == (0, 0, [("request refused", "webhook LINK")])
    api.plaid.complete(token)
    assert complete(token) == (0, 1, [])
    api.fail("queue", "send")
    assert complete(token) == (0, 0, [("request failed", "webhook LINK")])


def test_a_link_that_is_refused_counts_as_such(api: Api, complete: Complete) -> None:
    api.linked()
    body = api.went_through_link("user", hosted_link={})
    assert complete(body["link_token"], body["public_token"]) == (0, 0, [("request refused", "POST /items")])
