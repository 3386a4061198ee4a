"""Run the AWS emulator, in the emulator's own interpreter, for as long as its parent lives.

Started by `local.stack.emulator` as a script: of this project, only `local.cloudwatch` can be imported here. The parent
holds the other end of standard input, so its end, however it came, is the end of the emulator and of the functions'
processes.

It corrects the differences from AWS that cannot be corrected through the AWS API (see `gaps.py`); `local.cloudwatch`
does the same for CloudWatch. The emulator's release is locked, so the names that are extended here are known; the tests
of the local stack notice if their meaning changes.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

FORBIDDEN = (403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}')


def supply_condition_keys() -> None:
    """Let policies condition on KMS's encryption context, and on the partition keys that a DynamoDB request names.

    The emulator shows them to no policy.
    """
    actions: Any = import_module("ministack.core.iam_actions")
    request_context = actions.request_tag_context

    def with_condition_keys(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        context: dict[str, Any] = request_context(service, action, body, params)
        if service == "kms":
            context = context | encryption_context(body)
        return context | leading_keys(body) if service == "dynamodb" else context

    actions.request_tag_context = with_condition_keys


def encryption_context(body: bytes) -> dict[str, Any]:
    """Return the condition keys that a KMS request's encryption context gives rise to."""
    pairs = json.loads(body or b"{}").get("EncryptionContext") or {}
    keys = {"kms:EncryptionContextKeys": list(pairs)} if pairs else {}
    return {**keys, **{f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}}


def leading_keys(body: bytes) -> dict[str, Any]:
    """Return the condition key for the partition keys that a DynamoDB request names.

    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html)
    """
    request = json.loads(body or b"{}")
    rows = {table: batch["Keys"] for table, batch in request.get("RequestItems", {}).items() if "Keys" in batch}
    if one := request.get("Key") or request.get("Item"):
        rows = {request["TableName"]: [one]}
    values = [value for table, keys in rows.items() for value in partition_values(table, keys)]
    if "KeyConditionExpression" in request and "IndexName" not in request:
        values += queried_partition(request)
    return {"dynamodb:LeadingKeys": values} if values else {}


def partition_values(table: str, keys: list[dict[str, Any]]) -> list[str]:
    name = partition_key(table)
    return [str(text) for key in keys for text in key.get(name, {}).values()]


def queried_partition(request: dict[str, Any]) -> list[str]:
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    pairs = re.findall(r"([#\w]+)\s*=\s*(:\w+)", request["KeyConditionExpression"])
    partition = partition_key(request["TableName"])
    found = [values.get(value, {}) for name, value in pairs if names.get(name, name) == partition]
    return [str(text) for value in found for text in value.values()]


def partition_key(table: str) -> str:
    """Return the name of a table's partition key; empty for a table that does not exist."""
    tables: Any = import_module("ministack.services.dynamodb")._tables  # noqa: SLF001 - see the module's docstring
    schema = (tables.get(table) or {}).get("KeySchema", [])
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), "")


def refuse_as_api_gateway() -> None:
    """Refuse on IAM-authorized routes what API Gateway refuses, and in its words.

    The emulator accepts a signature of any service, takes the region from it, and ignores its last word and which
    headers it covers. An HTTP API says no more than "Forbidden", whichever check failed.
    """
    app: Any = import_module("ministack.app")
    enforce = app._enforce_execute_api  # noqa: SLF001 - see the module's docstring

    def enforce_signed(  # noqa: PLR0913, PLR0917 - the emulator's signature
        api_id: str, stage: str, method: str, path: str, headers: dict[str, str], query: dict[str, Any], **named: str
    ) -> Any:  # noqa: ANN401
        kind = app._execute_api_authorization_type(api_id, stage, method, path)  # noqa: SLF001
        if kind == "AWS_IAM" and not is_signed_for_api(headers.get("authorization", ""), headers):
            return FORBIDDEN
        refused = enforce(api_id, stage, method, path, headers, query, **named)
        return FORBIDDEN if refused and kind == "AWS_IAM" else refused

    app._enforce_execute_api = enforce_signed  # noqa: SLF001


