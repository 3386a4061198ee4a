"""The Items API as its users reach it: HTTP, signed by SigV4, answered by the deployed function, which asks a Plaid.

The client is the program of docs/api.md, as it stands there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
import yaml

from local.plaid import Phase
from tests.component.inside import asks_the_emulator
from tests.component.lasting import lasting_world
from tests.deployment import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.component.world import World
    from tests.deployment import Deployment

    Call = Callable[..., tuple[int, dict[str, Any]]]

pytestmark = asks_the_emulator

DOCS: Final = Path(__file__).parents[2] / "docs"
PATHS: Final[dict[str, Any]] = yaml.safe_load((DOCS / "openapi.yaml").read_text())["paths"]
ROUTES: Final = [
    f"{method.upper()} {path}" for path, operations in PATHS.items() for method in operations if method != "parameters"
]
PUBLIC: Final = "POST /webhooks/plaid"
(PROGRAM,) = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A world whose Plaid the deployed function asks, too."""
    with lasting_world(deployment, seed=21) as world:
        deployment.stack.set_environment("items", {"PLAID_BASE_URL": world.server.base_url})
        yield world
        deployment.stack.set_environment("items", {"PLAID_BASE_URL": NOWHERE})


def identity(world: World, name: str, *allowed: str) -> dict[str, str]:
    """Create an IAM user who may call these routes; return the environment of its programs."""
    stack = world.stack
    iam = stack.client("iam")
    iam.create_user(UserName=name)
    api = f"arn:aws:execute-api:{stack.emulator.region}:*:{stack.resources.id('Api')}"
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [f"{api}/*/{one}" for one in allowed]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="items", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "API_URL": stack.api_url,
        "AWS_REGION": stack.emulator.region,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


@pytest.fixture(scope="module")
def application(world: World) -> dict[str, str]:
    return identity(world, "application", "*/items*", "POST/link-tokens")


def run_program(world: World, environment: dict[str, str], login: str) -> dict[str, Any]:
    """Run the document's program, with somebody who goes through Link; return its names."""

    def go_through_link(prompt: str) -> str:
        (token,) = re.findall(r"link-[\w-]+", prompt)
        return str(world.plaid.complete_link(token, login=login))

    names: dict[str, Any] = {"input": go_through_link}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        exec(compile(PROGRAM, "docs/api.md", "exec"), names)  # noqa: S102 - the document's program is what is tested
        names["session"].get_credentials()
    return names


def test_the_documents_program_links_an_item_and_then_replaces_it(
    world: World, application: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (run_program(world, application, "ana")["item"] for _ in range(2))
    assert capsys.readouterr().out == "active nothing\n" * 2
    assert (first["client_user_id"], second["client_user_id"]) == ("user-17", "user-17")
    assert world.item(first["item_id"])["status"] == "removed"
    assert world.item(second["item_id"])["status"] == "active"


def test_every_route_answers_who_has_signed(world: World, application: dict[str, str]) -> None:
    names = run_program(world, application, "ben")
    call, item_id = names["call"], names["item"]["item_id"]
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    asked: dict[str, tuple[int, dict[str, Any]]] = {
        "POST /link-tokens": call("POST", "/link-tokens", {"item_id": item_id, "account_selection": True}),
        "POST /items": (201, names["linked"]),
        "GET /items": call("GET", "/items", client_user_id="user-17", limit=2),
    }
    world.plaid.complete_link(asked["POST /link-tokens"][1]["link_token"])
    finished = {"link_token": asked["POST /link-tokens"][1]["link_token"]}
    for route in [route for route in ROUTES if "{item_id}" in route and not route.startswith("DELETE")]:
        method, path = route.replace("{item_id}", item_id).split(" ")
        asked[route] = call(method, path, finished if path.endswith("/sync") else None)
    asked["DELETE /items/{item_id}"] = call("DELETE", f"/items/{item_id}", transactions="erase")
    assert {*asked, PUBLIC} == set(ROUTES)
    for route, (status, _) in asked.items():
        method, path = route.split(" ")
        assert str(status) in PATHS[path][method.lower()]["responses"], route
        assert status < 300, (route, asked[route])
    documents = {route: document for route, (_, document) in asked.items()}
    assert documents["GET /items"]["items"]
    assert documents["GET /items/{item_id}"]["freshness"]["bank"]["last_success_at"]
    assert documents["GET /items/{item_id}/transactions"]["transactions"]
    assert documents["POST /items/{item_id}/webhook"] == {"webhook": world.stack.webhook_url}
    assert documents["DELETE /items/{item_id}"]["removal"]["transactions"] == "erase"
    requests = {entry.get("caller") for entry in documents["GET /items/{item_id}/history"]["history"]}
    assert any(caller and caller.endswith(":user/application") for caller in requests)
    world.drain()
    (removal,) = [entry for entry in history(call, item_id) if entry["kind"] == "removal"]
    assert removal["outcome"] == "erased"
    assert world.plaid.item(item_id).removed


def history(call: Call, item_id: str) -> list[dict[str, Any]]:
    """Return an Item's history, page by page."""
    entries: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        status, page = call("GET", f"/items/{item_id}/history", **query)
        assert status == 200
        entries += page["history"]
        if "next" not in page:
            return entries
        query["next"] = page["next"]


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_but_plaids_answers_who_has_not_signed(world: World, route: str) -> None:
    method, path = route.split(" ")
    url = f"{world.stack.api_url}{path.replace('{item_id}', 'nobody')}"
    answer = urllib3.request(method, url, body=b"{}", headers={"content-type": "application/json"}, retries=False)
    assert answer.status == (401 if route == PUBLIC else 403)


def test_who_may_only_read_can_only_read(world: World) -> None:
    names: dict[str, Any] = {}
    program = PROGRAM.split("\nstatus, created")[0]
    environment = identity(world, "reader", "GET/items*")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        exec(program, names)  # noqa: S102 - as above
        assert names["call"]("GET", "/items")[0] == 200
        assert names["call"]("DELETE", "/items/one")[0] == 403
        assert names["call"]("POST", "/link-tokens", {"client_user_id": "user-17"})[0] == 403
