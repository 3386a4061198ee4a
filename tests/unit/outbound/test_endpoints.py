"""Endpoints are read as they are written, and bad ones are named without their secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plaid_sync.outbound.endpoints import Endpoint, InvalidEndpointError, dump_endpoints, parse_endpoints

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BOOKS = Endpoint("books", "https://books.example/events?a=b", (SECRET,), ("ItemNeedsUser",), enabled=False)


def test_the_secret_holds_endpoints_as_they_are() -> None:
    assert parse_endpoints(dump_endpoints((BOOKS,))) == (BOOKS,)
    assert parse_endpoints('{"endpoints": []}') == parse_endpoints("") == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Books"},
        {"name": 5},
        {"url": "ftp://books.example"},
        {"url": "https://"},
        {"url": "https://user:password@books.example"},
        {"url": "https://books.example/#part"},
        {"url": "https://books.example:99999"},
        {"url": "https://books.example/a b"},
        {"url": None},
        {"secrets": []},
        {"secrets": [SECRET] * 3},
        {"secrets": ["whsec_c2hvcnQ="]},
        {"secrets": [SECRET.removeprefix("whsec_")]},
        {"secrets": ["whsec_not base64"]},
        {"types": [""]},
        {"types": None},
        {"enabled": "true"},
    ],
    ids=str,
)
def test_a_field_that_is_wrong_is_named(changes: dict[str, Any]) -> None:
    document = {"endpoints": [BOOKS.to_document() | changes]}
    with pytest.raises(InvalidEndpointError) as caught:
        parse_endpoints(json.dumps(document))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"endpoints": 5}', '{"endpoints": [{}]}'])
def test_another_document_is_malformed(text: str) -> None:
    with pytest.raises(InvalidEndpointError, match="malformed"):
        parse_endpoints(text)


def test_there_is_a_limit() -> None:
    with pytest.raises(InvalidEndpointError, match="20"):
        dump_endpoints((BOOKS,) * 21)


def test_no_secret_is_shown() -> None:
    assert SECRET not in repr(BOOKS)
