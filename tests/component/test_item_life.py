"""Every cell of the table of states, played: an Item is brought into the state, the event happens, all is looked at.

Events come the way they come in reality: a signed webhook through the webhook function, a request through the items
function, a failure through Plaid's answers. What an Item is afterwards is read through the API.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.core.error_codes import remedy_of
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.states import TABLE, Action, Announcement, Event

from tests.component.inside import waits_long

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.component.world import World

HOOK: Final = "http://plaid-sync.test/webhooks/plaid"
A, E, D, U, R, GONE = ItemStatus
ERRORS: Final = {U: "ITEM_LOGIN_REQUIRED", R: "USER_PERMISSION_REVOKED"}
"""What Plaid has on an Item in these states."""
WARNED: Final = {Event.PENDING_EXPIRATION, Event.PENDING_DISCONNECT}


@dataclass(frozen=True, slots=True)
class Play:
    """An Item in a state.

    Attributes:
        before: the state.
        link_token: of an update mode that was begun before the Item came into the state.
    """

    world: World
    item_id: str
    before: ItemStatus
    link_token: str

    @classmethod
    def in_state(cls, world: World, status: ItemStatus) -> Play:
        """Link an Item and bring it into a state, by what brings Items there."""
        world.plaid.hold_webhooks()
        item_id = world.link(webhook_url=HOOK, transactions=6)
        world.plaid.add(item_id, 4, notify=False)
        answer = world.request("POST", "/link-tokens", {"client_user_id": "user", "item_id": item_id})
        play = cls(world, item_id, status, json.loads(answer["body"])["link_token"])
        play.deliver()
        if status is E:
            world.plaid.warn_disconnect(item_id)
            play.deliver()
        elif status is D:
            failing("INSTITUTION_DOWN")(play)
        elif status in ERRORS:
            world.plaid.set_item_error(item_id, ERRORS[status], notify=False)
            world.trigger(item_id)
            world.drain()
        elif status is GONE:
            assert play.said("DELETE")["_status"] == 202
            world.drain()
        assert play.said("GET")["state"] == status
        return play

    def said(self, method: str, path: str = "", body: object = None, **query: str) -> dict[str, Any]:
        """Ask the API about the Item; the answer's document, and its status as `_status`."""
        answer = self.world.request(method, f"/items/{self.item_id}{path}", body, query or None)
        document: dict[str, Any] = json.loads(answer["body"])
        return document | {"_status": answer["statusCode"]}

    def history(self) -> list[dict[str, Any]]:
        """The Item's history, newest first."""
        entries: list[dict[str, Any]] = self.said("GET", "/history", limit="100")["history"]
        return entries

    def deliver(self) -> None:
        """Deliver the webhooks that Plaid has sent about the Item, and work through the queue."""
        for delivery in self.world.plaid.webhooks(self.item_id):
            if delivery.state == "held":
                delivery.state = "delivered"
                answer = self.world.post_webhook(delivery.body, self.world.plaid.sign(delivery.body))
                assert answer["statusCode"] == 200
        self.world.drain()

    def tell(self, code: str, **extra: object) -> None:
        """Let Plaid send an ITEM webhook, and deliver it."""
        self.world.plaid.fire_webhook(self.item_id, "ITEM", code, **extra)
        self.deliver()


def told(event: Event) -> Callable[[Play], None]:
    return lambda play: play.tell(event.value)


def account_revoked(play: Play) -> None:
    account_id = play.world.plaid.revoke_account(play.item_id, notify=False)
    play.tell("USER_ACCOUNT_REVOKED", account_id=account_id)
    left = [row for row in play.world.rows(play.item_id).values() if row.get("account_id") == account_id]
    kept = [row for row in left if "amount" in row or "plaid" in row or "removed_at" not in row]
    assert not kept or play.before is GONE


def healthy(play: Play) -> None:
    if play.before is not GONE:
        play.world.plaid.set_item_error(play.item_id, None, notify=False)
    play.world.trigger(play.item_id)
    play.world.drain()


def failing(code: str) -> Callable[[Play], None]:
    """A sync that Plaid answers with a code; the trigger, if it comes back, is thrown away."""

    def happens(play: Play) -> None:
        world = play.world
        if play.before is not GONE:
            world.plaid.set_item_error(play.item_id, None, notify=False)
        world.plaid.inject_fault("/transactions/sync", code, item_id=play.item_id, times=6)
        world.trigger(play.item_id)
        world.handle(world.receive())
        world.plaid.clear_faults()
        world.stack.client("sqs").purge_queue(QueueUrl=world.stack.sync_queue_url)

    return happens


def asked(event: Event) -> Callable[[Play], None]:
    """A request that is answered as the table says."""

    def happens(play: Play) -> None:
        method, path = event.value.split(" ")
        check_refusal(play, event, play.said(method, path.removeprefix("/items/{item_id}")))
        play.world.drain()

    return happens


def check_refusal(play: Play, event: Event, answer: dict[str, Any]) -> None:
    if TABLE[play.before, event].action is Action.REFUSE:
        assert answer["_status"] == (410 if play.before is GONE else 409), answer
        assert answer["fix"]
    elif answer["_status"] == 409:
        assert answer["plaid_request_id"], "Plaid was asked, and refused"
        assert play.before is U
    else:
        assert answer["_status"] in {200, 201, 202}, answer


