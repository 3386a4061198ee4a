"""Puts a question to a DynamoDB and returns the answer as a text without ids, times and messages."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from tests.conformance.calls import ITEMS, OWN, ROWS, Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Emulator
    from tests.conformance.questions import Question

_DESERIALIZER: Final = TypeDeserializer()
_KEYS: Final = frozenset({"pk", "sk"})
_LOST_A_RACE: Final = ("ConditionalCheckFailed", "TransactionConflict")
_PATIENCE_SECONDS: Final = 10
_SHOWN_REASONS: Final = 20


@dataclass(slots=True)
class Database:
    """One DynamoDB with the two tables of the questions."""

    client: Any
    streams: Any
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    iterators: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, emulator: Emulator) -> Database:
        """Create the tables: rows with a sparse index, an index of keys, a stream and a time to live; and Items."""
        client = emulator.client("dynamodb")
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        by_account = [
            {"AttributeName": "account_id", "KeyType": "HASH"},
            {"AttributeName": "date_id", "KeyType": "RANGE"},
        ]
        by_link = [{"AttributeName": "link_id", "KeyType": "HASH"}]
        names = ("pk", "sk", "account_id", "date_id", "link_id")
        client.create_table(
            TableName=ROWS,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=keys,
            GlobalSecondaryIndexes=[
                {"IndexName": "by_account", "KeySchema": by_account, "Projection": {"ProjectionType": "ALL"}},
                {"IndexName": "by_link", "KeySchema": by_link, "Projection": {"ProjectionType": "KEYS_ONLY"}},
            ],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        ttl = {"Enabled": True, "AttributeName": "expires_at"}
        client.update_time_to_live(TableName=ROWS, TimeToLiveSpecification=ttl)
        client.create_table(
            TableName=ITEMS,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names[:2]],
            KeySchema=keys,
        )
        return cls(client, emulator.client("dynamodbstreams"))

    def ask(self, question: Question) -> str:
        own = f"question-{next(self.numbers):03}"
        for call in question.given:
            answer = self._answer(_fill(call.arguments, own), call)
            assert answer == "ok", f"{question.text}: {call.operation}: {answer}"
        if any(call.operation == "records" for call in question.calls):
            self._watch()
        answers = [self._answer(_fill(call.arguments, own), call) for call in question.calls]
        return "; ".join(answers).replace(own, OWN)

    def _answer(self, arguments: dict[str, Any], call: Call) -> str:
        if call.at_once == 1:
            return self._one_answer(arguments, call)
        with ThreadPoolExecutor(call.at_once) as pool:
            answers = list(pool.map(lambda _: self._one_answer(arguments, call), range(call.at_once)))
        lost = [any(code in answer for code in _LOST_A_RACE) for answer in answers]
        found = Counter("refused" if no else answer for no, answer in zip(lost, answers, strict=True))
        return ", ".join(f"{number} {answer}" for answer, number in sorted(found.items()))

    def _one_answer(self, arguments: dict[str, Any], call: Call) -> str:
        if call.operation == "records":
            return ", ".join(self._records(**arguments)) or "none"
        shown = []
        try:
            while True:
                answer = getattr(self.client, call.operation)(**arguments)
                shown.append(_show(answer, call))
                if not call.pages or "LastEvaluatedKey" not in answer:
                    break
                arguments = arguments | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        except ClientError as error:
            return _show_error(error)
        return " | ".join(shown)

    def _watch(self) -> None:
        arn = self.client.describe_table(TableName=ROWS)["Table"]["LatestStreamArn"]
        shards = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        latest = {"StreamArn": arn, "ShardIteratorType": "LATEST"}
        self.iterators = [
            self.streams.get_shard_iterator(ShardId=shard["ShardId"], **latest)["ShardIterator"] for shard in shards
        ]

    def _records(self, number: int) -> list[str]:
        found: list[str] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(found) < number and time.monotonic() < deadline:
            for position, iterator in enumerate(self.iterators):
                answer = self.streams.get_records(ShardIterator=iterator)
                self.iterators[position] = answer["NextShardIterator"]
                for record in answer["Records"]:
                    images = [record["dynamodb"].get(image) for image in ("OldImage", "NewImage")]
                    change = " > ".join("-" if image is None else _attributes(image) for image in images)
                    found.append(f"{record['eventName']} {change}")
            time.sleep(0.02)
        return found


def _fill(part: Any, own: str) -> Any:
    if isinstance(part, dict):
        return {name: _fill(inner, own) for name, inner in part.items()}
    if isinstance(part, list):
        return [_fill(inner, own) for inner in part]
    return own if part == OWN else part


def _show(answer: dict[str, Any], call: Call) -> str:
    if "ConsumedCapacity" in answer:
        used = answer["ConsumedCapacity"]
        return f"{sum(part['CapacityUnits'] for part in (used if isinstance(used, list) else [used])):g} units"
    if call.operation == "get_item":
        return _attributes(answer.get("Item"))
    if "Attributes" in answer:
        return _attributes(answer["Attributes"])
    left = [*answer.get("UnprocessedKeys", {}).values(), *answer.get("UnprocessedItems", {}).values()]
    rest = f", unprocessed: {', '.join(sorted(left[0]))}" if left else ""
    if call.operation == "batch_get_item":
        return f"a part{rest}" if left else f"{sum(map(len, answer['Responses'].values()))} rows"
    return f"{_rows(answer, call.show)}{rest}"


def _rows(answer: dict[str, Any], show: str) -> str:
    if "Count" not in answer:
        return "ok"
    if show == "number" or "Items" not in answer:
        return f"{answer['Count']} of {answer['ScannedCount']}"
    if show == "attributes":
        return " ".join(map(_attributes, answer["Items"])) or "none"
    return " ".join(row["sk"]["S"] for row in answer["Items"]) or "none"


def _attributes(row: dict[str, Any] | None) -> str:
    if row is None:
        return "nothing"
    values = {name: _DESERIALIZER.deserialize(value) for name, value in row.items() if name not in _KEYS}
    return f"{{{', '.join(f'{name}: {_text(value)}' for name, value in sorted(values.items()))}}}"


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _show_error(error: ClientError) -> str:
    response: Any = error.response
    reasons = [
        reason["Code"] + (f" {_attributes(reason['Item'])}" if reason.get("Item") else "")
        for reason in response.get("CancellationReasons", ())
    ]
    if len(reasons) > _SHOWN_REASONS:
        reasons = [f"{number} x {code}" for code, number in sorted(Counter(reasons).items())]
    found = f" {_attributes(response['Item'])}" if response.get("Item") else ""
    code = response["Error"]["Code"].removesuffix("Exception")
    return f"{code}{found}" + (f" [{', '.join(reasons)}]" if reasons else "")