def is_signed_for_api(authorization: str, headers: dict[str, str]) -> bool:
    """Return whether a signature is of this API's service and region, and covers the headers that it has to.

    Those are `host` and each `x-amz-` header; the emulator verifies the signature, its date and its five minutes.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    algorithm, _, rest = authorization.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    scope = fields.get("Credential", "").split("/")[2:]
    required = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    covered = set(fields.get("SignedHeaders", "").split(";"))
    expected = [os.environ["MINISTACK_REGION"], "execute-api", "aws4_request"]
    return algorithm == "AWS4-HMAC-SHA256" and scope == expected and required <= covered


def accept_signatures_for(functions_endpoint: str) -> None:
    """Verify a signature for the address that the functions were given, too.

    A proxy between them and the emulator usually sends its upstream's Host header on, and the functions signed its own.
    """
    sigv4: Any = import_module("ministack.core.sigv4")
    failure_of, host = sigv4.header_signature_failure, urlsplit(functions_endpoint).netloc

    def failure_for_either_host(  # noqa: PLR0913, PLR0917 - the emulator's signature
        signature: Any,  # noqa: ANN401
        secret: str,
        method: str,
        path: str,
        query: Any,  # noqa: ANN401
        headers: dict[str, Any],
        body: bytes,
        **named: bool,
    ) -> Any:  # noqa: ANN401
        failure = failure_of(signature, secret, method, path, query, headers, body, **named)
        if failure and host and headers.get("host") != host:
            return failure_of(signature, secret, method, path, query, {**headers, "host": host}, body, **named)
        return failure

    sigv4.header_signature_failure = failure_for_either_host


def authorize_batches_as_singles() -> None:
    """Authorize SQS's batch calls by the action of a single one, as AWS does; the emulator knows no such action.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """
    actions: Any = import_module("ministack.core.iam_actions")
    extract = actions.extract_iam_action

    def of_a_single(service: str, *request: Any) -> str | None:  # noqa: ANN401 - the emulator's signature
        action: str | None = extract(service, *request)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    actions.extract_iam_action = of_a_single


def name_lambda_calls() -> None:
    """Authorize calls about one alias or mapping by their own action, and that about the account at all.

    The emulator takes the first two for the list's, and has no action for the third.
    """
    actions: Any = import_module("ministack.core.iam_actions")
    extract = actions.extract_iam_action
    kinds = {"aliases": "Alias", "event-source-mappings": "EventSourceMapping"}
    verbs = {"GET": "Get", "PUT": "Update", "DELETE": "Delete"}

    def by_name(service: str, method: str, path: str, *request: Any) -> str | None:  # noqa: ANN401 - the emulator's
        found = re.search(r"/(aliases|event-source-mappings)/[^/]+$", path)
        if service == "lambda" and found and method in verbs:
            return f"lambda:{verbs[method]}{kinds[found[1]]}"
        if service == "lambda" and path.rstrip("/").endswith("/account-settings"):
            return "lambda:GetAccountSettings"
        action: str | None = extract(service, method, path, *request)
        return action

    actions.extract_iam_action = by_name


def log_to_files(folder: Path) -> None:
    """Append what a function logs to a file, named by the last word of its name, beside CloudWatch Logs."""
    functions: Any = import_module("ministack.services.lambda_svc")
    emit = functions._emit_lambda_logs  # noqa: SLF001
    lock = threading.Lock()

    def emit_to_file(function: dict[str, Any], request_id: str, text: str, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        emit(function, request_id, text, *rest, **named)
        if text:
            name = (function.get("config") or function)["FunctionName"]
            with lock, (folder / f"{name.rpartition('-')[2]}.log").open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")

    functions._emit_lambda_logs = emit_to_file  # noqa: SLF001


def retry_reported_stream_records() -> None:
    """Hand a batch of a stream out again where the function reports that a record of it failed.

    The emulator takes such an answer for a success, and the record is lost. AWS delivers again from that record; this
    delivers the whole batch again, which functions have to tolerate on AWS, too.
    """
    functions: Any = import_module("ministack.services.lambda_svc")
    execute = functions._execute_function  # noqa: SLF001

    def execute_and_look(function: dict[str, Any], event: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        result = execute(function, event, *rest, **named)
        records = event.get("Records", []) if isinstance(event, dict) else []
        body = result.get("body") if isinstance(result, dict) else None
        of_a_stream = any(record.get("eventSource") == "aws:dynamodb" for record in records)
        failed = of_a_stream and isinstance(body, dict) and bool(body.get("batchItemFailures"))
        return {**result, "error": True} if failed else result

    functions._execute_function = execute_and_look  # noqa: SLF001


def follow_queue_clock(path: str) -> None:
    """Let the queues take the time from a file (seconds since 1970, a double) instead of the clock, where one is named.

    Visibility timeouts, delays, deduplication and `SentTimestamp` follow it: hours pass when its writer says so.
    """
    if not path:
        return
    with open(path, "rb") as file:  # noqa: PTH123 - the descriptor is mapped
        page = mmap.mmap(file.fileno(), struct.calcsize("d"), prot=mmap.PROT_READ)
    queues: Any = import_module("ministack.services.sqs")
    queues.time = SimpleNamespace(time=lambda: struct.unpack("d", page)[0])


def complete_cloudwatch(logs: Path) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import_module("local.cloudwatch.alarms").install(logs)


def follow_parent() -> None:
    """Take the process group and its temporary files down once the parent is gone."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serve until the parent is gone or a signal comes."""
    threading.Thread(target=follow_parent, name="parent", daemon=True).start()
    supply_condition_keys()
    accept_signatures_for(os.environ.get("AWS_ENDPOINT_URL", ""))
    authorize_batches_as_singles()
    refuse_as_api_gateway()
    name_lambda_calls()
    retry_reported_stream_records()
    follow_queue_clock(os.environ.get("LOCAL_QUEUE_CLOCK", ""))
    logs = Path(sys.argv.pop(1))
    log_to_files(logs)
    complete_cloudwatch(logs)
    import_module("ministack.app").main()


if __name__ == "__main__":
    main()
