"""The policies for operators: a command calls exactly what docs/cli.md lists, and a policy with only that suffices."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.credentials import Credentials
from plaid_sync.domain.claims import user_key
from plaid_sync.outbound.endpoints import Endpoint, dump_endpoints
from plaid_sync_cli.api import ItemApi
from plaid_sync_cli.deployment import USER_AGENT
from plaid_sync_cli.endpoints import new_secret
from pyrage import x25519

from local.stack.deploy import STACK_NAME
from local.stack.paths import PROJECT
from local.stack.resources import ACCOUNT_ID
from tests.deployment import NOWHERE
from tests.integration.command_line import CommandLine, syncing
from tests.integration.harness import LONG_AGO
from tests.integration.in_process import runs_in_the_emulator
from tests.integration.link_flows import put_link
from tests.integration.module_harness import lasting_world
from tests.template.operations import COMMANDS as ALL_COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

    from tests.deployment import Deployment
    from tests.integration.harness import World

pytestmark = runs_in_the_emulator

USER: Final = "operator"
POLICIES: Final = ("inspect", "operate", "leave")
DOCUMENT: Final = (PROJECT / "docs" / "cli.md").read_text().split("\n## Permissions\n")[1]
ALWAYS: Final = {"cloudformation:DescribeStacks"}
"""What every command calls that works on a deployment."""
NAMESPACES: Final = {"monitoring": "cloudwatch"}
"""Names of services in signatures, where IAM has another one."""
ACTIONS: Final = {"lambda:Invoke": "lambda:InvokeFunction"}
"""Operations that IAM names otherwise."""
NEEDS_NO_PERMISSION: Final = {"sts:GetCallerIdentity"}
ON_AWS_ONLY: Final = {
    *("sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks"),
    *("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"),
    *("codedeploy:ListDeployments", "codedeploy:GetDeployment", "apigateway:GET", "cloudwatch:GetMetricData"),
    *("events:DescribeEventBus", "events:DescribeReplay", "events:StartReplay"),
}
"""What the emulator lacks: other tests cover these calls with given responses."""


def rows() -> dict[str, tuple[str, set[str]]]:
    """Return policy and actions by command, from the document's table."""
    found = re.findall(r"^\| `([a-z -]+)` \| (\w+) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    return {command: (policy, set(re.findall(r"`([a-z-]+:\w+)`", actions))) for command, policy, actions in found}


ROWS: Final = rows()


def filled(text: str, world: World) -> str:
    """Fill in the placeholders of a policy, as the document says."""
    stack, outputs = world.stack, world.stack.resources.outputs
    secret = stack.client("secretsmanager").describe_secret(SecretId=outputs["PlaidSecretId"])
    values = {
        "REGION": stack.emulator.region,
        "ACCOUNT": ACCOUNT_ID,
        "STACK": STACK_NAME,
        "API_ID": outputs["ApiId"],
        "TOKEN_KEY_ID": outputs["TokenKeyId"],
        "SYNC_MAPPING_ID": outputs["SyncEventSourceMappingId"],
        "PLAID_SECRET_ARN": secret["ARN"],
    }
    endpoints = stack.client("secretsmanager").describe_secret(SecretId=outputs["OutboundSecretId"])["ARN"]
    filled_in = re.sub(r"\b[A-Z]+(_[A-Z]+)*\b", lambda found: values.get(found[0], found[0]), text)
    # The emulator names the default bus, and secrets otherwise than AWS does.
    named = filled_in.replace(":rule/", ":rule/default/")
    return re.sub(r"arn:aws:secretsmanager:[^\"]*:OutboundSecret-\*", endpoints, named)


def statements(world: World) -> dict[str, list[dict[str, Any]]]:
    texts = {name: (PROJECT / "infra" / f"operator-policy-{name}.json").read_text() for name in POLICIES}
    return {name: json.loads(filled(text, world))["Statement"] for name, text in texts.items()}


def actions_of(found: list[dict[str, Any]]) -> set[str]:
    return {action for statement in found for action in statement["Action"]}


def limited(found: list[dict[str, Any]], actions: set[str]) -> str:
    """Return a policy with only these actions of the statements."""
    kept = [{**each, "Action": sorted(actions & set(each["Action"]))} for each in found]
    return json.dumps({"Version": "2012-10-17", "Statement": [each for each in kept if each["Action"]]})


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A world whose Plaid the deployed functions call too."""
    with lasting_world(deployment, seed=33) as world:
        for function in ("items", "audit"):
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": world.server.base_url})
        yield world
        for function in ("items", "audit"):
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": NOWHERE})


@pytest.fixture(scope="module")
def synced(world: World) -> str:
    return world.synced()


@pytest.fixture
def operator(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """The command line with the credentials of a user who has no permission yet."""
    monkeypatch.chdir(tmp_path)
    command_line, iam = CommandLine.at(world, tmp_path), world.stack.client("iam")
    iam.create_user(UserName=USER)
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    env = tmp_path / ".local" / "env"
    env.write_text(env.read_text() + "".join(f"{name}={value}\n" for name, value in own.items()))
    yield command_line
    for name in iam.list_user_policies(UserName=USER)["PolicyNames"]:
        iam.delete_user_policy(UserName=USER, PolicyName=name)
    iam.delete_access_key(UserName=USER, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=USER)


def grant(world: World, document: str) -> None:
    world.stack.client("iam").put_user_policy(UserName=USER, PolicyName="only", PolicyDocument=document)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The actions that the command line's own clients call, as they are called."""
    actions: set[str] = set()
    make, invoke = BaseClient.__dict__["_make_api_call"], ItemApi.call  # the one method of all clients

    def record(client: Any, operation: str, arguments: Any) -> Any:
        if client.meta.config.user_agent_extra == USER_AGENT:
            service = client.meta.service_model.signing_name
            action = f"{NAMESPACES.get(service, service)}:{operation}"
            actions.add(ACTIONS.get(action, action.removesuffix("Batch") if service == "sqs" else action))
        return make(client, operation, arguments)

    def record_api(*arguments: Any, **named: Any) -> Any:
        actions.add("execute-api:Invoke")
        return invoke(*arguments, **named)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    monkeypatch.setattr(ItemApi, "call", record_api)
    return actions


def dead_letter(world: World, item_id: str) -> None:
    """Send a message to the dead-letter queue, which has no other then: a denied listing hides some for a time."""
    world.stack.client("sqs").purge_queue(QueueUrl=world.stack.dead_letter_queue_url)
    body = json.dumps({"item_id": item_id, "cause": "request"})
    world.stack.client("sqs").send_message(
        QueueUrl=world.stack.dead_letter_queue_url,
        MessageBody=body,
        MessageGroupId=item_id,
        MessageDeduplicationId=f"{item_id} {world.clock().timestamp()}",
        MessageAttributes={"reason": {"DataType": "String", "StringValue": "unregistered"}},
    )


def undelivered(world: World) -> None:
    """Store an endpoint that does not answer, and an event that it did not accept."""
    outputs = world.stack.resources.outputs
    endpoint = Endpoint("books", f"{NOWHERE}/", (new_secret(),))
    world.stack.client("secretsmanager").put_secret_value(
        SecretId=outputs["OutboundSecretId"], SecretString=dump_endpoints((endpoint,))
    )
    world.stack.client("sqs").purge_queue(QueueUrl=outputs["OutboundDeadLetterQueueUrl"])
    world.stack.client("sqs").send_message(QueueUrl=outputs["OutboundDeadLetterQueueUrl"], MessageBody="{}")


DENIED: Final = re.compile(
    r"AWS denied|AWS returned AccessDenied|the Items API returned 403|denied the request|cannot be read"
)
WRITES: Final = re.compile(r":(Put|Update|Delete|Send|Start|Create|Invoke(?!$))|GetSecret|:Invoke(Function)")
"""Actions that change something or read Plaid's keys; execute-api:Invoke is limited to GET."""
WITH_MESSAGES: Final = {("pause", "cloudwatch:GetMetricStatistics"), ("resume", "cloudwatch:GetMetricStatistics")}
"""What a command calls only while messages wait."""
RECIPIENT: Final = str(x25519.Identity.generate().to_public())
KEYS: Final = json.dumps({"client_id": "local-client-id", "secret": "local-secret"})
COMMANDS: Final[dict[str, list[tuple[str, ...]]]] = {
    # The forms of each command that together make all its calls.
    "about": [("about",)],
    "accounts compare": [("accounts", "compare", "ITEM")],
    "accounts erase": [("accounts", "erase", "ITEM", "ACCOUNT", "--yes")],
    "accounts restore": [("accounts", "restore", "ITEM", "ACCOUNT")],
    "audit": [("audit", "DRIFTED", "--repair", "--yes"), ("audit", "--all", "--rate", "10/s")],
    "dlq list": [("dlq", "list")],
    "dlq replay": [("dlq", "replay", "--yes")],
    "doctor": [("doctor",)],
    "field-report": [("field-report", "--json")],
    "erase-user": [("erase-user", "ERASED", "--yes")],
    "feed replay": [("feed", "replay", "--since", "2026-01-01T00:00:00Z")],
    "feed snapshot": [("feed", "snapshot", "--output", "snapshot.jsonl")],
    "endpoints list": [("endpoints", "list")],
    "endpoints remove": [("endpoints", "remove", "books")],
    "endpoints resend": [("endpoints", "resend")],
    "endpoints rotate": [("endpoints", "rotate", "books")],
    "endpoints set": [("endpoints", "set", "books", "--disabled")],
    "endpoints test": [("endpoints", "test", "books")],
    "export": [("export", "ITEM"), ("export", "--all")],
    "import": [("import", "FILE", "--yes")],
    "item": [("item", "ITEM")],
    "items": [("items", "--limit", "1"), ("items", "--failing"), ("items", "--user", "nothing")],
    "keys set": [("keys", "set"), ("keys", "set", "--if-missing")],
    "link": [("link",)],
    "pause": [("pause", "--yes")],
    "quotas": [("quotas",)],
    "refresh": [("refresh", "ITEM")],
    "remove": [("remove", "REMOVABLE", "--yes")],
    "resume": [("resume",)],
    "resync": [("resync", "ITEM"), ("resync", "--all", "--dry-run")],
    "retained": [("retained",)],
    "rotate-token": [("rotate-token", "ITEM", "--yes")],
    "status": [("status",)],
    "sync": [("sync", "ITEM")],
    "tokens export": [("tokens", "export", "ITEM", "--recipient", RECIPIENT, "--output", "tokens", "--yes")],
    "undo-import": [("undo-import", "ITEM", "--yes"), ("undo-import", "--all", "--yes", "--rate", "10/s")],
    "usage": [("usage", "--days", "1")],
    "verify-webhook": [("verify-webhook", str(PROJECT / "tests/events/webhook_base64.json"))],
    "watch": [("watch", "--times", "1", "--interval", "0.2")],
    "whoami": [("whoami",)],
}
MAY_REPORT: Final = {
    *(
        "audit",
        "dlq list",
        "dlq replay",
        "doctor",
        "endpoints list",
        "feed replay",
        "endpoints test",
        "field-report",
        "item",
        "retained",
    ),
    *("status", "undo-import", "verify-webhook", "watch"),
}
"""Commands whose exit code is 1 if they find something."""


def run(operator: CommandLine, world: World, command: str, item_id: str) -> list[Result]:
    """Run all forms of a command, each on what it needs."""
    results = []
    for form in COMMANDS[command]:
        words = {"ITEM": item_id, "ACCOUNT": world.plaid.account_rows(item_id)[0]["account_id"]}
        if "REMOVABLE" in form:
            words["REMOVABLE"] = world.link()
        if "FILE" in form:
            words["FILE"] = import_file(world)
        if "DRIFTED" in form:
            words["DRIFTED"] = drifted(world)
        if "ERASED" in form:
            words["ERASED"] = erased_user(world)
        if command in {"dlq list", "dlq replay", "item"}:
            dead_letter(world, item_id)
        if form[0] == "endpoints":
            undelivered(world)
        with syncing(world) if "--repair" in form else nullcontext():
            results.append(operator.run(*(words.get(word, word) for word in form), stdin=KEYS))
    if command == "resume":  # the tests hand the batches out themselves
        mapping = world.stack.resources.outputs["SyncEventSourceMappingId"]
        world.stack.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=False)
    return results


