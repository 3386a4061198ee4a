"""One Item from Link to its end: watched, repaired, renewed, refreshed, resynced and removed through the Items API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.demo.world import World

_USER = "customer-42"
_LOGIN = "the login of customer 42"
_TRANSACTIONS = 60
_DAYS = 60


def an_item_lives_and_ends(world: World) -> None:
    """Play the life of an Item; it is gone in the end, and its history is printed."""
    world.settle()
    item_id = _linked(world)
    _linked_twice(world, item_id)
    _login_lost_and_repaired(world, item_id)
    _expiring_and_renewed(world, item_id)
    _account_withdrawn(world, item_id)
    _refreshed_and_resynced(world, item_id)
    _removed(world, item_id)
    _print_history(world, item_id)
    world.happened["an Item lived from Link to its end"] += 1


def _linked(world: World) -> str:
    session = _session(world)
    public_token = _through_link(world, session)
    body = {"public_token": public_token, "link_token": session, "client_user_id": _USER}
    status, answer = world.application.request("POST", "/items", {**body, "client_user_id": "somebody-else"})
    world.expect("a public token completes only for who asked for it", kept=status == HTTPStatus.FORBIDDEN)
    item_id = str(world.application.ask("POST", "/items", body)["item_id"])
    world.guests[item_id] = f"the Item of {_USER}"
    world.say(f"a link session for {_USER} is completed: for somebody else {status} {answer.get('code')}, for them 201")
    world.settle()
    for _ in range(2):
        world.plaid.advance_phase(item_id)
        world.settle()
    item = _shown(world, item_id)
    world.expect("the history is complete", kept=item["history_phase"] == "historical")
    world.say(f"its history is {item['history_phase']}: {item['transactions']['live']} transactions, {item['state']}")
    return item_id


def _linked_twice(world: World, item_id: str) -> None:
    session = _session(world)
    body = {"public_token": _through_link(world, session), "link_token": session, "client_user_id": _USER}
    status, answer = world.application.request("POST", "/items", body)
    world.say(f"the same bank linked once more: {status} {answer.get('code')}, it is linked already")
    kept = (status, answer.get("item_id")) == (HTTPStatus.CONFLICT, item_id)
    world.expect("a bank that is linked already is answered 409 with the existing Item", kept=kept)


def _login_lost_and_repaired(world: World, item_id: str) -> None:
    world.plaid.reset_login(item_id)
    world.settle()
    lost = _shown(world, item_id)
    world.say(f"the login is lost: {lost['state']}, {lost['code']}; {lost['what_to_do']}")
    world.expect("a lost login is shown with its remedy", kept=lost["remedy"] == "update_mode")
    _update_mode(world, item_id)
    world.settle()
    state = _shown(world, item_id)["state"]
    world.plaid.fire_webhook(item_id, "ITEM", "ERROR")  # a copy of the old one
    world.settle()
    after = _shown(world, item_id)["state"]
    world.say(f"after update mode: {state}; after a late copy of the old ERROR: {after}")
    world.expect("an old ERROR does not break a repaired Item", kept=(state, after) == ("active", "active"))


def _expiring_and_renewed(world: World, item_id: str) -> None:
    world.plaid.warn_expiration(item_id)
    world.settle()
    item = _shown(world, item_id)
    world.say(f"the user's consent ends: {item['state']} until {item.get('until')}")
    world.expect("an Item whose consent ends is expiring", kept=item["state"] == "expiring")
    _update_mode(world, item_id)
    world.settle()
    world.expect("a renewed Item is active", kept=_shown(world, item_id)["state"] == "active")


def _account_withdrawn(world: World, item_id: str) -> None:
    before = _shown(world, item_id)["transactions"]["live"]
    world.plaid.revoke_account(item_id)
    world.settle()
    after = _shown(world, item_id)["transactions"]["live"]
    world.say(f"the user withdraws one account: {before - after} of {before} transactions are erased")
    world.expect("the rows of a withdrawn account are gone", kept=after == world.rows_at_plaid(item_id) < before)


def _refreshed_and_resynced(world: World, item_id: str) -> None:
    statuses = [world.application.request("POST", f"/items/{item_id}/refresh")[0] for _ in range(2)]
    world.settle()
    world.application.ask("POST", f"/items/{item_id}/resync")
    world.settle()
    world.say(f"refreshed ({statuses[0]}, at once again {statuses[1]}), and resynced from the beginning")
    world.expect("a second refresh at once is answered 429", kept=statuses == [202, HTTPStatus.TOO_MANY_REQUESTS])
    live = _shown(world, item_id)["transactions"]["live"]
    world.expect("a resync leaves exactly Plaid's rows", kept=live == world.rows_at_plaid(item_id))


def _removed(world: World, item_id: str) -> None:
    world.application.ask("DELETE", f"/items/{item_id}?transactions=erase")
    world.settle()
    removal: dict[str, Any] = _shown(world, item_id)["removal"]
    gone = world.plaid.item(item_id).removed
    world.say(f"removed: at Plaid {'gone' if gone else 'STILL THERE'}, {removal.get('rows_erased')} rows erased")
    world.expect("a removed Item is gone at Plaid, and its rows are erased", kept=gone and "completed_at" in removal)


def _print_history(world: World, item_id: str) -> None:
    entries = world.application.ask("GET", f"/items/{item_id}/history?limit=100")["history"]
    world.say(f"its history, {len(entries)} entries, the oldest first:")
    for entry in reversed(entries):
        world.say(f"  {entry['at'][11:23]} {entry['kind']:8} {_in_words(entry)}")


def _in_words(entry: dict[str, Any]) -> str:
    words = [entry.get("webhook_code") or entry.get("request") or ", ".join(entry.get("causes", ()))]
    words.append(f"-> {entry['outcome']}")
    if entry.get("status") != entry.get("status_before", entry.get("status")):
        words.append(f"[{entry['status_before']} -> {entry['status']}]")
    counts = ("added", "modified", "removed", "erased", "pages")
    words += [f"{name} {entry[name]}" for name in counts if entry.get(name)]
    words += [f"told {name}" for name in entry.get("announcements", ())]
    return " ".join(words)


def _session(world: World, **more: str) -> str:
    return str(world.application.ask("POST", "/link-tokens", {"client_user_id": _USER, **more})["link_token"])


def _through_link(world: World, link_token: str) -> str:
    """Do what the user does in Link."""
    world.plaid.configure(history_transactions=_TRANSACTIONS, history_days=_DAYS)
    return str(world.plaid.complete_link(link_token, login=_LOGIN))


def _update_mode(world: World, item_id: str) -> None:
    session = _session(world, item_id=item_id)
    world.plaid.complete_link(session)
    world.application.ask("POST", f"/items/{item_id}/sync", {"link_token": session})


def _shown(world: World, item_id: str) -> dict[str, Any]:
    return world.application.ask("GET", f"/items/{item_id}")
