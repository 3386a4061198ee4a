"""More calls to Plaid than its limit allows, of every class at once: the engine against Plaid's own rate limiter.

Each process has the engine's transport, with its own view of the call budget and a clock that is up to a second wrong;
they share the counted calls. The local Plaid is called over HTTP, with the limits of the sandbox, in simulated time.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any, Final

from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid_sync.domain.budget import SYNC_ENDPOINT, CallBudget, CallClass, limits_of
from plaid_sync.domain.errors import CallBudgetError, PlaidError
from plaid_sync.domain.item import ItemId
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.items import PlaidItems, PlaidTransactionsClient
from plaid_sync.pull.pages import NetChanges
from plaid_sync.pull.puller import Puller
from plaid_sync.sync.job import Outcome, SyncJob

from local.plaid import Behavior, Phase, PlaidServer, PlaidSimulator
from tests.fakes.aws import Secrets
from tests.fakes.calls import FakeCallCounts
from tests.fakes.items import new_item
from tests.fakes.tables import Tables
from tests.simulation.liveness.processes import ProcessClock, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from plaid_sync.domain.item import Cursor
    from plaid_sync.pull.pages import Page

LIMIT: Final = 1_000
"""Calls per minute of /transactions/sync that the sandbox allows a client."""
PROCESSES: Final = 20
"""Of each class: as many as use the whole limit alone, if a call takes 1.2 seconds."""
CALL_SECONDS: Final = 1.2
_NEXT_SECONDS: Final = 0.5
"""Until a process makes its next attempt."""
_ITEMS: Final = 10
"""Of each process: Plaid's limit of an Item, 50 calls a minute, is never reached."""
_SECONDS: Final = 300.0


@dataclass(slots=True)
class Crowd:
    """What happened.

    Attributes:
        served: when Plaid served a call, by class.
        refused: how often the call budget refused one.
        throttled: how often Plaid did.
        counts: the counted calls.
    """

    served: dict[CallClass, list[datetime]] = field(default_factory=lambda: {name: [] for name in CallClass})
    refused: Counter[CallClass] = field(default_factory=Counter)
    throttled: int = 0
    counts: FakeCallCounts = field(default_factory=FakeCallCounts)
    began: datetime = Processes().time

    @property
    def calls(self) -> int:
        """The calls that were made."""
        return sum(map(len, self.served.values())) + self.throttled

    def of_minute(self, call_class: CallClass, minute: int) -> int:
        """Return how many calls of a class were served in a minute."""
        first = self.began + timedelta(minutes=minute)
        return sum(first <= at < first + timedelta(minutes=1) for at in self.served[call_class])

    def longest_pause(self, call_class: CallClass) -> float:
        """Return the longest time without a served call, in seconds."""
        moments = [self.began, *self.served[call_class]]
        return max((b - a).total_seconds() for a, b in pairwise(moments))


@dataclass(slots=True)
class _Process:
    """A process of a function, with its connections, its view of the budget and its clock."""

    crowd: Crowd
    call_class: CallClass
    clock: ProcessClock
    transport: PlaidTransport
    tables: Tables
    tokens: list[str]
    item_ids: list[ItemId]

    # ---- Plaid, as the sync and the audit use it: the engine's clients, and a call takes time

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        client = PlaidTransactionsClient(self.transport)
        page: Page = self._served(lambda: client.sync_page(access_token, cursor, days_requested))
        return page

    def _served(self, call: Callable[[], Any]) -> Any:
        try:
            result = call()
        except CallBudgetError:
            self.crowd.refused[self.call_class] += 1
            raise
        except PlaidError:
            self.crowd.throttled += 1
            self.clock.sleep(CALL_SECONDS / 4)
            raise
        self.crowd.served[self.call_class].append(self.clock.processes.time)
        self.clock.sleep(CALL_SECONDS)
        return result

    # ---- what each class does, for ever

    def sync(self) -> None:
        """Sync Items, as a worker does whose queue is never empty."""
        engine = self.tables.engine(_Plaid(self, self.transport))
        for item_id in cycle(self.item_ids):
            job = SyncJob(item_id, self.clock.now(), self.clock.deadline(_SECONDS), call_class=self.call_class)
            report = engine.sync(job)
            assert report.outcome in {Outcome.COMMITTED, Outcome.DEFERRED, Outcome.FAILED}, report
            self.clock.sleep(_NEXT_SECONDS)

    def audit(self) -> None:
        """Pull histories."""
        puller = Puller(self, self.clock)
        for token in cycle(self.tokens):
            try:
                puller.pull_into(NetChanges, token, None, None, self.clock.deadline(_SECONDS))
            except (CallBudgetError, PlaidError):
                self.clock.sleep(_NEXT_SECONDS)

    def serve(self) -> None:
        """Make calls for callers who wait."""
        for token in cycle(self.tokens):
            request = TransactionsSyncRequest(access_token=token, count=1)
            try:
                self._served(lambda: self.transport.call(SYNC_ENDPOINT, request, 60.0, len))  # noqa: B023 - called here
            except (CallBudgetError, PlaidError):
                self.clock.sleep(_NEXT_SECONDS)


