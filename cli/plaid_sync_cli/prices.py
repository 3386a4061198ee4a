"""What AWS charges, as data: prices of us-east-1, each with where it is published and whether it was looked up.

They change, and other regions' differ: what is made of them is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

LOOKED_UP: Final = "looked up in August 2026"
UNCONFIRMED: Final = "from memory, unconfirmed"
_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs.

    Attributes:
        unit: what is counted.
        dollars: for one of them.
        source: where AWS publishes it.
        standing: `LOOKED_UP` in a source of that month, or `UNCONFIRMED`.
    """

    unit: str
    dollars: Decimal
    source: str
    standing: str


def _per_million(dollars: str) -> Decimal:
    return Decimal(dollars) / _MILLION


_API: Final = "https://aws.amazon.com/api-gateway/pricing/ (HTTP API)"
_LAMBDA: Final = "https://aws.amazon.com/lambda/pricing/ (arm64)"
_SQS: Final = "https://aws.amazon.com/sqs/pricing/ (FIFO)"
_DYNAMODB: Final = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_CLOUDWATCH: Final = "https://aws.amazon.com/cloudwatch/pricing/"
_KMS: Final = "https://aws.amazon.com/kms/pricing/"
_SECRETS: Final = "https://aws.amazon.com/secrets-manager/pricing/"

API_REQUEST: Final = Price("request", _per_million("1.00"), _API, LOOKED_UP)
LAMBDA_REQUEST: Final = Price("invocation", _per_million("0.20"), _LAMBDA, LOOKED_UP)
LAMBDA_GB_SECOND: Final = Price("GB-second", Decimal("0.0000133334"), _LAMBDA, LOOKED_UP)
SQS_REQUEST: Final = Price("request", _per_million("0.50"), _SQS, UNCONFIRMED)
WRITE_UNIT: Final = Price("write unit", _per_million("0.625"), _DYNAMODB, LOOKED_UP)
READ_UNIT: Final = Price("read unit", _per_million("0.125"), _DYNAMODB, LOOKED_UP)
STORED_GB: Final = Price("GB-month", Decimal("0.25"), _DYNAMODB, LOOKED_UP)
RECOVERABLE_GB: Final = Price("GB-month", Decimal("0.20"), _DYNAMODB, UNCONFIRMED)
LOG_GB: Final = Price("GB", Decimal("0.50"), _CLOUDWATCH, UNCONFIRMED)
METRIC: Final = Price("metric", Decimal("0.30"), _CLOUDWATCH, UNCONFIRMED)
ALARM: Final = Price("alarm", Decimal("0.10"), _CLOUDWATCH, UNCONFIRMED)
COMPOSITE_ALARM: Final = Price("alarm", Decimal("0.50"), _CLOUDWATCH, UNCONFIRMED)
DASHBOARD: Final = Price("dashboard", Decimal("3.00"), _CLOUDWATCH, UNCONFIRMED)
KEY: Final = Price("key", Decimal("1.00"), _KMS, UNCONFIRMED)
KEY_REQUEST: Final = Price("request", Decimal("0.03") / 10_000, _KMS, UNCONFIRMED)
SECRET: Final = Price("secret", Decimal("0.40"), _SECRETS, UNCONFIRMED)
