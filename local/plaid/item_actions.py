"""What the control surface can do to Items and to users in Link."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local.plaid import fields, wire
from local.plaid.breakages import BREAKAGES

if TYPE_CHECKING:
    from local.plaid.items import Item
    from local.plaid.simulator import PlaidSimulator
    from local.plaid.wire import JsonObject


def every_item(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    """List every Item and its state."""
    with sim.lock:
        return [_state(item) for item in sim.items.values()]


def _state(item: Item) -> JsonObject:
    consent = item.consent_expiration_time
    return {
        "access_token": item.access_token,
        "accounts": [account["account_id"] for account in item.generator.accounts],
        "consent_expiration_time": wire.timestamp(consent) if consent else None,
        "error": item.error_code,
        "institution_id": item.options.institution_id,
        "item_id": item.item_id,
        "login": item.options.login,
        "phase": item.phase.name,
        "removed": item.removed,
        "transactions": len(item.log.live),
        "webhook": item.webhook_url,
    }


def evolve(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Let things happen to its transactions."""
    steps = fields.integer(body, "steps", 1, 100_000) or 1
    return sim.evolve(path["item"], fields.integer(body, "seed", 0, 2**63), steps)


def truth(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    """Return its live transactions."""
    return {"transactions": list(sim.truth(path["item"]).values())}


def advance(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    """Make the next part of its history ready."""
    return {"phase": sim.advance_phase(path["item"]).name}


def fire(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Send any webhook about it."""
    extra = fields.mapping(body, "extra")
    kind = fields.optional_text(body, "webhook_type") or "TRANSACTIONS"
    return {"fired": sim.fire_webhook(path["item"], kind, fields.text(body, "webhook_code"), **extra)}


def draft(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Return the body of any webhook about it, as it would be sent now."""
    kind = fields.optional_text(body, "webhook_type") or "TRANSACTIONS"
    drafted = sim.draft_webhook(path["item"], kind, fields.text(body, "webhook_code"))
    return {"body": wire.encode(drafted).decode()}


def set_error(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Put it into an error state, or out of it."""
    sim.set_item_error(path["item"], fields.optional_text(body, "error_code"))
    return {}


def mutations(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Fail the next pages of its pagination loops."""
    times = fields.integer(body, "times", 0, 100_000)
    sim.force_mutation(path["item"], 1 if times is None else times, anywhere=bool(body.get("anywhere")))
    return {}


def break_row(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Let sync tell of a row brokenly, or as it is again."""
    transaction_id = fields.text(body, "transaction_id")
    if body.get("how") is None:
        sim.heal_row(path["item"], transaction_id)
    else:
        sim.break_row(path["item"], transaction_id, fields.choice(body, "how", tuple(BREAKAGES)))
    return {}


def consent(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Set when the user's consent runs out."""
    text = fields.optional_text(body, "expiration_time")
    moment = datetime.fromisoformat(text) if text else None
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    sim.set_consent_expiration(path["item"], moment)
    return {}


def expiration(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Let the consent run out, and warn of it."""
    return {"fired": sim.warn_expiration(path["item"], _days(body))}


def disconnect(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """Warn that the bank will end the connection."""
    with_time = fields.flag(body, "with_time", default=True)
    return {"fired": sim.warn_disconnect(path["item"], _days(body), with_time=with_time)}


def _days(body: JsonObject) -> float:
    return float(body.get("in_days", 7))


def revoke(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    """End the sharing of an account."""
    account_id = fields.optional_text(body, "account_id")
    return {
        "account_id": sim.revoke_account(path["item"], account_id, notify=fields.flag(body, "notify", default=True))
    }


def offer(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    """Tell that there are accounts to add."""
    return {"fired": sim.offer_accounts(path["item"])}


def depermission(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    """End the Item as a user does at my.plaid.com."""
    sim.depermission(path["item"])
    return {}


def complete_link(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    """Go through Link as the user does."""
    public_token = sim.complete_link(
        fields.text(body, "link_token"),
        bank=fields.optional_text(body, "bank"),
        login=fields.optional_text(body, "login"),
        new_account=fields.flag(body, "new_account"),
    )
    return {"public_token": public_token}


def open_link(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    """Open Link and stay there."""
    return {"link_session_id": sim.open_link(fields.text(body, "link_token"))}


def leave_link(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    """Leave Link without finishing."""
    sim.leave_link(fields.text(body, "link_token"), fields.optional_text(body, "error_code"))
    return {}
