"""Plaid's client_id and secret on their way into Secrets Manager: asked for or read, and tried before they are kept."""

from __future__ import annotations

import json
import re
import sys
import uuid
from typing import TYPE_CHECKING, Final

import typer
from plaid_sync.adapters.plaid.credentials import PlaidCredentials
from plaid_sync.core.failures import PlaidError, RetryableError

from plaid_sync_cli.errors import CommandError, usage_error
from plaid_sync_cli.plaid import GivenKeys, Plaid

if TYPE_CHECKING:
    from plaid_sync_cli.deployment import Deployment

FIELDS: Final = ("client_id", "secret")
_LOOKS_LIKE_ONE: Final = re.compile(r"[\x21-\x7e]{8,200}")
_MALFORMED: Final = "plaid_secret_malformed"


def are_there(deployment: Deployment) -> bool:
    """Tell whether the stack's secret has keys, of whatever kind.

    Raises:
        ClientError: it can't be read.
    """
    secrets = deployment.client("secretsmanager")
    try:
        secrets.get_secret_value(SecretId=deployment.output("PlaidSecretId"))
    except secrets.exceptions.ResourceNotFoundException:
        return False
    try:
        Plaid.of(deployment).secret.get()
    except RetryableError as error:
        if error.code != _MALFORMED:
            raise
        return False
    return True


def asked_for() -> PlaidCredentials:
    """Ask for the keys on the terminal, without echo, or read them as JSON where standard input is none.

    Raises:
        CommandError: what is given can't be keys; nothing of it is quoted.
    """
    if sys.stdin.isatty():
        given = {field: typer.prompt(f"Plaid's {field} (not shown)", hide_input=True, err=True) for field in FIELDS}
        return checked({field: text.strip() for field, text in given.items()})
    try:
        document = json.loads(sys.stdin.read() or "null")
    except ValueError:
        document = None
    return checked(document)


def checked(document: object) -> PlaidCredentials:
    """Return the keys in a document.

    Raises:
        CommandError: it is not `{"client_id", "secret"}`, or these can't be keys.
    """
    if not isinstance(document, dict) or document.keys() != set(FIELDS):
        raise usage_error(
            "Plaid's keys are missing", 'Type them on a terminal, or pipe {"client_id": "...", "secret": "..."} in.'
        )
    for field in FIELDS:
        if not isinstance(document[field], str) or not _LOOKS_LIKE_ONE.fullmatch(document[field]):
            raise usage_error(
                f"{field} can't be one of Plaid's", "Copy it from https://dashboard.plaid.com/developers/keys."
            )
    if document["client_id"] == document["secret"]:
        raise usage_error("secret is the client_id", "They are two: https://dashboard.plaid.com/developers/keys.")
    return PlaidCredentials(document["client_id"], document["secret"])


def try_at_plaid(deployment: Deployment, credentials: PlaidCredentials) -> None:
    """Ask Plaid for a key that can't exist: that it says so proves ours.

    Raises:
        CommandError: Plaid refuses them, or can't be asked.
    """
    host = deployment.plaid_host
    try:
        Plaid(host, GivenKeys(credentials)).keys.fetch(str(uuid.uuid4()))
    except RetryableError as error:
        if not isinstance(error.__cause__, PlaidError):
            raise
        raise CommandError(
            f"Plaid at {host} does not accept these keys: {error.__cause__.code}",
            "Nothing was changed. The secret has to be that of the stack's PlaidEnvironment "
            f"({deployment.parameters.get('PlaidEnvironment', 'unknown')}): https://dashboard.plaid.com/developers/keys.",
        ) from error


def store(deployment: Deployment, credentials: PlaidCredentials) -> None:
    """Put the keys into the stack's secret."""
    value = json.dumps({"client_id": credentials.client_id, "secret": credentials.secret})
    deployment.client("secretsmanager").put_secret_value(
        SecretId=deployment.output("PlaidSecretId"), SecretString=value
    )
