"""The subject of events for a running stack: an Item of its own, signed by its own Plaid."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3

from local.events.samples import Samples
from local.events.subject import LinkSession
from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from local.stack.paths import Progress
    from local.stack.running import RunningStack

BANK = "ins_109508"
USER = "user-17"
SYNC_SECONDS = 60.0
_GLANCE_SECONDS = 0.2


@dataclass(frozen=True)
class RunningSubject:
    """Items that the stack has linked; one is linked where there is none.

    Attributes:
        stack: The stack.
        chosen: The Item that was asked for.
        progress: Told about what takes time.
    """

    stack: RunningStack
    progress: Progress
    chosen: str | None = None

    @property
    def now(self) -> datetime:
        """The present."""
        return datetime.now(UTC)

    @cached_property
    def item_id(self) -> str:
        """The Item that was asked for, or else the first one that was linked.

        Raises:
            LocalStackError: The stack has no such Item.
        """
        linked = self._linked()
        if self.chosen is None:
            return linked[0] if linked else self._link()
        if self.chosen not in linked:
            known = ", ".join(linked) or "none"
            raise LocalStackError(f"The stack has no Item {self.chosen} that is linked; there are: {known}.")
        return self.chosen

    @cached_property
    def other_item_id(self) -> str:
        """Another one."""
        first = self.item_id
        others = [item_id for item_id in self._linked() if item_id != first]
        return others[0] if others else self._link()

    def body(self, kind: str, code: str) -> bytes:
        """Return a webhook's body."""
        asked = {"webhook_type": kind, "webhook_code": code}
        return str(self._plaid(f"/_sim/items/{self.item_id}/webhooks/draft", asked)["body"]).encode()

    def sign(self, body: bytes) -> str:
        """Return the token of `Plaid-Verification`."""
        return str(self._plaid("/_sim/sign", {"body": body.decode()})["token"])

    def forge(self, body: bytes) -> str:
        """Return a token in the name of Plaid's key, by another one."""
        return str(self._plaid("/_sim/sign", {"body": body.decode(), "forge": "ES256"})["token"])

    def public_token(self) -> str:
        """Return what Link gives to an application when a user has linked an Item."""
        options = {"webhook": self.stack.variables["WEBHOOK_URL"]}
        asked = {"institution_id": BANK, "initial_products": ["transactions"], "options": options, **self._plaid_keys}
        return str(self._plaid("/sandbox/public_token/create", asked)["public_token"])

    def link_session(self) -> LinkSession:
        """Return a session in which a user has linked an Item."""
        token = self._ask("items_link_token")["link_token"]
        return LinkSession(token, USER, self._plaid("/_sim/link", {"link_token": token})["public_token"])

    @property
    def _plaid_keys(self) -> dict[str, str]:
        secret = self.stack.client("secretsmanager").get_secret_value(SecretId=self.stack.variables["PLAID_SECRET_ID"])
        keys: dict[str, str] = json.loads(secret["SecretString"])
        return keys

    def _linked(self) -> list[str]:
        """Return the Items that Plaid serves and the stack has, in the order in which they were linked."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(
            TableName=self.stack.variables["ITEMS_TABLE"], ConsistentRead=True
        )  # fmt: skip
        states = {row["item_id"]["S"]: row["status"]["S"] for page in pages for row in page["Items"]}
        known = [item["item_id"] for item in self._plaid("/_sim/items")]
        return [item_id for item_id in known if states.get(item_id, "removed") != "removed"]

    def _link(self) -> str:
        """Link an Item through the stack, and wait for its first sync."""
        self.progress("linking an Item, for the stack has none to spare")
        item_id = str(self._ask("items_link")["item_id"])
        table, key = self.stack.variables["ITEMS_TABLE"], {"item_id": {"S": item_id}}
        dynamodb, deadline = self.stack.client("dynamodb"), time.monotonic() + SYNC_SECONDS
        while "cursor" not in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {}):
            if time.monotonic() > deadline:
                raise LocalStackError(f"Item {item_id} was linked, and not synced within {SYNC_SECONDS:.0f} s.")
            time.sleep(_GLANCE_SECONDS)
        return item_id

    def _ask(self, sample: str) -> dict[str, Any]:
        """Make a sample request to the Items API; return the document of its answer."""
        answer = self.stack.invoke("items", Samples(self).event(sample)).answer
        if answer.get("statusCode") not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise LocalStackError(f"The stack refused {sample}: {answer}")
        document: dict[str, Any] = json.loads(answer["body"])
        return document

    def _plaid(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
        """Ask the bundled Plaid.

        Raises:
            LocalStackError: It is another one, or it refuses.
        """
        url = f"{self.stack.plaid_base_url}{path}"
        try:
            answer = urllib3.request("GET" if body is None else "POST", url, json=body, retries=False, timeout=60)
            document = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise LocalStackError(
                f"{url} does not answer as the bundled Plaid does, which makes and signs the events: run make local "
                f"without PLAID_BASE_URL ({error})"
            ) from error
        if answer.status != HTTPStatus.OK:
            raise LocalStackError(f"Plaid's {path} was answered {answer.status}: {document}")
        return document
