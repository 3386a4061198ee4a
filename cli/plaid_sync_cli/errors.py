"""What can go wrong, in words that name the fix, and the exit codes."""

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
from plaid_sync.core.failures import PlaidSyncError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "UnauthorizedOperation",
        "AuthorizationErrorException",
    }
)
"""AWS's codes for a permission that is missing."""
_NOT_ACCEPTED: Final = frozenset(
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
    """How a command ended; the same for all of them."""

    FINE = 0
    """Done, and nothing needs anybody."""
    FOUND = 1
    """Something was found that needs somebody, or a part failed."""
    USAGE = 2
    """Wrong usage: nothing was done."""
    UNREACHABLE = 3
    """AWS or the deployment can't be reached, or a permission is missing."""
    INTERRUPTED = 130
    """Ctrl-C, or no yes to a question."""


class CommandError(Exception):
    """An expected failure.

    Attributes:
        message: what is the matter.
        fix: what to do about it.
        exit_code: how the command ends.
    """

    def __init__(self, message: str, fix: str, exit_code: ExitCode = ExitCode.FOUND) -> None:
        super().__init__(f"{message}. {fix}")
        self.message = message
        self.fix = fix
        self.exit_code = exit_code


def usage_error(field: str, fix: str) -> CommandError:
    """Return the refusal of an argument: the field and what to give instead."""
    return CommandError(field, fix, ExitCode.USAGE)


@contextmanager
def expected_failures() -> Iterator[None]:
    """Turn what AWS, the network and the engine's adapters raise into a `CommandError`."""
    try:
        yield
    except (BotoCoreError, ClientError, urllib3.exceptions.HTTPError, PlaidSyncError) as error:
        raise explained(error) from error


def explained(error: Exception) -> CommandError:
    """Say what a failure means, and what to do."""
    if isinstance(error, RetryableError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, ClientError):
        return _of_answer(error)
    if isinstance(error, BotoCoreError):
        return _of_sdk(error)
    if isinstance(error, RetryableError):
        return _unreachable(f"Plaid can't be asked: {error.code}", "plaid-sync doctor looks for the cause.")
    return CommandError(f"no answer: {error}", "Try again; if it stays, look at the network.", ExitCode.UNREACHABLE)


def _of_answer(error: ClientError) -> CommandError:
    details = error.response.get("Error", {})
    code, operation = str(details.get("Code", "Unknown")), error.operation_name
    if code in REFUSED:
        return CommandError(
            f"AWS does not allow {operation}: {details.get('Message', code)}",
            "Grant the permission (docs/cli.md has a policy for operators), or use another --profile.",
            ExitCode.UNREACHABLE,
        )
    if code in _NOT_ACCEPTED:
        return CommandError(
            f"AWS does not accept the credentials ({code})",
            "Renew them, as with `aws sso login`, or use another --profile.",
            ExitCode.UNREACHABLE,
        )
    return CommandError(
        f"AWS answered {operation} with {code}: {details.get('Message', '')}", "Try again.", ExitCode.UNREACHABLE
    )


def _of_sdk(error: BotoCoreError) -> CommandError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return _unreachable("there are no AWS credentials", "Give --profile, or set AWS_PROFILE; --local needs none.")
    if isinstance(error, ProfileNotFound):
        return _unreachable(f"{error}", "`aws configure list-profiles` shows those that there are.")
    if isinstance(error, NoRegionError):
        return _unreachable("no AWS region is set", "Give --region, or set AWS_REGION.")
    if isinstance(error, ConnectionError | HTTPClientError):
        return _unreachable(
            f"AWS can't be reached: {error}",
            "Look at the network, at --region, and with --local whether it still runs.",
        )
    return _unreachable(f"AWS can't be asked: {error}", "Look at --profile and --region.")


def _unreachable(message: str, fix: str) -> CommandError:
    return CommandError(message, fix, ExitCode.UNREACHABLE)
