"""Preset dictionaries of zlib (RFC 1950, section 2.2) for what the tables store compressed.

A dictionary is text that a compressed value may refer to: names, nulls and common values of Plaid's objects, from
Plaid's OpenAPI file. What most objects have comes last, because near references are shorter.

A stored value names its dictionary by checksum (`zlib.adler32`), and can be read with this one only. So a dictionary is
never changed: a new one is added, and the old one stays in `DICTIONARIES` for what is stored. This module imports
nothing, so that an application can copy it.
"""

_CATEGORIES = (
    '"BANK_FEES_"ENTERTAINMENT_"GENERAL_SERVICES_"GOVERNMENT_AND_NON_PROFIT_"HOME_IMPROVEMENT_"INCOME_'
    '"LOAN_DISBURSEMENTS_"LOAN_PAYMENTS_"MEDICAL_"PERSONAL_CARE_"RENT_AND_UTILITIES_"TRANSFER_IN_"TRANSFER_OUT_'
    '"TRANSPORTATION_"TRAVEL_"GENERAL_MERCHANDISE_"FOOD_AND_DRINK_'
)
_WORDS = (
    '"adjustment","atm","bank charge","bill payment","cash","cashback","cheque","direct debit","interest","payment",'
    '"purchase","refund","transfer"'
    '"type":"payment_terminal"marketplace"payment_app"income_source"financial_institution","UNKNOWN"LOW"MEDIUM"'
)
_RARE_FIELDS = (
    '"merchant_category_code":"","running_balance":null,"client_customization":{"custom_entity_id":"'
    '"business_finance_category":{"account_numbers":{"bacs":{"account":"sort_code":"international":{"bic":"iban":"'
    '"check_number":"location":{"address":"city":"country":"CA","GB","lat":40.,"lon":-7,"postal_code":"region":"CA",'
    '"NY","TX","store_number":"payment_meta":{"by_order_of":"payee":"payer":"payment_method":"ACH",'
    '"payment_processor":"ppd_id":"reason":"reference_number":"pending_transaction_id":"transaction_code":"'
    '"unofficial_currency_code":"merchant_name":"authorized_date":null,iso_currency_code":null,'
    '"account_owner":"","authorized_datetime":"2025-T00:00:00Z",'
    '"category":["Food and Drink","Restaurants"],"category_id":"13005000"'
    'POS DEBIT PURCHASE CARD DEPOSIT PAYMENT ACH ","name":"https://plaid-counterparty-logos.plaid.com/.com"www.'
)
_WITHOUT_MERCHANT = (
    '"account_owner":null,"amount":0.00,"authorized_date":null,"authorized_datetime":null,"category":null,'
    '"category_id":null,"check_number":null,"counterparties":[],"datetime":null,"location":{"address":null,'
    '"city":null,"country":null,"lat":null,"lon":null,"postal_code":null,"region":null,"store_number":null},'
    '"logo_url":null,"merchant_entity_id":null,"merchant_name":null,"original_description":"POS DEBIT '
)
_WITH_MERCHANT = (
    '"account_owner":null,"authorized_datetime":null,"category":null,"category_id":null,"check_number":null,'
    '"counterparties":[{"account_numbers":null,"confidence_level":"HIGH"VERY_HIGH","entity_id":null,"logo_url":null,'
    '"name":"","type":"merchant","website":null}],"datetime":"T:00Z","location":{"address":" St","city":"San ",'
    '"country":"US","lat":,"lon":-1,"postal_code":"region":"store_number":null},'
    '"logo_url":"https://plaid-merchant-logos.plaid.com/_1000.png","merchant_entity_id":"","original_description":"'
)
_ENDING = (
    '","original_description":null,"payment_meta":{"by_order_of":null,"payee":null,"payer":null,'
    '"payment_method":null,"payment_processor":null,"ppd_id":null,"reason":null,"reference_number":null},'
    '"pending_transaction_id":null,"personal_finance_category":{"confidence_level":"VERY_HIGH",'
    '"detailed":"FOOD_AND_DRINK_RESTAURANT","primary":"","version":"v2"},'
    '"personal_finance_category_icon_url":"https://plaid-category-icons.plaid.com/PFC_.png","transaction_code":null,'
    '"transaction_type":"special"digital"place","unofficial_currency_code":null,"website":null}'
)
TRANSACTION = (_CATEGORIES + _WORDS + _RARE_FIELDS + _WITHOUT_MERCHANT + _WITH_MERCHANT + _ENDING).encode("ascii")
"""For the attribute `plaid` of the Transactions table."""

_SUBTYPES = (
    '"subtype":"401k""auto""brokerage""business""cash management""cd""ira""money market""mortgage""line of credit"'
    '"paypal""prepaid""student""home equity""loan","type":"investment""savings","type":"depository""credit card",'
    '"type":"credit"'
)
_RARE_ACCOUNT_FIELDS = (
    '"holder_category":"business""unrecognized""verification_status":"automatically_verified""manually_verified"'
    '"pending_automatic_verification""verification_name":"""balances":{"available":null,"current":null,'
    '"iso_currency_code":null,"limit":null,"unofficial_currency_code":"BTC"'
)
_ACCOUNT = (
    '[{"as_of":"2026-01-01T00:00:00.000Z","plaid":{"account_id":"","balances":{"available":100.0,"current":110.5,'
    '"iso_currency_code":"USD","last_updated_datetime":null,"limit":null,"unofficial_currency_code":null},'
    '"holder_category":"personal","mask":"0000","name":"Plaid Checking",'
    '"official_name":"Plaid Gold Standard 0% Interest Checking","persistent_account_id":"","subtype":"checking",'
    '"type":"depository"}},{"as_of":"20'
)
ACCOUNTS = (_SUBTYPES + _RARE_ACCOUNT_FIELDS + _ACCOUNT).encode("ascii")
"""For the attribute `accounts` of the Items table."""

DICTIONARIES = (TRANSACTION, ACCOUNTS)
"""All that stored values were ever compressed with."""
