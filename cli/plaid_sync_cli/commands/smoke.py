"""`smoke`: tests a deployment end to end, one step after the other, as a client sees it."""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import urllib3
from plaid_sync.plaid.credentials import PlaidCredentials

from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.audits import Auditor, drifted_rows, is_conclusive
from plaid_sync_cli.bulk import RateLimiter
from plaid_sync_cli.checks import link_results, run_checks
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import CommandError, ExitCode, expected_failures
from plaid_sync_cli.findings import Result
from plaid_sync_cli.output import plural
from plaid_sync_cli.plaid import SANDBOX_BANK, FixedKeys, Plaid

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_DAYS: Final = 30
_TIMEOUT: Final = urllib3.Timeout(connect=3, read=12)
_POLL_INTERVAL: Final = 1.0
_REFRESHED_RECENTLY: Final = "refreshed_recently"
_TABLES: Final = ("TransactionsTable", "QuarantineTable")
PRODUCTION_STEPS: Final = ("forged_webhook", "unsigned_call", "link_results", "doctor")
"""These create nothing."""
SANDBOX_STEPS: Final = ("forged_webhook", "unsigned_call", "link_results", "link", "rows", "audit", "webhook", "erase")


@command(APP, "smoke")
def smoke(
    context: Context,
    timeout: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long a step waits.")] = 300,
) -> int:
    """Test a deployment end to end: link a bank of Plaid's sandbox, audit its rows, receive a webhook, erase it.

    In Plaid's production only the steps that create nothing. Exit code 1 if a step failed; the Item is erased in any
    case.

    Example: `plaid-sync smoke --stack plaid-sync-dev`
    """
    deployment = context.deployment
    sandbox = deployment.parameters.get("PlaidEnvironment") == "sandbox"
    test = SmokeTest(deployment, context.api, _plaid(deployment), float(timeout))
    steps = SANDBOX_STEPS if sandbox else PRODUCTION_STEPS
    context.output.log(f"{deployment.name}: {plural(len(steps), 'step')}{'' if sandbox else ', which create nothing'}")
    results = run_steps(test, steps, lambda step: context.output.log(_line(step)))
    failed = [step for step in results if not step.passed]
    document = {
        "passed": not failed,
        "steps": [
            {"step": step.name, "passed": step.passed, "what": step.what, "fix": step.fix or None} for step in results
        ],
        "left_item_id": test.item_id or None,
    }
    left = f" {test.item_id} is left: plaid-sync item {test.item_id} shows its removal." if test.item_id else ""
    summary = f"Failed: {failed[0].name}." if failed else f"Passed: {plural(len(results), 'step')}."
    context.output.show(document, lambda: [summary + left])
    return ExitCode.ACTION_REQUIRED if failed else ExitCode.OK


