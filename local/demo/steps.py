"""The script of the demo: its steps in order, and the comparison at the end."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from local.comparison import compare
from local.demo.lifecycle import an_item_from_link_to_removal
from local.demo.report import Report
from local.demo.webhooks import (
    KEY_OVERLAP_SECONDS,
    KEY_PATH,
    webhooks_are_forged,
    webhooks_are_repeated,
    webhooks_go_astray,
)
from local.plaid import CustomTransaction, Fault, Phase, PlaidSimulator
from local.snapshot import tables_of, tamper, truth_of
from local.stack.deploy import DASHBOARD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.comparison import Tables
    from local.dashboard.render import Rendered
    from local.demo.run import Run

EXACT_AMOUNTS = tuple(map(Decimal, ("0.1234567", "-98765432109.87", "0.00")))
_SYNC_PATH = "/transactions/sync"


def play(run: Run) -> Report:
    """Run all steps, let the system settle, and compare."""
    for title, step in STEPS:
        run.say(f"== {title}")
        step(run)
        run.stack.invoke("sweep", {})
    run.say("== Compare the table with Plaid")
    totals = run.settle()
    reports = run.stack.invoke("audit", {})["reports"]
    drifted = sum(report["outcome"] == "drifted" for report in reports)
    run.say(f"the deployed audit has compared {len(reports)} Items with Plaid: {drifted} drifted")
    run.expect("the audit finds no drift", met=not drifted)
    if run.options.corrupt:
        run.say(f"corrupted: {tamper(run.stack, run.rng)}")
    tables = tables_of(run.stack)
    amounts = _stored_amounts(run, tables)
    run.expect("every amount is stored exactly", met=sorted(amounts) == sorted(EXACT_AMOUNTS))
    dashboard = _draw_dashboard(run)
    return Report(
        compare(truth_of(run.plaid), tables),
        totals,
        dict(run.happened),
        tuple(run.broken),
        amounts,
        run.options.seed,
        dashboard=dashboard,
    )


def _stored_amounts(run: Run, tables: Tables) -> tuple[Decimal, ...]:
    amounts = {(row["item_id"], row["transaction_id"]): row.get("amount") for row in tables.transactions}
    return tuple(amount for row in run.exact_rows if (amount := amounts.get(row)) is not None)


def _draw_dashboard(run: Run) -> Rendered | None:
    if run.options.dashboard is None:
        return None
    from local.dashboard.render import render  # noqa: PLC0415 - loads matplotlib, which takes a second

    rendered = render(run.stack.client("cloudwatch"), DASHBOARD_NAME, run.options.dashboard)
    run.say(f"the dashboard is drawn: {rendered.picture}")
    for widget in rendered.readings.without_data() + rendered.readings.missing_alarms():
        run.expect(f"the dashboard shows data: {widget}", met=False)
    return rendered


# ---- linking


def link_items(run: Run) -> None:
    """Link Items with `POST /items`; the last one's webhook arrives before the Item is linked."""
    status = run.application.link_unsigned("public-sandbox-unsigned")
    run.say(f"POST /items without a signature: {status}")
    run.expect("POST /items without a signature gets 403", met=status == HTTPStatus.FORBIDDEN)
    for number in range(run.options.items - 1):
        _link(run, _public_token(run, number))
    run.say(f"{len(run.items)} Items linked with signed requests; Plaid has no transactions of them yet")
    token = _public_token(run, run.options.items - 1)
    early = run.plaid.public_tokens[token].item
    run.plaid.emit(early, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
    run.wait_until(lambda: run.totals.outcomes["unregistered"] > 0, "the early webhook's message to be processed")
    _link(run, token)
    run.happened["webhook before its Item was linked"] += 1
    run.say(f"a webhook arrived before its Item was linked ({run.name(early.item_id)} now): the link enqueues a sync")


def _public_token(run: Run, number: int) -> str:
    """Return what Plaid Link returns. The first history is large enough for several pages."""
    transactions = run.rng.randint(380, 520) if number else 900
    by_link = number % 2 == 0  # otherwise the history begins with our first sync
    return run.plaid.create_public_token(run.stack.webhook_url, transactions, 120, initialize_at_link=by_link)


def _link(run: Run, public_token: str) -> None:
    run.items.append(str(run.application.call("POST", "/items", {"public_token": public_token})["item_id"]))
    run.happened["linked"] += 1


def histories_arrive(run: Run) -> None:
    """Take every Item from NOT_READY over INITIAL to HISTORICAL; two change between the pages of a pull."""
    early = run.items[:-1]  # the last one still waits for its first sync
    run.wait_until(lambda: all(run.plaid.item(item).sync_called for item in early), "the first sync of every Item")
    run.say("the first 30 days are ready, and Plaid sends webhooks")
    for item_id in run.items:
        run.plaid.advance_phase(item_id)
    run.wait_until(lambda: all(run.totals.committed[item] for item in early), "the first 30 days to be stored")
    run.say("the full histories are ready; Items 1 and 2 change while they are pulled")
    _change_between_pages(run, run.items[0])
    run.plaid.force_mutation(run.items[1], anywhere=True)
    for item_id in run.items[1:]:
        run.plaid.advance_phase(item_id)
    totals = run.settle()
    run.happened["change during a pull"] += totals.restarts
    run.expect("a pull whose data changes starts again", met=totals.restarts > 1)
    ready = all(run.plaid.item(item_id).phase is Phase.HISTORICAL for item_id in run.items)
    run.expect("every history is ready", met=ready)


def _change_between_pages(run: Run, item_id: str) -> None:
    """Delay the second page at Plaid, and add rows meanwhile."""
    slow = Fault(_SYNC_PATH, skip=1, delay=0.5, item_id=item_id)
    with run.plaid.lock:
        run.plaid.faults.add(slow)
    run.plaid.advance_phase(item_id)
    run.wait_until(lambda: slow.times == 0, "the request for the second page of Item 1")
    run.plaid.add(item_id, 3)


# ---- transactions

OPERATIONS: dict[str, Callable[[PlaidSimulator, str, bool], object]] = {
    "added": lambda plaid, item, notify: plaid.add(item, 4, pending=False, notify=notify),
    "added pending": lambda plaid, item, notify: plaid.add(item, 6, pending=True, notify=notify),
    "posted on the same page": lambda plaid, item, notify: plaid.post_pending(item, link="same page", notify=notify),
    "posted on another page": lambda plaid, item, notify: plaid.post_pending(item, link="other page", notify=notify),
    "posted without a link": lambda plaid, item, notify: plaid.post_pending(item, link="unlinked", notify=notify),
    "modified": lambda plaid, item, notify: plaid.modify(item, notify=notify),
    "reported as modified, unchanged": lambda plaid, item, notify: plaid.touch(item, 5, notify=notify),
    "removed": lambda plaid, item, notify: plaid.remove(item, notify=notify),
    "removed, never seen": lambda plaid, item, notify: plaid.remove_unknown(item, notify=notify),
    "replaced under a new id": lambda plaid, item, notify: plaid.churn(item, notify=notify),
    "added and removed at once": lambda plaid, item, notify: plaid.flash(item, notify=notify),
    "added again under the old id": lambda plaid, item, notify: plaid.readd(item, notify=notify),
}
# Plaid does not document which of these it does: `spell_out` and `hide_reverts` of the local Plaid.
_SYNC_STYLES = {
    "the net change": (False, False),
    "every intermediate change": (True, False),
    "no change that was reverted": (False, True),
}


def transactions_change(run: Run) -> None:
    """Do every operation to every Item, for each way in which Plaid may report it."""
    for style, (spell_out, hide_reverts) in _SYNC_STYLES.items():
        run.say(f"transactions are added, posted, modified and removed; /transactions/sync reports {style}")
        run.plaid.configure(spell_out=spell_out, hide_reverts=hide_reverts)
        for item_id in run.items:
            for name, operation in OPERATIONS.items():
                run.happened[name] += bool(operation(run.plaid, item_id, run.rng.random() < 0.5))  # noqa: PLR2004
            run.plaid.refresh(item_id)
        run.settle()


def exact_amounts(run: Run) -> None:
    """Add amounts that a float would spoil; the report shows what is stored."""
    item_id, today = run.items[0], run.plaid.clock().date()
    run.say(f"{run.name(item_id)} gets transactions of {', '.join(map(str, EXACT_AMOUNTS))}")
    drafts = [CustomTransaction(today, amount=amount, name=f"Exactly {amount}") for amount in EXACT_AMOUNTS]
    run.exact_rows.extend((item_id, row) for row in run.plaid.add_custom_transactions(item_id, drafts))
    run.settle()


# ---- failures at Plaid

_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an internal error (500)", {"error_code": "INTERNAL_SERVER_ERROR"}),
    ("a rate limit (429)", {"error_code": "TRANSACTIONS_SYNC_LIMIT"}),
    ("a dropped connection", {"drop": "before"}),
    ("a lost response", {"drop": "after"}),
)


