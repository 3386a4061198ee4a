"""Checks of what lies between Plaid and the stack: keys, webhooks, clocks."""

from __future__ import annotations

import uuid
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import urllib3
from plaid_sync.adapters.aws import utc_now
from plaid_sync.core.failures import RetryableError

from plaid_sync_cli.api import ItemApi, item_path
from plaid_sync_cli.checking import Check, Finding, failed, ok, warning
from plaid_sync_cli.output import plural
from plaid_sync_cli.plaid import Plaid

if TYPE_CHECKING:
    from plaid_sync_cli.deployment import Deployment

_TIMEOUT: Final = urllib3.Timeout(connect=3, read=12)
_SAMPLE: Final = 5
_HISTORY: Final = "50"
_CLOCK_WARNING: Final = timedelta(seconds=5)
_CLOCK_FAILURE: Final = timedelta(seconds=60)


def secret(deployment: Deployment) -> Finding:
    """Read the secret; its content is not shown."""
    try:
        Plaid.of(deployment).secret.get()
    except RetryableError as error:
        if error.code != "plaid_secret_malformed":
            raise
        return failed(
            "the secret is empty or not what the functions read",
            "Fill it: plaid-sync keys set",
        )
    return ok("readable, with client_id and secret")


def keys(deployment: Deployment) -> Finding:
    """Ask Plaid for a key that can't exist: that it says so proves the keys and the way to Plaid."""
    plaid = Plaid.of(deployment)
    try:
        unknown = plaid.keys.fetch(str(uuid.uuid4())) is None
    except RetryableError as error:
        return failed(
            f"Plaid at {plaid.host} did not answer as it should: {error.code}",
            "Where it is INVALID_API_KEYS, put the keys of this environment into the secret. Runbook: "
            "plaid-credentials-refused",
        )
    if not unknown:
        return failed(
            f"Plaid at {plaid.host} knows a key that was invented", "That is not Plaid: look at PlaidBaseUrl."
        )
    return ok(f"Plaid at {plaid.host} accepts them, and knows no key that was invented")


def webhook_url(deployment: Deployment) -> Finding:
    """Post to the webhook's address without a signature: it has to be refused by the function itself."""
    url = deployment.outputs["WebhookUrl"]
    http = urllib3.PoolManager(retries=False)
    answer = http.request("POST", url, body=b"{}", headers={"Content-Type": "application/json"}, timeout=_TIMEOUT)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return ok(f"{url} refuses what is not signed (401)")
    return failed(
        f"{url} answered {answer.status} to an unsigned POST, not 401",
        "Look at the webhook function's log, and at what stands before the API. Runbook: webhook-errors",
    )


def registered(deployment: Deployment) -> Finding:
    """See whether webhooks of some Items have come: Plaid alone knows where it sends them."""
    api = ItemApi.of(deployment)
    found = api.call("GET", "/items", state="active", limit=str(_SAMPLE))["items"]
    if not found:
        return warning("there is no active Item to see webhooks of", "Link one: plaid-sync link")
    silent = [str(one["item_id"]) for one in found if not _has_webhooks(api, str(one["item_id"]))]
    if not silent:
        return ok(f"webhooks of all {plural(len(found), 'sampled Item')} have come")
    what = f"no webhook among the last {_HISTORY} entries of {', '.join(silent)}"
    fix = f"Have Plaid send them here: POST /items/{silent[0]}/webhook (docs/api.md)"
    return failed(what, fix) if len(silent) == len(found) else warning(what, fix)


def _has_webhooks(api: ItemApi, item_id: str) -> bool:
    history = api.call("GET", item_path(item_id, "history"), limit=_HISTORY)["history"]
    return any(entry["kind"] == "webhook" for entry in history)


def clocks(deployment: Deployment) -> Finding:
    """Compare this machine's clock with AWS's and Plaid's."""
    answer = deployment.client("sts").get_caller_identity()
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    aws = parsedate_to_datetime(date) - utc_now() if date else timedelta(0)
    _, plaid = Plaid.of(deployment).clock()
    told = f"AWS {aws.total_seconds():+.0f} s, Plaid {plaid.total_seconds():+.0f} s against this machine"
    apart = abs(aws - plaid)
    if apart > _CLOCK_FAILURE:
        return failed(
            f"{told}: Plaid's and AWS's differ", "Webhooks are refused as stale or early: ask Plaid's support."
        )
    if max(apart, abs(aws)) > _CLOCK_WARNING:
        return warning(told, "Set this machine's clock; the functions use AWS's.")
    return ok(told)


CHECKS: Final = (
    Check("Plaid's keys: secret", secret),
    Check("Plaid's keys: accepted", keys),
    Check("webhook URL", webhook_url),
    Check("webhooks registered", registered),
    Check("clocks", clocks),
)
"""In the order of their consequences."""
