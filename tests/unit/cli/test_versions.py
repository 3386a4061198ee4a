"""What differs between `$LATEST` and the version that the alias points to."""

from __future__ import annotations

from typing import Any

import pytest
from plaid_sync_cli.versions import differences

LIVE: dict[str, Any] = {
    "CodeSha256": "a",
    "Runtime": "python3.13",
    "Handler": "app.lambda_handler",
    "Architectures": ["arm64"],
    "Role": "arn:aws:iam::111122223333:role/sync",
    "MemorySize": 512,
    "Timeout": 9,
    "Layers": [{"Arn": "arn:aws:lambda:eu-central-1:111122223333:layer:engine:1", "CodeSize": 1}],
    "Environment": {"Variables": {"PLAID_ENV": "sandbox", "ITEMS_TABLE": "items"}},
    "LoggingConfig": {"LogFormat": "JSON"},
    "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
    "Version": "7",
    "RevisionId": "1",
    "LastModified": "2026-01-01",
}


def test_what_a_version_has_of_its_own_is_no_difference() -> None:
    latest = {**LIVE, "Version": "$LATEST", "RevisionId": "2", "LastModified": "2026-02-02"}
    latest |= {"SnapStart": {"ApplyOn": "None"}, "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""}}
    assert list(differences(latest, LIVE)) == []


@pytest.mark.parametrize(
    ("changed", "reported"),
    [
        ({"CodeSha256": "b"}, "CodeSha256"),
        ({"MemorySize": 1024}, "MemorySize"),
        ({"Timeout": 10}, "Timeout"),
        ({"Role": "arn:aws:iam::111122223333:role/other"}, "Role"),
        ({"Layers": []}, "Layers"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
        ({"Environment": {"Variables": {"PLAID_ENV": "production"}}}, "Environment (ITEMS_TABLE, PLAID_ENV)"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart"),
    ],
)
def test_what_decides_behavior_is_reported_and_no_value_of_a_variable(changed: dict[str, Any], reported: str) -> None:
    assert list(differences({**LIVE, **changed}, LIVE)) == [reported]
