"""Annotations of transactions in the Items API: versions, merge patches, limits, and what needs a review."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.annotations import merge_patch
from plaid_sync.domain.transaction import StoredRow, TransactionId, parse_transaction

from tests.fakes.api import Api, content, problem
from tests.fakes.plaid import transaction

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId
    from plaid_sync.items_api.http import Response

ID = TransactionId("t")


@pytest.fixture
def item_id(api: Api) -> ItemId:
    item_id = api.linked()
    row = replace(parse_transaction(transaction("t")), transaction_id=ID)
    api.tables.transactions.rows_of[item_id] = {ID: StoredRow(ID, row.account_id, True, 1, 1, row)}  # noqa: FBT003
    return item_id


def send(  # noqa: PLR0913, PLR0917 - the parts of a request
    api: Api, item_id: str, method: str, body: object = None, if_match: str = "*", transaction_id: str = "t"
) -> Response:
    path = f"/items/{item_id}/transactions/{transaction_id}/annotations"
    return api.request(method, path, body, headers={"if-match": if_match} if if_match else {})


def remove(api: Api, item_id: ItemId, posted: str | None = None) -> None:
    rows = api.tables.transactions.rows_of[item_id]
    rows[ID] = replace(rows[ID], live=False, row=None, posted_transaction_id=posted)


def test_a_patch_holds_only_for_the_version_that_it_names(api: Api, item_id: ItemId) -> None:
    assert content(send(api, item_id, "GET")) == {"transaction_id": "t", "annotations": {}, "version": 0}
    first = send(api, item_id, "PATCH", '{"a": 0.10, "b": {"c": 1}}', '"0"')
    assert first["headers"]["etag"] == '"1"'
    assert content(first)["annotations"] == {"a": Decimal("0.10"), "b": {"c": 1}}
    refused = problem(send(api, item_id, "PATCH", {"a": 2}, '"0"'), 412, "annotations_modified")
    assert refused["version"] == "1"
    second = content(send(api, item_id, "PATCH", {"b": {"c": None, "d": [None]}}, '"1"'))
    assert (second["annotations"], second["version"]) == ({"a": Decimal("0.10"), "b": {"d": [None]}}, 2)
    assert content(send(api, item_id, "PATCH", {"a": None}))["version"] == 3
    assert problem(send(api, item_id, "DELETE", if_match='"2"'), 412, "annotations_modified")["version"] == "3"
    assert content(send(api, item_id, "DELETE", if_match='"3"'))["annotations"] == {}
    assert content(send(api, item_id, "GET"))["version"] == 4


@pytest.mark.parametrize("if_match", ["", " "])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_without_a_version_is_refused(api: Api, item_id: ItemId, method: str, if_match: str) -> None:
    assert problem(send(api, item_id, method, {}, if_match), 428, "if_match_required")["field"] == "If-Match"


@pytest.mark.parametrize("if_match", ["0", 'W/"0"', '"-1"', '"0", "1"', '"x"', '"' + "1" * 19 + '"'])
def test_a_version_that_is_none_is_refused(api: Api, item_id: ItemId, if_match: str) -> None:
    assert problem(send(api, item_id, "PATCH", {}, if_match), 400, "invalid_request")["field"] == "If-Match"


def nested(levels: int) -> Any:
    return {} if levels == 1 else {"x": nested(levels - 1)}


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        '"text"',
        {"x": "y" * 16_384},
        nested(17),
        '{"x": ' * 400 + "1" + "}" * 400,
        {"": 1},
        {"x" * 256: 1},
        '{"x": 123456789012345678901234567890123456789}',
        '{"x": 1e126}',
        '{"x": [0.1234567890123456789012345678901234567891]}',
        '{"x": 1e-126}',
        '{"x": NaN}',
        '{"x": {"y": "\\ud800"}}',
        '{"\\ud800": 1}',
    ],
    ids=lambda body: str(body)[:30].encode("ascii", "backslashreplace").decode(),
)
def test_what_cannot_be_stored_exactly_is_refused_and_changes_nothing(api: Api, item_id: ItemId, body: object) -> None:
    content(send(api, item_id, "PATCH", {"kept": True}))
    refused = problem(send(api, item_id, "PATCH", body), 400, "invalid_request")
    assert refused["field"] == "body"
    assert refused["fix"]
    assert content(send(api, item_id, "GET"))["annotations"] == {"kept": True}


@pytest.mark.parametrize(
    "body",
    [
        nested(16),
        {"x": 10**120},
        {"x" * 255: -1},
        '{"x": 0.12345678901234567890123456789012345678}',
        '{"x": 0e999}',
        {},
    ],
    ids=lambda body: str(body)[:30],
)
def test_what_is_just_within_the_limits_is_stored(api: Api, item_id: ItemId, body: object) -> None:
    content(send(api, item_id, "PATCH", body))


def test_a_removed_transaction_takes_none_and_names_its_posted_one(api: Api, item_id: ItemId) -> None:
    content(send(api, item_id, "PATCH", {"a": 1}))
    remove(api, item_id)
    assert "posted_transaction_id" not in problem(send(api, item_id, "PATCH", {"b": 1}), 409, "transaction_removed")
    remove(api, item_id, "posted")
    refused = problem(send(api, item_id, "PATCH", {"b": 1}), 409, "transaction_removed")
    assert refused["posted_transaction_id"] == "posted"
    assert content(send(api, item_id, "GET"))["annotations"] == {"a": 1}


def test_what_did_not_move_is_listed_until_it_is_deleted(api: Api, item_id: ItemId) -> None:
    path = f"/items/{item_id}/annotations/review"
    content(send(api, item_id, "PATCH", {"a": 1}))
    assert api.get(path) == {"unmoved": []}
    remove(api, item_id)
    (shown,) = api.get(path)["unmoved"]
    assert (shown["transaction_id"], shown["annotations"], shown["candidates"]) == ("t", {"a": 1}, [])
    content(send(api, item_id, "DELETE", if_match=f'"{shown["version"]}"'))
    assert api.get(path) == {"unmoved": []}
    assert api.ports["annotations"].expired == {ID}


def test_what_does_not_exist_is_not_found(api: Api, item_id: ItemId) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        problem(send(api, item_id, method, {}, transaction_id="another"), 404, "transaction_not_found")
        problem(send(api, item_id, method, {}, transaction_id="x" * 1001), 404, "transaction_not_found")
        problem(send(api, "another", method, {}), 404, "item_not_found")
    problem(api.request("GET", "/items/another/annotations/review"), 404, "item_not_found")


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    """Its appendix A."""
    assert merge_patch(target, patch) == result
