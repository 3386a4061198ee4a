"""The webhook function's invocation of the items function."""

from __future__ import annotations

import io
import json
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from plaid_sync.aws.clients import INVOKE_CONFIG
from plaid_sync.aws.items_function import ItemsFunction
from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.ports import LinkOutcome

NAME = "stack-items:live"


def complete(answer: object, **response: Any) -> LinkOutcome:
    client = boto3.client("lambda", config=INVOKE_CONFIG)
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    session = {"ended": False, "link_token": "link-1", "public_tokens": ["public-1"]}
    payload = {"correlation_id": "request", "finished_link_session": session}
    with Stubber(client) as stub:
        stub.add_response(
            "invoke",
            {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body)), **response},
            {"FunctionName": NAME, "Payload": json.dumps(payload, separators=(",", ":")).encode()},
        )
        return ItemsFunction(lambda: client, NAME).complete("link-1", ("public-1",), "request", ended=False)


@pytest.mark.usefixtures("aws")
def test_the_response_is_the_reason_of_a_refusal_or_nothing() -> None:
    assert complete({"item_ids": ["item"], "code": None, "retry": False}) == LinkOutcome()
    refused = {"item_ids": [], "code": "duplicate_item", "retry": False, "client_user_id": "user"}
    assert complete(refused) == LinkOutcome("duplicate_item", "user")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("answer", "response", "code"),
    [
        ({"item_ids": [], "code": "plaid_unreachable", "retry": True}, {}, "plaid_unreachable"),
        ({"errorMessage": "timed out"}, {"FunctionError": "Unhandled"}, "items_function_failed"),
        (None, {}, "unreadable"),
        (b"<html>", {}, "unreadable"),
    ],
)
def test_a_failure_that_passes_or_of_the_function_is_plaids_to_retry(
    answer: object, response: dict[str, Any], code: str
) -> None:
    with pytest.raises(TransientError, match=code):
        complete(answer, **response)


@pytest.mark.usefixtures("aws")
def test_an_invocation_that_is_refused_is_plaids_to_retry() -> None:
    client = boto3.client("lambda", config=INVOKE_CONFIG)
    with Stubber(client) as stub:
        stub.add_client_error("invoke", "TooManyRequestsException")
        with pytest.raises(TransientError, match="TooManyRequestsException"):
            ItemsFunction(lambda: client, NAME).complete("link-1", (), "", ended=True)
