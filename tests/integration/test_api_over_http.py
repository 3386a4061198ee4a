"""The Items API as its users reach it: HTTP, signed by SigV4, answered by the deployed function, which calls a Plaid.

The client is the program of docs/api.md, word for word.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
import yaml
from botocore.exceptions import ClientError
from plaid_sync.domain.claims import user_key
from pyrage import x25519

from local.plaid import Phase
from tests.deployment import NOWHERE
from tests.integration.in_process import runs_in_the_emulator
from tests.integration.link_flows import went_through_link
from tests.integration.module_harness import lasting_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.deployment import Deployment
    from tests.integration.harness import World

pytestmark = runs_in_the_emulator

DOCS: Final = Path(__file__).parents[2] / "docs"
PATHS: Final[dict[str, Any]] = yaml.safe_load((DOCS / "openapi.yaml").read_text())["paths"]
ROUTES: Final = [
    f"{method.upper()} {path}" for path, operations in PATHS.items() for method in operations if method != "parameters"
]
PUBLIC: Final = "POST /webhooks/plaid"
OTHER_SYSTEM: Final = "https://other-system.invalid/plaid"
EXPORT: Final = "POST /access-tokens/{item_id}/export"
RECIPIENT: Final = str(x25519.Identity.generate().to_public())
(PROGRAM,) = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)
CALLS: Final = PROGRAM.split("\nuser: NewLink")[0]
"""The part of the program that signs requests."""


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A world whose Plaid the deployed function calls, too."""
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
    statement = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": [f"{api}/*/{route}" for route in allowed],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="items", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "API_URL": stack.api_url,
        "AWS_REGION": stack.emulator.region,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def run_program(world: World, environment: dict[str, str], program: str = PROGRAM) -> dict[str, Any]:
    """Run the document's program, with a user who goes through Link; return its names."""

    def go_through_link(prompt: str) -> str:
        (token,) = re.findall(r"link-[\w-]+", prompt)
        return str(world.plaid.complete_link(token, login="ana"))

    names: dict[str, Any] = {"input": go_through_link}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        exec(compile(program, "docs/api.md", "exec"), names)  # noqa: S102 - the document's program is what is tested
        names["session"].get_credentials()
    return names


def imported_and_back(world: World, call: Callable[..., Any]) -> dict[str, Any]:
    """Import an Item, and restore its webhook URL; return both responses by their routes."""
    moved = world.plaid.link_item(OTHER_SYSTEM, phase=Phase.HISTORICAL)
    token = {"access_token": moved.access_token, "client_user_id": "user-18"}
    return {
        "POST /items/import": call("POST", "/items/import", token),
        "DELETE /items/{item_id}/webhook": call("DELETE", f"/items/{moved.item_id}/webhook"),
    }


def test_the_documents_program_links_an_item_and_every_route_serves_a_signed_request(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice, the program replaces the Item."""
    application = identity(world, "application", "*/items*", "POST/link-tokens", "DELETE/users/*")
    first = run_program(world, application)["item"]
    names = run_program(world, application)
    call, item_id = names["call"], names["item"]["item_id"]
    assert capsys.readouterr().out == "active no action\n" * 2
    assert (first["client_user_id"], names["item"]["client_user_id"]) == ("user-17", "user-17")
    assert (world.item(first["item_id"])["state"], world.item(item_id)["state"]) == ("removed", "active")
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    answers: dict[str, tuple[int, dict[str, Any]]] = {
        "POST /link-tokens": call("POST", "/link-tokens", {"item_id": item_id, "account_selection": True}),
        "POST /items": (201, names["linked"]),
        "GET /items": call("GET", "/items", client_user_id="user-17", limit=2),
    }
    answers |= imported_and_back(world, call)
    world.plaid.complete_link(answers["POST /link-tokens"][1]["link_token"])
    finished = {"link_token": answers["POST /link-tokens"][1]["link_token"]}
    ids = {
        "item_id": item_id,
        "account_id": world.plaid.account_rows(item_id)[0]["account_id"],
        "transaction_id": next(iter(world.live(item_id))),
        "endpoint": "accounts/balance/get",
    }
    apart = {*answers, "DELETE /items/{item_id}", EXPORT}
    for route in [route for route in ROUTES if "{item_id}" in route and route not in apart]:
        method, path = route.format(**ids).split(" ")
        if_match = "*" if path.endswith("/annotations") else None
        body = {"note": "lunch"} if method == "PATCH" else finished if path.endswith("/sync") else None
        answers[route] = call(method, path, body, if_match)
    path, body = EXPORT.format(**ids).split(" ")[1], {"recipient": RECIPIENT}
    assert call("POST", path, body)[0] == 403, "the policy of applications allows no export"
    leaving = run_program(world, identity(world, "leaving", "POST/access-tokens/*/export"), CALLS)["call"]
    answers[EXPORT] = leaving("POST", path, body)
    assert leaving("GET", "/items")[0] == 403
    answers["DELETE /items/{item_id}"] = call("DELETE", f"/items/{item_id}", transactions="erase")
    answers["DELETE /users/{client_user_id}"] = call("DELETE", "/users/user-17")
    key = {"link_key": {"S": user_key("user-17")}}  # other tests link Items of that user
    world.stack.client("dynamodb").delete_item(TableName=world.stack.links_table, Key=key)
    assert {*answers, PUBLIC} == set(ROUTES)
    for route, (status, _) in answers.items():
        method, path = route.split(" ")
        assert str(status) in PATHS[path][method.lower()]["responses"], route
        assert status < 300, (route, answers[route])
    documents = {route: document for route, (_, document) in answers.items()}
    assert documents["GET /items"]["items"]
    assert documents["GET /items/{item_id}"]["freshness"]["bank"]["last_success_at"]
    assert documents["GET /items/{item_id}/transactions"]["transactions"]
    assert documents["POST /items/{item_id}/webhook"] == {"webhook": world.stack.webhook_url}
    assert documents["DELETE /items/{item_id}/webhook"] == {"webhook": OTHER_SYSTEM}
    assert documents["POST /items/import"]["outcome"] == "imported"
    assert documents["DELETE /items/{item_id}"]["removal"]["transactions"] == "erase"
    callers = [entry.get("caller", "") for entry in documents["GET /items/{item_id}/history"]["history"]]
    assert any(caller.endswith(":user/application") for caller in callers)
    world.drain()
    _, page = call("GET", f"/items/{item_id}/history", limit=3)
    assert "erased" in {entry["outcome"] for entry in page["history"]}
    _, older = call("GET", f"/items/{item_id}/history", limit=100, next=page["next"])
    assert older["history"][-1]["outcome"] == "linked"
    assert world.plaid.item(item_id).removed


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_but_plaids_refuses_an_unsigned_request(world: World, route: str) -> None:
    method, path = route.split(" ")
    url = f"{world.stack.api_url}{path.replace('{item_id}', 'no-item')}"
    answer = urllib3.request(method, url, body=b"{}", headers={"content-type": "application/json"}, retries=False)
    assert answer.status == (401 if route == PUBLIC else 403)


