"""A check of a deployment, and how a list of them is run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from plaid_sync.core.failures import PlaidSyncError

from plaid_sync_cli.errors import CommandError, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plaid_sync_cli.deployment import Deployment


class Result(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        what: in words.
        fix: what to do; empty where all is well.
    """

    result: Result
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to be looked at.

    Attributes:
        name: what.
        look: looks, and may raise what AWS and the network raise.
    """

    name: str
    look: Callable[[Deployment], Finding]


def ok(what: str) -> Finding:
    """Return that all is well."""
    return Finding(Result.OK, what)


def warning(what: str, fix: str) -> Finding:
    """Return that something is not as it should be, and works."""
    return Finding(Result.WARNING, what, fix)


def failed(what: str, fix: str) -> Finding:
    """Return that something does not work."""
    return Finding(Result.FAILED, what, fix)


def run(checks: Iterable[Check], deployment: Deployment) -> Iterator[tuple[str, Finding]]:
    """Run checks, each for itself; what can't be looked at has failed."""
    for check in checks:
        try:
            yield check.name, check.look(deployment)
        except CommandError as error:
            yield check.name, failed(error.message, error.fix)
        except (BotoCoreError, ClientError, PlaidSyncError, urllib3.exceptions.HTTPError) as error:
            told = explained(error)
            yield check.name, failed(told.message, told.fix)
