"""What a month costs, by plain arithmetic over what is used in it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from plaid_sync_cli import prices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plaid_sync_cli.prices import Price

DAYS: Final = Decimal(30)
_CENT: Final = Decimal("0.01")
GB: Final = Decimal(1_000_000_000)
_CHANGES_GB_SECONDS: Final = Decimal("0.05")
_SWEEPS: Final = 30 * 24 * 12
_COUNTED_BYTES: Final = 200
"""Of an Item in the index `by_status`, which each sweep reads to count them."""
_UNIT_BYTES: Final = 4_096 * 2
"""What a read unit reads, not consistently."""
_AUDITS: Final = 30 * 50
"""The default of AuditSampleSize, each day."""
_AUDITED_ROW: Final = Decimal("1.25")
"""Read units of a row in an audit."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a stack has whether anything happens or not.

    Attributes:
        alarms: on a metric.
        composite_alarms: on other alarms.
        metrics: as CloudWatch counts them, a name with its dimensions: those that were seen.
    """

    alarms: int
    composite_alarms: int
    metrics: int


FIXED: Final = Fixed(alarms=36, composite_alarms=2, metrics=90)
"""Of a stack whose metrics have all been seen; a test compares it with the templates of `infra/`."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """How much of something is used in a month.

    Attributes:
        formula: how the value comes about.
    """

    value: Decimal
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is used in a month.

    Attributes:
        api_requests: webhooks, and requests to the Item API.
        gb_seconds: of all functions.
        queue_requests: sends, receives, deletes and changes of visibility.
        stored_gb: in all tables and their indexes.
    """

    api_requests: Quantity
    invocations: Quantity
    gb_seconds: Quantity
    queue_requests: Quantity
    write_units: Quantity
    read_units: Quantity
    stored_gb: Quantity
    log_gb: Quantity
    key_requests: Quantity
    fixed: Fixed


@dataclass(frozen=True, slots=True)
class Workload:
    """What an average Item does in a month: assumptions, each to be replaced by what was measured.

    Attributes:
        webhooks: Plaid looks at a bank one to four times a day, and half of its codes only repeat.
        syncs: by webhooks, and by the sweep where none came within its cadence.
        changes: rows added, modified or removed.
        rows: of two years of history.
        row_bytes: a row of the Transactions table and its copy in the index.
        webhook_seconds: the webhook function's time for one, as billed.
        sync_seconds: the sync function's time for one.
        log_bytes: of a webhook or a sync: on the local stack 1,200 and 2,300; on top, by guess, what Lambda and the API
            log themselves.
    """

    webhooks: int = 150
    syncs: int = 90
    changes: int = 150
    rows: int = 2_400
    row_bytes: int = 1_900
    webhook_seconds: Decimal = Decimal("0.03")
    sync_seconds: Decimal = Decimal("0.6")
    log_bytes: int = 3_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill."""

    name: str
    quantity: Quantity
    price: Price

    @property
    def dollars(self) -> Decimal:
        """What it comes to."""
        return self.quantity.value * self.price.dollars


def expected(items: int, work: Workload | None = None) -> Usage:
    """Return what so many Items use in a month, if each does as a `Workload` says."""
    work = work or Workload()
    webhooks, syncs, changes = (Decimal(items) * one for one in (work.webhooks, work.syncs, work.changes))
    told, each = webhooks + syncs, f"{items:,} Items x "
    # The webhook function has half a GB, the sync function one. In a transaction a write counts twice, and a row is in
    # one index. Ten entries of the history go into one invocation of the changes function.
    seconds = webhooks * work.webhook_seconds / 2 + syncs * work.sync_seconds + told / 10 * _CHANGES_GB_SECONDS
    swept, audited = Decimal(items) * _SWEEPS * _COUNTED_BYTES / _UNIT_BYTES, min(items * 30, _AUDITS)
    return Usage(
        api_requests=Quantity(webhooks, f"{each}{work.webhooks} webhooks"),
        invocations=Quantity(told * Decimal("1.1"), f"{each}({work.webhooks} webhooks + {work.syncs} syncs) x 1.1"),
        gb_seconds=Quantity(
            seconds,
            f"{each}({work.webhooks} x {work.webhook_seconds} s x 0.5 GB + {work.syncs} x {work.sync_seconds} s)",
        ),
        queue_requests=Quantity(3 * syncs, f"{each}{work.syncs} syncs x 3 (send, receive, delete)"),
        write_units=Quantity(
            4 * changes + 6 * syncs + webhooks,
            f"{each}({work.changes} rows x 4 + {work.syncs} syncs x 6 + {work.webhooks} webhooks)",
        ),
        read_units=Quantity(
            2 * changes + 2 * syncs + swept + audited * work.rows * _AUDITED_ROW,
            f"{each}({work.changes} rows x 2 + {work.syncs} syncs x 2 + {swept / items:.0f} to be counted) "
            f"+ {audited:,} audits x {work.rows:,} rows x {_AUDITED_ROW}",
        ),
        stored_gb=Quantity(
            Decimal(items) * work.rows * work.row_bytes / GB, f"{each}{work.rows:,} rows x {work.row_bytes:,} bytes"
        ),
        log_gb=Quantity(told * work.log_bytes / GB, f"{each}{work.webhooks + work.syncs} x {work.log_bytes:,} bytes"),
        key_requests=Quantity(syncs, f"{each}{work.syncs} syncs"),
        fixed=FIXED,
    )


def bill(usage: Usage) -> list[Line]:
    """Return the lines of a month's bill, the largest first."""
    fixed = usage.fixed
    lines = [
        Line("API Gateway", usage.api_requests, prices.API_REQUEST),
        Line("Lambda requests", usage.invocations, prices.LAMBDA_REQUEST),
        Line("Lambda time", usage.gb_seconds, prices.LAMBDA_GB_SECOND),
        Line("SQS", usage.queue_requests, prices.SQS_REQUEST),
        Line("DynamoDB writes", usage.write_units, prices.WRITE_UNIT),
        Line("DynamoDB reads", usage.read_units, prices.READ_UNIT),
        Line("DynamoDB storage", usage.stored_gb, prices.STORED_GB),
        Line("Point-in-time recovery", usage.stored_gb, prices.RECOVERABLE_GB),
        Line("Logs", usage.log_gb, prices.LOG_GB),
        Line("Metrics", _so_many(fixed.metrics, "names x dimensions"), prices.METRIC),
        Line("Alarms", _so_many(fixed.alarms, "of the stack"), prices.ALARM),
        Line("Composite alarms", _so_many(fixed.composite_alarms, "attention, sync-stopped"), prices.COMPOSITE_ALARM),
        Line("Dashboard", _so_many(1, "one"), prices.DASHBOARD),
        Line("Keys", _so_many(2, "of tokens, of alarm messages"), prices.KEY),
        Line("Token key requests", usage.key_requests, prices.KEY_REQUEST),
        Line("Secret of Plaid's keys", _so_many(1, "one"), prices.SECRET),
    ]
    return sorted(lines, key=lambda line: -line.dollars)


def _so_many(count: int, what: str) -> Quantity:
    return Quantity(Decimal(count), what)


def total(lines: Iterable[Line]) -> Decimal:
    """Return what they come to, in dollars and cents."""
    return cents(sum((line.dollars for line in lines), Decimal(0)))


def cents(dollars: Decimal) -> Decimal:
    """Round to cents."""
    return dollars.quantize(_CENT, ROUND_HALF_UP)