def plaid_fails(run: Run) -> None:
    """Let a different call fail for each Item at once, and all of them recover."""
    run.settle()
    faults = [
        Fault(_SYNC_PATH, item_id=item_id, **fault) for item_id, (_, fault) in zip(run.items, _FAULTS, strict=False)
    ]
    for item_id, (name, _), fault in zip(run.items, _FAULTS, faults, strict=False):
        run.say(f"{run.name(item_id)} meets {name}")
        with run.plaid.lock:
            run.plaid.faults.add(fault)
        run.plaid.evolve(item_id, steps=5)
        run.happened[name] += 1
    _login_is_lost(run, run.items[len(_FAULTS)])
    _keys_cannot_be_fetched(run, run.items[len(_FAULTS)])
    totals = run.settle()
    run.expect("every fault was met", met=all(fault.times == 0 for fault in faults))
    run.expect("what does not pass within the invocation is recorded", met=totals.failures.total() > 0)
    run.say("all of them have recovered")


def _login_is_lost(run: Run, item_id: str) -> None:
    before = run.look().outcomes["needs_user"]
    run.plaid.reset_login(item_id)
    run.wait_until(lambda: run.totals.outcomes["needs_user"] > before, "the lost login to be noticed")
    run.plaid.evolve(item_id, steps=5)
    run.plaid.repair_login(item_id)
    run.say(f"{run.name(item_id)}: the user has logged in again")
    run.happened["login lost and repaired"] += 1


