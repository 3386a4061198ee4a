"""The checks of `plaid-sync doctor`: Plaid, webhooks and clocks, then the resources of the stack."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from plaid_sync.domain.clock import utc_now
from plaid_sync.domain.errors import PlaidSyncError, TransientError

from plaid_sync_cli import monitoring, quotas, versions
from plaid_sync_cli.api import ItemApi, item_path
from plaid_sync_cli.deployment import TABLES
from plaid_sync_cli.errors import CommandError, to_command_error
from plaid_sync_cli.findings import Finding, Result, failed, ok, warning
from plaid_sync_cli.health import ENABLED
from plaid_sync_cli.output import plural
from plaid_sync_cli.plaid import Plaid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync_cli.deployment import Deployment

_TIMEOUT: Final = urllib3.Timeout(connect=3, read=12)
_SAMPLE: Final = 5
_HISTORY: Final = "50"
_CLOCK_WARNING: Final = timedelta(seconds=5)
_CLOCK_FAILURE: Final = timedelta(seconds=60)
_SCHEDULES: Final = {"AWS::Events::Rule", "AWS::Scheduler::Schedule"}
_REDEPLOY: Final = "Deploy the template again: it defines them."


@dataclass(frozen=True, slots=True)
class Check:
    """A named check; `run` may raise what AWS and the network raise."""

    name: str
    run: Callable[[Deployment], Finding]


def run_checks(deployment: Deployment) -> Iterator[tuple[str, Finding]]:
    """Run all checks independently; a check that raises has failed."""
    for check in CHECKS:
        try:
            yield check.name, check.run(deployment)
        except CommandError as error:
            yield check.name, Finding(Result.FAILED, error.message, error.fix, error)
        except (BotoCoreError, ClientError, PlaidSyncError, urllib3.exceptions.HTTPError) as error:
            converted = to_command_error(error)
            yield check.name, Finding(Result.FAILED, converted.message, converted.fix, error)


def _secret(deployment: Deployment) -> Finding:
    """The secret is readable and complete; its content is not shown."""
    try:
        Plaid.of(deployment).secret.get()
    except TransientError as error:
        if error.code != "plaid_secret_malformed":
            raise
        return failed("the secret is empty or malformed", "Set it: plaid-sync keys set")
    return ok("readable, with client_id and secret")


def _plaid_keys(deployment: Deployment) -> Finding:
    """Plaid accepts the keys: it answers that a random verification key does not exist."""
    plaid = Plaid.of(deployment)
    try:
        unknown = plaid.keys.fetch(str(uuid.uuid4())) is None
    except TransientError as error:
        return failed(
            f"Plaid at {plaid.host} returned {error.code}",
            "If it is INVALID_API_KEYS, put the keys of this environment into the secret. Runbook: "
            "plaid-credentials-refused",
        )
    if not unknown:
        return failed(
            f"Plaid at {plaid.host} knows a random verification key", "That is not Plaid: check PlaidBaseUrl."
        )
    return ok(f"Plaid at {plaid.host} accepts them, and rejects an unknown verification key")


def _webhook_url(deployment: Deployment) -> Finding:
    """The webhook function rejects an unsigned request."""
    url = deployment.outputs["WebhookUrl"]
    http = urllib3.PoolManager(retries=False)
    response = http.request("POST", url, body=b"{}", headers={"Content-Type": "application/json"}, timeout=_TIMEOUT)
    if response.status == HTTPStatus.UNAUTHORIZED:
        return ok(f"{url} rejects an unsigned request (401)")
    return failed(
        f"{url} returned {response.status} for an unsigned request, not 401",
        "Check the webhook function's log, and what is in front of the API. Runbook: webhook-errors",
    )


def _webhooks_registered(deployment: Deployment) -> Finding:
    """Webhooks of a sample of Items have arrived: only Plaid knows where it sends them."""
    items = _sampled(deployment)
    if not items:
        return warning("there is no active Item whose webhooks could be checked", "Link one: plaid-sync link")
    missing = [item_id for item_id, item in items.items() if "webhook_at" not in item["freshness"]]
    if not missing:
        return ok(f"webhooks of all {plural(len(items), 'sampled Item')} have arrived")
    what = f"no webhook has led to a sync of {', '.join(missing)}"
    fix = f"Register the webhook URL at Plaid: POST /items/{missing[0]}/webhook (docs/api.md)"
    return failed(what, fix) if len(missing) == len(items) else warning(what, fix)


def _sampled(deployment: Deployment, action: str = "", **query: str) -> dict[str, Any]:
    """Return what the Items API says about a sample of active Items, by item_id."""
    api = ItemApi.of(deployment)
    sample = api.call("GET", "/items", state="active", limit=str(_SAMPLE))["items"]
    item_ids = [str(item["item_id"]) for item in sample]
    return {each: api.call("GET", item_path(each, action), **query) for each in item_ids}


def link_results(deployment: Deployment) -> Finding:
    """What Plaid lists of ordinary Link sessions: whether it enabled the client for Link events."""
    seen: dict[str, str] = {}
    for answer in _sampled(deployment, "history", limit=_HISTORY).values():
        entries = [entry for entry in answer["history"] if "link_results" in entry]
        seen |= {str(entry["at"]): str(entry["link_results"]) for entry in entries}
    if not seen:
        return ok("unknown: none of the sampled Items was linked with an ordinary link session")
    listed = seen[max(seen)]
    meaning = {
        "full": "duplicates are refused before the public token is used",
        "partial": "the end of a session only: duplicates are undone after the public token is used",
        "absent": "none: duplicates are undone after the public token is used",
    }
    return ok(f"{listed}: {meaning.get(listed, 'see docs/items.md')}")


def _clocks(deployment: Deployment) -> Finding:
    """The clocks of this machine, AWS and Plaid agree."""
    response = deployment.client("sts").get_caller_identity()
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    aws = parsedate_to_datetime(date) - utc_now() if date else timedelta(0)
    _, plaid = Plaid.of(deployment).clock()
    offsets = f"AWS {aws.total_seconds():+.0f} s, Plaid {plaid.total_seconds():+.0f} s against this machine"
    difference = abs(aws - plaid)
    if difference > _CLOCK_FAILURE:
        return failed(
            f"{offsets}: Plaid and AWS differ", "Webhooks are rejected as stale or early: contact Plaid's support."
        )
    if max(difference, abs(aws)) > _CLOCK_WARNING:
        return warning(offsets, "Set this machine's clock; the functions use AWS's.")
    return ok(offsets)


def _mapping(deployment: Deployment) -> Finding:
    """The event source mapping between queue and sync function is enabled."""
    state = monitoring.mapping_state(deployment)
    if state == ENABLED:
        return ok("enabled")
    return failed(f"{state}: nothing is synced", "plaid-sync resume")


def _schedules(deployment: Deployment) -> Finding:
    """The schedules of sweep and audit are enabled."""
    resources = deployment.resources()
    states = {name: _schedule_state(deployment, kind, name) for kind, name in resources if kind in _SCHEDULES}
    if not states:
        return warning("the stack has no schedule", "Deploy the template again: the sweep retries what failed.")
    disabled = sorted(name for name, state in states.items() if state != "ENABLED")
    if disabled:
        return failed(
            f"disabled: {', '.join(disabled)}", "Enable them: aws events enable-rule --name NAME, or deploy again."
        )
    return ok(f"{plural(len(states), 'schedule')} enabled")


def _schedule_state(deployment: Deployment, kind: str, name: str) -> str:
    if kind == "AWS::Events::Rule":
        return str(deployment.client("events").describe_rule(Name=name.rsplit("|", 1)[-1])["State"])
    return str(deployment.client("scheduler").get_schedule(Name=name)["State"])


def _alarms(deployment: Deployment) -> Finding:
    """The stack has alarms, and confirmed subscriptions receive both classes of them."""
    if not deployment.monitored:
        return ok("none, as the parameter Monitoring says")
    alarms = monitoring.alarms(deployment)
    if not alarms:
        return failed("the stack has no alarms", _REDEPLOY)
    topics = [deployment.output(name) for name in ("PageTopicArn", "AlarmTopicArn")]
    silent = [
        alarm.slug
        for alarm in alarms
        # Those of a version notify CodeDeploy alone.
        if "-version-" not in alarm.slug and not set(alarm.actions) & set(topics)
    ]
    if silent:
        return failed(f"without a topic of the stack: {', '.join(silent)}", _REDEPLOY)
    unread = [topic.rpartition(":")[2] for topic in topics if not _is_subscribed(deployment, topic)]
    if unread:
        return warning(
            f"{plural(len(alarms), 'alarm')}, and no confirmed subscription of {' and '.join(unread)}",
            "Set the parameter AlarmEmail, and confirm the emails from AWS.",
        )
    return ok(f"{plural(len(alarms), 'alarm')}, and both topics have a subscription")


def _is_subscribed(deployment: Deployment, topic: str) -> bool:
    subscriptions = deployment.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    return any(entry["SubscriptionArn"].startswith("arn:") for entry in subscriptions)


def _quotas(deployment: Deployment) -> Finding:
    """The account's quotas are what the stack's parameters need."""
    needs = quotas.Needs.of(deployment.parameters)
    found = list(quotas.check(deployment.client, needs, needs, emulated=deployment.local))
    wrong = [finding for finding in found if finding.result is not Result.OK]
    if not wrong:
        return ok("; ".join(finding.what for finding in found))
    what, fix = "; ".join(finding.what for finding in wrong), " ".join(f"{finding.fix}." for finding in wrong)
    return Finding(Result.WARNING, what, fix, next((finding.error for finding in wrong if finding.error), None))


def _tables(deployment: Deployment) -> Finding:
    """All retained tables have point-in-time recovery and deletion protection."""
    client, missing = deployment.client("dynamodb"), []
    for output in TABLES:
        name = deployment.output(output)
        backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        missing += [] if recovery == "ENABLED" else [f"{output} has no point-in-time recovery"]
        protected = client.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled")
        missing += [] if protected else [f"{output} has no deletion protection"]
    if missing:
        return failed("; ".join(missing), _REDEPLOY)
    return ok(f"{plural(len(TABLES), 'table')} with point-in-time recovery and deletion protection")


def _token_key(deployment: Deployment) -> Finding:
    """The key that encrypts access tokens is enabled and rotated."""
    client, key_id = deployment.client("kms"), deployment.output("TokenKeyId")
    state = client.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"]
    if state != ENABLED:
        return failed(
            f"the key is {state}: without it all access tokens are lost", "aws kms cancel-key-deletion, enable-key"
        )
    if not client.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"]:
        return warning("the key is not rotated", "aws kms enable-key-rotation, or deploy again.")
    return ok("enabled and rotated")


CHECKS: Final = (
    Check("Plaid's keys: secret", _secret),
    Check("Plaid's keys: accepted", _plaid_keys),
    Check("webhook URL", _webhook_url),
    Check("webhooks registered", _webhooks_registered),
    Check("results of Link sessions", link_results),
    Check("clocks", _clocks),
    Check("event source mapping", _mapping),
    Check("schedules", _schedules),
    Check("alarms", _alarms),
    Check("versions", versions.check),
    Check("quotas", _quotas),
    Check("tables", _tables),
    Check("token key", _token_key),
)
"""The most consequential first."""
