"""The endpoints of Auth, Identity, Investments and Liabilities: data of the Item's accounts, drawn from its seed.

The same Item has the same data, until `change_product` draws it again.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.item_views import item_object
from local.plaid.sample_data import LOCATIONS, SECURITIES, Security
from local.plaid.transaction_endpoints import accounts_of
from local.plaid.wire import JsonObject, entity_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.plaid.items import Item
    from local.plaid.request_fields import Call

_CENT = Decimal("0.01")
_MAX_PAGE = 500
_INVESTMENT_TRANSACTIONS = 40
_PERIOD_DAYS = 730
_OWNER = "Ana María Íñiguez"
ACCOUNT_FIELDS: fields.Fields = {"options": {"account_ids": fields.optional_texts}}
INVESTMENTS_TRANSACTIONS_FIELDS: fields.Fields = {
    "end_date": fields.day,
    "options": {
        "account_ids": fields.optional_texts,
        "async_update": fields.flag,
        "count": fields.between(1, _MAX_PAGE),
        "offset": fields.between(0, 2**31),
    },
    "start_date": fields.day,
}


def auth_get(call: Call) -> JsonObject:
    """Return the account and routing numbers of checking, savings and cash management accounts in US dollars."""
    accounts = _requested(call, ("depository",), "NO_AUTH_ACCOUNTS")
    draw = _draw(call, "auth")
    ach = [
        {
            "account": f"{draw.randrange(10**12):012d}",
            "account_id": account["account_id"],
            "can_transfer_in": True,
            "can_transfer_out": True,
            "is_tokenized_account_number": False,
            "routing": "011401533",
            "wire_routing": "021000021",
        }
        for account in accounts
        if account["balances"]["iso_currency_code"] == "USD"
    ]
    numbers = {"ach": ach, "bacs": [], "eft": [], "international": []}
    return {"accounts": accounts, "item": item_object(call.required_item), "numbers": numbers}


def identity_get(call: Call) -> JsonObject:
    """Return the accounts with their owner."""
    draw = _draw(call, "identity")
    home = draw.choice(LOCATIONS)
    owner = {
        "addresses": [
            {
                "data": {
                    "city": home.city,
                    "country": home.country,
                    "postal_code": home.postal_code,
                    "region": home.region,
                    "street": home.address,
                },
                "primary": True,
            }
        ],
        "emails": [{"data": f"owner{draw.randrange(10_000)}@mail.example", "primary": True, "type": "primary"}],
        "names": [_OWNER],
        "phone_numbers": [{"data": f"+1415555{draw.randrange(10_000):04d}", "primary": True, "type": "mobile"}],
    }
    accounts = _requested(call, (), "NO_ACCOUNTS")
    owned = [{**account, "owners": [owner]} for account in accounts]
    return {"accounts": owned, "item": item_object(call.required_item)}


def liabilities_get(call: Call) -> JsonObject:
    """Return the credit cards; no account is a loan."""
    accounts = _requested(call, ("credit",), "NO_LIABILITY_ACCOUNTS")
    today, draw = call.sim.clock().date(), _draw(call, "liabilities")
    credit = [_credit_card(account["account_id"], today, draw) for account in accounts]
    liabilities = {"credit": credit, "mortgage": None, "student": None}
    return {"accounts": accounts, "item": item_object(call.required_item), "liabilities": liabilities}


def _credit_card(account_id: str, today: date, draw: Random) -> JsonObject:
    statement = today.replace(day=1)
    balance = _money(draw, 50, 4000)
    return {
        "account_id": account_id,
        "aprs": [
            {
                "apr_percentage": Decimal("15.24"),
                "apr_type": "purchase_apr",
                "balance_subject_to_apr": balance,
                "interest_charge_amount": _money(draw, 0, 40),
            }
        ],
        "is_overdue": False,
        "last_payment_amount": _money(draw, 20, 900),
        "last_payment_date": (statement - timedelta(days=9)).isoformat(),
        "last_statement_balance": balance,
        "last_statement_issue_date": statement.isoformat(),
        "minimum_payment_amount": Decimal("20.00"),
        "next_payment_due_date": (statement + timedelta(days=24)).isoformat(),
    }


def holdings_get(call: Call) -> JsonObject:
    """Return what the investment accounts hold."""
    accounts, item = _investment_accounts(call), call.required_item
    draw, today = _draw(call, "holdings"), call.sim.clock().date()
    holdings = [_holding(account, security, draw) for account in accounts for security in SECURITIES]
    return {
        "accounts": accounts,
        "holdings": holdings,
        "is_investments_fallback_item": False,
        "item": item_object(item),
        "securities": [_security(item, security, today) for security in SECURITIES],
    }


def _holding(account: JsonObject, security: Security, draw: Random) -> JsonObject:
    quantity = Decimal(draw.randrange(1, 10**6)).scaleb(-3)
    return {
        "account_id": account["account_id"],
        "cost_basis": _money(draw, 10, 9000),
        "institution_price": security.price,
        "institution_price_as_of": None,
        "institution_price_datetime": None,
        "institution_value": quantity * security.price,
        "iso_currency_code": "USD",
        "quantity": quantity,
        "security_id": _security_id(security),
        "unofficial_currency_code": None,
        "vested_quantity": None,
        "vested_value": None,
    }


def investments_transactions_get(call: Call) -> JsonObject:
    """Return the transactions of investment accounts in a period, newest first."""
    fields.require(call.body, "start_date", "end_date")
    first, last = (fields.day(call.body, name).isoformat() for name in ("start_date", "end_date"))
    if first > last:
        raise PlaidError("INVALID_FIELD", detail="start_date must not be after end_date")
    options = fields.mapping(call.body, "options")
    accounts, item = _investment_accounts(call), call.required_item
    today = call.sim.clock().date()
    rows = [row for row in _investment_transactions(call, accounts, today) if first <= row["date"] <= last]
    offset = fields.integer(options, "offset", 0, 2**31) or 0
    count = fields.integer(options, "count", 1, _MAX_PAGE) or 100
    return {
        "accounts": accounts,
        "investment_transactions": rows[offset : offset + count],
        "is_investments_fallback_item": False,
        "item": item_object(item),
        "securities": [_security(item, security, today) for security in SECURITIES],
        "total_investment_transactions": len(rows),
    }


def _investment_transactions(call: Call, accounts: list[JsonObject], today: date) -> list[JsonObject]:
    draw = _draw(call, "investments_transactions")
    rows = []
    for account in accounts:
        for _ in range(_INVESTMENT_TRANSACTIONS):
            security, kind = draw.choice(SECURITIES), draw.choice(("buy", "sell"))
            quantity = Decimal(draw.randrange(1, 10**5)).scaleb(-3) * (1 if kind == "buy" else -1)
            rows.append(
                {
                    "account_id": account["account_id"],
                    "amount": quantity * security.price,
                    "cancel_transaction_id": None,
                    "date": (today - timedelta(days=draw.randrange(_PERIOD_DAYS))).isoformat(),
                    "fees": Decimal("4.95"),
                    "investment_transaction_id": entity_id(draw),
                    "iso_currency_code": "USD",
                    "name": f"{kind.upper()} {security.name}",
                    "price": security.price,
                    "quantity": quantity,
                    "security_id": _security_id(security),
                    "subtype": kind,
                    "type": kind,
                    "unofficial_currency_code": None,
                }
            )
    return sorted(rows, key=lambda row: (row["date"], row["investment_transaction_id"]), reverse=True)


def _investment_accounts(call: Call) -> list[JsonObject]:
    """Return the requested investment accounts. An Item without one gets one with the first such call."""
    generator = call.healthy_item.generator
    if not any(account["type"] == "investment" for account in generator.accounts):
        generator.open_investment_account()
    accounts = _requested(call, ("investment",), "NO_INVESTMENT_ACCOUNTS")
    return [{**account, "balances": {**account["balances"], "margin_loan_amount": None}} for account in accounts]


def _requested(call: Call, kinds: Iterable[str], absent_code: str) -> list[JsonObject]:
    """Return the requested accounts of some types, or of all if none is named."""
    requested = fields.optional_texts(fields.mapping(call.body, "options"), "account_ids")
    accounts = accounts_of(call.healthy_item, requested)
    found = [account for account in accounts if not kinds or account["type"] in kinds]
    if not found:
        raise PlaidError(absent_code)
    return found


def _draw(call: Call, product: str) -> Random:
    item = call.required_item
    return Random(f"{item.item_id} {product} {item.product_changes[product]}")  # noqa: S311 # nosec B311 - reproducible on purpose


def _money(draw: Random, low: int, high: int) -> Decimal:
    return draw.randint(low * 100, high * 100) * _CENT


def _security_id(security: Security) -> str:
    return entity_id(Random(security.name))  # noqa: S311 # nosec B311 - reproducible on purpose


def _security(item: Item, security: Security, today: date) -> JsonObject:
    unknown = dict.fromkeys(
        (
            *("cfi_code", "cusip", "figi", "fixed_income", "institution_security_id", "isin", "option_contract"),
            *("proxy_security_id", "sedol", "unofficial_currency_code", "update_datetime"),
        )
    )
    return {
        **unknown,
        "close_price": security.price,
        "close_price_as_of": (today - timedelta(days=1)).isoformat(),
        "industry": security.industry,
        "institution_id": item.options.institution_id,
        "is_cash_equivalent": security.kind == "cash",
        "iso_currency_code": "USD",
        "market_identifier_code": "XNAS" if security.ticker else None,
        "name": security.name,
        "sector": security.sector,
        "security_id": _security_id(security),
        "subtype": None,
        "ticker_symbol": security.ticker,
        "type": security.kind,
    }