def _keys_cannot_be_fetched(run: Run, item_id: str) -> None:
    """Fail the look-up of a new key: the webhook gets 503, and Plaid retries it."""
    run.wait_until(lambda: run.plaid.wait_idle(0.1), "Plaid's webhooks to be delivered")
    before = run.look().webhooks["failed"]
    run.say("Plaid signs with a new key, whose look-up fails twice")
    run.plaid.rotate_keys(KEY_OVERLAP_SECONDS)
    run.plaid.inject_fault(KEY_PATH, "INTERNAL_SERVER_ERROR", times=2)
    run.plaid.add(item_id, 2)
    run.wait_until(lambda: run.totals.webhooks["failed"] >= before + 2, "webhooks to get 503")
    run.happened["webhooks retried after 503"] += 2


STEPS: tuple[tuple[str, Callable[[Run], None]], ...] = (
    ("Link Items", link_items),
    ("Histories arrive, in two parts", histories_arrive),
    ("Transactions change", transactions_change),
    ("Webhooks are duplicated, delayed, reordered and lost", webhooks_go_astray),
    ("Calls to Plaid fail", plaid_fails),
    ("One Item, from Link to its removal", an_item_from_link_to_removal),
    ("Amounts that a float would spoil", exact_amounts),
    ("Webhooks are repeated", webhooks_are_repeated),
    ("Webhooks are forged", webhooks_are_forged),
)