def erased_user(world: World) -> str:
    """Return a user who was erased: what another erasure takes minutes for."""
    put_link(world, user_key("erased"), requested_at=LONG_AGO, erased_at=LONG_AGO)
    return "erased"


def import_file(world: World) -> str:
    """Write a file with an Item that another system linked; return its name."""
    moved = world.plaid.link_item("https://other-system.invalid/plaid", transactions=3)
    Path("items.jsonl").write_text(json.dumps({"access_token": moved.access_token, "client_user_id": "user-19"}))
    return "items.jsonl"


def drifted(world: World) -> str:
    """Return an Item of which a row is missing."""
    item_id = world.synced()
    key = {"item_id": {"S": item_id}, "transaction_id": {"S": min(world.live(item_id))}}
    world.stack.client("dynamodb").delete_item(TableName=world.stack.transactions_table, Key=key)
    return item_id


def allowed(world: World, command: str, actions: set[str]) -> str:
    """Return the policy that a command's row names, with only these actions."""
    found = statements(world)
    policies = dict.fromkeys(("inspect", ROWS[command][0]))
    return limited([statement for policy in policies for statement in found[policy]], actions)


def test_the_table_has_every_command_and_the_policies_exactly_its_actions(world: World) -> None:
    occasional = {command for command in ALL_COMMANDS if command.startswith("restore ")}
    assert ROWS.keys() == COMMANDS.keys() == ALL_COMMANDS - {"smoke"} - occasional
    found, wanted = statements(world), defaultdict[str, set[str]](set)
    for policy, actions in ROWS.values():
        wanted[policy] |= actions
    assert actions_of(found["inspect"]) >= wanted["inspect"] | ALWAYS
    assert actions_of(found["inspect"] + found["operate"]) == wanted["inspect"] | wanted["operate"] | ALWAYS
    assert actions_of(found["leave"]) == wanted["leave"]
    assert {action for each in found["inspect"] for action in each["Action"] if WRITES.search(action)} == set()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_calls_exactly_the_actions_of_its_row_and_a_policy_with_only_these_suffices(
    operator: CommandLine, world: World, synced: str, called: set[str], command: str
) -> None:
    _, actions = ROWS[command]
    grant(world, allowed(world, command, actions | ALWAYS))
    results = run(operator, world, command, synced)
    sometimes = {action for name, action in WITH_MESSAGES if name == command}
    assert (called - ALWAYS - NEEDS_NO_PERMISSION) | sometimes == actions - ON_AWS_ONLY
    codes = {result.exit_code for result in results}
    assert codes <= ({0, 1} if command in MAY_REPORT else {0}), [result.output for result in results]
    denied = [line for result in results for line in result.output.splitlines() if DENIED.search(line)]
    assert denied == []


