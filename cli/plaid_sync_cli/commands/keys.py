"""`keys set`: stores Plaid's client_id and secret in the stack's secret."""

from __future__ import annotations

import json
import re
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.plaid.credentials import PlaidCredentials

from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.plaid import FixedKeys, Plaid

if TYPE_CHECKING:
    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
KEYS: Final = typer.Typer(no_args_is_help=True, help="Plaid's client_id and secret, with which the functions call it.")
APP.add_typer(KEYS, name="keys")
_FIELDS: Final = ("client_id", "secret")
_VALID_KEY: Final = re.compile(r"[\x21-\x7e]{8,200}")
_MALFORMED: Final = "plaid_secret_malformed"
_DASHBOARD: Final = "https://dashboard.plaid.com/developers/keys"


@command(KEYS, "set")
def set_keys(
    context: Context,
    *,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing if the secret has keys.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Store them without trying them at Plaid.")] = False,
) -> int:
    """Store Plaid's keys in the stack's secret: typed without echo, or as JSON on standard input.

    They are tried at Plaid first. The functions use them within five minutes, without a deployment.

    Example: `plaid-sync keys set --stack plaid-sync-dev`
    """
    deployment = context.deployment
    if if_missing and has_keys(deployment):
        context.output.show({"set": False, "verified": False}, lambda: ["The secret has Plaid's keys already."])
        return ExitCode.OK
    credentials = _read_keys()
    if not no_verify:
        _verify(deployment, credentials)
    _store(deployment, credentials)
    text = "Plaid's keys are stored" + ("" if no_verify else f", and {deployment.plaid_host} accepts them") + "."
    context.output.show({"set": True, "verified": not no_verify}, lambda: [text])
    return ExitCode.OK


def has_keys(deployment: Deployment) -> bool:
    """Return whether the stack's secret has well-formed keys.

    Raises:
        ClientError: it is not readable.
    """
    secrets = deployment.client("secretsmanager")
    try:
        secrets.get_secret_value(SecretId=deployment.output("PlaidSecretId"))
    except secrets.exceptions.ResourceNotFoundException:
        return False
    try:
        Plaid.of(deployment).secret.get()
    except TransientError as error:
        if error.code != _MALFORMED:
            raise
        return False
    return True


def _read_keys() -> PlaidCredentials:
    """Prompt for the keys on a terminal, without echo; otherwise read JSON from standard input."""
    if sys.stdin.isatty():
        given = {field: typer.prompt(f"Plaid's {field} (not shown)", hide_input=True, err=True) for field in _FIELDS}
        return _parse({field: text.strip() for field, text in given.items()})
    try:
        document = json.loads(sys.stdin.read() or "null")
    except ValueError:
        document = None
    return _parse(document)


def _parse(document: object) -> PlaidCredentials:
    """Return the keys in a document `{"client_id", "secret"}`; errors never quote them.

    Raises:
        CommandError: the document is malformed, or its values are not keys.
    """
    if not isinstance(document, dict) or document.keys() != set(_FIELDS):
        raise usage_error(
            "Plaid's keys are missing", 'Type them on a terminal, or pipe {"client_id": "...", "secret": "..."} in.'
        )
    for field in _FIELDS:
        if not isinstance(document[field], str) or not _VALID_KEY.fullmatch(document[field]):
            raise usage_error(f"{field} is not one of Plaid's keys", f"Copy it from {_DASHBOARD}.")
    if document["client_id"] == document["secret"]:
        raise usage_error("secret equals client_id", f"They differ: {_DASHBOARD}.")
    return PlaidCredentials(document["client_id"], document["secret"])


def _verify(deployment: Deployment, credentials: PlaidCredentials) -> None:
    """Fetch a random verification key: the answer that it does not exist shows that Plaid accepts the keys.

    Raises:
        CommandError: Plaid rejects them, or is unreachable.
    """
    host = deployment.plaid_host
    try:
        Plaid(host, FixedKeys(credentials)).keys.fetch(str(uuid.uuid4()))
    except TransientError as error:
        if not isinstance(error.__cause__, PlaidError):
            raise
        raise CommandError(
            f"Plaid at {host} rejects these keys: {error.__cause__.code}",
            "Nothing was changed. The secret must be that of the stack's PlaidEnvironment "
            f"({deployment.parameters.get('PlaidEnvironment', 'unknown')}): {_DASHBOARD}.",
        ) from error


def _store(deployment: Deployment, credentials: PlaidCredentials) -> None:
    value = json.dumps({"client_id": credentials.client_id, "secret": credentials.secret})
    deployment.client("secretsmanager").put_secret_value(
        SecretId=deployment.output("PlaidSecretId"), SecretString=value
    )
