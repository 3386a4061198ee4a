"""Compares the quotas of the AWS account with what a stack's parameters need.

Only quotas that the stack can meet are here: Plaid's rate limits keep it far below the others (docs/deploying.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from plaid_sync_cli.errors import ACCESS_DENIED
from plaid_sync_cli.findings import Finding, Result, failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Clients = Callable[[str], Any]
    """Returns the client of an AWS service."""

DEFAULTS: Final = {
    "PlaidEnvironment": "sandbox",
    "SyncMaximumConcurrency": "0",
    "ReserveSyncConcurrency": "false",
    "WebhookReservedConcurrency": "0",
    "WebhookRateLimit": "500",
    "ItemsRateLimit": "10",
}
"""The template's defaults, for a stack that is not deployed yet."""
WORKERS: Final = {"production": 40, "sandbox": 16}
"""The template's mapping PlaidLimits: the workers of SyncMaximumConcurrency=0."""
ITEM_ROUTES: Final = 26
"""The routes that ItemsRateLimit limits, each by itself."""
UNREAD: Final = "cannot be read"
"""In the finding of a quota that was not compared."""
_OTHERS: Final = 10
"""Executions beside those of sync: webhook and items, the shards of changes, sweep, audit."""
_MIN_UNRESERVED: Final = 100
"""Lambda keeps as many for functions without a reservation (API reference of PutFunctionConcurrency).

Accounts with a limit below it report `its minimum value of [10]`, their limit: there nothing can be reserved.
"""
_DEFAULT_CONCURRENCY: Final = 1_000
"""Lambda's default; new accounts begin with less, often 10 (https://docs.aws.amazon.com/lambda/latest/dg/limits.html)."""
_UNITS_PER_WORKER: Final = 1_000
"""Write units per second: a worker writes one Item at a time, and an Item's rows are one partition key."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stack needs, by its parameters.

    Attributes:
        workers: concurrent executions of sync, its MaximumConcurrency.
        sync_reserved: those that are reserved for it: all or none.
        webhook_reserved: the maximum of webhook, and its reservation; 0 for none.
        requests: requests per second that the routes admit.
        production: it calls Plaid's production environment.
    """

    workers: int
    sync_reserved: int
    webhook_reserved: int
    requests: int
    production: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Needs:
        """Return the needs of a stack with these parameters, and the template's defaults of all others."""
        found = {**DEFAULTS, **parameters}
        workers = int(found["SyncMaximumConcurrency"]) or WORKERS[found["PlaidEnvironment"]]
        return cls(
            workers=workers,
            sync_reserved=workers if found["ReserveSyncConcurrency"] == "true" else 0,
            webhook_reserved=int(found["WebhookReservedConcurrency"]),
            requests=int(found["WebhookRateLimit"]) + ITEM_ROUTES * int(found["ItemsRateLimit"]),
            production=found["PlaidEnvironment"] == "production",
        )

    @property
    def reserved(self) -> int:
        """The executions that the stack reserves."""
        return self.sync_reserved + self.webhook_reserved

    @property
    def unreserved(self) -> int:
        """The executions that it needs beside its reservations."""
        return self.workers - self.sync_reserved + _OTHERS

    @property
    def executions(self) -> int:
        """The account's limit that it needs."""
        return self.reserved + max(self.unreserved, _MIN_UNRESERVED if self.reserved else 0)


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota of the account and region.

    Attributes:
        need: what the stack needs of it.
        parameters: the parameters that the need follows from.
    """

    service: str
    code: str
    name: str
    need: Callable[[Needs], int]
    parameters: str

    def request(self, value: int) -> str:
        """Return the command that requests a value."""
        return (
            f"aws service-quotas request-service-quota-increase --service-code {self.service} "
            f"--quota-code {self.code} --desired-value {value}"
        )

    def judge(self, value: float, needs: Needs) -> Finding:
        """Compare the quota's value with the need."""
        need = self.need(needs)
        if value >= need:
            return ok(f"{self.name} {value:,.0f}, {need:,} needed")
        return warning(
            f"{self.name} {value:,.0f}, {need:,} needed ({self.parameters})",
            f"Request more: {self.request(need)}",
        )


