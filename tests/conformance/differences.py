"""Where one of them is known to answer otherwise than AWS documents, and what that means for this project.

Each entry holds the very answer: another one, or none of the kind any more, is a new difference and fails the run.
None of them is about something that the engine relies on; for that there is no excuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINISTACK: Final = "ministack"
DYNAMODB_LOCAL: Final = "DynamoDB Local"

_API: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference"
_GUIDE: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"


@dataclass(frozen=True, slots=True)
class Difference:
    """One known difference.

    Attributes:
        database: which of the two.
        case: the case's name.
        answer: what it answers.
        documentation: what AWS documents, and where.
        consequence: why it does or doesn't matter here.
    """

    database: str
    case: str
    answer: str
    documentation: str
    consequence: str


_REASONS = f"The transaction is cancelled, with the reason ValidationError ({_API}/API_TransactWriteItems.html)."
_KEY_SIZES = f"A sort key has at most 1,024 bytes, a partition key 2,048, an index's, too ({_GUIDE}/Constraints.html)."
_CONFLICT = f"Overlapping transactions can conflict ({_GUIDE}/transaction-apis.html)."
_NO_CONFLICT = (
    "No emulator makes a conflict, so no run here shows what follows from one: TransactionsTable.write tries again, "
    "which the unit test with AWS's written-out answers shows; on a plain update (a claim) it is retried by the queue."
)
_BATCH = f"At most 16 MB, and 1 MB of one partition; the rest is in UnprocessedKeys ({_API}/API_BatchGetItem.html)."
_PARTITION = (
    "TransactionsTable.rows asks for the rest, but the rows of an Item are one partition: on AWS 100 rows of 50 KB "
    "take five answers where here they take one."
)
_BATCH_COST = f"A unit for each 4 KB of a consistent read, and for an absent row ({_API}/API_BatchGetItem.html)."
_TRANSACTION_COST = f"Two units for each KB of each row ({_GUIDE}/transaction-apis.html)."
_INDEX_COST = "It does not say whether the index's part of a transaction counts twice."
_INDEX_BUDGET = "Either may be right: budget for two units a row in the index until a bill has said otherwise."
_STATUS_BUDGET = "Either may be right: budget for four units a sync in the index until a bill has said otherwise."

DIFFERENCES: Final = (
    Difference(
        DYNAMODB_LOCAL,
        "a row of more than 400 kb",
        "retry: ValidationException; no cursor",
        _REASONS,
        "None: either form becomes a RetryableError, and nothing is written; only its code differs.",
    ),
    Difference(
        MINISTACK,
        "the longest transaction id that fits into the index",
        "1,013 bytes: ok; 1,014 bytes: ok",
        _KEY_SIZES,
        "Ids near that length pass here and are refused on AWS; Plaid's have 37 bytes.",
    ),
    Difference(
        MINISTACK,
        "the longest account id that fits into the index",
        "2,048 bytes: ok; 2,049 bytes: ok",
        _KEY_SIZES,
        "Ids near that length pass here and are refused on AWS; Plaid's have 37 bytes.",
    ),
    Difference(
        MINISTACK,
        "a type error that only the stored row shows",
        "ok; 1 rows",
        _REASONS,
        "None: no expression of the engine calculates.",
    ),
    Difference(
        DYNAMODB_LOCAL,
        "a type error that only the stored row shows",
        "ValidationException; 0 rows",
        _REASONS,
        "None: either form is a RetryableError, and nothing is written.",
    ),
    Difference(MINISTACK, "how transactions on one row collide", "never", _CONFLICT, _NO_CONFLICT),
    Difference(DYNAMODB_LOCAL, "how transactions on one row collide", "never", _CONFLICT, _NO_CONFLICT),
    Difference(
        MINISTACK,
        "one attribute set twice in one expression",
        "ok",
        f"Two paths of one expression must not overlap ({_GUIDE}/Expressions.UpdateExpressions.html).",
        "None: Expression.update takes its attributes from a dictionary, and no default is also set.",
    ),
    Difference(
        MINISTACK,
        "a number of 38 digits goes up by one",
        f"1{'0' * 37}",
        f"Numbers have 38 digits of precision ({_GUIDE}/HowItWorks.NamingRulesDataTypes.html).",
        "None: it rounds sums after 28 digits, and no expression of the engine calculates.",
    ),
    Difference(
        MINISTACK,
        "the shape of what a batch leaves over",
        "all in one answer",
        _BATCH,
        "UnprocessedKeys never come from ministack: what the adapter does with them only DynamoDB Local shows.",
    ),
    Difference(MINISTACK, "more than a megabyte of one partition in a batch", "3 MB in one answer", _BATCH, _PARTITION),
    Difference(
        DYNAMODB_LOCAL, "more than a megabyte of one partition in a batch", "3 MB in one answer", _BATCH, _PARTITION
    ),
    Difference(
        DYNAMODB_LOCAL,
        "pages of a megabyte before the filter",
        "1 page, none before the last",
        f"A page is 1 MB before the filter is applied ({_API}/API_Query.html).",
        "It cuts pages after the filter, so that an empty page with more to come is seen on ministack only.",
    ),
    Difference(
        DYNAMODB_LOCAL,
        "a sync of 98 new rows",
        "reads 1, items 3, rows 2, history 2",
        _TRANSACTION_COST,
        "It counts one row of each table in a transaction: figures of cost come from ministack and the documentation.",
    ),
    Difference(MINISTACK, "the part of the index in a sync of one new row", "by_account 1", _INDEX_COST, _INDEX_BUDGET),
    Difference(
        DYNAMODB_LOCAL,
        "the part of the index in a sync of one new row",
        "by_account 2",
        _INDEX_COST,
        _INDEX_BUDGET,
    ),
    Difference(
        MINISTACK, "the part of the index in a sync of 98 new rows", "by_account 98", _INDEX_COST, _INDEX_BUDGET
    ),
    Difference(
        DYNAMODB_LOCAL,
        "the part of the index in a sync of 98 new rows",
        "by_account 2",
        _INDEX_COST,
        "It counts one row of each table in a transaction.",
    ),
    Difference(
        MINISTACK,
        "the part of the index by status in a sync of nothing",
        "by_status 2",
        _INDEX_COST,
        _STATUS_BUDGET,
    ),
    Difference(
        DYNAMODB_LOCAL,
        "the part of the index by status in a sync of nothing",
        "by_status 4",
        _INDEX_COST,
        _STATUS_BUDGET,
    ),
    Difference(
        MINISTACK,
        "a sync of one row that did not change",
        "reads 1, items 3, rows 0, history 2, by_account 0",
        _BATCH_COST,
        "It reports nothing for batches: one unit is missing.",
    ),
    Difference(MINISTACK, "a consistent batch of 100 rows", "reads 0", _BATCH_COST, "It reports nothing for batches."),
    Difference(
        MINISTACK,
        "a consistent batch of 100 rows that are absent",
        "reads 0",
        _BATCH_COST,
        "It reports nothing for batches.",
    ),
    Difference(
        DYNAMODB_LOCAL,
        "a consistent batch of 100 rows that are absent",
        "reads 0",
        _BATCH_COST,
        "It forgets that AWS counts a unit for a row that is not there.",
    ),
)
