"""Exit codes, and expected failures with a message that names the fix."""

from __future__ import annotations

from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import urllib3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from plaid_sync.domain.errors import PlaidSyncError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "UnauthorizedOperation",
        "AuthorizationErrorException",
    }
)
"""AWS's codes for a missing permission."""
_INVALID_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class ExitCode(IntEnum):
    """How a command ends; the same for all commands."""

    OK = 0
    """Success; no action required."""
    ACTION_REQUIRED = 1
    """The command found something that requires action, or failed in part."""
    USAGE = 2
    """Wrong usage: nothing was done."""
    UNREACHABLE = 3
    """AWS or the deployment is unreachable, or a permission is missing."""
    INTERRUPTED = 130
    """Ctrl-C, or the prompt was not confirmed."""


class CommandError(Exception):
    """An expected failure.

    Attributes:
        message: what failed.
        fix: what to do about it.
        exit_code: how the command ends.
    """

    def __init__(self, message: str, fix: str, exit_code: ExitCode = ExitCode.ACTION_REQUIRED) -> None:
        super().__init__(f"{message}. {fix}")
        self.message = message
        self.fix = fix
        self.exit_code = exit_code


def usage_error(field: str, fix: str) -> CommandError:
    """Return the error for a wrong argument: its name, and what to give instead."""
    return CommandError(field, fix, ExitCode.USAGE)


def unreachable(message: str, fix: str) -> CommandError:
    """Return the error for AWS or a deployment that is unreachable."""
    return CommandError(message, fix, ExitCode.UNREACHABLE)


@contextmanager
def expected_failures() -> Iterator[None]:
    """Convert what AWS, the network and the engine's adapters raise into a `CommandError`."""
    try:
        yield
    except (BotoCoreError, ClientError, urllib3.exceptions.HTTPError, PlaidSyncError) as error:
        raise to_command_error(error) from error


def to_command_error(error: Exception) -> CommandError:
    """Convert an expected exception."""
    if isinstance(error, TransientError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, ClientError):
        return _from_response(error)
    if isinstance(error, BotoCoreError):
        return _from_sdk(error)
    if isinstance(error, TransientError):
        return unreachable(f"the call to Plaid failed: {error.code}", "plaid-sync doctor attempts for the cause.")
    return unreachable(f"no response: {error}", "Try again; if it persists, check the network.")


def _from_response(error: ClientError) -> CommandError:
    details = error.response.get("Error", {})
    code, operation = str(details.get("Code", "Unknown")), error.operation_name
    if code in ACCESS_DENIED:
        return unreachable(
            f"AWS denied {operation}: {details.get('Message', code)}",
            "Grant the permission (docs/cli.md has a policy for operators), or use another --profile.",
        )
    if code in _INVALID_CREDENTIALS:
        return unreachable(
            f"AWS rejected the credentials ({code})",
            "Refresh them, for example with `aws sso login`, or use another --profile.",
        )
    return unreachable(f"AWS returned {code} for {operation}: {details.get('Message', '')}", "Try again.")


def _from_sdk(error: BotoCoreError) -> CommandError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return unreachable("no AWS credentials found", "Give --profile, or set AWS_PROFILE; --local needs none.")
    if isinstance(error, ProfileNotFound):
        return unreachable(f"{error}", "`aws configure list-profiles` lists your profiles.")
    if isinstance(error, NoRegionError):
        return unreachable("no AWS region is set", "Give --region, or set AWS_REGION.")
    if isinstance(error, ConnectionError | HTTPClientError):
        return unreachable(
            f"AWS is unreachable: {error}", "Check the network and --region; with --local, check that the stack runs."
        )
    return unreachable(f"the call to AWS failed: {error}", "Check --profile and --region.")
