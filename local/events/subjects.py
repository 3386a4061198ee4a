"""What sample events are about: Items, and the Plaid that signs their webhooks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import urllib3

from local.events.samples import Samples
from local.plaid import PlaidSimulator, SimulatedClock
from local.plaid.webhooks import payload
from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from local.stack.paths import Progress
    from local.stack.running import RunningStack

SEED: Final = 7
WRITTEN_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEBHOOK_URL: Final = "https://example.execute-api.us-east-1.amazonaws.com/webhooks/plaid"
FOREIGN_WEBHOOK_URL: Final = "https://other-system.invalid/plaid"
BANK: Final = "ins_109508"
USER: Final = "user-17"
SYNC_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class LinkSession:
    """A session of Plaid Link that the user completed."""

    link_token: str
    client_user_id: str
    public_token: str


class FixedSubject:
    """The Items of `tests/events`, which no stack has: the same IDs and keys each time (`local.plaid --seed 7`)."""

    item_id = "item-a"
    other_item_id = "item-b"
    account_id = "account-a"
    transaction_id = "transaction-a"
    client_user_id = USER

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._plaid = PlaidSimulator(seed=SEED, clock=SimulatedClock(now))
        linked = self._plaid.link_item(webhook_url=WEBHOOK_URL)
        self._item = self._plaid.item(linked.item_id)

    def body(self, kind: str, code: str) -> bytes:
        return json.dumps(payload(self._item, kind, code, self.now), indent=2).encode()

    def sign(self, body: bytes) -> str:
        """Return the token of `Plaid-Verification`."""
        return self._plaid.sign(body)

    def forge(self, body: bytes) -> str:
        """Return such a token with Plaid's key ID, signed by another key."""
        return self._plaid.forge(body, "ES256")

    def public_token(self) -> str:
        """Return a token that Plaid did not issue."""
        return "public-sandbox-00000000"

    def foreign_access_token(self) -> str:
        """Return an access token that Plaid did not issue."""
        return "access-sandbox-00000000"

    def link_session(self) -> LinkSession:
        return LinkSession("link-sandbox-00000000", USER, self.public_token())


@dataclass(frozen=True)
class RunningSubject:
    """Items that a running stack has linked; it links one if there is none."""

    stack: RunningStack
    progress: Progress
    chosen: str | None = None
    client_user_id: str = USER

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def item_id(self) -> str:
        """The requested Item, or the first one that was linked."""
        linked = self._linked()
        if self.chosen is None:
            return linked[0] if linked else self._link()
        if self.chosen not in linked:
            known = ", ".join(linked) or "none"
            raise LocalStackError(f"The stack has no linked Item {self.chosen}. It has: {known}.")
        return self.chosen

    @cached_property
    def other_item_id(self) -> str:
        first = self.item_id
        others = [item_id for item_id in self._linked() if item_id != first]
        return others[0] if others else self._link()

    @cached_property
    def account_id(self) -> str:
        """The first account of the Item."""
        return str(self._call_api("items_show")["accounts"][0]["account_id"])

    @cached_property
    def transaction_id(self) -> str:
        """A transaction of the Item."""
        return str(self._call_api("items_transactions")["transactions"][0]["transaction_id"])

    def body(self, kind: str, code: str) -> bytes:
        draft = {"webhook_type": kind, "webhook_code": code}
        return str(self._plaid(f"/_sim/items/{self.item_id}/webhooks/draft", draft)["body"]).encode()

    def sign(self, body: bytes) -> str:
        """Return the token of `Plaid-Verification`."""
        return str(self._plaid("/_sim/sign", {"body": body.decode()})["token"])

    def forge(self, body: bytes) -> str:
        """Return such a token with Plaid's key ID, signed by another key."""
        return str(self._plaid("/_sim/sign", {"body": body.decode(), "forge": "ES256"})["token"])

    def public_token(self) -> str:
        """Return what Link gives to an application when a user links an Item."""
        return self._create_public_token(self.stack.variables["WEBHOOK_URL"])

    def foreign_access_token(self) -> str:
        """Return the access token of an Item that another system linked, and whose webhooks it gets."""
        public_token = self._create_public_token(FOREIGN_WEBHOOK_URL)
        request = {"public_token": public_token, **self._credentials()}
        return str(self._plaid("/item/public_token/exchange", request)["access_token"])

    def _create_public_token(self, webhook_url: str) -> str:
        request = {
            "institution_id": BANK,
            "initial_products": ["transactions"],
            "options": {"webhook": webhook_url},
            **self._credentials(),
        }
        return str(self._plaid("/sandbox/public_token/create", request)["public_token"])

    def _credentials(self) -> dict[str, str]:
        """Return Plaid's client_id and secret."""
        secret = self.stack.client("secretsmanager").get_secret_value(SecretId=self.stack.variables["PLAID_SECRET_ID"])
        credentials: dict[str, str] = json.loads(secret["SecretString"])
        return credentials

    def link_session(self) -> LinkSession:
        token = self._call_api("items_link_token")["link_token"]
        return LinkSession(token, USER, self._plaid("/_sim/link", {"link_token": token})["public_token"])

    def _linked(self) -> list[str]:
        """Return the Items that both Plaid and the stack have, in the order of linking."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(
            TableName=self.stack.variables["ITEMS_TABLE"], ConsistentRead=True
        )  # fmt: skip
        states = {row["item_id"]["S"]: row["state"]["S"] for page in pages for row in page["Items"]}
        known = [item["item_id"] for item in self._plaid("/_sim/items")]
        return [item_id for item_id in known if states.get(item_id, "removed") != "removed"]

    def _link(self) -> str:
        """Link an Item through the stack, and wait for its first sync."""
        self.progress("linking an Item: the event needs one more than the stack has")
        item_id = str(self._call_api("items_link")["item_id"])
        table, key = self.stack.variables["ITEMS_TABLE"], {"item_id": {"S": item_id}}
        dynamodb, deadline = self.stack.client("dynamodb"), time.monotonic() + SYNC_SECONDS
        while "cursor" not in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {}):
            if time.monotonic() > deadline:
                raise LocalStackError(f"Item {item_id} is linked, but was not synced within {SYNC_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)
        return item_id

    def _call_api(self, sample: str) -> dict[str, Any]:
        """Send a sample request to the Items API; return its response body."""
        answer = self.stack.invoke("items", Samples(self).event(sample)).answer
        if answer.get("statusCode") not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise LocalStackError(f"The stack refused {sample}: {answer}")
        body: dict[str, Any] = json.loads(answer["body"])
        return body

    def _plaid(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
        url = f"{self.stack.plaid_base_url}{path}"
        try:
            answer = urllib3.request("GET" if body is None else "POST", url, json=body, retries=False, timeout=60)
            document = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise LocalStackError(
                f"{url} is not the bundled Plaid server, which signs the events: run make local without "
                f"PLAID_BASE_URL ({error})"
            ) from error
        if answer.status != HTTPStatus.OK:
            raise LocalStackError(f"Plaid answered {answer.status} to {path}: {document}")
        return document
