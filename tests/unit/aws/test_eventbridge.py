"""The event bus: each event by its detail-type, in calls that fit, and what is not accepted with its code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from plaid_sync.aws.eventbridge import CALL_SECONDS, MAX_BYTES, MAX_TRIES, EventBridgeBus
from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import TransientError
from plaid_sync.events import BusEvent

from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IN_TIME = Deadline(lambda: 60.0)


@dataclass(slots=True)
class Events:
    """A client of EventBridge that takes ten entries a call, some of which it fails with a code so many times.

    Attributes:
        failures: by detail-type, the codes of the next tries.
        lost: how many calls get no response.
    """

    failures: Mapping[str, list[str]] = field(default_factory=dict)
    lost: int = 0
    calls: list[list[dict[str, str]]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - AWS's
        self.calls.append(Entries)
        if self.lost:
            self.lost -= 1
            raise ReadTimeoutError(endpoint_url="events")
        invalid = any(self.failures.get(entry["DetailType"]) == ["ValidationException"] for entry in Entries)
        if len(Entries) > 10 or invalid:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "PutEvents")
        results = [self._result(entry["DetailType"]) for entry in Entries]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def _result(self, detail_type: str) -> dict[str, str]:
        codes = self.failures.get(detail_type)
        if codes:
            return {"ErrorCode": codes.pop(0)}
        self.accepted.append(detail_type)
        return {"EventId": "1"}


def publish(
    client: Events, events: Sequence[BusEvent | str], deadline: Deadline = IN_TIME
) -> tuple[list[tuple[str, str, bool]], list[float]]:
    """Publish events; return what is not accepted, and the pauses."""
    clock = FakeClock()
    bus = EventBridgeBus(client, "bus", clock)  # type: ignore[arg-type] # a fake
    named = [BusEvent(event, {}) if isinstance(event, str) else event for event in events]
    failed = [unpublished for call in bus.calls(named) for unpublished in bus.publish(call, deadline)]
    return [
        (unpublished.event.detail_type, unpublished.code, unpublished.permanent) for unpublished in failed
    ], clock.pauses


def test_each_event_is_published_with_its_detail_type_and_its_detail() -> None:
    client = Events()
    events = [BusEvent("ItemActive", {"item_id": "item"}), BusEvent("ItemLinked", {"code": "ITEM_LOCKED"})]
    assert publish(client, events) == ([], [])
    common = {"EventBusName": "bus", "Source": "plaid-sync-engine"}
    entries = [
        common | {"DetailType": "ItemActive", "Detail": '{"item_id":"item"}'},
        common | {"DetailType": "ItemLinked", "Detail": '{"code":"ITEM_LOCKED"}'},
    ]
    assert client.calls == [entries]
    assert publish(client, []) == ([], [])
    assert client.calls == [entries]


def test_more_events_than_a_call_takes_are_published_in_several() -> None:
    client, names = Events(), [f"Event{number}" for number in range(21)]
    assert publish(client, names) == ([], [])
    assert [len(call) for call in client.calls] == [10, 10, 1]
    assert client.accepted == names
    client = Events()
    large = [BusEvent(f"Event{number}", {"causes": ["x" * 1000] * 100}) for number in range(6)]
    assert publish(client, large) == ([], [])
    sizes = [sum(len(text) for entry in call for text in entry.values()) for call in client.calls]
    assert all(size <= MAX_BYTES for size in sizes)
    assert len(sizes) == 3


def test_only_the_entries_that_failed_are_published_again() -> None:
    client = Events({"b": ["ThrottlingException", "InternalFailure"], "d": ["ThrottlingException"]})
    failed, pauses = publish(client, "abcd")
    assert failed == []
    assert ["".join(entry["DetailType"] for entry in call) for call in client.calls] == ["abcd", "bd", "b"]
    assert Counter(client.accepted) == Counter("abcd")
    assert len(pauses) == 2


def test_a_call_without_a_response_is_repeated_whole() -> None:
    client = Events(lost=2)
    assert publish(client, "ab")[0] == []
    assert client.accepted == ["a", "b"]


@pytest.mark.parametrize(("seconds", "tries"), [(60.0, MAX_TRIES), (CALL_SECONDS, 1)])
def test_the_retries_of_one_invocation_end(seconds: float, tries: int) -> None:
    client = Events({"b": ["InternalFailure"] * 100})
    failed, pauses = publish(client, "ab", Deadline(lambda: seconds))
    assert failed == [("b", "InternalFailure", False)]
    assert len(client.calls) == tries == len(pauses) + 1


def test_no_call_is_begun_that_would_not_end_in_time() -> None:
    client = Events()
    with pytest.raises(TransientError):
        publish(client, "a", Deadline(lambda: CALL_SECONDS - 1))
    assert client.calls == []


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument", "ValidationException"])
def test_an_event_that_is_never_accepted_is_not_retried_and_holds_up_no_other(code: str) -> None:
    """ValidationException is the refusal of the whole call: each of its entries is then tried alone."""
    client = Events({"b": [code], "c": ["ThrottlingException"]})
    failed, _ = publish(client, "abc")
    assert failed == [("b", code, True)]
    assert Counter(client.accepted) == Counter("ac")


def test_a_refused_permission_is_not_the_events_fault() -> None:
    client = Events({"a": ["AccessDeniedException"] * 100})
    assert publish(client, "a")[0] == [("a", "AccessDeniedException", False)]
