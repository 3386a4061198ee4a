"""How an Item is by Plaid's own account (https://plaid.com/docs/api/items/#itemget)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.plain_text import is_error_code, is_plain, moment_or_none, plain_or_empty

if TYPE_CHECKING:
    from datetime import datetime

UNREADABLE_CODE = "UNREADABLE_ERROR"
"""Stands for an error of the Item whose code can't be read: it is not healthy, whatever it has."""


@dataclass(frozen=True, slots=True)
class ItemHealth:
    """Plaid's /item/get, as far as it says how the Item is.

    Attributes:
        error_code: what Plaid says is wrong with it; None when nothing is.
        consent_until: when the user's consent ends, where Plaid knows that.
        last_success_at: when Plaid last got transactions from the bank.
        last_failure_at: when it last tried in vain.
        request_id: Plaid's id of the call; empty where there was none.
        institution_id: the bank, where Plaid names one.
    """

    error_code: str | None = None
    consent_until: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    request_id: str = ""
    institution_id: str | None = None


def parse_health(document: bytes) -> ItemHealth:
    """Parse the body of an /item/get answer; whatever only informs may be absent or unreadable.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it does not show an Item: silence about an error would be taken for health.
    """
    answer = exact_json.loads(document)
    item = answer.get("item") if isinstance(answer, dict) else None
    if not isinstance(item, dict):
        raise ContractBrokenError("item")
    updates = _mapping(_mapping(answer, "status"), "transactions")
    institution_id = item.get("institution_id")
    return ItemHealth(
        error_code=_error_code(item.get("error")),
        consent_until=moment_or_none(item.get("consent_expiration_time")),
        last_success_at=moment_or_none(updates.get("last_successful_update")),
        last_failure_at=moment_or_none(updates.get("last_failed_update")),
        request_id=plain_or_empty(answer.get("request_id")),
        institution_id=institution_id if is_plain(institution_id) else None,
    )


def _error_code(error: object) -> str | None:
    if error is None or error == {}:
        return None
    code = error.get("error_code") if isinstance(error, dict) else None
    return code if is_error_code(code) else UNREADABLE_CODE


def _mapping(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
