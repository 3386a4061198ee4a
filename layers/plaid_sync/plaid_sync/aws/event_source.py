"""The state of an event source mapping, which polls a stream or queue for a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_POLLING: Final = frozenset({"Creating", "Enabling", "Enabled", "Updating"})


def is_stopped(client: LambdaClient, uuid: str) -> bool:
    """Return whether a mapping does not poll, because it is disabled or deleted.

    Raises:
        TransientError: Lambda does not say it now.
    """
    try:
        with aws_errors():
            return client.get_event_source_mapping(UUID=uuid)["State"] not in _POLLING
    except TransientError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return True
