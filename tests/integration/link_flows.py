"""Users who go through Link, and the application that completes what they did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.integration.harness import World

Answer = dict[str, Any]


def content(answer: Answer, status: int = 200) -> dict[str, Any]:
    assert answer["statusCode"] == status, answer["body"]
    body: dict[str, Any] = json.loads(answer["body"])
    return body


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer["headers"]["content-type"] == "application/problem+json", answer
    problem = content(answer, status)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    return problem


def link_token(world: World, user: str, **body: Any) -> str:
    created = content(world.request("POST", "/link-tokens", {"client_user_id": user} | body), 201)
    return str(created["link_token"])


def went_through_link(world: World, user: str, login: str | None = None, **body: Any) -> dict[str, Any]:
    """Let a user go through Link; return the body that completes it."""
    token = link_token(world, user, **body)
    public_token = world.plaid.complete_link(token, login=login)
    return {"link_token": token, "client_user_id": user, "public_token": public_token}


def linked(world: World, user: str, login: str | None = None, query: dict[str, str] | None = None) -> str:
    """Let a user go through Link, and complete it; return the Item."""
    answer = world.request("POST", "/items", went_through_link(world, user, login), query)
    return str(content(answer, 201)["item_id"])


def take_messages(world: World) -> list[tuple[str, str]]:
    """Take what is in the queue: Items and causes."""
    bodies = []
    while records := world.receive():
        bodies += [json.loads(record["body"]) for record in records]
        for record in records:
            world.delete(record)
    return [(body["item_id"], body["cause"]) for body in bodies]


def history(world: World, item_id: str) -> list[dict[str, Any]]:
    """Return an Item's history, oldest first."""
    entries: list[dict[str, Any]] = content(world.request("GET", f"/items/{item_id}/history"))["history"]
    return entries[::-1]


def link_rows(world: World, prefix: str) -> dict[str, dict[str, Any]]:
    pages = world.stack.client("dynamodb").get_paginator("scan").paginate(TableName=world.stack.links_table)
    rows = [row for page in pages for row in page["Items"]]
    return {row["link_key"]["S"]: row for row in rows if row["link_key"]["S"].startswith(prefix)}


def put_link(world: World, key: str, **values: str) -> None:
    """Store a row of the Links table."""
    row = {name: {"S": value} for name, value in ({"link_key": key} | values).items()}
    world.stack.client("dynamodb").put_item(TableName=world.stack.links_table, Item=row)


def claims_of(world: World, item_id: str) -> set[str]:
    return {key for key, row in link_rows(world, "login#").items() if row["item_id"]["S"] == item_id}


def is_rolled_back(world: World, item_id: str) -> bool:
    """Return whether nothing is left of an exchanged Item that was not registered: no token, and no reader finds it."""
    row = world.item(item_id)
    return row == {} or ("unregistered_link" in row and row.keys().isdisjoint({"access_token", "link_id", "fresh_at"}))
