"""What AWS charges, as data: prices of us-east-1, dated, with where each was found.

They change, and other regions' differ: what is made of them is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

PRICED_ON: Final = "August 2026"
_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs.

    Attributes:
        unit: what is counted.
        dollars: for one of them.
        source: where the price was found.
    """

    unit: str
    dollars: Decimal
    source: str


def _per_million(dollars: str) -> Decimal:
    return Decimal(dollars) / _MILLION


_DYNAMODB: Final = "https://aws.amazon.com/dynamodb/pricing/on-demand/ (as in AWS's agent toolkit, August 2026)"
_LAMBDA: Final = "https://aws.amazon.com/lambda/pricing/ (arm64)"
_CLOUDWATCH: Final = "https://aws.amazon.com/cloudwatch/pricing/"

API_REQUEST: Final = Price("request", _per_million("1.00"), "https://aws.amazon.com/api-gateway/pricing/ (HTTP API)")
LAMBDA_REQUEST: Final = Price("invocation", _per_million("0.20"), _LAMBDA)
LAMBDA_GB_SECOND: Final = Price("GB-second", Decimal("0.0000133334"), _LAMBDA)
SQS_REQUEST: Final = Price("request", _per_million("0.50"), "https://aws.amazon.com/sqs/pricing/ (FIFO)")
WRITE_UNIT: Final = Price("write unit", _per_million("0.625"), _DYNAMODB)
READ_UNIT: Final = Price("read unit", _per_million("0.125"), _DYNAMODB)
STORED_GB: Final = Price("GB-month", Decimal("0.25"), _DYNAMODB)
RECOVERABLE_GB: Final = Price("GB-month", Decimal("0.20"), "https://aws.amazon.com/dynamodb/pricing/ (PITR)")
LOG_GB: Final = Price("GB", Decimal("0.50"), _CLOUDWATCH)
METRIC: Final = Price("metric", Decimal("0.30"), _CLOUDWATCH)
ALARM: Final = Price("alarm", Decimal("0.10"), _CLOUDWATCH)
KEY: Final = Price("key", Decimal("1.00"), "https://aws.amazon.com/kms/pricing/")
KEY_REQUEST: Final = Price("request", Decimal("0.03") / 10_000, "https://aws.amazon.com/kms/pricing/")
SECRET: Final = Price("secret", Decimal("0.40"), "https://aws.amazon.com/secrets-manager/pricing/")