def test_without_one_of_its_actions_a_command_says_what_is_denied(
    operator: CommandLine, world: World, synced: str, request: pytest.FixtureRequest
) -> None:
    pairs = [(command, action) for command, (_, actions) in sorted(ROWS.items()) for action in sorted(actions)]
    pairs = [pair for pair in pairs if pair[1] not in ON_AWS_ONLY and pair not in WITH_MESSAGES]
    for command, action in pairs[:: 1 if request.config.getoption("exhaustive") else 9]:
        grant(world, allowed(world, command, (ROWS[command][1] | ALWAYS) - {action}))
        outputs = "".join(result.output for result in run(operator, world, command, synced))
        assert DENIED.search(outputs), (command, action, outputs)


def test_without_a_policy_nothing_is_found(operator: CommandLine) -> None:
    assert "AWS denied DescribeStacks" in operator.run("status").stderr


def test_the_inspecting_operator_changes_nothing(operator: CommandLine, world: World, synced: str) -> None:
    grant(world, json.dumps({"Version": "2012-10-17", "Statement": statements(world)["inspect"]}))
    dead_letter(world, synced)
    for words in (("sync", synced), ("export", synced), ("dlq", "replay", "--yes"), ("pause", "--yes"), ("link",)):
        result = operator.run(*words)
        assert result.exit_code == 3, result.output
    assert operator.run("keys", "set", stdin=KEYS).exit_code == 3


