"""One step of the demo: an Item from Link to its removal, by the Items API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.demo.run import Run

_USER = "customer-42"
_LOGIN = "the login of customer 42"


def an_item_from_link_to_removal(run: Run) -> None:
    """Link, break, repair, renew, refresh, resync and remove an Item."""
    run.settle()
    item_id = _link(run)
    _link_again(run, item_id)
    _lose_and_repair_login(run, item_id)
    _expire_and_renew(run, item_id)
    _withdraw_account(run, item_id)
    _lose_and_regain_account(run, item_id)
    _refresh_and_resync(run, item_id)
    _remove(run, item_id)
    entries = run.application.call("GET", f"/items/{item_id}/history?limit=100")["history"]
    kinds = {entry["kind"] for entry in entries}
    run.say(f"its history has all of this: {len(entries)} entries of the kinds {', '.join(sorted(kinds))}")
    run.expect("the history has every kind of entry", met=kinds >= {"request", "webhook", "sync", "removal"})
    run.happened["an Item from Link to its removal"] += 1


def _link(run: Run) -> str:
    session = _link_token(run)
    body = {"public_token": _complete_link(run, session), "link_token": session, "client_user_id": _USER}
    status, refusal = run.application.request("POST", "/items", {**body, "client_user_id": "another-user"})
    run.expect("a public token is exchanged only for its own user", met=status == HTTPStatus.FORBIDDEN)
    item_id = str(run.application.call("POST", "/items", body)["item_id"])
    run.names[item_id] = f"the Item of {_USER}"
    run.say(f"{_USER} completes Link: another user's POST /items gets {status} {refusal.get('code')}, theirs 201")
    run.settle()
    for _ in range(2):
        run.plaid.advance_phase(item_id)
        run.settle()
    item = _show(run, item_id)
    run.expect("the history is complete", met=item["history_phase"] == "historical")
    run.say(f"its history is {item['history_phase']}: {item['transactions']['live']} transactions, {item['state']}")
    return item_id


def _link_again(run: Run, item_id: str) -> None:
    session = _link_token(run)
    body = {"public_token": _complete_link(run, session), "link_token": session, "client_user_id": _USER}
    status, answer = run.application.request("POST", "/items", body)
    run.say(f"the same bank linked again: {status} {answer.get('code')}")
    met = (status, answer.get("item_id")) == (HTTPStatus.CONFLICT, item_id)
    run.expect("a bank that is linked already gets 409 with the existing Item", met=met)


def _lose_and_repair_login(run: Run, item_id: str) -> None:
    run.plaid.reset_login(item_id)
    run.settle()
    lost = _show(run, item_id)
    run.say(f"the login is lost: {lost['state']}, {lost['code']}")
    run.expect("a lost login is shown with its remedy", met=lost["remedy"] == "update_mode")
    _complete_update_mode(run, item_id)
    run.settle()
    state = _show(run, item_id)["state"]
    run.plaid.fire_webhook(item_id, "ITEM", "ERROR")  # a copy of the old one
    run.settle()
    after = _show(run, item_id)["state"]
    run.say(f"after update mode: {state}; after a late copy of the old ERROR webhook: {after}")
    run.expect("an old ERROR webhook does not break a repaired Item", met=(state, after) == ("active", "active"))


def _expire_and_renew(run: Run, item_id: str) -> None:
    run.plaid.warn_expiration(item_id)
    run.settle()
    expiring = _show(run, item_id)["state"]
    _complete_update_mode(run, item_id)
    run.settle()
    renewed = _show(run, item_id)["state"]
    run.say(f"the user's consent is about to end: {expiring}; after update mode: {renewed}")
    run.expect("an Item is expiring until its consent is renewed", met=(expiring, renewed) == ("expiring", "active"))


def _withdraw_account(run: Run, item_id: str) -> None:
    before = _show(run, item_id)["transactions"]["live"]
    run.plaid.revoke_account(item_id)
    run.settle()
    after = _show(run, item_id)["transactions"]["live"]
    run.say(f"the user withdraws an account: {before - after} of {before} transactions are erased")
    run.expect("the rows of a withdrawn account are erased", met=after == run.rows_at_plaid(item_id) < before)


def _lose_and_regain_account(run: Run, item_id: str) -> None:
    before, account_id = _show(run, item_id)["transactions"]["live"], run.plaid.close_account(item_id)
    run.application.call("POST", f"/items/{item_id}/accounts")
    run.settle()
    gone = _show(run, item_id)
    left = gone["transactions"]["live"]
    run.say(f"the bank closes an account, without a webhook: {before - left} of {before} transactions leave")
    states = {account["account_id"]: account["state"] for account in gone["accounts"]}
    met = states[account_id] == "gone" and left == run.rows_at_plaid(item_id) < before
    run.expect("an account that Plaid no longer lists is gone, with its rows", met=met)
    run.plaid.regrant_account(item_id, account_id)
    run.settle()
    after = _show(run, item_id)["transactions"]["live"]
    run.say(f"the account is listed again: {after} transactions")
    run.expect("an account that is listed again has its rows again", met=after == run.rows_at_plaid(item_id) == before)


def _refresh_and_resync(run: Run, item_id: str) -> None:
    statuses = [run.application.request("POST", f"/items/{item_id}/refresh")[0] for _ in range(2)]
    run.settle()
    run.application.call("POST", f"/items/{item_id}/resync")
    run.settle()
    run.say(f"POST …/refresh: {statuses[0]}, and {statuses[1]} at once again; POST …/resync pulls everything again")
    run.expect("a second refresh at once gets 429", met=statuses == [202, HTTPStatus.TOO_MANY_REQUESTS])
    live = _show(run, item_id)["transactions"]["live"]
    run.expect("a resync leaves exactly Plaid's rows", met=live == run.rows_at_plaid(item_id))


def _remove(run: Run, item_id: str) -> None:
    run.application.call("DELETE", f"/items/{item_id}?transactions=erase")
    run.settle()
    removal: dict[str, Any] = _show(run, item_id)["removal"]
    gone = run.plaid.item(item_id).removed
    run.say(f"DELETE: {'gone' if gone else 'STILL THERE'} at Plaid, {removal.get('rows_erased')} rows erased")
    run.expect("a removed Item is gone at Plaid, and its rows are erased", met=gone and "completed_at" in removal)


def _link_token(run: Run, **more: str) -> str:
    return str(run.application.call("POST", "/link-tokens", {"client_user_id": _USER, **more})["link_token"])


def _complete_link(run: Run, link_token: str) -> str:
    run.plaid.configure(history_transactions=60, history_days=60)
    return str(run.plaid.complete_link(link_token, login=_LOGIN))


def _complete_update_mode(run: Run, item_id: str) -> None:
    session = _link_token(run, item_id=item_id)
    run.plaid.complete_link(session)
    run.application.call("POST", f"/items/{item_id}/sync", {"link_token": session})


def _show(run: Run, item_id: str) -> dict[str, Any]:
    return run.application.call("GET", f"/items/{item_id}")
