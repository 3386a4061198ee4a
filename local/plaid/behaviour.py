"""The switches of the simulator, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How this Plaid behaves where the real one varies, is undocumented, or misbehaves.

    Attributes:
        environment: `sandbox` or `production`: appears in tokens and webhooks and selects the rate limits.
        rate_limits: whether Plaid's rate limits apply.
        rate_limit_scale: multiplies every limit (10 allows ten times as many calls).
        history_transactions: rows that a bank holds for an Item linked over HTTP.
        history_days: days over which those rows are spread.
        initial_seconds: time from initialisation to the last 30 days being ready; None (`never` on the
            command line) waits for `advance_phase`.
        historical_seconds: time from initialisation to the whole history being ready; None waits likewise.
        not_ready_cursor_null: whether `next_cursor` is null, rather than "", while nothing is ready.
        spell_out: whether sync lists every step between two cursors instead of the net change
            (a row that came and went is then in `added` and in `removed`).
        hide_reverts: whether the net change leaves out a row that is again what the client already has
            (removed and brought back, or changed and changed back).
        detect_mutation: whether a change between two pages of one loop fails the next page.
        sync_while_login_required: whether sync still serves rows while the user must log in again.
        retroactive_sync_webhook: whether a first sync after the history is ready fires SYNC_UPDATES_AVAILABLE.
        legacy_webhooks: whether INITIAL_UPDATE and its three siblings fire beside SYNC_UPDATES_AVAILABLE.
        revoked_rows_told: whether sync reports the rows of a revoked account as removed, rather than falling silent
            about them.
        link_results_deprecated: whether /link/token/get tells the outcome of a session in the deprecated `on_success`
            and `on_exit`, rather than in `results` and `exit`.
        link_results_seconds: seconds for which a session that the user has ended still shows as not finished.
        beta_fields: whether rows carry `merchant_category_code` and `running_balance`.
        webhook_delay: seconds between an event and its webhook.
        webhook_loss: probability that a webhook is never sent.
        webhook_duplicates: probability that a webhook is sent twice.
        webhook_reorder: probability that a webhook is held back so that later ones overtake it.
        webhook_reorder_seconds: how long such a webhook is held back.
        webhook_timeout: seconds that a receiver has to answer.
        webhook_fresh_iat: whether a retry is signed anew with its own `iat`.
        webhook_give_up: whether retries stop for a receiver that rejected more than 90% in the last 24 hours.
    """

    environment: str = "sandbox"
    rate_limits: bool = True
    rate_limit_scale: float = 1.0
    history_transactions: int = 400
    history_days: int = 730
    initial_seconds: float | None = 0.5
    historical_seconds: float | None = 1.5
    not_ready_cursor_null: bool = False
    spell_out: bool = False
    hide_reverts: bool = False
    detect_mutation: bool = True
    sync_while_login_required: bool = False
    retroactive_sync_webhook: bool = False
    legacy_webhooks: bool = True
    revoked_rows_told: bool = True
    link_results_deprecated: bool = False
    link_results_seconds: float = 0.0
    beta_fields: bool = False
    webhook_delay: float = 0.0
    webhook_loss: float = 0.0
    webhook_duplicates: float = 0.0
    webhook_reorder: float = 0.0
    webhook_reorder_seconds: float = 2.0
    webhook_timeout: float = 10.0
    webhook_fresh_iat: bool = True
    webhook_give_up: bool = False