def test_the_operating_operator_exports_no_access_token(operator: CommandLine, world: World) -> None:
    found, item_id = statements(world), world.synced(transactions=1)
    grant(world, json.dumps({"Version": "2012-10-17", "Statement": found["inspect"] + found["operate"]}))
    (words,) = COMMANDS["tokens export"]
    result = operator.run(*(item_id if word == "ITEM" else word for word in words))
    assert (result.exit_code, bool(DENIED.search(result.output))) == (3, True), result.output
    assert "token_exported_at" not in world.item(item_id)


def test_no_operator_gets_the_data_of_other_products(world: World, synced: str) -> None:
    """Identities and account numbers are the application's, although the policies allow all other routes."""
    found = statements(world)
    document = json.dumps({"Version": "2012-10-17", "Statement": found["inspect"] + found["operate"]})
    iam, name = world.stack.client("iam"), "operator-of-everything"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="both", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def post(path: str) -> int:
        url = f"{world.stack.api_url}/items/{synced}{path}"
        request = AWSRequest("POST", url, data="{}", headers={"Content-Type": "application/json"})
        SigV4Auth(credentials, "execute-api", world.stack.emulator.region).add_auth(request)
        return urllib3.request("POST", url, body="{}", headers=dict(request.headers.items()), timeout=60).status

    assert (post("/resync"), post("/plaid/accounts/balance/get")) == (202, 403)
    world.drain()
