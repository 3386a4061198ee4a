"""The command line of the local stack, `make local`: `python -m local.stack --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from local.stack.deploy import STACK_NAME
from local.stack.dotenv import dotenv, published, variables_of
from local.stack.errors import LocalStackError
from local.stack.paths import Places, say, silent
from local.stack.serving import bundled_plaid_server, check_built, only_one, open_to_containers
from local.stack.signals import stopping_in_order
from local.stack.stack import LocalStack
from local.stack.venv import check_python

DESCRIPTION = """\
Deploy template.yaml onto an AWS emulator on this machine, beside a Plaid server, and keep both up
until SIGTERM or Ctrl+C. No Docker, no AWS account, no Plaid account."""

ENVIRONMENT = """\
environment:
  PLAID_BASE_URL              another Plaid server than the bundled one
  PLAID_CLIENT_ID, PLAID_SECRET
                              the functions' credentials at Plaid
                              (default: local-client-id, local-secret)
  LOCAL_AWS_PROXY             an address through which the functions, and nothing else, reach AWS, to inject faults
  LOCAL_PORT                  the AWS endpoint's port (default: a free one)

.local/env (dotenv) exists exactly while the stack is ready, and with --containers .local/sam/env.json, which the
configuration `local` of samconfig.toml names. Logs are in .local/logs."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        check_python()
        with stopping_in_order():
            _run(options)
    except LocalStackError as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.stack",
        description=DESCRIPTION,
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plaid-base-url", default=os.environ.get("PLAID_BASE_URL"), metavar="URL", help="see PLAID_BASE_URL"
    )
    parser.add_argument("--port", type=int, default=os.environ.get("LOCAL_PORT") or "0", help="see LOCAL_PORT")
    parser.add_argument(
        "--directory", type=Path, default=Places().run, metavar="DIR", help="for env, logs and lock (default: .local)"
    )
    parser.add_argument("--json", action="store_true", help="print the endpoints as one line of JSON")
    parser.add_argument(
        "--containers", action="store_true", help="let containers of this machine reach the stack, for `sam local`"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    started = time.monotonic()
    places = Places(run=options.directory.resolve())
    plaid = _http_url("PLAID_BASE_URL", options.plaid_base_url)
    proxy = _http_url("LOCAL_AWS_PROXY", os.environ.get("LOCAL_AWS_PROXY"))
    if options.containers:
        check_built(places)  # before anything takes time
    with (
        only_one(places),
        nullcontext(plaid) if plaid else bundled_plaid_server() as plaid_base_url,
        LocalStack.start(
            plaid_base_url,
            places=places,
            schedules=True,
            port=options.port,
            functions_endpoint_url=proxy,
            logs=places.logs,
            progress=silent if options.json else say,
        ) as stack,
        open_to_containers(stack, places, proxy) if options.containers else nullcontext(),
        published(places.env, dotenv(variables_of(stack))),
    ):
        print(_as_json(stack) if options.json else _as_text(stack, places, time.monotonic() - started), flush=True)
        while stack.emulator.running:
            time.sleep(1)
        raise LocalStackError(f"The AWS emulator ended unexpectedly:\n{stack.emulator.log_tail()}")


def _http_url(name: str, value: str | None) -> str | None:
    if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
        raise LocalStackError(f"{name} must be a URL such as http://127.0.0.1:8080, not {value!r}.")
    return value.rstrip("/") if value else None


def _as_json(stack: LocalStack) -> str:
    return json.dumps({**variables_of(stack), "LOGS": str(stack.emulator.logs), "FUNCTIONS": dict(stack.functions)})


def _as_text(stack: LocalStack, places: Places, seconds: float) -> str:
    env, logs = (os.path.relpath(path) for path in (places.env, places.logs))
    return f"""\
The local stack is ready ({seconds:.1f} s).

  webhooks   {stack.webhook_url}
  API        {stack.api_url} (requests signed for execute-api)
  AWS        {stack.emulator.endpoint_url} ({stack.emulator.region})
  Plaid      {stack.plaid_base_url}
  functions  {STACK_NAME}-{{{",".join(sorted(stack.functions))}}}; the schedules run the sweep and the audit
  logs       {logs}/*.log (tail -F {logs}/sync.log), and in CloudWatch Logs

The AWS CLI and boto3 use it with the environment in {env}:

  set -a; . {env}; set +a
  aws dynamodb scan --table-name "$TRANSACTIONS_TABLE" --max-items 5
  aws sqs get-queue-attributes --queue-url "$SYNC_QUEUE_URL" --attribute-names All
  aws lambda invoke --function-name {stack.functions.get("sync", "NAME")}:live --payload '{{"Records": []}}' /dev/stdout
  python -c 'import boto3, os; print(boto3.client("dynamodb").scan(TableName=os.environ["ITEMS_TABLE"])["Items"])'

Ctrl+C or kill {os.getpid()} stops it."""


if __name__ == "__main__":
    sys.exit(main())
