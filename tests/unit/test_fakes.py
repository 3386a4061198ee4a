"""The fakes behave like the DynamoDB adapters: one script runs on both, and every step has the same result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.dynamodb.claims import ItemClaims
from plaid_sync.aws.dynamodb.erasure import ErasableTables
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.links import LinksTable
from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.aws.dynamodb.registration import Registrations
from plaid_sync.aws.dynamodb.shared import SharedTable
from plaid_sync.aws.dynamodb.transactions import TransactionsTable
from plaid_sync.domain.accounts import Account, AccountStates
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import (
    BankStatus,
    Checkpoint,
    Cursor,
    Item,
    ItemFailure,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
)
from plaid_sync.domain.schedule import AttemptClass, NextAttempt
from plaid_sync.domain.transaction import PendingLink, RowRemoval, TransactionId, parse_transaction
from plaid_sync.items_api.ports import ItemChange
from plaid_sync.linking.sessions import LinkProgress, LinkSession, Registration, Replacement
from plaid_sync.pull.pages import InvalidEntry
from plaid_sync.sync.ports import AccountsUpdate, Claim, Commit, FollowUp, ItemStateUpdate, Reconciliation
from plaid_sync.sync.quarantine import split_entry
from plaid_sync.webhook.ports import KeyRecord

from tests.fakes.clock import NOON, PLENTY, FakeClock
from tests.fakes.items import new_item
from tests.fakes.links import FakeRegistrations
from tests.fakes.plaid import transaction
from tests.fakes.shared import FakeSharedState
from tests.fakes.tables import Tables
from tests.unit.aws.dynamodb.samples import HISTORY, ITEMS, LINKS, QUARANTINE, SHARED, TRANSACTIONS
from tests.unit.webhook.test_signature import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, C, D = (ItemId(name) for name in "abcd")
REMOVED = ItemState(StateName.REMOVED, since=NOON)
LOGIN_REQUIRED = ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON)
FAILURE = ItemFailure("CODE", "transient", NOON, NOON + timedelta(minutes=1))
CLAIMED = NextAttempt(NOON + timedelta(minutes=6), AttemptClass.FAILING)
ROUTINE = NextAttempt(NOON + timedelta(hours=12), AttemptClass.ROUTINE)
CHECKS = (PendingCheck("ERROR"), PendingCheck("USER_ACCOUNT_REVOKED", NOON, NOON, "account"))
IDS = [TransactionId(name) for name in ("t", "u", "v")]


def entry(item_id: ItemId, suffix: str, *published: DetailType) -> HistoryEntry:
    return HistoryEntry(item_id, NOON, suffix, EntryKind.REQUEST, "done", {"number": 1, "none": None}, published)


def registration(
    item_id: ItemId, *keys: str, releasable: frozenset[ItemId] = frozenset(), **fields: Any
) -> Registration:
    known: dict[str, Any] = {
        "days_requested": 730,
        "linked_at": NOON,
        "link_id": f"link-{item_id}",
        "client_user_id": "u",
    }
    item = new_item(item_id, access_token=b"ciphertext", bank_login_ids=frozenset(keys), **(known | fields))
    progress = LinkProgress(item.link_id, None, NOON + timedelta(days=1), item_id)
    return Registration(item, progress, entry(item_id, "linked", DetailType.LINKED), releasable)


def replacing(made: Registration, replaced: ItemId) -> Registration:
    removal = Replacement(replaced, REMOVED, False, entry(replaced, "replaced"))  # noqa: FBT003
    return replace(made, releasable_item_ids=frozenset({replaced}), replacement=removal)


def commit(item: Item, expected: str | None, cursor: str, **fields: Any) -> Commit:
    known: dict[str, Any] = {"update_status": "X", "pull_began_at": NOON, "committed_at": NOON}
    known |= {"follow_up": FollowUp(ROUTINE), "reconciliation": Reconciliation(history_complete=True)}
    known |= {"state": item.state, "entry": entry(item.item_id, f"sync-{cursor}"), "accounts": (Account("a", "Name"),)}
    return Commit(None if expected is None else Cursor(expected), Cursor(cursor), **(known | fields))


@dataclass(slots=True)
class Trace:
    """The results of a script.

    Attributes:
        steps: the name, the result or the error, and all Items afterwards.
    """

    ports: dict[str, Any]
    steps: list[tuple[str, object, list[Item | None]]] = field(default_factory=list)

    def do(self, name: str, call: Callable[[], Any]) -> Any:
        result: Any
        try:
            result = call()
        except PlaidSyncError as error:
            result = (type(error).__name__, getattr(error, "code", None), getattr(error, "holder", None))
        self.steps.append((name, result, [self.load(item_id) for item_id in (A, B, C, D)]))
        return result

    def load(self, item_id: ItemId) -> Item:
        item: Item = self.ports["items"].load(item_id)
        return item


def run(ports: dict[str, Any]) -> list[tuple[str, object, list[Item | None]]]:
    trace = Trace(ports)
    _link(trace)
    _sync(trace)
    _find(trace)
    _request(trace)
    _remove(trace)
    _share(trace)
    return trace.steps


def _share(trace: Trace) -> None:
    shared, second = trace.ports["shared"], timedelta(seconds=1)
    expiring = KeyRecord(replace(KEY, expired_at=NOON), NOON)
    for record in (None, KeyRecord(KEY, NOON), expiring, KeyRecord(None, NOON + second), KeyRecord(KEY, NOON)):
        if record is not None:
            trace.do("save a key", lambda record=record: shared.save_key_record(KEY.key_id, record))  # type: ignore[misc] # bound
        trace.do("key", lambda: shared.key_record(KEY.key_id))
    for name in ("one", "one", "two"):
        trace.do("count", lambda name=name: shared.count(name, NOON))  # type: ignore[misc] # bound
    for after in (0, 9, 9.9, 10, 10.1, 20):
        now = NOON + after * second
        trace.do(f"once, {after}", lambda now=now: shared.once("name", 10 * second, now))  # type: ignore[misc] # bound
    trace.do("once, another", lambda: shared.once("another", second, NOON))


def _link(trace: Trace) -> None:
    registrations, links = trace.ports["registrations"], trace.ports["links"]
    session = LinkSession("session#1", "u", None, 90, NOON + timedelta(hours=1), created_at=NOON, hosted=True)
    links.add_session(session)
    trace.do("session", lambda: links.session(session.key, NOON))
    trace.do("expired session", lambda: links.session(session.key, NOON + timedelta(hours=1)))
    begun = LinkProgress("public", session.key, NOON + timedelta(days=1))
    trace.do("begin", lambda: links.begin(begun, session))
    trace.do("bound session", lambda: links.session(session.key, NOON))
    trace.do("begin again", lambda: links.begin(replace(begun, session_key="session#2"), None))
    trace.do("another public token", lambda: links.begin(replace(begun, link_id="public 2"), session))
    exchanged = replace(begun, item_id=A, request_id="r", expires_at=NOON + timedelta(days=2))
    for saved in (exchanged, replace(exchanged, duplicate_of=B)):
        trace.do("save progress", lambda saved=saved: links.save_progress(saved))  # type: ignore[misc] # bound
        trace.do("progress", lambda: links.begin(begun, None))
    for name, made in {
        "register": registration(A, "login#1", "login#2"),
        "register again": registration(A, "login#1", "login#2", institution_id="ins_1", accounts=(Account("x"),)),
        "register for another user": registration(A, client_user_id="v"),
        "claim held": registration(B, "login#2", "login#3"),
        "claim released": registration(B, "login#2", "login#3", releasable=frozenset({A})),
        "replace": replacing(registration(C, "login#4"), B),
        "replace a removed Item": replacing(registration(C, "login#4"), B),
        "replace another user's": replacing(registration(D, "login#5", client_user_id="v"), A),
    }.items():
        trace.do(name, lambda made=made: registrations.register(made))  # type: ignore[misc] # bound
        trace.do("claims", lambda: sorted(links.claims([f"login#{number}" for number in range(1, 6)]).items()))
    for item_id in (A, B, D):
        trace.do("block", lambda item_id=item_id: registrations.block_registration(item_id, "user"))  # type: ignore[misc] # bound
    trace.do("register a blocked Item", lambda: registrations.register(registration(D)))
    for item_id in (A, C):
        item = new_item(item_id, link_id="link", bank_login_ids=frozenset({"login#4"} if item_id == C else ()))
        trace.do("take", lambda item=item: trace.ports["claims"].take(item, ["login#4", "login#6"]))  # type: ignore[misc] # bound
    trace.do("claims", lambda: sorted(links.claims(["login#4", "login#6"]).items()))
    trace.do("release", lambda: trace.ports["claims"].release(C, ["login#1", "login#4"]))
    trace.do("claims", lambda: sorted(links.claims(["login#1", "login#4"]).items()))


LINK = PendingLink(IDS[0], TransactionId("posted"))
POSTED: dict[str, Any] = {"transaction_id": LINK.posted_transaction_id, "pending_transaction_id": LINK.transaction_id}


def _sync(trace: Trace) -> None:
    items, transactions = trace.ports["items"], trace.ports["transactions"]
    rows = [parse_transaction(transaction(key)) for key in IDS]
    loaded = trace.load(A)

    def claim(item: Item, attempt_id: str, *, repeated: bool = False) -> Item:
        claimed: Item = items.claim(item, Claim(attempt_id, CLAIMED, repeated))
        return claimed

    first = trace.do("claim", lambda: claim(loaded, "attempt-1"))
    trace.do("claim a stale Item", lambda: claim(loaded, "attempt-2"))

    def write(
        name: str, generation: int, *writes: Any, begin: bool = False, end: Commit | Checkpoint | None = None
    ) -> None:
        trace.do(name, lambda: transactions.write(A, generation, writes, begin=begin, end=end))
        trace.do("rows", lambda: dict(transactions.rows(A, IDS, PLENTY)))
        trace.do("scan", lambda: sorted(transactions.scan_item(A, PLENTY, since=2), key=lambda row: row.transaction_id))

    write("begin", 1, *rows[:2], begin=True)
    second = trace.do("claim again", lambda: claim(replace(first, pending_checks=CHECKS), "attempt-3"))
    write("superseded", 1, rows[2])
    write("begin again", 2, rows[0], begin=True)
    write("row of the same generation", 2, rows[0])
    write("wrong cursor", 2, end=commit(second, "x", "one"))
    write("commit", 2, rows[2], RowRemoval(IDS[1]), end=commit(second, None, "one"))
    write("erase", 2, RowRemoval(TransactionId("w"), "account", erase=True))
    write("keep, and link", 2, RowRemoval(TransactionId("v"), "account", kept=True), LINK, replace(rows[2], **POSTED))
    follow_up = FollowUp(CLAIMED, FAILURE, CHECKS)
    update = ItemStateUpdate(LOGIN_REQUIRED, follow_up, entry(A, "failed"), "Y", reconcile=True)
    trace.do("record, superseded", lambda: items.record(first, update))
    trace.do("record", lambda: items.record(second, update))
    (part,) = split_entry(InvalidEntry.of("added", "amount", {"transaction_id": "z"}))
    trace.do("quarantine", lambda: trace.ports["quarantine"].keep(A, 2, [part]))
    trace.do("quarantine, superseded", lambda: trace.ports["quarantine"].keep(A, 1, [part]))
    checkpoint = Checkpoint(Cursor("page"), Cursor("one"), True, NOON, ((2, 2),), removes_unknown=True)  # noqa: FBT003 - a field
    write("checkpoint", 2, RowRemoval(TransactionId("x")), begin=True, end=checkpoint)
    trace.do("record under the older generation", lambda: items.record(second, replace(update, entry=None)))
    third = trace.do("claim once more", lambda: claim(trace.load(A), "attempt-6", repeated=True))
    write("checkpoint, superseded", 3, rows[0], begin=True, end=checkpoint)
    trace.do("restart, superseded", lambda: items.restart_pull(second, from_beginning=False, reset_at=None))
    again = trace.do("restart", lambda: items.restart_pull(third, from_beginning=False, reset_at=None))
    again = trace.do("other options", lambda: items.restart_pull(again, from_beginning=False, pulled_with="v2"))
    reset = trace.do("reset the cursor", lambda: items.restart_pull(again, from_beginning=True, reset_at=NOON))
    trace.do("record without an entry", lambda: items.record(reset, replace(update, entry=None)))
    trace.do("raise the generation, superseded", lambda: items.raise_generation(first, 30))
    trace.do("raise the generation", lambda: items.raise_generation(reset, 40))
    newest = trace.load(A)
    states = AccountStates(frozenset({"gone"}), frozenset({"withdrawn"}), frozenset({"erased"}))
    found = replace(newest, accounts=(Account("gone", plaid=b"object", as_of=NOON),), accounts_checked_at=NOON)
    for full_resync in (False, True):
        accounts = AccountsUpdate(states, CHECKS, frozenset({"login#9"}), full_resync, entry(A, f"a-{full_resync}"))
        trace.do("accounts, superseded", lambda accounts=accounts: items.record_accounts(first, accounts))  # type: ignore[misc] # bound
        found = trace.do("accounts", lambda accounts=accounts, found=found: items.record_accounts(found, accounts))  # type: ignore[misc] # bound
    trace.do("complete checks, superseded", lambda: items.complete_checks(newest, ()))
    newest = trace.do("complete checks", lambda: items.complete_checks(found, CHECKS[:1]))
    trace.do("postpone", lambda: items.postpone(newest, ROUTINE))
    for given in (entry(A, "failed again"), None):
        outcome = replace(update, follow_up=FollowUp(CLAIMED), entry=given)
        trace.do("record after another write set the time", lambda outcome=outcome: items.record(newest, outcome))  # type: ignore[misc] # bound


def _find(trace: Trace) -> None:
    items = trace.ports["items"]
    found = [(D, "attempt-2", 0), (B, "attempt-1", 0), (A, "attempt-8", -1), (A, "attempt-8", 0), (A, "attempt-8", 0)]
    for item_id, attempt_id, seconds in [*found, (A, "attempt-7", 0), (A, "attempt-9", 0)]:
        claim = Claim(attempt_id, CLAIMED, webhook_at=NOON)
        trace.do(f"find {item_id}", lambda: items.find(item_id, claim, NOON + timedelta(seconds=seconds)))  # noqa: B023


def _request(trace: Trace) -> None:
    items = trace.ports["items"]
    item = trace.load(A)
    stale = replace(item, generation=item.generation - 1)
    active = ItemState(StateName.ACTIVE, since=NOON, warnings_resolved_until=NOON)
    change = ItemChange(state=active)
    trace.do("change a stale Item", lambda: items.change(stale, change, entry(A, "state")))
    trace.do("change the state", lambda: items.change(item, change, entry(A, "state", DetailType.ACTIVE)))
    interval = timedelta(seconds=30)
    for item_id in (A, B, ItemId("unknown")):
        name = f"of {item_id}"
        loaded = items.load(item_id) or new_item(item_id)
        change = ItemChange(None, (Account("b"),), AccountStates(erased=frozenset({"a"})), CHECKS[0], full_resync=True)
        trace.do(f"change {name}", lambda: items.change(loaded, change, entry(item_id, "change")))  # noqa: B023 - run at once
        trace.do(f"bank {name}", lambda: items.save_bank_status(item_id, BankStatus(NOON, None, NOON, "CODE")))  # noqa: B023 - run at once
        for seconds in (0, 10, 30):
            now = NOON + timedelta(seconds=seconds)
            trace.do(f"refresh {name}", lambda: items.start_refresh(item_id, now, interval))  # noqa: B023 - run at once
        for seconds in (10, 30):
            started_at = NOON + timedelta(seconds=seconds)
            trace.do(f"withdraw {name}", lambda: items.withdraw_refresh(loaded, started_at))  # noqa: B023 - run at once
        trace.do(f"refresh {name}", lambda: items.start_refresh(item_id, NOON + interval, interval))  # noqa: B023 - run at once
        loaded = items.load(item_id) or loaded
        trace.do(f"refresh again {name}", lambda: items.start_refresh(item_id, NOON + 2 * interval, interval))  # noqa: B023 - run at once
        trace.do(f"withdraw that {name}", lambda: items.withdraw_refresh(loaded, NOON + 2 * interval))  # noqa: B023 - run at once
        soon = NOON + timedelta(seconds=40)
        trace.do(f"refresh too soon {name}", lambda: items.start_refresh(item_id, soon, interval))  # noqa: B023 - run at once


def _remove(trace: Trace) -> None:
    items, transactions, rows = (trace.ports[name] for name in ("items", "transactions", "rows"))
    living = trace.load(A)
    trace.do("erase a living Item", lambda: items.also_erase_transactions(living, entry(A, "erase")))
    for number in range(2):
        trace.do("remove", lambda: items.remove(living, REMOVED, entry(A, f"remove-{number}"), erase=False))  # noqa: B023 - run at once
    removed = trace.load(A)
    trace.do("claim a removed Item", lambda: items.claim(removed, Claim("attempt-5", CLAIMED)))
    failed = ItemStateUpdate(removed.state, FollowUp(CLAIMED, FAILURE), entry(A, "removal-failed"))
    trace.do("record of a removed Item", lambda: items.record(removed, failed))
    generation = removed.generation
    trace.do("write", lambda: transactions.write(A, generation, [], begin=True))
    for number in range(2):
        trace.do("also erase", lambda: items.also_erase_transactions(removed, entry(A, f"erase-{number}")))  # noqa: B023 - run at once
    trace.do("removed at Plaid", lambda: items.record_plaid_removed(A))
    trace.do("rows", lambda: items.record_rows_to_erase(A, rows.count(A, PLENTY)))
    trace.do("rows again", lambda: items.record_rows_to_erase(A, 0))
    trace.do("erase", lambda: rows.erase(A, PLENTY))
    trace.do("count", lambda: rows.count(A, PLENTY))
    trace.do("completed, as it was before", lambda: items.record_removal_completed(removed, entry(A, "end-kept")))
    erased = trace.load(A)
    for _ in range(2):
        trace.do("completed", lambda: items.record_removal_completed(erased, entry(A, "end-erased")))
    trace.do("record of a completed removal", lambda: items.record(removed, failed))
    for item_id in (A, B, C):
        for limit, after in ((3, None), (100, None), (2, "2026-06-01T12:00:00.000Z#erase-0")):
            trace.do("history", lambda: trace.ports["history"].page(item_id, limit, after))  # noqa: B023 - run at once


def fakes() -> dict[str, Any]:
    tables = Tables()
    return {
        "items": tables.items,
        "transactions": tables.transactions,
        "rows": tables.transactions,
        "quarantine": tables.quarantine,
        "history": tables.history,
        "links": tables.links,
        "claims": tables.links,
        "registrations": FakeRegistrations(tables.items, tables.links),
        "shared": FakeSharedState(),
    }


def adapters(client: Any) -> dict[str, Any]:
    """Return the adapters on tables in this process."""
    clock = FakeClock()
    return {
        "items": ItemsTable(client, ITEMS, HISTORY, clock),
        "transactions": TransactionsTable(client, TRANSACTIONS, clock, ITEMS, HISTORY),
        "rows": ErasableTables(client, ((TRANSACTIONS, "transaction_id"),), HISTORY, clock),
        "quarantine": QuarantineTable(client, ITEMS, QUARANTINE, clock),
        "history": HistoryTable(client, HISTORY),
        "links": LinksTable(client, LINKS, clock),
        "claims": ItemClaims(client, LINKS, FakeClock()),
        "registrations": Registrations(client, ITEMS, LINKS, HISTORY, clock),
        "shared": SharedTable(client, SHARED),
    }


def test_every_step_has_the_same_result_on_the_fakes_and_on_the_adapters(dynamodb: Any) -> None:
    expected = run(adapters(dynamodb))
    found = run(fakes())
    for wanted, step in zip(expected, found, strict=True):
        assert step == wanted
    errors = {
        result[0] for _, result, _ in expected if isinstance(result, tuple) and result and isinstance(result[0], str)
    }
    assert {"ClaimHeldError", "SupersededError", "TransientError", "RowNewerThanItemError"} <= errors