CONCURRENCY: Final = Quota(
    "lambda", "L-B99A9384", "Lambda concurrent executions", lambda needs: needs.executions, "SyncMaximumConcurrency"
)
RATES: Final = (
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html: 10,000, in some regions 2,500.
    Quota(
        "apigateway",
        "L-8A5B8E43",
        "API Gateway requests per second",
        lambda needs: needs.requests,
        "WebhookRateLimit, ItemsRateLimit",
    ),
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html: 40,000, also on demand.
    Quota(
        "dynamodb",
        "L-AB614373",
        "DynamoDB write units per second and table",
        lambda needs: needs.workers * _UNITS_PER_WORKER,
        "SyncMaximumConcurrency",
    ),
)


def check(clients: Clients, needs: Needs, deployed: Needs | None, *, emulated: bool) -> Iterator[Finding]:
    """Yield a finding for each quota.

    Args:
        clients: the account's.
        needs: those of the deployment to come, or of the deployed stack.
        deployed: the needs of the stack as it is deployed; None if it is not.
        emulated: the account is the emulator's, which has no Service Quotas.
    """
    yield _concurrency(clients, needs, deployed)
    for quota in () if emulated else RATES:
        yield _rate(clients, quota, needs)


def _concurrency(clients: Clients, needs: Needs, deployed: Needs | None) -> Finding:
    try:
        limit = clients("lambda").get_account_settings()["AccountLimit"]
    except ClientError as error:
        return _unread(error, CONCURRENCY, "lambda:GetAccountSettings")
    already = 0 if deployed is None else deployed.reserved
    return judge_concurrency(
        limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"] + already, needs, already
    )


def judge_concurrency(total: int, available: int, needs: Needs, already: int = 0) -> Finding:
    """Compare Lambda's concurrency with the need.

    Args:
        total: the account's limit.
        available: what no other stack reserves.
        needs: the stack's.
        already: what the deployed stack reserves of it.
    """
    have = f"{CONCURRENCY.name} {total:,}"
    have += f", {total - available:,} reserved by others" if available < total else ""
    reservable = available - needs.reserved >= _MIN_UNRESERVED
    value = max(_DEFAULT_CONCURRENCY, needs.executions + total - available)
    request = f"Request more: {CONCURRENCY.request(value)}"
    if needs.reserved > already and not reservable:
        return failed(
            f"{have}: {needs.reserved:,} cannot be reserved, because Lambda keeps {_MIN_UNRESERVED} unreserved",
            f'{request}. Until then: PARAMETERS="ReserveSyncConcurrency=false WebhookReservedConcurrency=0"',
        )
    needed = needs.reserved + needs.unreserved
    if available < needed:
        return warning(
            f"{have}, {needed:,} needed, {needs.workers} of them by sync workers",
            f"{request}. Until then Lambda throttles: lower SyncMaximumConcurrency",
        )
    if needs.production and not needs.reserved:
        reserve = 'make deploy ENV=prod PARAMETERS="ReserveSyncConcurrency=true"'
        return warning(
            f"{have}, none reserved: a flood of webhooks can take them from sync",
            f"Reserve: {reserve}" if available - needs.workers >= _MIN_UNRESERVED else f"{request}, then {reserve}",
        )
    return ok(f"{have}, {needed:,} needed, {needs.reserved:,} of them reserved")


def _rate(clients: Clients, quota: Quota, needs: Needs) -> Finding:
    client, named = clients("service-quotas"), {"ServiceCode": quota.service, "QuotaCode": quota.code}
    try:
        try:
            found = client.get_service_quota(**named)
        except client.exceptions.NoSuchResourceException:  # it was never changed for this account
            found = client.get_aws_default_service_quota(**named)
    except ClientError as error:
        return _unread(error, quota, "servicequotas:GetServiceQuota, servicequotas:GetAWSDefaultServiceQuota")
    return quota.judge(found["Quota"]["Value"], needs)


def _unread(error: ClientError, quota: Quota, actions: str) -> Finding:
    code = error.response["Error"]["Code"]
    fix = f"Grant {actions} (docs/cli.md)" if code in ACCESS_DENIED else "Try again"
    return Finding(Result.WARNING, f"{quota.name} {UNREAD} ({code}), {quota.parameters} not compared", fix, error)
