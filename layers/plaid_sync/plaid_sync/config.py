"""The environment of each function, read once and checked as a whole.

Every field is an environment variable: its name in upper case. Those with a default may be absent or empty; all others
are required. The AWS SDK's own `AWS_REGION` and `AWS_ENDPOINT_URL` select the endpoint, nothing else
does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAID_HOSTS: Final = {
    "sandbox": "https://sandbox.plaid.com",
    "production": "https://production.plaid.com",
}
KEEP: Final = "keep"
_CHOICES: Final = {
    "plaid_env": tuple(_PLAID_HOSTS),
    "gone_account_rows": ("remove", KEEP),
    "include_original_description": ("", "false", "true"),
    "transaction_events": ("", "false", "true"),
    "personal_finance_category_version": ("", "v1", "v2"),
    "outbound_targets": ("public", "any"),
}
_OPTIONAL: Final = frozenset(
    {
        "plaid_base_url",
        "plaid_endpoints",
        "webhook_url",
        "include_original_description",
        "personal_finance_category_version",
        "transaction_events",
    }
)
_NUMBERS: Final = frozenset(
    {"plaid_calls_per_minute", "audit_sample_size", "recurring_cache_hours", "refresh_after_hours"}
)
_MAY_BE_ZERO: Final = frozenset({"recurring_cache_hours", "refresh_after_hours"})
_S = TypeVar("_S", bound="PlaidSettings | ChangesSettings | OutboundSettings | SweepSettings")


class ConfigurationError(ValueError):
    """The environment is incomplete or wrong; the text names every variable concerned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaidSettings:
    """How to reach Plaid.

    Attributes:
        plaid_env: `sandbox` or `production`.
        plaid_base_url: another server that speaks Plaid's API; empty for Plaid's own.
        plaid_secret_id: the Secrets Manager secret with `{"client_id", "secret"}`.
    """

    plaid_env: str
    plaid_base_url: str = ""
    plaid_secret_id: str

    @property
    def plaid_host(self) -> str:
        """Scheme and host of Plaid's API."""
        return self.plaid_base_url or _PLAID_HOSTS[self.plaid_env]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(PlaidSettings):
    """The environment of `functions/webhook`.

    Attributes:
        items_function: the items function with its alias, which completes link sessions.
    """

    sync_queue_url: str
    history_table: str
    shared_table: str
    items_function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings(PlaidSettings):
    """How to call Plaid within its limits.

    Attributes:
        shared_table: where processes count their calls.
        plaid_calls_per_minute: how many calls of /transactions/sync Plaid allows the client.
    """

    shared_table: str
    plaid_calls_per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings(BudgetSettings):
    """How to pull transactions.

    Attributes:
        include_original_description: `true`, or anything else for no.
        personal_finance_category_version: `v1` or `v2`; empty for Plaid's default.
        gone_account_rows: `remove` or `keep`: whether rows stay live whose account Plaid no longer lists.
    """

    gone_account_rows: str
    include_original_description: str = ""
    personal_finance_category_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings(PullSettings):
    """The environment of `functions/sync`.

    Attributes:
        dead_letter_queue_url: where messages that cannot be processed are dead-lettered, with the reason.
        transaction_events: `true` to log what each write changes, for the feed; or anything else for no.
        refresh_after_hours: after how many hours without Plaid reaching its bank an Item is refreshed; 0 for never.
    """

    sync_queue_url: str
    dead_letter_queue_url: str
    items_table: str
    transactions_table: str
    quarantine_table: str
    history_table: str
    links_table: str
    token_key_id: str
    transaction_events: str = ""
    refresh_after_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsSettings(BudgetSettings):
    """The environment of `functions/items`.

    Attributes:
        webhook_url: where Plaid posts its webhooks; empty for the address that the request came to.
        link_client_name: the name of the application that Link shows.
        plaid_endpoints: paths of Plaid's endpoints that the application may call, separated by commas.
        recurring_cache_hours: how long a response about recurring streams is served; 0 for no cache.
    """

    sync_queue_url: str
    items_table: str
    transactions_table: str
    quarantine_table: str
    history_table: str
    links_table: str
    token_key_id: str
    link_client_name: str
    recurring_cache_hours: int
    plaid_endpoints: str = ""
    webhook_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings(PullSettings):
    """The environment of `functions/audit`.

    Attributes:
        audit_sample_size: how many Items a scheduled audit compares, if its time suffices.
    """

    items_table: str
    transactions_table: str
    token_key_id: str
    audit_sample_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesSettings:
    """The environment of `functions/changes`."""

    event_bus_name: str
    failed_events_queue_url: str
    history_table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """The environment of `functions/outbound`.

    Attributes:
        outbound_secret_id: the Secrets Manager secret with the endpoints.
        outbound_targets: `public` for https to public addresses; `any` on the emulator.
    """

    outbound_queue_url: str
    outbound_dead_letter_queue_url: str
    outbound_secret_id: str
    outbound_targets: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """The environment of `functions/sweep`.

    Attributes:
        plaid_calls_per_minute: how many calls of /transactions/sync Plaid allows the client.
    """

    sync_queue_url: str
    items_table: str
    shared_table: str
    quarantine_table: str
    history_mapping_id: str
    plaid_calls_per_minute: int


def from_environment(settings: type[_S], environment: Mapping[str, str]) -> _S:
    """Read the settings of one function.

    Raises:
        ConfigurationError: variables are missing (all are named), or one has a value that it cannot have.
    """
    values: dict[str, Any] = {field.name: environment.get(field.name.upper(), "") for field in fields(settings)}
    missing = sorted(name.upper() for name, value in values.items() if not value and name not in _OPTIONAL)
    if missing:
        raise ConfigurationError(f"missing environment variables: {', '.join(missing)}; template.yaml sets them")
    for name, choices in _CHOICES.items():
        if values.get(name) not in {None, *choices}:
            raise ConfigurationError(f"{name.upper()} must be one of {', '.join(choices)}")
    for name in _NUMBERS & values.keys():
        values[name] = _integer(values[name], name.upper(), 0 if name in _MAY_BE_ZERO else 1)
    return settings(**values)


def _integer(text: str, name: str, minimum: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < minimum:
        kind = "positive" if minimum else "non-negative"
        raise ConfigurationError(f"{name} must be a {kind} integer, not {text!r}")
    return int(text)
