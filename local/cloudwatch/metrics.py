"""Metrics of the emulator: those that functions log, and those of Lambda, SQS, API Gateway and DynamoDB.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from local.cloudwatch.emf import Datum, metrics_in

if TYPE_CHECKING:
    from collections.abc import Callable

_READS = ("_get_item", "_query", "_scan", "_batch_get_item", "_transact_get_items")
_WRITES = ("_put_item", "_update_item", "_delete_item", "_batch_write_item", "_transact_write_items")
_REPEAT_SECONDS = 10.0


class Recorder:
    """Metrics that any thread adds, and that the thread which serves requests stores."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Datum] = SimpleQueue()
        self._cloudwatch: Any = import_module("ministack.services.cloudwatch")

    def add(self, datum: Datum) -> None:
        self._waiting.put(datum)

    def count(self, namespace: str, name: str, dimensions: dict[str, str], value: float, unit: str = "Count") -> None:
        """Add one value of one of AWS's own metrics, as of now."""
        self.add(Datum(namespace, name, dimensions, time.time(), unit, {value: 1}))

    def store(self) -> None:
        while True:
            try:
                datum = self._waiting.get_nowait()
            except Empty:
                return
            values, counts = list(datum.values), [float(count) for count in datum.values.values()]
            self._cloudwatch._store_datum(  # noqa: SLF001 - see `local.stack.serve`
                datum.namespace,
                datum.name,
                dict(datum.dimensions),
                datum.timestamp,
                datum.unit,
                None,
                values,
                counts,
                None,
            )


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """Measures queues: what changes is recorded at once, what does not every ten seconds; on AWS it is every minute."""

    recorder: Recorder
    last: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def measure(self) -> None:
        queues: Any = import_module("ministack.services.sqs")
        now = queues.time.time()  # which may be another than this process's: see `serve.follow_queue_clock`
        for queue in queues._queues.values():  # noqa: SLF001 - see `local.stack.serve`
            queues._refresh_counts(queue)  # noqa: SLF001
            attributes, messages = queue["attributes"], list(queue["messages"])
            oldest = min((message.get("enqueued_at", message["sent_at"]) for message in messages), default=now)
            record = partial(self._record, attributes["QueueArn"].rpartition(":")[2])
            record("ApproximateNumberOfMessagesVisible", int(attributes["ApproximateNumberOfMessages"]))
            for state in ("NotVisible", "Delayed"):
                name = f"ApproximateNumberOfMessages{state}"
                record(name, int(attributes[name]))
            record("ApproximateAgeOfOldestMessage", int(now - oldest), "Seconds")

    def _record(self, queue: str, name: str, value: float, unit: str = "Count") -> None:
        last, when = self.last.get((queue, name), (-1.0, 0.0))
        if value != last or time.time() - when > _REPEAT_SECONDS:
            self.last[queue, name] = (value, time.time())
            self.recorder.count("AWS/SQS", name, {"QueueName": queue}, value, unit)


def record_services(recorder: Recorder) -> None:
    _extract_logged(recorder)
    _count_invocations(recorder)
    _count_messages(recorder)
    _count_requests(recorder)
    _count_capacity(recorder)


