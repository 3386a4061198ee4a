"""Every switch of the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Behavior:
    """What this Plaid does where the real one varies, is undocumented or misbehaves.

    Attributes:
        rate_limits: whether Plaid's rate limits apply.
        history_transactions: number of transactions at the institution for an Item linked over HTTP.
        history_days: number of days that those transactions cover.
        initial_seconds: seconds from initialization until the last 30 days are ready; None (`never` on the
            command line) waits for `advance_phase`.
        historical_seconds: seconds from initialization until the full history is ready; None waits for `advance_phase`.
        not_ready_cursor_null: whether `next_cursor` is null, rather than "", while the Item is NOT_READY.
        update_status_unknown: whether sync returns TRANSACTIONS_UPDATE_STATUS_UNKNOWN in every phase of the Item.
        null_lists: whether sync returns null, rather than an empty array, for `added`, `modified` and `removed`.
        spell_out: whether sync returns every change between two cursors instead of the net change
            (a transaction that was added and removed is then in both arrays).
        hide_reverts: whether the net change leaves out a transaction that equals what the client already has
            (removed and added again, or modified and reverted).
        sync_while_login_required: whether sync still returns transactions in ITEM_LOGIN_REQUIRED.
        legacy_webhooks: whether INITIAL_UPDATE, HISTORICAL_UPDATE, DEFAULT_UPDATE and TRANSACTIONS_REMOVED fire
            in addition to SYNC_UPDATES_AVAILABLE.
        revoked_rows_removed: whether sync returns the transactions of an account that is no longer listed (closed,
            renumbered, revoked, deselected) in `removed`, rather than not at all.
        link_results: what /link/token/get returns about a finished session: `full` has `results` or `exit`, and
            the deprecated `on_success` or `on_exit`; `deprecated` has only the deprecated fields, with the first Item;
            `partial` has `finished_at` and events, and no result; `absent` has the session's id and start. The last two
            do not apply to Hosted Link and multi-Item sessions.
        link_results_seconds: delay in seconds before /link/token/get shows that a session has finished.
        link_webhooks_always: whether the webhooks of Link fire for each session, rather than for Hosted Link and
            multi-Item sessions only.
        beta_fields: whether transactions have `merchant_category_code` and `running_balance`.
        webhook_delay: seconds between an event and its webhook.
        webhook_retries_signed_again: whether each retry has a new signature, with its own `iat`, rather than the first.
        webhook_loss: probability that a webhook is never sent.
        webhook_duplicates: probability that a webhook is sent twice.
        webhook_reorder: probability that a webhook is delayed so that later ones arrive first.
        webhook_reorder_seconds: delay in seconds of such a webhook.
    """

    rate_limits: bool = True
    history_transactions: int = 400
    history_days: int = 730
    initial_seconds: float | None = 0.5
    historical_seconds: float | None = 1.5
    not_ready_cursor_null: bool = False
    update_status_unknown: bool = False
    null_lists: bool = False
    spell_out: bool = False
    hide_reverts: bool = False
    sync_while_login_required: bool = False
    legacy_webhooks: bool = True
    revoked_rows_removed: bool = True
    link_results: Literal["full", "deprecated", "partial", "absent"] = "full"
    link_results_seconds: float = 0.0
    link_webhooks_always: bool = False
    beta_fields: bool = False
    webhook_delay: float = 0.0
    webhook_retries_signed_again: bool = True
    webhook_loss: float = 0.0
    webhook_duplicates: float = 0.0
    webhook_reorder: float = 0.0
    webhook_reorder_seconds: float = 2.0
