"""Sample data for generated transactions: merchants, locations, currencies, institutions and edge cases."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant with Plaid's enrichment; without a `website`, Plaid could not identify it."""

    name: str
    primary: str
    detailed: str
    channel: str
    low: Decimal
    high: Decimal
    website: str | None = None
    mcc: str | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """What an investment account can hold; `kind` is Plaid's `type`."""

    name: str
    ticker: str | None
    kind: str
    price: Decimal
    sector: str | None = None
    industry: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    address: str
    city: str
    region: str
    postal_code: str
    country: str
    lat: Decimal
    lon: Decimal


def _merchant(row: str) -> Merchant:
    name, category, channel, low, high, website, mcc = (part.strip() for part in row.split("|"))
    primary, detailed = category.split("/")
    return Merchant(
        name, primary, f"{primary}_{detailed}", channel, Decimal(low), Decimal(high), website or None, mcc or None
    )


MERCHANTS: tuple[Merchant, ...] = tuple(
    _merchant(row)
    for row in """
        Corner Market | FOOD_AND_DRINK/GROCERIES | in store | 4.10 | 190.00 | cornermarket.example | 5411
        Green Basket | FOOD_AND_DRINK/GROCERIES | in store | 11.00 | 240.00 | greenbasket.example | 5411
        Café Zoë | FOOD_AND_DRINK/COFFEE | in store | 2.50 | 19.80 | cafezoe.example | 5814
        Noodle Palace 麺 | FOOD_AND_DRINK/RESTAURANT | in store | 9.00 | 96.00 | | 5812
        Burger Barn | FOOD_AND_DRINK/FAST_FOOD | in store | 5.25 | 34.00 | burgerbarn.example | 5814
        Swift Rides | TRANSPORTATION/TAXIS_AND_RIDE_SHARES | online | 6.33 | 71.20 | swiftrides.example | 4121
        Metro Transit | TRANSPORTATION/PUBLIC_TRANSIT | in store | 1.75 | 60.00 | | 4111
        Prairie Fuel | TRANSPORTATION/GAS | in store | 18.00 | 92.00 | prairiefuel.example | 5542
        Streamly | ENTERTAINMENT/TV_AND_MOVIES | online | 8.99 | 22.99 | streamly.example | 4899
        Tunebox | ENTERTAINMENT/MUSIC_AND_AUDIO | online | 5.99 | 16.99 | tunebox.example | 5735
        Everything Shop | GENERAL_MERCHANDISE/ONLINE_MARKETPLACES | online | 3.49 | 620.00 | everything.example | 5942
        Hammer & Nail | HOME_IMPROVEMENT/HARDWARE | in store | 3.20 | 410.00 | hammernail.example | 5251
        City Power & Light | RENT_AND_UTILITIES/GAS_AND_ELECTRICITY | other | 31.00 | 280.00 | citypower.example | 4900
        Fernhill Apartments | RENT_AND_UTILITIES/RENT | other | 900.00 | 2600.00 | | 6513
        Skyhigh Airlines | TRAVEL/FLIGHTS | online | 79.00 | 1450.00 | skyhigh.example | 4511
        Hôtel de l'Étoile | TRAVEL/LODGING | online | 70.00 | 980.00 | | 7011
        Dr. Ngọc Nguyễn | MEDICAL/DENTAL_CARE | in store | 25.00 | 740.00 | | 8021
        Iron Temple Gym | PERSONAL_CARE/GYMS_AND_FITNESS_CENTERS | online | 19.99 | 89.00 | irontemple.example | 7997
        Acme Payroll | INCOME/WAGES | other | -5200.00 | -900.00 | |
        Interest Payment | INCOME/INTEREST_EARNED | other | -19.00 | -0.01 | |
        Account Transfer | TRANSFER_OUT/ACCOUNT_TRANSFER | other | 10.00 | 900.00 | |
        Cash Machine | TRANSFER_OUT/WITHDRAWAL | other | 20.00 | 400.00 | | 6011
        Overdraft Fee | BANK_FEES/OVERDRAFT_FEES | other | 12.00 | 38.00 | |
        Card Payment - Thank You | LOAN_PAYMENTS/CREDIT_CARD_PAYMENT | other | 25.00 | 2100.00 | |
    """.strip().splitlines()
)

