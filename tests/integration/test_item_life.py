"""Every cell of the table of states, played: an Item is brought into the state, the event happens, all is looked at.

Events come the way they come in reality: a signed webhook through the webhook function, a request through the items
function, a failure through Plaid's answers. What an Item is afterwards is read through the API.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.domain.errors import Remedy, remedy_for
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import StateName
from plaid_sync.domain.transitions import TRANSITIONS, Action, EventType
from pyrage import x25519

from local.plaid.webhooks import ITEM_CODES
from tests.integration.in_process import waits_long

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.harness import World

RECIPIENT: Final = str(x25519.Identity.generate().to_public())
HOOK: Final = "http://plaid-sync.test/webhooks/plaid"
A, E, D, U, R, GONE = StateName
ERRORS: Final = {U: "ITEM_LOGIN_REQUIRED", R: "USER_PERMISSION_REVOKED"}
"""What Plaid has on an Item in these states."""
WARNED: Final = {EventType.PENDING_EXPIRATION, EventType.PENDING_DISCONNECT}


@dataclass(frozen=True, slots=True)
class Play:
    """An Item in a state.

    Attributes:
        before: the state.
        link_token: of an update mode that was begun before the Item came into the state.
    """

    world: World
    item_id: str
    before: StateName
    link_token: str

    @classmethod
    def in_state(cls, world: World, state: StateName) -> Play:
        """Link an Item and bring it into a state, by what brings Items there."""
        world.plaid.hold_webhooks()
        item_id = world.link(webhook_url=HOOK, transactions=6)
        world.plaid.add(item_id, 4, notify=False)
        answer = world.request("POST", "/link-tokens", {"client_user_id": "user", "item_id": item_id})
        play = cls(world, item_id, state, json.loads(answer["body"])["link_token"])
        play.deliver()
        if state is E:
            world.plaid.warn_disconnect(item_id)
            play.deliver()
        elif state is D:
            failing("INSTITUTION_DOWN")(play)
        elif state in ERRORS:
            world.plaid.set_item_error(item_id, ERRORS[state], notify=False)
            world.enqueue(item_id)
            world.drain()
        elif state is GONE:
            assert play.call("DELETE")["_status"] == 202
            world.drain()
        assert play.call("GET")["state"] == state
        return play

    def call(self, method: str, path: str = "", body: object = None, **query: str) -> dict[str, Any]:
        """Call the API about the Item; the answer's document, and its state as `_status`."""
        answer = self.world.request(method, f"/items/{self.item_id}{path}", body, query or None)
        document: dict[str, Any] = json.loads(answer["body"])
        return document | {"_status": answer["statusCode"]}

    def history(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.call("GET", "/history", limit="100")["history"]
        return entries

    def deliver(self) -> None:
        """Deliver the webhooks that Plaid has sent about the Item, and work through the queue."""
        self.world.deliver_webhooks(self.item_id)

    def send_webhook(self, code: str, **extra: object) -> None:
        self.world.plaid.fire_webhook(self.item_id, "ITEM", code, **extra)
        self.deliver()


def webhook(event: EventType) -> Callable[[Play], None]:
    return lambda play: play.send_webhook(event.value)


def account_revoked(play: Play) -> None:
    account_id = play.world.plaid.revoke_account(play.item_id, notify=False)
    play.send_webhook("USER_ACCOUNT_REVOKED", account_id=account_id)
    # While Plaid does not serve the Item, nothing is concluded about its accounts.
    assert not kept_rows(play, account_id) or play.before in {U, R, GONE}


def kept_rows(play: Play, account_id: str) -> list[dict[str, Any]]:
    """Return the rows of an account that have content."""
    rows = play.world.rows(play.item_id).values()
    return [row for row in rows if row.get("account_id") == account_id and ("amount" in row or "plaid" in row)]


def compared(play: Play) -> None:
    """The accounts are compared with Plaid's list, of an Item that Plaid serves."""
    if play.before is not GONE:
        play.world.plaid.set_item_error(play.item_id, None, notify=False)
    play.world.enqueue(play.item_id, "accounts")
    play.world.drain()


def account_gone(play: Play) -> None:
    play.world.plaid.close_account(play.item_id)
    compared(play)


def account_withdrawn(play: Play) -> None:
    play.world.plaid.set_item_error(play.item_id, None, notify=False)
    account_revoked(play)


def account_returned(play: Play) -> None:
    """It is gone before; what that publishes is no part of the event."""
    account_id = play.world.plaid.close_account(play.item_id)
    if play.before is not GONE:
        play.world.set_attribute(play.item_id, "gone_accounts", {"SS": [account_id]})
    play.world.plaid.regrant_account(play.item_id, account_id, notify=False)
    compared(play)


def account_erased(play: Play) -> None:
    account_id = play.world.plaid.account_rows(play.item_id)[0]["account_id"]
    check_refusal(play, EventType.ERASE_ACCOUNT, play.call("DELETE", f"/accounts/{account_id}"))
    play.world.drain()
    assert play.before is GONE or not kept_rows(play, account_id)


def account_restored(play: Play) -> None:
    """It is erased before."""
    account_erased(play)
    account_id = play.world.plaid.account_rows(play.item_id)[0]["account_id"]
    check_refusal(play, EventType.RESTORE_ACCOUNT, play.call("POST", f"/accounts/{account_id}/restore"))
    play.world.drain()


def endpoint_called(play: Play) -> None:
    """Plaid's own response is passed through, an error as well."""
    answer = play.world.request("POST", f"/items/{play.item_id}/plaid/accounts/balance/get")
    assert answer["statusCode"] == (410 if play.before is GONE else 400 if play.before in ERRORS else 200), answer
    assert ("plaid-request-id" in answer["headers"]) is (play.before is not GONE)
    play.world.drain()


def healthy(play: Play) -> None:
    if play.before is not GONE:
        play.world.plaid.set_item_error(play.item_id, None, notify=False)
    play.world.enqueue(play.item_id)
    play.world.drain()


def failing(code: str) -> Callable[[Play], None]:
    """A sync that Plaid answers with a code; a message that is left is deleted."""

    def happens(play: Play) -> None:
        world = play.world
        if play.before is not GONE:
            world.plaid.set_item_error(play.item_id, None, notify=False)
        world.plaid.inject_fault("/transactions/sync", code, item_id=play.item_id, times=6)
        world.enqueue(play.item_id)
        world.handle(world.receive())
        world.plaid.clear_faults()
        world.stack.client("sqs").purge_queue(QueueUrl=world.stack.sync_queue_url)

    return happens


def requested(event: EventType, method: str, path: str) -> Callable[[Play], None]:
    """A request whose response is what the table says."""

    def happens(play: Play) -> None:
        check_refusal(play, event, play.call(method, path))
        play.world.drain()

    return happens


def check_refusal(play: Play, event: EventType, answer: dict[str, Any]) -> None:
    if TRANSITIONS[play.before, event].action is Action.REFUSE:
        assert answer["_status"] == (410 if play.before is GONE else 409), answer
        assert answer["fix"]
    elif answer["_status"] == 409:
        assert answer["plaid_request_id"], "Plaid was called, and refused"
        assert play.before is U
    else:
        assert answer["_status"] in {200, 201, 202}, answer


def update_mode_finished(play: Play) -> None:
    plaid, error = play.world.plaid, play.world.plaid.item(play.item_id).error_code
    if play.before is not GONE:
        plaid.complete_link(play.link_token)
        plaid.set_item_error(play.item_id, error, notify=False)  # the user finishes Link, but Plaid's state decides
    answer = play.call("POST", "/sync", {"link_token": play.link_token})
    check_refusal(play, EventType.UPDATE_MODE_FINISHED, answer)
    play.world.drain()


def update_mode(play: Play) -> None:
    answer = play.world.request("POST", "/link-tokens", {"client_user_id": "user", "item_id": play.item_id})
    check_refusal(play, EventType.UPDATE_MODE, json.loads(answer["body"]) | {"_status": answer["statusCode"]})


def linked_again(play: Play) -> None:
    tokens = play.world.plaid.public_tokens
    token = next(token for token, made in tokens.items() if made.item.item_id == play.item_id)
    answer = play.world.post_items({"public_token": token})
    check_refusal(play, EventType.LINK, json.loads(answer["body"]) | {"_status": answer["statusCode"]})
    play.world.drain()


REQUESTS: Final = {
    EventType.SYNC: ("POST", "/sync"),
    EventType.REFRESH: ("POST", "/refresh"),
    EventType.RESYNC: ("POST", "/resync"),
    EventType.SET_WEBHOOK: ("POST", "/webhook"),
    EventType.FETCH_ACCOUNTS: ("POST", "/accounts"),
    EventType.ROTATE_TOKEN: ("POST", "/access-token/rotate"),
    EventType.REMOVE: ("DELETE", ""),
}


def exported(play: Play) -> None:
    body = {"recipient": RECIPIENT}
    answer = play.world.request("POST", f"/access-tokens/{play.item_id}/export", body)
    check_refusal(play, EventType.EXPORT_TOKEN, json.loads(answer["body"]) | {"_status": answer["statusCode"]})


HAPPENS: Final[dict[EventType, Callable[[Play], None]]] = {
    **{event: webhook(event) for event in EventType if event.value in ITEM_CODES},
    **{event: requested(event, *request) for event, request in REQUESTS.items()},
    EventType.USER_ACCOUNT_REVOKED: account_revoked,
    EventType.ACCOUNT_GONE: account_gone,
    EventType.ACCOUNT_WITHDRAWN: account_withdrawn,
    EventType.ACCOUNT_RETURNED: account_returned,
    EventType.CALL_ENDPOINT: endpoint_called,
    EventType.ERASE_ACCOUNT: account_erased,
    EventType.RESTORE_ACCOUNT: account_restored,
    EventType.HEALTHY: healthy,
    EventType.FOUND_INSTITUTION_DOWN: failing("INSTITUTION_DOWN"),
    EventType.FOUND_NEEDS_USER: failing("PASSWORD_RESET_REQUIRED"),
    EventType.FOUND_TERMINAL: failing("ITEM_NOT_SUPPORTED"),
    EventType.FOUND_TRANSIENT: failing("INTERNAL_SERVER_ERROR"),
    EventType.FOUND_THROTTLED: failing("TRANSACTIONS_SYNC_LIMIT"),
    EventType.FOUND_CLIENT_ERROR: failing("INVALID_PRODUCT"),
    EventType.LINK: linked_again,
    EventType.UPDATE_MODE_FINISHED: update_mode_finished,
    EventType.UPDATE_MODE: update_mode,
    EventType.EXPORT_TOKEN: exported,
}
SYNCED: Final = {
    *(Action.CHECK, Action.CHECK_ACCOUNTS, Action.SYNC, Action.RESYNC, Action.REGISTER, Action.ERASE_ACCOUNT),
}
"""Actions that lead to a sync, so that what it finds decides."""
QUEUED: Final = {EventType.NEW_ACCOUNTS_AVAILABLE, EventType.ROTATE_TOKEN, *WARNED}
OF_ACCOUNTS: Final = {EventType.ACCOUNT_GONE, EventType.ACCOUNT_WITHDRAWN, EventType.ACCOUNT_RETURNED}
"""What is found about accounts, which is only looked for while Plaid reports no error on the Item."""
ABOUT_ACCOUNTS: Final = {
    *(DetailType.NEW_ACCOUNTS, DetailType.ACCOUNT_REVOKED, DetailType.ACCOUNT_GONE, DetailType.ACCOUNT_RETURNED),
}


def cell(state: StateName, event: EventType) -> Any:
    """Return a cell of the table as a test's parameters; without `--exhaustive`, each event is played in one state."""
    marks = [waits_long] if event is EventType.FOUND_THROTTLED else []
    states = list(StateName)
    if states[list(EventType).index(event) % len(states)] is not state:
        marks.append(pytest.mark.exhaustive)
    return pytest.param(state, event, id=f"{state.value}-{event.name}", marks=marks)


def expected(state: StateName, event: EventType) -> str:
    """The state that the table promises, with what Plaid then says of the Item."""
    step = TRANSITIONS[state, event]
    if event in OF_ACCOUNTS:
        return TRANSITIONS[step.state, EventType.HEALTHY].state
    if state is GONE or not (step.action in SYNCED or event in QUEUED):
        return step.state
    if state is D and event in WARNED:
        return E  # the bank is up again, and the warning is still open
    finding = {U: EventType.FOUND_NEEDS_USER, R: EventType.FOUND_TERMINAL}.get(state, EventType.HEALTHY)
    return TRANSITIONS[step.state, finding].state


def expected_about_accounts(state: StateName, event: EventType) -> list[str]:
    """The events about accounts that are published."""
    if event is EventType.USER_ACCOUNT_REVOKED and state not in {*ERRORS, GONE}:
        return [DetailType.ACCOUNT_REVOKED]
    found = TRANSITIONS[state, event].published_event
    return [found] if found in ABOUT_ACCOUNTS else []


@pytest.mark.parametrize(("state", "event"), [cell(state, event) for state in StateName for event in EventType])
def test_every_cell_of_the_table(world: World, state: StateName, event: EventType) -> None:
    play = Play.in_state(world, state)
    step, before = TRANSITIONS[state, event], play.history()
    world.plaid.reset_calls()
    HAPPENS[event](play)
    attempts = world.plaid.calls["/item/get"]
    shown = play.call("GET")
    assert shown["state"] == expected(state, event), shown
    remedy = remedy_for(shown.get("code"))
    assert shown["remedy"] == (Remedy.WAIT if remedy is Remedy.NONE and "failing" in shown else remedy)
    if step.action is Action.CHECK:
        assert attempts >= 1
    if step.action is Action.SYNC and state is A:
        assert attempts == 0, "an active Item is not looked at for a plain sync"
    new = [entry for entry in play.history() if entry not in before]
    everything = [name for entry in new for name in entry.get("published_events", ())]
    published = [name for name in everything if name not in ABOUT_ACCOUNTS]
    assert [name for name in everything if name in ABOUT_ACCOUNTS] == expected_about_accounts(state, event)
    if event is EventType.WEBHOOK_UPDATE_ACKNOWLEDGED:
        published.remove(DetailType.PLAID_WEBHOOK)
    if shown["state"] != state:
        assert published.count(f"Item{shown['state'].title().replace('_', '')}") == 1, published
    elif shown.get("code") == ERRORS.get(state):
        assert published == [], "a sync without a change publishes nothing"
    if step.action is Action.FINISH_REMOVAL:
        assert world.plaid.item(play.item_id).removed
        assert "completed_at" in shown["removal"]
    if shown["state"] in {A, E}:
        play.deliver()  # what a refresh has led to
        erased = {account["account_id"] for account in shown["accounts"] if account["state"] == "erased"}
        truth = world.plaid.truth(play.item_id)
        of_erased = {key for key, row in truth.items() if row["account_id"] in erased}
        world.assert_exact(play.item_id, of_erased, state=shown["state"])