def update_mode_finished(play: Play) -> None:
    plaid, error = play.world.plaid, play.world.plaid.item(play.item_id).error_code
    if play.before is not GONE:
        plaid.complete_link(play.link_token)
        plaid.set_item_error(play.item_id, error, notify=False)  # whatever the user did, Plaid's word decides
    answer = play.said("POST", "/sync", {"link_token": play.link_token})
    check_refusal(play, Event.UPDATE_MODE_FINISHED, answer)
    play.world.drain()


def update_mode(play: Play) -> None:
    answer = play.world.request("POST", "/link-tokens", {"client_user_id": "user", "item_id": play.item_id})
    check_refusal(play, Event.UPDATE_MODE, json.loads(answer["body"]) | {"_status": answer["statusCode"]})


def linked_again(play: Play) -> None:
    tokens = play.world.plaid.public_tokens
    token = next(token for token, made in tokens.items() if made.item.item_id == play.item_id)
    answer = play.world.post_items({"public_token": token})
    check_refusal(play, Event.LINK, json.loads(answer["body"]) | {"_status": answer["statusCode"]})
    play.world.drain()


HAPPENS: Final[dict[Event, Callable[[Play], None]]] = {
    Event.ERROR: told(Event.ERROR),
    Event.LOGIN_REPAIRED: told(Event.LOGIN_REPAIRED),
    Event.PENDING_EXPIRATION: told(Event.PENDING_EXPIRATION),
    Event.PENDING_DISCONNECT: told(Event.PENDING_DISCONNECT),
    Event.USER_PERMISSION_REVOKED: told(Event.USER_PERMISSION_REVOKED),
    Event.USER_ACCOUNT_REVOKED: account_revoked,
    Event.NEW_ACCOUNTS_AVAILABLE: told(Event.NEW_ACCOUNTS_AVAILABLE),
    Event.WEBHOOK_UPDATE_ACKNOWLEDGED: told(Event.WEBHOOK_UPDATE_ACKNOWLEDGED),
    Event.HEALTHY: healthy,
    Event.FOUND_INSTITUTION_DOWN: failing("INSTITUTION_DOWN"),
    Event.FOUND_NEEDS_USER: failing("PASSWORD_RESET_REQUIRED"),
    Event.FOUND_TERMINAL: failing("ITEM_NOT_SUPPORTED"),
    Event.FOUND_RETRY: failing("INTERNAL_SERVER_ERROR"),
    Event.FOUND_THROTTLED: failing("TRANSACTIONS_SYNC_LIMIT"),
    Event.FOUND_OURS: failing("INVALID_PRODUCT"),
    Event.LINK: linked_again,
    Event.SYNC: asked(Event.SYNC),
    Event.UPDATE_MODE_FINISHED: update_mode_finished,
    Event.REFRESH: asked(Event.REFRESH),
    Event.RESYNC: asked(Event.RESYNC),
    Event.SET_WEBHOOK: asked(Event.SET_WEBHOOK),
    Event.ACCOUNTS: asked(Event.ACCOUNTS),
    Event.UPDATE_MODE: update_mode,
    Event.REMOVE: asked(Event.REMOVE),
}
SYNCED: Final = {Action.CHECK, Action.SYNC, Action.REGISTER, Action.ERASE_ACCOUNT}
"""Actions that lead to a sync, so that what it finds decides."""
QUEUED: Final = {Event.NEW_ACCOUNTS_AVAILABLE, *WARNED}


PLAYED: Final = [
    pytest.param(event, id=event.name, marks=waits_long if event is Event.FOUND_THROTTLED else ()) for event in Event
]


def expected(status: ItemStatus, event: Event) -> ItemStatus:
    """The state that the table promises, with what Plaid then says of the Item."""
    step = TABLE[status, event]
    if status is GONE or not (step.action in SYNCED or event in QUEUED):
        return step.state
    if status is D and event in WARNED:
        return E  # the bank is up again, and the warning stands
    finding = {U: Event.FOUND_NEEDS_USER, R: Event.FOUND_TERMINAL}.get(status, Event.HEALTHY)
    return TABLE[step.state, finding].state


@pytest.mark.parametrize("event", PLAYED)
@pytest.mark.parametrize("status", list(ItemStatus), ids=lambda status: status.value)
def test_every_cell_of_the_table(world: World, status: ItemStatus, event: Event) -> None:
    play = Play.in_state(world, status)
    step, entries = TABLE[status, event], len(play.history())
    world.plaid.reset_calls()
    HAPPENS[event](play)
    looks = world.plaid.calls["/item/get"]
    shown = play.said("GET")
    assert shown["state"] == expected(status, event), shown
    assert shown["remedy"] == remedy_of(shown.get("code"))
    if step.action is Action.CHECK:
        assert looks >= 1
    if step.action is Action.SYNC and status is A:
        assert looks == 0, "an active Item is not looked at for a plain sync"
    new = play.history()[:-entries]
    announced = [name for entry in new for name in entry.get("announcements", ())]
    if shown["state"] != status:
        assert announced.count(f"Item{shown['state'].title().replace('_', '')}") == 1, announced
    elif step.announcement in {Announcement.NEW_ACCOUNTS, Announcement.ACCOUNT_REVOKED}:
        assert announced == [step.announcement]
    elif shown.get("code") == ERRORS.get(status):
        assert announced == [], "what changes nothing is not announced"
    if step.action is Action.FINISH_REMOVAL:
        assert world.plaid.item(play.item_id).removed
        assert "completed_at" in shown["removal"]
    if shown["state"] in {A, E}:
        play.deliver()  # what a refresh has led to
        world.assert_exact(play.item_id, status=shown["state"])
