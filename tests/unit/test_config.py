"""The environment of each function: read once, every mistake named."""

from __future__ import annotations

import pytest
from plaid_sync.config import (
    AuditSettings,
    ChangesSettings,
    ConfigurationError,
    ItemsSettings,
    SweepSettings,
    SyncSettings,
    WebhookSettings,
    from_environment,
)

WEBHOOK = {
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "plaid",
    "SYNC_QUEUE_URL": "https://queue",
    "HISTORY_TABLE": "history",
    "SHARED_TABLE": "shared",
    "ITEMS_FUNCTION": "stack-items:live",
}
SWEEP = {"SYNC_QUEUE_URL": "https://queue", "ITEMS_TABLE": "items", "QUARANTINE_TABLE": "quarantine"}
SWEEP |= {"SHARED_TABLE": "shared", "HISTORY_MAPPING_ID": "mapping"}
AUDIT = {"PLAID_ENV": "sandbox", "PLAID_SECRET_ID": "plaid", "TOKEN_KEY_ID": "key"}
AUDIT |= {"ITEMS_TABLE": "items", "TRANSACTIONS_TABLE": "transactions", "GONE_ACCOUNT_ROWS": "remove"}
AUDIT |= {"SHARED_TABLE": "shared", "PLAID_CALLS_PER_MINUTE": "1000"}
OPTIONAL = {"PLAID_BASE_URL", "WEBHOOK_URL", "INCLUDE_ORIGINAL_DESCRIPTION", "PERSONAL_FINANCE_CATEGORY_VERSION"}
OPTIONAL |= {"TRANSACTION_EVENTS", "PLAID_ENDPOINTS"}


def test_plaids_own_server_is_chosen_by_the_environment() -> None:
    assert from_environment(WebhookSettings, WEBHOOK).plaid_host == "https://sandbox.plaid.com"
    production = from_environment(WebhookSettings, WEBHOOK | {"PLAID_ENV": "production"})
    assert production.plaid_host == "https://production.plaid.com"
    other = from_environment(WebhookSettings, WEBHOOK | {"PLAID_BASE_URL": "http://127.0.0.1:8700"})
    assert other.plaid_host == "http://127.0.0.1:8700"
    assert from_environment(WebhookSettings, WEBHOOK | {"PLAID_BASE_URL": ""}).plaid_base_url == ""
    with pytest.raises(ConfigurationError, match=r"PLAID_ENV.*sandbox, production"):
        from_environment(WebhookSettings, WEBHOOK | {"PLAID_ENV": "development"})


@pytest.mark.parametrize(
    "settings", [WebhookSettings, SyncSettings, ItemsSettings, AuditSettings, ChangesSettings, SweepSettings]
)
def test_every_missing_variable_is_named_at_once(
    settings: type[WebhookSettings | AuditSettings | ChangesSettings | SweepSettings],
) -> None:
    with pytest.raises(ConfigurationError) as incomplete:
        from_environment(settings, {"PLAID_ENV": ""})
    required = {field.upper() for field in settings.__dataclass_fields__} - OPTIONAL
    assert required
    assert all(name in str(incomplete.value) for name in required)
    assert not any(name in str(incomplete.value) for name in OPTIONAL)


def test_the_function_that_publishes_events_needs_no_settings_of_plaid() -> None:
    environment = {"EVENT_BUS_NAME": "bus", "FAILED_EVENTS_QUEUE_URL": "queue", "HISTORY_TABLE": "history"}
    assert from_environment(ChangesSettings, environment) == ChangesSettings(
        event_bus_name="bus", failed_events_queue_url="queue", history_table="history"
    )


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "many", "٣"])
def test_an_invalid_number_is_rejected_by_name(number: str) -> None:
    assert from_environment(SweepSettings, SWEEP | {"PLAID_CALLS_PER_MINUTE": "1000"}).plaid_calls_per_minute == 1000
    with pytest.raises(ConfigurationError, match=r"PLAID_CALLS_PER_MINUTE must be a positive integer"):
        from_environment(SweepSettings, SWEEP | {"PLAID_CALLS_PER_MINUTE": number})
    with pytest.raises(ConfigurationError, match=r"AUDIT_SAMPLE_SIZE must be a positive integer"):
        from_environment(AuditSettings, AUDIT | {"AUDIT_SAMPLE_SIZE": number})
