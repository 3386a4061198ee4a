"""The field report: each claim's evidence confirms or refutes it, and nothing secret is in the file."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.stub import Stubber
from plaid_sync.aws.sync_telemetry import emit_batch_telemetry
from plaid_sync.aws.telemetry import metrics
from plaid_sync.domain.item import ItemId
from plaid_sync.metrics import Metric
from plaid_sync.sync.batch import BatchResult
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport
from plaid_sync_cli import deployment
from plaid_sync_cli.claims import CLAIMS, Verdict
from plaid_sync_cli.deployment import Target
from plaid_sync_cli.field_report import collect, observe
from plaid_sync_cli.monitoring import alarms
from plaid_sync_cli.observations import Observations
from plaid_sync_cli.output import to_json

from local.stack.deploy import STACK_NAME
from local.stack.resources import ACCOUNT_ID
from tests.fakes.clock import PLENTY
from tests.integration.command_line import SECRETS, CommandLine
from tests.integration.in_process import reads_the_logs, runs_in_the_emulator
from tests.integration.module_harness import lasting_world
from tests.template.rules_alarms import WITH_EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.deployment import Deployment
    from tests.integration.harness import World

pytestmark = runs_in_the_emulator

CONFIRMED, REFUTED, NOT_OBSERVED = Verdict
SYNC, WEBHOOK, CHANGES = (f"{STACK_NAME}-{name}" for name in ("sync", "webhook", "changes"))
HOUR: Final = timedelta(hours=1)
UPDATE: Final = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE"}
Datum = tuple[str, str, float, dict[str, str]]


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    with lasting_world(deployment, seed=34) as world:
        yield world


@pytest.fixture
def cli(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine.at(world, tmp_path)


_windows = itertools.count(9)  # before the last two days, which the command reports


@pytest.fixture
def seen(cli: CommandLine) -> Observations:  # noqa: ARG001 - it writes the addresses that `find` reads
    """The stack in a window of the past that no other test writes to."""
    end = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - 6 * HOUR * next(_windows)
    return Observations(deployment.find(Target(local=True)), end - 5 * HOUR, end)


def put(seen: Observations, *data: Datum, at: datetime | None = None) -> None:
    for namespace, name, value, dimensions in data:
        listed = [{"Name": key, "Value": text} for key, text in dimensions.items()]
        datum = {"MetricName": name, "Value": value, "Dimensions": listed, "Timestamp": at or seen.end - HOUR}
        seen.deployment.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])


def of_lambda(name: str, value: float, function: str = SYNC) -> Datum:
    return ("AWS/Lambda", name, value, {"FunctionName": function})


def own(name: str, value: float) -> Datum:
    return ("PlaidSync", Metric(name), value, {"service": STACK_NAME})


def units(seen: Observations, value: float) -> Datum:
    table = {"TableName": seen.deployment.output("TransactionsTable")}
    return ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", value, table)


def verdict(seen: Observations, claim_id: str) -> Verdict:
    (claim,) = (claim for claim in CLAIMS if claim.id == claim_id)
    return claim.observe(seen).verdict


@pytest.mark.parametrize(
    ("claim_id", "data", "expected"),
    [
        ("exact", [own("ItemsAudited", 3), own("DriftFound", 0)], CONFIRMED),
        ("exact", [own("ItemsAudited", 3), own("DriftFound", 1)], REFUTED),
        ("parallel-groups", [of_lambda("ConcurrentExecutions", 1)], NOT_OBSERVED),
        ("parallel-groups", [of_lambda("ConcurrentExecutions", 16)], CONFIRMED),
        ("parallel-groups", [of_lambda("ConcurrentExecutions", 17)], REFUTED),
        ("no-throttles", [of_lambda("Invocations", 5), of_lambda("Throttles", 0)], CONFIRMED),
        ("no-throttles", [of_lambda("Invocations", 5), of_lambda("Throttles", 1)], REFUTED),
        ("heartbeat", [of_lambda("Duration", 59_000)], NOT_OBSERVED),
        ("heartbeat", [of_lambda("Duration", 61_000)], CONFIRMED),
        ("no-loop", [of_lambda("Invocations", 1)], CONFIRMED),
        ("no-loop", [of_lambda("Invocations", 1), of_lambda("RecursiveInvocationsDropped", 1)], REFUTED),
        ("stream", [own("EventsPublished", 1), of_lambda("IteratorAge", 900, CHANGES)], CONFIRMED),
        ("stream", [own("EventsPublished", 1), of_lambda("IteratorAge", 61_000, CHANGES)], REFUTED),
        ("stream", [own("EventsPublished", 1), own("PublishFailures", 1)], REFUTED),
        ("row-lag", [own("SyncLag", 1_000), own("SyncLag", 17_000)], CONFIRMED),
        ("row-lag", [own("SyncLag", 1_000), own("SyncLag", 20_000)], REFUTED),
    ],
)
def test_metrics_confirm_or_refute_a_claim(
    seen: Observations, claim_id: str, data: list[Datum], expected: Verdict
) -> None:
    assert verdict(seen, claim_id) is NOT_OBSERVED
    put(seen, *data)
    assert verdict(seen, claim_id) is expected


@pytest.mark.parametrize(("consumed", "expected"), [(199, REFUTED), (200, CONFIRMED), (450, CONFIRMED), (451, REFUTED)])
def test_write_units_are_counted_per_row(seen: Observations, consumed: float, expected: Verdict) -> None:
    put(seen, own("TransactionsAdded", 99), units(seen, consumed))
    assert verdict(seen, "write-units") is NOT_OBSERVED
    put(seen, own("TransactionsRemoved", 1))
    assert verdict(seen, "write-units") is expected


@pytest.mark.parametrize(("runs", "expected"), [((60, 59), CONFIRMED), ((60, 57), REFUTED)])
def test_the_schedule_is_judged_by_full_hours(seen: Observations, runs: tuple[int, int], expected: Verdict) -> None:
    end = seen.end.replace(minute=0)
    put(seen, own("SweepRuns", 7), at=end - 4 * HOUR + timedelta(minutes=50))
    assert verdict(seen, "schedule") is NOT_OBSERVED
    for hours, value in zip((3, 2), runs, strict=True):
        put(seen, own("SweepRuns", value), at=end - hours * HOUR + timedelta(minutes=5))
    assert verdict(seen, "schedule") is expected


@pytest.mark.parametrize(("failed", "expected"), [(0, CONFIRMED), (1, REFUTED)])
def test_the_delivery_of_alarms_is_read_from_the_topic(seen: Observations, failed: int, expected: Verdict) -> None:
    topic = {"TopicName": seen.deployment.output("AlarmTopicArn").rsplit(":", 1)[-1]}
    assert verdict(seen, "alarm-delivery") is NOT_OBSERVED
    put(seen, ("AWS/SNS", "NumberOfNotificationsDelivered", 1, topic))
    put(seen, ("AWS/SNS", "NumberOfNotificationsFailed", failed, topic))
    assert verdict(seen, "alarm-delivery") is expected


def test_the_alarms_own_expressions_show_what_missing_data_counts_as(seen: Observations) -> None:
    assert verdict(replace(seen, deployment=unmonitored(seen)), "alarm-math") is NOT_OBSERVED
    nothing = dict[str, list[float]]()
    assert math(seen, nothing) is NOT_OBSERVED
    assert math(seen, {"active": [2.0], "expiring": [0.0], "verified": [7.0], "heard": [7.0]}) is NOT_OBSERVED
    assert math(seen, {"active": [0.0], "expiring": [0.0], "heard": [1.0]}) is NOT_OBSERVED  # no Item
    assert math(seen, {"active": [2.0], "expiring": [0.0], "heard": [0.0]}) is CONFIRMED
    assert math(seen, {"active": [2.0], "expiring": [0.0]}) is REFUTED


def unmonitored(seen: Observations) -> deployment.Deployment:
    """Return a stack of another name: it has no alarms."""
    return replace(seen.deployment, name="plaid-sync-other", outputs={})


def math(seen: Observations, values: Mapping[str, list[float]]) -> Verdict:
    """Return the verdict if the alarm webhooks-silent has these values, and the others have none."""
    stubber = Stubber(seen.deployment.client("cloudwatch"))
    known = [alarm for alarm in alarms(seen.deployment) if any("Expression" in query for query in alarm.queries)]
    assert {alarm.slug for alarm in known} == WITH_EXPRESSIONS
    stubber.add_response("describe_alarms", {"MetricAlarms": described(seen)})
    for alarm in known:
        found = values if alarm.slug == "webhooks-silent" else {}
        results = [
            {"Id": query["Id"], "Values": found.get(query["Id"], []), "Timestamps": [seen.end] * (query["Id"] in found)}
            for query in alarm.queries
        ]
        queries = [{**query, "ReturnData": True} for query in alarm.queries]
        expected = {"MetricDataQueries": queries, "StartTime": seen.start, "EndTime": seen.end}
        stubber.add_response("get_metric_data", {"MetricDataResults": results}, expected)
    with stubber:
        return verdict(seen, "alarm-math")


def described(seen: Observations) -> list[dict[str, Any]]:
    pages = seen.deployment.client("cloudwatch").get_paginator("describe_alarms").paginate()
    return [alarm for page in pages for alarm in page["MetricAlarms"]]


def log(seen: Observations, function: str, *records: dict[str, Any]) -> None:
    client, group = seen.deployment.client("logs"), f"/aws/lambda/{function}"
    stream = f"report {seen.end.isoformat()}".replace(":", "-")
    with suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_stream(logGroupName=group, logStreamName=stream)
    at = round((seen.end - HOUR).timestamp() * 1000)
    events = [{"timestamp": at, "message": json.dumps(record)} for record in records]
    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def written(output: Callable[[], str]) -> list[dict[str, Any]]:
    """Return the log records that the functions have written; their metrics are other lines."""
    lines = [json.loads(line) for line in output().splitlines() if line.startswith("{")]
    return [line for line in lines if "_aws" not in line]


@reads_the_logs
@pytest.mark.parametrize(
    ("failures", "outcome", "expected"),
    [(0, Outcome.COMMITTED, CONFIRMED), (1, Outcome.COMMITTED, REFUTED), (0, Outcome.SUPERSEDED, NOT_OBSERVED)],
)
def test_the_records_of_sync_show_whether_messages_stay_hidden(
    seen: Observations, output: Callable[[], str], failures: int, outcome: Outcome, expected: Verdict
) -> None:
    put(seen, of_lambda("Duration", 61_000))
    item_id = ItemId("item-1")
    job = SyncJob(item_id, seen.end, PLENTY)
    emit_batch_telemetry(
        BatchResult(jobs={item_id: job}, reports={item_id: SyncReport(outcome)}, visibility_failures=failures)
    )
    metrics.clear_metrics()
    log(seen, SYNC, *written(output))
    assert verdict(seen, "heartbeat") is expected


def test_a_log_without_information_shows_nothing_about_visibility(seen: Observations) -> None:
    put(seen, of_lambda("Duration", 61_000))
    silent = replace(seen.deployment, parameters={"LogLevel": "WARN"})
    assert verdict(replace(seen, deployment=silent), "heartbeat") is NOT_OBSERVED


@reads_the_logs
def test_a_stale_webhook_refutes_that_plaid_signs_again(
    seen: Observations, world: World, output: Callable[[], str]
) -> None:
    body = json.dumps(UPDATE | {"item_id": world.synced(transactions=1)}).encode()
    world.restart_webhook_function()
    world.post_webhook(body, "forged")
    log(seen, WEBHOOK, *written(output))
    assert verdict(seen, "signed-again") is NOT_OBSERVED
    world.post_webhook(body, world.plaid.sign(body, iat=world.clock() - timedelta(minutes=10)))
    log(seen, WEBHOOK, *written(output))
    assert verdict(seen, "signed-again") is REFUTED


def report(duration: float, used: int, initialization: float | None = None) -> dict[str, Any]:
    metrics = {"durationMs": duration, "memorySizeMB": 512, "maxMemoryUsedMB": used}
    cold = {} if initialization is None else {"initDurationMs": initialization}
    return {"type": "platform.report", "record": {"requestId": "r", "metrics": metrics | cold}}


@pytest.mark.parametrize(
    ("initialization", "used", "cold", "memory"),
    [(700.0, 100, CONFIRMED, CONFIRMED), (9_500.0, 500, REFUTED, REFUTED), (None, 100, NOT_OBSERVED, CONFIRMED)],
)
def test_cold_starts_and_memory_are_read_from_lambdas_records(
    seen: Observations, initialization: float | None, used: int, cold: Verdict, memory: Verdict
) -> None:
    log(seen, WEBHOOK, {"level": "INFO", "message": "ordinary"}, report(600.0, used, initialization))
    assert (verdict(seen, "cold-start"), verdict(seen, "memory")) == (cold, memory)


def test_a_denied_call_refutes_the_roles(seen: Observations) -> None:
    assert verdict(seen, "roles") is NOT_OBSERVED
    put(seen, *(of_lambda("Invocations", 1, name) for name in seen.deployment.functions))
    assert verdict(seen, "roles") is CONFIRMED
    log(seen, WEBHOOK, {"level": "ERROR", "message": "failed", "error_code": "AccessDeniedException"})
    assert verdict(seen, "roles") is REFUTED


@pytest.mark.parametrize(
    ("information", "canary", "rollback"),
    [
        ({"status": "Succeeded"}, CONFIRMED, NOT_OBSERVED),
        (
            {
                "status": "Stopped",
                "rollbackInfo": {"rollbackDeploymentId": "d-2"},
                "errorInformation": {"code": "ALARM_ACTIVE"},
            },
            NOT_OBSERVED,
            CONFIRMED,
        ),
        ({"status": "Stopped", "errorInformation": {"code": "ALARM_ACTIVE"}}, NOT_OBSERVED, CONFIRMED),
        ({"status": "Stopped", "rollbackInfo": {"rollbackDeploymentId": "d-2"}}, NOT_OBSERVED, NOT_OBSERVED),
    ],
)
def test_deployments_show_canary_and_rollback(
    seen: Observations, information: dict[str, Any], canary: Verdict, rollback: Verdict
) -> None:
    stubber = Stubber(seen.deployment.client("codedeploy"))
    for _ in (kind for kind, _ in seen.deployment.resources() if kind == "AWS::CodeDeploy::DeploymentGroup"):
        stubber.add_response("list_deployments", {"deployments": [], "nextToken": "2"})
        stubber.add_response("list_deployments", {"deployments": ["d-1"]})
        stubber.add_response("get_deployment", {"deploymentInfo": information})
    with stubber:
        assert (verdict(seen, "canary"), verdict(seen, "rollback")) == (canary, rollback)
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("limit", "rate", "expected"),
    [
        (1_000, 10_000.0, CONFIRMED),  # in production, and nothing is reserved
        (10, 10_000.0, REFUTED),
        (1_000, 100.0, REFUTED),
        (1_000, None, NOT_OBSERVED),
        (10, None, REFUTED),
    ],
)
def test_only_a_quota_that_is_too_small_refutes_the_quotas(
    seen: Observations, limit: int, rate: float | None, expected: Verdict
) -> None:
    on_aws = replace(seen.deployment, parameters={"PlaidEnvironment": "production"}, endpoint_url=None)
    functions, service_quotas = (Stubber(on_aws.client(name)) for name in ("lambda", "service-quotas"))
    account = {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit}
    functions.add_response("get_account_settings", {"AccountLimit": account})
    for value in (rate, 40_000.0):
        if value is None:
            service_quotas.add_client_error("get_service_quota", "AccessDeniedException")
        else:
            service_quotas.add_response("get_service_quota", {"Quota": {"Value": value}})
    with functions, service_quotas:
        assert verdict(replace(seen, deployment=on_aws), "quotas") is expected


@pytest.mark.parametrize(("webhook", "expected"), [(500.0, CONFIRMED), (10.0, REFUTED)])
def test_the_limits_of_routes_are_those_of_the_parameters(
    seen: Observations, webhook: float, expected: Verdict
) -> None:
    stubber = Stubber(seen.deployment.client("apigatewayv2"))
    stage = {
        "StageName": "$default",
        "DefaultRouteSettings": {"ThrottlingRateLimit": 10.0},
        "RouteSettings": {"POST /webhooks/plaid": {"ThrottlingRateLimit": webhook}},
    }
    stubber.add_response("get_stage", stage)
    with stubber:
        assert verdict(seen, "route-throttles") is expected


def test_a_version_that_is_not_as_latest_refutes_and_a_second_one_that_is_confirms(
    seen: Observations, world: World
) -> None:
    functions = world.stack.client("lambda")
    world.stack.set_environment("changes", {"POWERTOOLS_LOG_LEVEL": "INFO"})  # a second version
    assert verdict(seen, "versions") is CONFIRMED
    timeout = functions.get_function_configuration(FunctionName=CHANGES)["Timeout"]
    functions.update_function_configuration(FunctionName=CHANGES, Timeout=timeout + 1)
    assert verdict(seen, "versions") is REFUTED
    functions.update_function_configuration(FunctionName=CHANGES, Timeout=timeout)


def test_the_local_stack_shows_what_the_emulator_does_as_aws_and_nothing_else(
    cli: CommandLine, world: World, tmp_path: Path
) -> None:
    world.synced()
    file = tmp_path / "report.json"
    result = cli.run("field-report", "--output", str(file), "--json")
    found = json.loads(result.stdout)
    assert json.loads(file.read_text()) == found
    assert file.stat().st_mode & 0o077 == 0
    assert datetime.fromisoformat(found["to"]) - datetime.fromisoformat(found["from"]) == 48 * HOUR
    verdicts = {claim["id"]: claim["verdict"] for claim in found["claims"]}
    assert verdicts.keys() == {claim.id for claim in CLAIMS}
    assert verdicts["high-throughput"] == CONFIRMED
    assert result.exit_code == (REFUTED in verdicts.values())  # other tests damage rows of this stack
    unseen = {claim.id for claim in CLAIMS if not claim.emulated}
    assert {verdicts[claim_id] for claim_id in unseen} == {NOT_OBSERVED}
    measured = found["measurements"]
    assert measured["stack"]["status"] == "CREATE_COMPLETE"
    assert measured["functions"].keys() == set(deployment.find(Target(local=True)).functions)
    assert measured["queues"]["SyncQueueUrl"]["FifoQueue"] == "true"
    assert len(found["doctor"]) > 10
    text = file.read_text() + cli.run("field-report").output
    assert not any(secret in text for secret in SECRETS)
    assert world.server.base_url.rsplit(":", 1)[0] not in json.dumps(measured)


def test_a_claim_that_cannot_be_read_is_not_observed(seen: Observations) -> None:
    stubber = Stubber(seen.deployment.client("sqs"))
    stubber.add_client_error("get_queue_attributes", "AccessDenied")
    with stubber:
        claim = next(claim for claim in CLAIMS if claim.id == "high-throughput")
        found = observe(seen, claim)
    assert (found.verdict, found.what) == (NOT_OBSERVED, "AWS returned AccessDenied for GetQueueAttributes")


def test_a_report_names_neither_the_account_nor_the_caller(seen: Observations) -> None:
    """Even if AWS denies a call, with the message that it denies one with."""
    message = (
        "User: arn:aws:sts::111122223333:assumed-role/admin/jane is not authorized to perform: sqs:getqueueattributes "
        "on resource: arn:aws:sqs:eu-central-1:111122223333:plaid-sync-SyncQueue-1.fifo because no identity-based "
        "policy allows the sqs:getqueueattributes action"
    )
    stubber = Stubber(seen.deployment.client("sqs"))
    for _ in range(2):  # a claim, and a measurement
        stubber.add_client_error("get_queue_attributes", "AccessDenied", message)
    with stubber:
        report = to_json(collect(seen))
    assert report.count("AWS returned AccessDenied for GetQueueAttributes") == 2
    assert not [name for name in ("111122223333", "jane", ACCOUNT_ID, "http://") if name in report]
