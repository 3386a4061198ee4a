"""The bounds that are explored: small scenarios first, so that a broken guard shows soon."""

from __future__ import annotations

from typing import Final

from tests.model.state import GONE, Change, Faults, Scenario, Telling

A: Final = Change(0, 1)
A_GONE: Final = Change(0, GONE)
B: Final = Change(1, 1)
NETTED, SPELLED, HIDDEN = Telling.NETTED, Telling.SPELLED, Telling.HIDDEN

SMALL: Final = (
    Scenario("one change, a frozen worker", NETTED, (A,), changes=1, faults=Faults(freezes=1)),
    Scenario("a frozen worker", NETTED, (A,), changes=2, faults=Faults(freezes=1)),
    Scenario("three changes, a frozen worker", NETTED, (A,), faults=Faults(freezes=1)),
    Scenario("crashes", NETTED, (A,), faults=Faults(crashes=2)),
    Scenario("crashes", SPELLED, (A,), faults=Faults(crashes=2)),
    Scenario("crashes", HIDDEN, (A,), faults=Faults(crashes=2)),
    Scenario("one that was removed", NETTED, (A, A_GONE), faults=Faults(crashes=1)),
    Scenario("one that was removed", HIDDEN, (A, A_GONE), faults=Faults(crashes=1)),
    Scenario("webhooks repeated", NETTED, (A,), changes=1, faults=Faults(crashes=2, freezes=2, duplicates=1)),
    Scenario("login lost", NETTED, (A,), changes=1, faults=Faults(crashes=1, freezes=1, logins=1)),
    Scenario("newly linked", NETTED, changes=1, faults=Faults(crashes=1, freezes=1), complete=False),
    Scenario("newly linked, crash", HIDDEN, changes=2, faults=Faults(crashes=1), complete=False),
    Scenario("two frozen workers", HIDDEN, (A,), changes=2, faults=Faults(crashes=1, freezes=2)),
    Scenario("cursor rejected", HIDDEN, (A, B), changes=2, faults=Faults(crashes=1, freezes=1, rejections=1)),
    Scenario(
        "cursor rejected, history incomplete",
        HIDDEN,
        (A, B),
        changes=1,
        faults=Faults(crashes=1, freezes=1, rejections=1),
        complete=False,
    ),
    Scenario("three transactions", HIDDEN, (A, B), ids=3, changes=2, faults=Faults(crashes=1, freezes=1)),
)
LARGE: Final = (
    Scenario("a crash and a frozen worker", NETTED, (A,), faults=Faults(crashes=1, freezes=1)),
    Scenario("a crash and a frozen worker", SPELLED, (A,), faults=Faults(crashes=1, freezes=1)),
    Scenario("a crash and a frozen worker", HIDDEN, (A,), faults=Faults(crashes=1, freezes=1)),
)
ALL: Final = (*SMALL, *LARGE)