def test_a_reader_can_only_read(world: World) -> None:
    call = run_program(world, identity(world, "reader", "GET/items*"), CALLS)["call"]
    assert call("GET", "/items")[0] == 200
    assert call("DELETE", "/items/one")[0] == 403
    assert call("POST", "/link-tokens", {"client_user_id": "user-17"})[0] == 403


def test_a_policy_can_allow_one_endpoint_of_another_product(world: World) -> None:
    item_id = world.synced()
    balance = f"/items/{item_id}/plaid/accounts/balance/get"
    client = PROGRAM.split("\nuser: NewLink")[0]
    teller = identity(world, "teller", "POST/items/*/plaid/accounts/balance/get")
    call = run_program(world, teller, client)["call"]
    status, answer = call("POST", balance)
    assert (status, len(answer["accounts"])) == (200, len(world.plaid.account_rows(item_id)))
    assert call("POST", f"/items/{item_id}/plaid/identity/get")[0] == 403
    assert call("GET", f"/items/{item_id}")[0] == 403
    # A star of a policy matches slashes, too: the function knows each endpoint by its whole path.
    status, answer = call("POST", f"/items/{item_id}/plaid/identity/get/plaid/accounts/balance/get")
    assert (status, answer["code"]) == (403, "endpoint_not_enabled")
    reader = run_program(world, identity(world, "reader-of-items", "GET/items*"), client)["call"]
    assert reader("POST", balance)[0] == 403


def test_a_link_webhook_has_the_deployed_items_function_complete_the_session(world: World) -> None:
    """The webhook function may invoke that function's alias, and nothing else."""
    world.plaid.configure(link_webhooks_always=True)
    stack = world.stack
    stack.set_environment("webhook", {"PLAID_BASE_URL": world.server.base_url})
    body = went_through_link(world, "user of a webhook", hosted_link={})
    item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
    (delivery, *_) = (
        found for found in world.plaid.webhooks() if found.payload.get("link_token") == body["link_token"]
    )
    headers = {"plaid-verification": world.plaid.sign(delivery.body), "content-type": "application/json"}
    answer = urllib3.request("POST", stack.webhook_url, body=delivery.body, headers=headers, timeout=60)
    assert (answer.status, answer.json()) == (200, {"result": "linked"})
    assert world.item(item_id)["client_user_id"] == "user of a webhook"
    other = world.environment("webhook")["ITEMS_FUNCTION"].replace("-items:", "-sync:")
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.role_client("webhook", "lambda").invoke(FunctionName=other, Payload=b"{}")
