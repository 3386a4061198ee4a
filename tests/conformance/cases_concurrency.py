"""Many workers at once: no write is lost, and none gets past a fence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from botocore.exceptions import ClientError
from plaid_sync.core.failures import RetryableError

from tests.conformance.actions import transact, update
from tests.conformance.bench import Bench, row
from tests.conformance.case import compares, error_code, outcome, relies_on

_THREADS = 16
_LOST = "retry: item_changed_while_claiming"


@relies_on("1 of 16 holds generation 1")
def sixteen_claims_of_one_state_at_once(bench: Bench) -> str:
    item = bench.loaded(bench.registered())

    def claim(number: int) -> str:
        return outcome(lambda: bench.items.claim(item, f"attempt {number}"))

    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(claim, range(_THREADS)))
    assert set(answers) <= {"ok", _LOST}, answers
    return f"{answers.count('ok')} of {len(answers)} holds generation {bench.item(item.item_id)['generation']}"


@relies_on("as many generations as accepted claims, each once")
def claims_by_sixteen_threads_that_load_first(bench: Bench) -> str:
    item_id = bench.registered()

    def claim(_: int) -> int | None:
        with suppress(RetryableError):
            return bench.claim(item_id).generation
        return None

    with ThreadPoolExecutor(_THREADS) as pool:
        got = sorted(one for one in pool.map(claim, range(_THREADS * 4)) if one is not None)
    each_once = got == list(range(1, len(got) + 1)) and bench.item(item_id)["generation"] == len(got)
    return "as many generations as accepted claims, each once" if each_once else f"generations {got}"


@relies_on("every accepted write counted, refused: conflicts or nothing")
def transactions_of_sixteen_threads_on_one_row(bench: Bench) -> str:
    codes, accepted, stored = _race(bench)
    counted = "every accepted write counted" if stored == accepted else f"{accepted} accepted, {stored} counted"
    expected = all("TransactionConflict" in code for code in codes)
    return f"{counted}, refused: {'conflicts or nothing' if expected else codes}"


@compares("TransactionConflict")
def how_transactions_on_one_row_collide(bench: Bench) -> str:
    """AWS documents the conflict; whether it happens to 64 quick writes is chance there, too."""
    codes, _, _ = _race(bench)
    return "TransactionConflict" if any("TransactionConflict" in code for code in codes) else "never"


def _race(bench: Bench) -> tuple[list[str], int, int]:
    """Let 16 threads update one row; return the refusals, how many were accepted, and how many were applied."""
    item_id = bench.put(v=0)

    def write(_: int) -> str:
        try:
            transact(bench, update(item_id))
        except ClientError as error:
            return error_code(error)
        return "ok"

    with ThreadPoolExecutor(_THREADS) as pool:
        codes = list(pool.map(write, range(_THREADS * 4)))
    return [code for code in codes if code != "ok"], codes.count("ok"), int(bench.row(item_id)["v"])


@relies_on("every winner's row, none of a loser's")
def claims_and_fenced_writes_at_once(bench: Bench) -> str:
    """Sixteen workers claim one Item and write under their fence: who was superseded has written nothing."""
    item_id = bench.registered()

    def work(number: int) -> tuple[str, str]:
        name = f"t{number}"
        return name, outcome(lambda: bench.write(item_id, bench.claim(item_id).generation, row(name), begin=True))

    with ThreadPoolExecutor(_THREADS) as pool:
        done = dict(pool.map(work, range(_THREADS * 2)))
    winners = {name for name, answer in done.items() if answer == "ok"}
    rows = {stored["transaction_id"]: stored["generation"] for stored in bench.rows(item_id)}
    others = {answer for answer in done.values() if answer not in {"ok", "superseded", _LOST}}
    right = rows.keys() == winners and len(set(rows.values())) == len(rows) and not others
    return (
        "every winner's row, none of a loser's"
        if right
        else f"rows {sorted(rows)}, winners {sorted(winners)}, {others}"
    )
