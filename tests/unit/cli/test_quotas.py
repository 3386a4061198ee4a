"""The account's quotas are compared with what a stack's parameters need, and each shortage names its remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync_cli.findings import Result
from plaid_sync_cli.quotas import DEFAULTS, ITEM_ROUTES, RATES, WORKERS, Needs, check, judge_concurrency

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from plaid_sync_cli.findings import Finding

PRODUCTION = {"PlaidEnvironment": "production"}
RESERVED = {**PRODUCTION, "ReserveSyncConcurrency": "true"}
NEW_ACCOUNT = 10
REQUEST = re.compile(r"aws service-quotas request-service-quota-increase --service-code (\S+) --quota-code (\S+)")


def concurrency(total: int, parameters: dict[str, str], others: int = 0, **deployed: str) -> Finding:
    already = Needs.of(deployed).reserved if deployed else 0
    return judge_concurrency(total, total - others, Needs.of(parameters), already)


def test_defaults_workers_and_routes_are_the_templates() -> None:
    template = Template.parse((PROJECT / "template.yaml").read_text())
    parameters = template.document["Parameters"]
    assert {name: str(parameters[name]["Default"]) for name in DEFAULTS} == DEFAULTS
    limits = template.document["Mappings"]["PlaidLimits"]
    assert {name: found["SyncMaximumConcurrency"] for name, found in limits.items()} == WORKERS
    assert len(list(template.events("HttpApi"))) == ITEM_ROUTES + 1  # and the webhook's


@pytest.mark.parametrize("parameters", [{}, PRODUCTION])
def test_the_defaults_deploy_in_a_new_account_with_a_warning_that_requests_the_quota(
    parameters: dict[str, str],
) -> None:
    found = concurrency(NEW_ACCOUNT, parameters)
    assert found.result is Result.WARNING
    assert f"executions 10, {WORKERS[parameters.get('PlaidEnvironment', 'sandbox')] + 10} needed" in found.what
    assert "--service-code lambda --quota-code L-B99A9384 --desired-value 1000" in found.fix
    assert "SyncMaximumConcurrency" in found.fix


@pytest.mark.parametrize(
    ("total", "others", "reserved", "result"),
    [
        (10, 0, RESERVED, Result.FAILED),
        (139, 0, RESERVED, Result.FAILED),
        (140, 0, RESERVED, Result.OK),
        (1_000, 860, RESERVED, Result.OK),
        (1_000, 861, RESERVED, Result.FAILED),
        (1_000, 0, {**RESERVED, "WebhookReservedConcurrency": "860"}, Result.OK),
        (1_000, 0, {**RESERVED, "WebhookReservedConcurrency": "861"}, Result.FAILED),
        (150, 0, {**RESERVED, "SyncMaximumConcurrency": "50"}, Result.OK),
        (149, 0, {**RESERVED, "SyncMaximumConcurrency": "50"}, Result.FAILED),
    ],
)
def test_a_reservation_that_lambda_would_refuse_is_refused_before_the_deployment(
    total: int, others: int, reserved: dict[str, str], result: Result
) -> None:
    found = concurrency(total, reserved, others)
    assert found.result is result
    if result is Result.FAILED:
        assert "Lambda keeps 100 unreserved" in found.what
        assert "ReserveSyncConcurrency=false WebhookReservedConcurrency=0" in found.fix


def test_what_the_stack_has_reserved_already_is_available_to_it() -> None:
    assert judge_concurrency(120, 120, Needs.of(RESERVED), Needs.of(RESERVED).reserved).result is Result.OK
    more = Needs.of({**RESERVED, "WebhookReservedConcurrency": "1"})
    assert judge_concurrency(120, 120, more, Needs.of(RESERVED).reserved).result is Result.FAILED


@pytest.mark.parametrize(("total", "fix"), [(1_000, "Reserve: make deploy ENV=prod"), (119, "Request more: ")])
def test_in_production_a_warning_says_that_webhooks_can_starve_sync_until_one_of_both_is_reserved(
    total: int, fix: str
) -> None:
    found = concurrency(total, PRODUCTION)
    assert (found.result, "a flood of webhooks" in found.what) == (Result.WARNING, True)
    assert found.fix.startswith(fix)
    assert found.fix.endswith('PARAMETERS="ReserveSyncConcurrency=true"')
    for reserved in (RESERVED, {**PRODUCTION, "WebhookReservedConcurrency": "100"}):
        assert concurrency(1_000, reserved).result is Result.OK
    assert concurrency(1_000, {}).result is Result.OK  # the sandbox


@pytest.mark.parametrize(
    ("parameters", "needed"),
    [
        ({}, [760, 16_000]),
        ({**PRODUCTION, "WebhookRateLimit": "12000", "SyncMaximumConcurrency": "50"}, [12_260, 50_000]),
    ],
)
def test_rates_are_compared_with_what_routes_and_workers_can_use(parameters: dict[str, str], needed: list[int]) -> None:
    needs = Needs.of(parameters)
    assert [quota.need(needs) for quota in RATES] == needed
    for quota, need in zip(RATES, needed, strict=True):
        assert quota.judge(need, needs).result is Result.OK
        found = quota.judge(need - 1, needs)
        assert found.result is Result.WARNING
        request = REQUEST.search(found.fix)
        assert request is not None
        assert request.groups() == (quota.service, quota.code)
        assert found.fix.endswith(f"--desired-value {need}")


class Account:
    """Clients of an account whose responses are given; everything else is botocore's."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.stubs = {}
        for service in ("lambda", "service-quotas"):
            self.clients[service] = boto3.client(
                service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
            )
            self.stubs[service] = Stubber(self.clients[service])
            self.stubs[service].activate()

    def limit(self, total: int) -> None:
        found = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": total}
        self.stubs["lambda"].add_response("get_account_settings", {"AccountLimit": found})

    def value(self, call: str, value: float) -> None:
        self.stubs["service-quotas"].add_response(call, {"Quota": {"Value": value}})

    def refuse(self, service: str, call: str, code: str) -> None:
        self.stubs[service].add_client_error(call, code)


def test_a_quota_that_was_never_changed_has_its_default() -> None:
    account = Account()
    account.limit(1_000)
    account.value("get_service_quota", 10_000)
    account.refuse("service-quotas", "get_service_quota", "NoSuchResourceException")
    account.value("get_aws_default_service_quota", 15_999)
    found = list(check(account.clients.__getitem__, Needs.of({}), None, emulated=False))
    assert [finding.result for finding in found] == [Result.OK, Result.OK, Result.WARNING]
    assert "15,999, 16,000 needed" in found[2].what


def test_a_missing_permission_is_a_warning_that_names_it() -> None:
    account = Account()
    account.refuse("lambda", "get_account_settings", "AccessDeniedException")
    for _ in RATES:
        account.refuse("service-quotas", "get_service_quota", "AccessDeniedException")
    found = list(check(account.clients.__getitem__, Needs.of({}), None, emulated=False))
    assert {finding.result for finding in found} == {Result.WARNING}
    assert "lambda:GetAccountSettings" in found[0].fix
    assert all("servicequotas:GetServiceQuota" in finding.fix for finding in found[1:])