@dataclass(frozen=True, slots=True)
class _Plaid:
    """Plaid as a sync uses it."""

    process: _Process
    transport: PlaidTransport

    def __getattr__(self, name: str) -> Any:
        return getattr(PlaidItems(self.transport, "sandbox"), name)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        return self.process.sync_page(access_token, cursor, days_requested)


def crowd(
    minutes: int,
    classes: Sequence[CallClass] = tuple(CallClass),
    processes: int = PROCESSES,
    *,
    with_budget: bool = True,
) -> Crowd:
    """Let classes have calls to make all the time, for so many minutes, each with so many processes."""
    running, result, secrets = Processes(), Crowd(), Secrets()
    behavior = Behavior(rate_limits=True, legacy_webhooks=False, initial_seconds=None, historical_seconds=None)
    simulator = PlaidSimulator(7, running.now, behavior=behavior)
    secrets.text = json.dumps({"client_id": simulator.client_id, "secret": simulator.secret})
    with PlaidServer(simulator) as server:
        for position, call_class in enumerate(sorted([*classes] * processes)):
            # Clocks are up to a second wrong.
            clock = ProcessClock(running, timedelta(seconds=(position * 7 % 21 - 10) / 10))
            secret = PlaidSecret(lambda: secrets, "plaid", clock)  # type: ignore[arg-type,return-value] # a fake
            budget = CallBudget(result.counts, limits_of("sandbox", LIMIT), clock, call_class) if with_budget else None
            process = _Process(
                result,
                call_class,
                clock,
                PlaidTransport(server.base_url, secret, budget=budget),
                Tables(clock=clock),  # type: ignore[arg-type] # the clock of this process
                *_link(simulator, _ITEMS),
            )
            _register(process)
            work = {CallClass.INTERACTIVE: process.serve, CallClass.AUDIT: process.audit}
            running.start(work.get(call_class, process.sync), after=position * 0.137 % CALL_SECONDS)
        running.run(timedelta(minutes=minutes))
    return result


def _link(simulator: PlaidSimulator, number: int) -> tuple[list[str], list[ItemId]]:
    linked = [simulator.exchange(simulator.create_public_token(transactions=1, days=30)) for _ in range(number)]
    for item in linked:
        simulator.initialize(simulator.item(item.item_id), None)
        while simulator.advance_phase(item.item_id) < Phase.HISTORICAL:
            pass
    return [item.access_token for item in linked], [ItemId(item.item_id) for item in linked]


def _register(process: _Process) -> None:
    tables = process.tables
    for token, item_id in zip(process.tokens, process.item_ids, strict=True):
        tables.items.put(new_item(item_id, history_complete=True))
        tables.items.set(item_id, access_token=tables.tokens.encrypt(item_id, token))


MINUTES: Final = 4


def main() -> None:
    """Print the tables of docs/performance.md."""
    queued = [call_class for call_class in CallClass if call_class is not CallClass.INTERACTIVE]
    scenarios = {
        "all classes": crowd(MINUTES),
        "all but interactive": crowd(MINUTES, queued),
        "webhooks alone": crowd(MINUTES, [CallClass.WEBHOOK], processes=40),
        "eight workers, less than the limit": crowd(MINUTES, [CallClass.WEBHOOK], processes=8),
        "all classes, without the budget": crowd(MINUTES, with_budget=False),
    }
    for line in _tables(scenarios):
        sys.stdout.write(f"{line}\n")


def _tables(scenarios: dict[str, Crowd]) -> Iterator[str]:
    yield "| Calls to make | calls a minute | throttled by Plaid | writes for each call | reads for each call |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, found in scenarios.items():
        throttled, counts = found.throttled / found.calls, found.counts
        requests = f"{counts.writes / found.calls:.1f} | {counts.reads / found.calls:.1f}"
        yield f"| {name} | {found.calls // MINUTES:,} | {throttled:.1%} | {requests} |"
    crowded, without = scenarios["all classes"], scenarios["all classes, without the budget"]
    yield ""
    yield "| Class | served a minute | longest pause | without the budget | longest pause |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for call_class in CallClass:
        cells = (
            f"{len(found.served[call_class]) // MINUTES:,} | {found.longest_pause(call_class):.0f} s"
            for found in (crowded, without)
        )
        yield f"| {call_class} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
