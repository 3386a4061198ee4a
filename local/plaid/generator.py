"""Seeded random accounts and transactions, with every field that Plaid sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from local.plaid import sample_data
from local.plaid.wire import JsonObject, entity_id, timestamp

if TYPE_CHECKING:
    from random import Random

    from local.plaid.sample_data import Merchant

_CENT = Decimal("0.01")
_FOREIGN_SHARE = 0.04
_UNENRICHED_SHARE = 0.18
_EXACT_TIME_SHARE = 0.3
_LONG_FRACTION_SHARE = 0.06
_PENDING_DAYS = 3
_PENDING_SHARE = 0.6
# Everyday Checking has most of the transactions, the wallets have few.
_WEIGHTS = (50, 10, 30, 6, 4)
_NEW_ACCOUNT_WEIGHT = 20
_NO_LOCATION = dict.fromkeys(("address", "city", "country", "lat", "lon", "postal_code", "region", "store_number"))
_NO_PAYMENT_META = dict.fromkeys(
    ("by_order_of", "payee", "payer", "payment_method", "payment_processor", "ppd_id", "reason", "reference_number")
)


@dataclass(frozen=True, slots=True)
class CustomTransaction:
    """The fields that the caller sets; the generator chooses the rest."""

    day: date
    pending: bool = False
    account_id: str | None = None
    name: str | None = None
    amount: Decimal | None = None
    iso_currency_code: str | None = None


class Generator:
    """Generates the accounts and transactions of one Item.

    The generator `login`, if given, draws the account masks and persistent ids: Items of one login share them.
    """

    def __init__(self, rng: Random, *, beta_fields: bool = False, login: Random | None = None) -> None:
        self.rng = rng
        self._login = login
        self._beta_fields = beta_fields
        self._edge_case_names = list(sample_data.EDGE_CASE_NAMES)
        self._edge_case_amounts = list(sample_data.EDGE_CASE_AMOUNTS)
        self.accounts: list[JsonObject] = [
            self._account("Everyday Checking", "depository", "checking", "USD"),
            self._account("High Yield Savings", "depository", "savings", "USD"),
            self._account("Travel Rewards Card", "credit", "credit card", "USD"),
            self._account("Euro Wallet", "depository", "checking", "EUR"),
            self._account("Coin Wallet", "depository", "cash management", None),
        ]
        self._weights: dict[str, int] = dict(zip(self.account_ids, _WEIGHTS, strict=True))

    @property
    def account_ids(self) -> list[str]:
        """The ids of the listed accounts."""
        return [account["account_id"] for account in self.accounts]

    def open_account(self) -> str:
        """Add an account that the user has just shared; return its id."""
        account = self._account(f"Joint Savings {len(self._weights)}", "depository", "savings", "USD")
        self.accounts.append(account)
        self._weights[account["account_id"]] = _NEW_ACCOUNT_WEIGHT
        return str(account["account_id"])

    def open_investment_account(self) -> None:
        """Add an account for investments, which has no transactions of Transactions."""
        account = self._account("Brokerage", "investment", "brokerage", "USD")
        self.accounts.append(account)
        self._weights[account["account_id"]] = 0

    def keep_accounts(self, filters: JsonObject) -> None:
        """Keep the accounts that pass the `account_filters` of a link token."""
        subtypes = {kind: allowed["account_subtypes"] for kind, allowed in filters.items()}
        kept = [
            account for account in self.accounts if {"all", account["subtype"]} & set(subtypes.get(account["type"], ()))
        ]
        if not kept:
            raise ValueError("no account passes the filters: Link shows this institution as not compatible")
        self.accounts = kept

    def close_account(self, account_id: str) -> JsonObject:
        account = self._account_by_id(account_id)
        self.accounts.remove(account)
        return account

    def reopen_account(self, account: JsonObject) -> None:
        self.accounts.append(account)

    def renumber_account(self, account_id: str) -> str:
        """Replace an account with the same one under another id; return that id."""
        account = self._account_by_id(account_id)
        new_id = entity_id(self.rng)
        self.accounts[self.accounts.index(account)] = {**account, "account_id": new_id}
        self._weights[new_id] = self._weights.pop(account_id)
        return new_id

    def _account(self, name: str, kind: str, subtype: str, currency: str | None) -> JsonObject:
        current = self._money(Decimal(50), Decimal(9000))
        account = {
            "account_id": entity_id(self.rng),
            "balances": {
                "available": None if kind == "credit" else current - _CENT,
                "current": current,
                "iso_currency_code": currency,
                "limit": Decimal("12000.00") if kind == "credit" else None,
                "unofficial_currency_code": None if currency else self.rng.choice(sample_data.UNOFFICIAL_CURRENCIES),
            },
            "holder_category": "personal",
            **_account_identity(self.rng),
            "name": name,
            "official_name": None if kind == "credit" else f"Plaid Gold Standard {name}",
            "subtype": subtype,
            "type": kind,
        }
        return account if self._login is None else {**account, **_account_identity(self._login)}

    def history(self, count: int, days: int, today: date) -> list[JsonObject]:
        """Generate `count` transactions over the last `days` days, oldest first; some of the newest are pending."""
        ages = sorted((self.rng.randrange(max(1, days)) for _ in range(count)), reverse=True)
        return [
            self.transaction(
                CustomTransaction(
                    today - timedelta(days=age), pending=age < _PENDING_DAYS and self.rng.random() < _PENDING_SHARE
                )
            )
            for age in ages
        ]

    def transaction(self, custom: CustomTransaction) -> JsonObject:
        merchant = self.rng.choice(sample_data.MERCHANTS)
        account = self._choose_account(custom.account_id)
        enriched = custom.name is None and self.rng.random() >= _UNENRICHED_SHARE
        name = custom.name or self._name(merchant, enriched=enriched)
        row: JsonObject = {
            "account_id": account["account_id"],
            "account_owner": self.rng.choice((None, None, None, "Ana María Íñiguez")),
            "amount": custom.amount if custom.amount is not None else self._amount(merchant),
            "category": None,
            "category_id": None,
            "check_number": str(self.rng.randrange(100, 9999)) if self.rng.random() < _LONG_FRACTION_SHARE else None,
            "name": name,
            "original_description": f"{name.upper()[:80]} #{self.rng.randrange(10_000)}",
            "pending": custom.pending,
            "pending_transaction_id": None,
            "transaction_code": None,
            "transaction_id": entity_id(self.rng),
            **self._currency(account, custom.iso_currency_code),
            **self._times(custom),
            **self._enrichment(merchant, enriched=enriched),
        }
        if self._beta_fields:
            row["merchant_category_code"] = merchant.mcc
            row["running_balance"] = None if custom.pending else self._money(Decimal(0), Decimal(9000))
        return row

    def _choose_account(self, account_id: str | None) -> JsonObject:
        if account_id is not None:
            return self._account_by_id(account_id)
        if not self.accounts:
            raise ValueError("this Item has no account left")
        weights = [self._weights[account["account_id"]] for account in self.accounts]
        return self.rng.choices(self.accounts, weights)[0]

    def _account_by_id(self, account_id: str) -> JsonObject:
        for account in self.accounts:
            if account["account_id"] == account_id:
                return account
        raise KeyError(account_id)

    def _name(self, merchant: Merchant, *, enriched: bool) -> str:
        if self._edge_case_names and not enriched:
            return self._edge_case_names.pop(0)
        return merchant.name if enriched else f"POS DEBIT {merchant.name.upper()} {self.rng.randrange(10**6):06d}"

    def _amount(self, merchant: Merchant) -> Decimal:
        if self._edge_case_amounts and self.rng.random() < _UNENRICHED_SHARE:
            return self._edge_case_amounts.pop(0)
        amount = self._money(merchant.low, merchant.high)
        if self.rng.random() >= _LONG_FRACTION_SHARE:
            return amount
        places = self.rng.randint(3, 7)
        return amount + Decimal(self.rng.randrange(10**places)).scaleb(-places)

    def _money(self, low: Decimal, high: Decimal) -> Decimal:
        return Decimal(self.rng.randint(int(low / _CENT), int(high / _CENT))) * _CENT

    def _currency(self, account: JsonObject, iso: str | None) -> JsonObject:
        unofficial = None if iso else account["balances"]["unofficial_currency_code"]
        if iso is None and unofficial is None:
            iso = account["balances"]["iso_currency_code"]
            if self.rng.random() < _FOREIGN_SHARE:
                iso = self.rng.choice(sample_data.FOREIGN_CURRENCIES)
        return {"iso_currency_code": iso, "unofficial_currency_code": unofficial}

    def _times(self, custom: CustomTransaction) -> JsonObject:
        authorized = custom.day - timedelta(days=self.rng.randrange(3))
        moment = datetime.combine(custom.day, time(self.rng.randrange(24), self.rng.randrange(60)), UTC)
        exact = self.rng.random() < _EXACT_TIME_SHARE
        return {
            "authorized_date": authorized.isoformat() if self.rng.random() >= _UNENRICHED_SHARE else None,
            "authorized_datetime": timestamp(moment - timedelta(minutes=7)) if exact else None,
            "date": custom.day.isoformat(),
            "datetime": timestamp(moment) if exact else None,
        }

    def _enrichment(self, merchant: Merchant, *, enriched: bool) -> JsonObject:
        known = enriched and merchant.website is not None
        logo = f"https://plaid-merchant-logos.example/{merchant.website}.png" if known else None
        website = merchant.website if known else None
        entity = f"{merchant.name.encode().hex():0<37.37}" if known else None
        confidence = self.rng.choice(("VERY_HIGH", "HIGH", "MEDIUM")) if enriched else "LOW"
        counterparty = {
            "account_numbers": None,
            "confidence_level": confidence,
            "entity_id": entity,
            "logo_url": logo,
            "name": merchant.name,
            "type": "income_source" if merchant.primary == "INCOME" else "merchant",
            "website": website,
        }
        icon = f"https://plaid-category-icons.example/PFC_{merchant.primary}.png"
        return {
            "counterparties": [counterparty] if enriched else [],
            "location": self._location(merchant) if enriched else dict(_NO_LOCATION),
            "logo_url": logo,
            "merchant_entity_id": entity,
            "merchant_name": merchant.name if known else None,
            "payment_channel": merchant.channel,
            "payment_meta": self._payment_meta(merchant),
            "personal_finance_category": {
                "confidence_level": confidence,
                "detailed": merchant.detailed,
                "primary": merchant.primary,
                "version": "v2",
            },
            "personal_finance_category_icon_url": icon,
            "transaction_type": {"online": "digital", "in store": "place"}.get(merchant.channel, "special"),
            "website": website,
        }

    def _location(self, merchant: Merchant) -> JsonObject:
        if merchant.channel != "in store" or self.rng.random() < _EXACT_TIME_SHARE:
            return dict(_NO_LOCATION)
        location = self.rng.choice(sample_data.LOCATIONS)
        fields = ("address", "city", "region", "postal_code", "country", "lat", "lon")
        known = {field: getattr(location, field) for field in fields}
        return {**_NO_LOCATION, **known, "store_number": self.rng.choice((None, "1235", "T-0042"))}

    def _payment_meta(self, merchant: Merchant) -> JsonObject:
        if merchant.channel != "other":
            return dict(_NO_PAYMENT_META)
        reference = f"{self.rng.randrange(10**12):012d}"
        return {**_NO_PAYMENT_META, "payment_method": "ACH", "reference_number": reference}


def _account_identity(rng: Random) -> JsonObject:
    """Return the fields that identify an account at its institution."""
    return {"mask": f"{rng.randrange(10_000):04d}", "persistent_account_id": rng.randbytes(32).hex()}
