"""Whether an event source mapping polls, by what Lambda says of it."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.event_source import is_stopped
from plaid_sync.domain.errors import TransientError

MAPPING = "12345678-1234-1234-1234-123456789012"


def stopped(state: str | None, error: str = "") -> bool:
    client = boto3.client("lambda")
    with Stubber(client) as stub:
        if error:
            stub.add_client_error("get_event_source_mapping", error)
        else:
            stub.add_response("get_event_source_mapping", {"State": state}, {"UUID": MAPPING})
        return is_stopped(client, MAPPING)


@pytest.mark.usefixtures("aws")
def test_a_mapping_is_stopped_by_its_state() -> None:
    states = ("Creating", "Enabling", "Enabled", "Updating", "Disabling", "Disabled", "Deleting")
    assert [state for state in states if stopped(state)] == ["Disabling", "Disabled", "Deleting"]


@pytest.mark.usefixtures("aws")
def test_a_deleted_mapping_is_stopped_and_an_error_is_no_answer() -> None:
    assert stopped(None, "ResourceNotFoundException")
    with pytest.raises(TransientError) as caught:
        stopped(None, "TooManyRequestsException")
    assert caught.value.code == "TooManyRequestsException"