def _extract_logged(recorder: Recorder) -> None:
    """Take the metrics out of what functions log in the embedded metric format."""
    functions: Any = import_module("ministack.services.lambda_svc")
    emit = functions._emit_lambda_logs  # noqa: SLF001 - see `local.stack.serve`

    def emit_and_extract(function: dict[str, Any], request_id: str, text: str, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        emit(function, request_id, text, *rest, **named)
        for datum in metrics_in(text or ""):
            recorder.add(datum)

    functions._emit_lambda_logs = emit_and_extract  # noqa: SLF001


def _count_invocations(recorder: Recorder) -> None:
    """Count every invocation; the emulator counts only those through Lambda's API."""
    functions: Any = import_module("ministack.services.lambda_svc")
    dispatch = functions._execute_function_dispatch  # noqa: SLF001

    def dispatch_and_count(function: dict[str, Any], config: dict[str, Any], *rest: Any) -> Any:  # noqa: ANN401
        put = partial(recorder.count, "AWS/Lambda", dimensions={"FunctionName": config["FunctionName"]})
        put(name="ConcurrentExecutions", value=functions.executions_in_flight()[1].get(_slot(functions, config), 1))
        started = time.perf_counter()
        result = dispatch(function, config, *rest)
        put(name="Duration", value=(time.perf_counter() - started) * 1000, unit="Milliseconds")
        put(name="Invocations", value=1)
        put(name="Errors", value=int(isinstance(result, dict) and bool(result.get("error"))))
        put(name="Throttles", value=0)
        return result

    def count_throttle(function_name: str, *, throttle: bool, **_other: Any) -> None:  # noqa: ANN401
        if throttle:
            recorder.count("AWS/Lambda", "Throttles", {"FunctionName": function_name}, 1)

    functions._execute_function_dispatch = dispatch_and_count  # noqa: SLF001
    functions._emit_lambda_metrics = count_throttle  # noqa: SLF001


def _slot(functions: Any, config: dict[str, Any]) -> str:  # noqa: ANN401 - a module
    return str(functions._inflight_key(config))  # noqa: SLF001


def _count_messages(recorder: Recorder) -> None:
    """Count the messages that go into and out of queues, by API calls and by Lambda's polling."""
    queues: Any = import_module("ministack.services.sqs")
    dispatch, poll, delete = queues._dispatch, queues._receive_messages_for_esm, queues._delete_messages_for_esm  # noqa: SLF001

    def put(url: str, name: str, count: int) -> None:
        if count:
            recorder.count("AWS/SQS", f"NumberOfMessages{name}", {"QueueName": url.rpartition("/")[2]}, count)

    async def dispatch_and_count(action: str, data: dict[str, Any], url: str) -> Any:  # noqa: ANN401
        result = await dispatch(action, data, url)
        successful = len(result.get("Successful", ()))
        match action:
            case "SendMessage" | "SendMessageBatch":
                put(data.get("QueueUrl") or url, "Sent", successful if action.endswith("Batch") else 1)
            case "ReceiveMessage":
                put(data.get("QueueUrl") or url, "Received", len(result.get("Messages", ())))
            case "DeleteMessage" | "DeleteMessageBatch":
                put(data.get("QueueUrl") or url, "Deleted", successful if action.endswith("Batch") else 1)
        return result

    def poll_and_count(url: str, limit: int) -> Any:  # noqa: ANN401
        messages = poll(url, limit)
        put(url, "Received", len(messages))
        return messages

    def delete_and_count(url: str, handles: set[str]) -> None:
        delete(url, handles)
        put(url, "Deleted", len(handles))

    queues._dispatch = dispatch_and_count  # noqa: SLF001
    queues._receive_messages_for_esm = poll_and_count  # noqa: SLF001
    queues._delete_messages_for_esm = delete_and_count  # noqa: SLF001


def _count_requests(recorder: Recorder) -> None:
    """Count the requests to HTTP APIs, with those refused and failed, and measure how long they take."""
    app: Any = import_module("ministack.app")
    gateway: Any = import_module("ministack.services.apigateway")
    handle, execute = app._handle_execute_api_request, gateway.handle_execute  # noqa: SLF001

    async def execute_and_measure(api_id: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        started = time.perf_counter()
        answer = await execute(api_id, *rest, **named)
        milliseconds = (time.perf_counter() - started) * 1000
        recorder.count("AWS/ApiGateway", "IntegrationLatency", {"ApiId": api_id}, milliseconds, "Milliseconds")
        return answer

    async def handle_and_count(host: str, path: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        started = time.perf_counter()
        answer = await handle(host, path, *rest, **named)
        parsed = app._parse_execute_api_url(host, path)  # noqa: SLF001
        if answer is not None and parsed is not None:
            put = partial(recorder.count, "AWS/ApiGateway", dimensions={"ApiId": parsed[0]})
            put(name="Count", value=1)
            put(name="4xx", value=int(HTTPStatus.BAD_REQUEST <= answer[0] < HTTPStatus.INTERNAL_SERVER_ERROR))
            put(name="5xx", value=int(answer[0] >= HTTPStatus.INTERNAL_SERVER_ERROR))
            put(name="Latency", value=(time.perf_counter() - started) * 1000, unit="Milliseconds")
        return answer

    app._handle_execute_api_request = handle_and_count  # noqa: SLF001
    gateway.handle_execute = execute_and_measure


def _count_capacity(recorder: Recorder) -> None:
    """Record the capacity that requests consume: every request asks for it, and answers keep it only if theirs did."""
    tables: Any = import_module("ministack.services.dynamodb")
    respond = tables.json_response
    kind: ContextVar[tuple[str, bool] | None] = ContextVar("kind", default=None)

    def respond_and_count(result: dict[str, Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        requested = kind.get()
        if requested is not None and (consumed := result.get("ConsumedCapacity")):
            for each in consumed if isinstance(consumed, list) else [consumed]:
                recorder.count(
                    "AWS/DynamoDB",
                    f"Consumed{requested[0]}CapacityUnits",
                    {"TableName": each["TableName"]},
                    each["CapacityUnits"],
                )
            if not requested[1]:
                result = {name: value for name, value in result.items() if name != "ConsumedCapacity"}
        return respond(result, *rest, **named)

    def counted(handle: Callable[[dict[str, Any]], Any], direction: str) -> Callable[[dict[str, Any]], Any]:
        def handle_and_count(data: dict[str, Any]) -> Any:  # noqa: ANN401
            setting = data.get("ReturnConsumedCapacity", "NONE")
            token = kind.set((direction, setting != "NONE"))
            try:
                return handle({**data, "ReturnConsumedCapacity": "TOTAL"} if setting == "NONE" else data)
            finally:
                kind.reset(token)

        return handle_and_count

    tables.json_response = respond_and_count
    for direction, names in (("Read", _READS), ("Write", _WRITES)):
        for name in names:
            setattr(tables, name, counted(getattr(tables, name), direction))