LOCATIONS: tuple[Location, ...] = (
    Location("300 Post St", "San Francisco", "CA", "94108", "US", Decimal("37.788563"), Decimal("-122.407135")),
    Location("12 Elm Ave", "Boise", "ID", "83702", "US", Decimal("43.615"), Decimal("-116.2023")),
    Location("1 Rue de Rivoli", "Paris", "IDF", "75001", "FR", Decimal("48.8554"), Decimal("2.3600")),
    Location("88 King St W", "Toronto", "ON", "M5X 1A9", "CA", Decimal("43.6488"), Decimal("-79.3817")),
)

SECURITIES: tuple[Security, ...] = (
    Security("Everything Shop Inc", "EVRY", "equity", Decimal("104.7300001"), "Retail Trade", "Internet Retail"),
    Security("Total Market Index Fund", "TMKT", "mutual fund", Decimal("31.415")),
    Security("U S Dollar", None, "cash", Decimal(1)),
)

FOREIGN_CURRENCIES: tuple[str, ...] = ("EUR", "GBP", "JPY", "CAD", "CHF", "KWD", "VND")
UNOFFICIAL_CURRENCIES: tuple[str, ...] = ("BTC", "ETH", "DOGE", "USDT")

EDGE_CASE_NAMES: tuple[str, ...] = (
    "🍕🍕 Pizza Night 🎉 👩🏽‍💻 flags 🇺🇳",
    "مطعم السلام - القاهرة",
    "בית קפה עלית \u202b(סניף 12)\u202c",
    'O\'Brien & Sons "Fine" Goods <b>\\ 50% off</b>; DROP TABLE rows;--',
    "TST* " + "VERY LONG DESCRIPTOR FROM A BANK THAT SENDS EVERYTHING IT KNOWS " * 8,
    "日本橋　全角スペース株式会社",
    "line\tbreaks\nand\ttabs",
    "e\u0301 combining and \u200bzero width",
)

EDGE_CASE_AMOUNTS: tuple[Decimal, ...] = tuple(
    Decimal(text)
    for text in (
        "0.1234567",
        "-98765432109.87",
        "0.00",
        "0.01",
        "-0.0000001",
        "12345678901.23",
        "1000000",
        "33.3333333",
        "-17.505",
    )
)

PRODUCTS: tuple[str, ...] = tuple(
    word
    for line in """
        assets auth balance balance_plus beacon identity identity_match investments investments_auth liabilities
        payment_initiation identity_verification transactions credit_details income income_verification standing_orders
        transfer employment recurring_transactions transactions_refresh signal statements processor_payments
        processor_identity profile cra_base_report cra_income_insights cra_partner_insights cra_network_insights
        cra_cashflow_insights cra_monitoring cra_lend_score cra_plaid_credit_score layer pay_by_bank protect_linked_bank
        protect_transactions
    """.strip().splitlines()
    for word in line.split()
)
COUNTRY_CODES: tuple[str, ...] = (
    *("US", "GB", "ES", "NL", "FR", "IE", "CA", "DE", "IT", "PL"),
    *("DK", "NO", "SE", "EE", "LT", "LV", "PT", "BE", "AT", "FI"),
)

# Plaid's sandbox institutions, and a real one whose users can revoke single accounts.
INSTITUTIONS: dict[str, str] = {
    "ins_109508": "First Platypus Bank",
    "ins_109509": "First Gingham Credit Union",
    "ins_109510": "Tattersall Federal Credit Union",
    "ins_109511": "Tartan Bank",
    "ins_109512": "Houndstooth Bank",
    "ins_56": "Chase",
}
OAUTH_INSTITUTIONS = frozenset({"ins_56"})


def institution_name(institution_id: str) -> str:
    """Return the name of an institution; an unknown one is named after its id."""
    return INSTITUTIONS.get(institution_id, f"Bank {institution_id}")