def _plaid(deployment: Deployment) -> Plaid:
    """Return Plaid's API with the keys in the environment, or with those in the stack's secret."""
    client_id, secret = os.environ.get("PLAID_CLIENT_ID"), os.environ.get("PLAID_SECRET")
    if client_id and secret:
        return Plaid(deployment.plaid_host, FixedKeys(PlaidCredentials(client_id, secret)))
    return Plaid.of(deployment)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step.

    Attributes:
        fix: what to do; empty if it passed.
    """

    name: str
    passed: bool
    what: str
    fix: str = ""


def _line(step: StepResult) -> str:
    return f"  {'ok    ' if step.passed else 'FAILED'} {step.what}" + (f"\n         {step.fix}" if step.fix else "")


@dataclass(slots=True)
class SmokeTest:
    """The steps. Each returns what it observed, or raises `CommandError`.

    Attributes:
        timeout: how many seconds a step waits.
        item_id: the linked Item, until its rows are erased.
        unanswered: the body of a request to link whose response is missing.
    """

    deployment: Deployment
    api: ItemApi
    plaid: Plaid
    timeout: float
    item_id: str = ""
    unanswered: dict[str, object] = field(default_factory=dict)
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def forged_webhook(self) -> str:
        """Send a webhook with a forged signature."""
        url = self.deployment.output("WebhookUrl")
        response = self._post(url, {"Plaid-Verification": _forged_token()})
        if response.status != HTTPStatus.UNAUTHORIZED:
            raise CommandError(f"a forged webhook got {response.status}, not 401", "Runbook: webhook-errors")
        return f"a forged webhook is rejected: 401 {response.data.decode()[:80]}"

    def unsigned_call(self) -> str:
        """Call the Items API without a signature."""
        response = self._post(f"{self.deployment.output('ApiUrl')}/items", {})
        if response.status != HTTPStatus.FORBIDDEN:
            raise CommandError(
                f"an unsigned call of the Items API got {response.status}, not 403",
                "Deploy the template again: IAM authorizes the routes of the Items API.",
            )
        return "an unsigned call of the Items API is rejected: 403"

    def link_results(self) -> str:
        """Report what Plaid lists of ordinary Link sessions."""
        return f"results of Link sessions: {link_results(self.deployment).what}"

    def doctor(self) -> str:
        """Run the checks of `plaid-sync doctor`."""
        findings = list(run_checks(self.deployment))
        for name, finding in findings:
            if finding.result is Result.FAILED:
                raise CommandError(f"{name}: {finding.what}", finding.fix)
        return f"{plural(len(findings), 'check')} of plaid-sync doctor, none failed"

    def link(self) -> str:
        """Link a bank of Plaid's sandbox."""
        url = self.deployment.output("WebhookUrl")
        public_token = self.plaid.create_sandbox_token(SANDBOX_BANK, url, _DAYS)
        self.unanswered = {"public_token": public_token, "days_requested": _DAYS}
        self._register()
        return f"linked {self.item_id}"

    def _register(self) -> None:
        """Send the request to link; it is idempotent: repeated, it returns the same Item."""
        try:
            self.item_id = str(self.api.call("POST", "/items", self.unanswered)["item_id"])
        except ApiError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.unanswered = {}  # refused: there is no Item
            raise
        self.unanswered = {}

    def rows(self) -> str:
        """Wait for the whole history."""
        item = self._wait_for(
            self._complete_item,
            "no rows arrived",
            f"plaid-sync item {self.item_id} and plaid-sync status show why.",
        )
        return f"{plural(int(item['transactions']['live']), 'row')} arrived"

    def audit(self) -> str:
        """Compare the rows with Plaid's; audit again while Plaid still updates the Item."""
        report = self._wait_for(
            self._conclusive_report,
            "no audit was conclusive",
            f"plaid-sync audit {self.item_id}",
        )
        if drift := drifted_rows(report):
            raise CommandError(
                f"{plural(drift, 'row')} differ from Plaid's", f"plaid-sync audit {self.item_id} --values"
            )
        return f"0 differences: {plural(report['at_plaid'], 'transaction')} at Plaid compared"

    def webhook(self) -> str:
        """Request a refresh, and wait until Plaid's webhook has led to a sync."""
        before = self._freshness()
        self._wait_for(self._refresh, "no refresh was accepted", "Wait a minute, and try again.")
        self._wait_for(
            lambda: self._freshness().get("webhook_at") != before.get("webhook_at"),
            "no webhook of Plaid's led to an attempt",
            "Is the webhook URL reachable from the internet? plaid-sync doctor; runbook: webhooks-silent",
        )
        self._wait_for(
            lambda: self._freshness()["pulled_at"] != before["pulled_at"],
            "the webhook led to no sync",
            f"plaid-sync item {self.item_id} and plaid-sync status show why.",
        )
        return "Plaid's webhook arrived, and led to a sync"

    def erase(self) -> str:
        """Remove the Item here and at Plaid, and wait until its rows are erased."""
        if self.unanswered:
            self._register()
        self.api.call("DELETE", item_path(self.item_id), transactions="erase")
        self._wait_for(
            self._is_erased,
            "the Item is not removed, or its rows are not erased",
            f"plaid-sync item {self.item_id} shows the progress; runbook: removals-incomplete",
        )
        self.item_id = ""
        return "removed at Plaid, and no row is left"

    def _wait_for(self, read: Callable[[], Any], failure: str, fix: str) -> Any:  # noqa: ANN401 - what `read` returns
        deadline = time.monotonic() + self.timeout
        while not (result := read()):
            if time.monotonic() > deadline:
                raise CommandError(f"{failure} within {self.timeout:.0f} s", fix)
            time.sleep(_POLL_INTERVAL)
        return result

    def _complete_item(self) -> Any:  # noqa: ANN401 - JSON
        item = self.api.call("GET", item_path(self.item_id))
        return item if item["transactions"]["live"] and item["history_phase"] == "historical" else None

    def _conclusive_report(self) -> Any:  # noqa: ANN401 - a report
        (report,) = Auditor(self.deployment).audit([self.item_id], RateLimiter(1), lambda _report: None)
        return report if is_conclusive(report) else None

    def _refresh(self) -> bool:
        try:
            self.api.call("POST", item_path(self.item_id, "refresh"))
        except ApiError as error:
            if error.code != _REFRESHED_RECENTLY:
                raise
            return False
        return True

    def _freshness(self) -> dict[str, Any]:
        freshness: dict[str, Any] = self.api.call("GET", item_path(self.item_id))["freshness"]
        return freshness

    def _is_erased(self) -> bool:
        removal = self.api.call("GET", item_path(self.item_id)).get("removal", {})
        return "completed_at" in removal and not any(map(self._count, _TABLES))

    def _count(self, table: str) -> int:
        response = self.deployment.client("dynamodb").query(
            TableName=self.deployment.output(table),
            Select="COUNT",
            ConsistentRead=True,
            KeyConditionExpression="item_id = :item_id",
            ExpressionAttributeValues={":item_id": {"S": self.item_id}},
        )
        return int(response["Count"])

    def _post(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json", **headers}
        try:
            return self.http.request("POST", url, body=b"{}", headers=headers, timeout=_TIMEOUT)
        except urllib3.exceptions.HTTPError as error:
            raise CommandError(f"{url} does not answer: {error}", "plaid-sync doctor") from error


def _forged_token() -> str:
    """Return a well-formed token whose key Plaid does not have, so that the function has to fetch it."""
    header = {"alg": "ES256", "typ": "JWT", "kid": str(uuid.uuid4())}
    claims = {"iat": int(time.time()), "request_body_sha256": "0" * 64}
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), bytes(64)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def run_steps(test: SmokeTest, names: tuple[str, ...], on_result: Callable[[StepResult], None]) -> list[StepResult]:
    """Run steps up to the first failure; in any case, erase the Item."""
    results: list[StepResult] = []

    def record(result: StepResult) -> bool:
        results.append(result)
        on_result(result)
        return result.passed

    try:
        all(record(_run_step(name, getattr(test, name))) for name in names)
    finally:
        if test.item_id or test.unanswered:
            record(_run_step("clean up", test.erase))
    return results


def _run_step(name: str, step: Callable[[], str]) -> StepResult:
    name = name.replace("_", " ")
    try:
        with expected_failures():
            return StepResult(name, passed=True, what=step())
    except CommandError as error:
        return StepResult(name, passed=False, what=error.message, fix=error.fix)
