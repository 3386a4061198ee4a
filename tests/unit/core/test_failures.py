from __future__ import annotations

import pytest
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.failures import PlaidError


@pytest.mark.parametrize(
    ("code", "failure_class"),
    [
        ("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", FailureClass.RESTART),
        ("TRANSACTIONS_SYNC_LIMIT", FailureClass.THROTTLED),
        ("INSTITUTION_DOWN", FailureClass.INSTITUTION_DOWN),
        ("ITEM_LOGIN_REQUIRED", FailureClass.NEEDS_USER),
        ("ITEM_NOT_FOUND", FailureClass.TERMINAL),
        ("INVALID_API_KEYS", FailureClass.OURS),
        ("A_CODE_OF_NEXT_YEAR", FailureClass.RETRY),
        ("HTTP_502", FailureClass.RETRY),
        ("HTTP_429", FailureClass.THROTTLED),
    ],
)
def test_a_code_tells_what_must_happen_next(code: str, failure_class: FailureClass) -> None:
    assert PlaidError(code).failure_class is failure_class
