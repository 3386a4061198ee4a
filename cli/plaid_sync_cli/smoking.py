"""A smoke test of a deployment, end to end: what a user would notice if it did not work, one step after the other."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import urllib3

from plaid_sync_cli import checking, checks_aws, checks_plaid
from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.auditing import Auditing, drift_of, is_judged
from plaid_sync_cli.checking import Result
from plaid_sync_cli.errors import CommandError, expected_failures
from plaid_sync_cli.output import plural
from plaid_sync_cli.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync_cli.deployment import Deployment
    from plaid_sync_cli.plaid import Plaid

BANK: Final = "ins_109508"
"""Plaid's First Platypus Bank (https://plaid.com/docs/sandbox/institutions/)."""
_DAYS: Final = 30
_TIMEOUT: Final = urllib3.Timeout(connect=3, read=12)
_LOOK_EVERY: Final = 1.0
_REFRESH_AGAIN: Final = "refreshed_recently"
_TABLES: Final = ("TransactionsTable", "QuarantineTable")


class SmokeError(Exception):
    """A step has shown that something does not work.

    Attributes:
        what: was seen.
        fix: where to look.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


@dataclass(slots=True)
class Smoke:
    """The steps, in their order. Each returns what it has seen, or raises `SmokeError`.

    Attributes:
        seconds: how long a step waits for what comes by itself.
        item_id: the Item that was linked, until its rows are gone.
        unanswered: the request that may have linked one, until its answer is there.
    """

    deployment: Deployment
    api: ItemApi
    plaid: Plaid
    seconds: float
    item_id: str = ""
    unanswered: dict[str, object] = field(default_factory=dict)
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def forged_webhook(self) -> str:
        """Post a webhook whose signature nobody can have made."""
        url = self.deployment.output("WebhookUrl")
        answer = self._post(url, {"Plaid-Verification": _forgery()})
        if answer.status != HTTPStatus.UNAUTHORIZED:
            raise SmokeError(f"a forged webhook was answered {answer.status}, not 401", "Runbook: webhook-errors")
        return f"a forged webhook is answered 401 {answer.data.decode()[:80]}"

    def unsigned_call(self) -> str:
        """Call the Item API as anybody could."""
        answer = self._post(f"{self.deployment.output('ApiUrl')}/items", {})
        if answer.status != HTTPStatus.FORBIDDEN:
            raise SmokeError(
                f"an unsigned call of the Item API was answered {answer.status}, not 403",
                "Deploy the template again: the routes of the Item API are authorized by IAM.",
            )
        return "an unsigned call of the Item API is answered 403"

    def doctor(self) -> str:
        """Do what `plaid-sync doctor` does."""
        found = list(checking.run((*checks_plaid.CHECKS, *checks_aws.CHECKS), self.deployment))
        for name, finding in found:
            if finding.result is Result.FAILED:
                raise SmokeError(f"{name}: {finding.what}", finding.fix)
        return f"{plural(len(found), 'check')} of plaid-sync doctor, none failed"

    def link(self) -> str:
        """Link a bank of Plaid's sandbox."""
        created = self.plaid.call(
            "/sandbox/public_token/create",
            institution_id=BANK,
            initial_products=["transactions"],
            options={"webhook": self.deployment.output("WebhookUrl"), "transactions": {"days_requested": _DAYS}},
        )
        self.unanswered = {"public_token": created["public_token"], "days_requested": _DAYS}
        return f"linked {self._linked()}"

    def _linked(self) -> str:
        """Link; the same request again answers with the Item that it has linked before."""
        try:
            self.item_id = str(self.api.call("POST", "/items", self.unanswered)["item_id"])
        except ApiError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.unanswered = {}  # refused: there is none
            raise
        self.unanswered = {}
        return self.item_id

    def rows(self) -> str:
        """Wait for the whole history."""
        item = self._await(
            self._whole_item,
            "the rows have not come",
            f"plaid-sync item {self.item_id} and plaid-sync status say why.",
        )
        return f"{plural(int(item['transactions']['live']), 'row')} came"

    def audit(self) -> str:
        """Compare them with Plaid's. While Plaid moves the Item there is no verdict, and it is asked again."""
        report = self._await(
            self._verdict,
            "the audit came to no verdict",
            f"plaid-sync audit {self.item_id}",
        )
        if drift := drift_of(report):
            raise SmokeError(f"{plural(drift, 'row')} differ from Plaid's", f"plaid-sync audit {self.item_id} --values")
        return f"0 differences: {plural(report['at_plaid'], 'transaction')} at Plaid compared"

    def webhook(self) -> str:
        """Have Plaid ask the bank, and wait until its webhook has led to a sync."""
        seen = {entry["at"] for entry in self._history("webhook")}
        self._await(self._refreshed, "a refresh was not taken", "Wait a minute, and try again.")
        entry = self._await(
            lambda: next((one for one in self._history("webhook") if one["at"] not in seen), None),
            "Plaid's webhook has not come",
            "Is the webhook URL reachable from the internet? plaid-sync doctor; runbook: webhooks-silent",
        )
        self._await(
            lambda: any(one["at"] > entry["at"] for one in self._history("sync")),
            "the webhook has led to no sync",
            f"plaid-sync item {self.item_id} and plaid-sync status say why.",
        )
        return "Plaid's webhook came, and led to a sync"

    def erase(self) -> str:
        """Remove the Item here and at Plaid, and wait until nothing is left of its rows."""
        if self.unanswered:
            self._linked()
        self.api.call("DELETE", item_path(self.item_id), transactions="erase")
        self._await(
            self._is_erased,
            "the Item is not removed yet, or has rows",
            f"plaid-sync item {self.item_id} says how far it is; runbook: removals-unfinished",
        )
        self.item_id = ""
        return "removed at Plaid, and no row is left"

    def _await(self, look: Callable[[], Any], otherwise: str, fix: str) -> Any:  # noqa: ANN401 - whatever is looked for
        deadline = time.monotonic() + self.seconds
        while not (found := look()):
            if time.monotonic() > deadline:
                raise SmokeError(f"{otherwise} within {self.seconds:.0f} s", fix)
            time.sleep(_LOOK_EVERY)
        return found

    def _whole_item(self) -> Any:  # noqa: ANN401 - JSON
        item = self.api.call("GET", item_path(self.item_id))
        return item if item["transactions"]["live"] and item["history_phase"] == "historical" else None

    def _verdict(self) -> Any:  # noqa: ANN401 - a report
        (report,) = Auditing(self.deployment).audit([self.item_id], Pace(1), lambda _report: None)
        return report if is_judged(report) else None

    def _refreshed(self) -> bool:
        try:
            self.api.call("POST", item_path(self.item_id, "refresh"))
        except ApiError as error:
            if error.code != _REFRESH_AGAIN:
                raise
            return False
        return True

    def _history(self, kind: str) -> list[dict[str, Any]]:
        history = self.api.call("GET", item_path(self.item_id, "history"), limit="100")["history"]
        return [entry for entry in history if entry["kind"] == kind]

    def _is_erased(self) -> bool:
        removal = self.api.call("GET", item_path(self.item_id)).get("removal", {})
        return "completed_at" in removal and not any(map(self._count, _TABLES))

    def _count(self, table: str) -> int:
        answer = self.deployment.client("dynamodb").query(
            TableName=self.deployment.output(table),
            Select="COUNT",
            ConsistentRead=True,
            KeyConditionExpression="item_id = :item_id",
            ExpressionAttributeValues={":item_id": {"S": self.item_id}},
        )
        return int(answer["Count"])

    def _post(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json", **headers}
        try:
            return self.http.request("POST", url, body=b"{}", headers=headers, timeout=_TIMEOUT)
        except urllib3.exceptions.HTTPError as error:
            raise SmokeError(f"{url} does not answer: {error}", "plaid-sync doctor") from error


def _forgery() -> str:
    """Return a well-formed token with a key that Plaid does not have, so that the function has to ask it."""
    header = {"alg": "ES256", "typ": "JWT", "kid": str(uuid.uuid4())}
    claims = {"iat": int(time.time()), "request_body_sha256": "0" * 64}
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), bytes(64)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a step.

    Attributes:
        what: was seen.
        fix: what to do; empty where all is well.
    """

    name: str
    passed: bool
    what: str
    fix: str = ""


CREATES_NOTHING: Final = ("forged_webhook", "unsigned_call", "doctor")
"""The steps in Plaid's production environment."""
END_TO_END: Final = ("forged_webhook", "unsigned_call", "link", "rows", "audit", "webhook", "erase")
"""The steps in Plaid's sandbox."""


def run(smoke: Smoke, names: tuple[str, ...], tell: Callable[[Step], None]) -> list[Step]:
    """Run the steps up to the first that fails; whatever happens, no Item is left."""
    done: list[Step] = []

    def note(step: Step) -> bool:
        done.append(step)
        tell(step)
        return step.passed

    try:
        all(note(_step(name, getattr(smoke, name))) for name in names)
    finally:
        if smoke.item_id or smoke.unanswered:
            note(_step("clean up", smoke.erase))
    return done


def _step(name: str, look: Callable[[], str]) -> Step:
    name = name.replace("_", " ")
    try:
        with expected_failures():
            return Step(name, passed=True, what=look())
    except SmokeError as error:
        return Step(name, passed=False, what=error.what, fix=error.fix)
    except CommandError as error:
        return Step(name, passed=False, what=error.message, fix=error.fix)
