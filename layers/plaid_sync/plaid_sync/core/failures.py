"""What can go wrong, named by what must happen next."""

from __future__ import annotations

from plaid_sync.core.error_codes import FailureClass, classify


class PlaidSyncError(Exception):
    """Base of every failure that the engine expects."""


class PlaidError(PlaidSyncError):
    """Plaid answered with an error.

    Attributes:
        code: Plaid's `error_code`, or `HTTP_<status>` where the body was not Plaid's.
        request_id: Plaid's id of the call, for its support; empty where there was none.
    """

    def __init__(self, code: str, request_id: str = "") -> None:
        super().__init__(f"Plaid refused: {code} (request_id {request_id or 'none'})")
        self.code = code
        self.request_id = request_id

    @property
    def failure_class(self) -> FailureClass:
        """What must happen next."""
        return classify(self.code)


class RetryableError(PlaidSyncError):
    """Something outside failed in a way that passes: try again later.

    Attributes:
        code: a short, stable reason for logs and metrics.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"try again later: {code}")
        self.code = code


class RowNewerThanItemError(RetryableError):
    """A row is of a later generation than its Item, as after a restore of the Items table from a backup.

    Attributes:
        generation: the latest of the rows that were met.
    """

    def __init__(self, generation: int) -> None:
        super().__init__("row_newer_than_item")
        self.generation = generation


class UncertainError(RetryableError):
    """A call was sent, and its answer did not arrive or can't be read: it may have had its effect."""


class RemovalUnfinishedError(PlaidSyncError):
    """An Item that was removed is still known to Plaid, or not erased yet: tried again until it is done.

    Attributes:
        failure_class: how soon it can be tried again.
        code: why.
    """

    def __init__(self, failure_class: FailureClass, code: str) -> None:
        super().__init__(f"the removal is not finished: {code}")
        self.failure_class = failure_class
        self.code = code


class SupersededError(PlaidSyncError):
    """A newer attempt has claimed the Item: this one may not write any more."""


class ContractBrokenError(PlaidSyncError):
    """Plaid's answer does not have the documented shape.

    Attributes:
        field: where in the answer.
    """

    def __init__(self, field: str) -> None:
        super().__init__(f"Plaid's answer breaks its contract at {field}")
        self.field = field
