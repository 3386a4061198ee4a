"""PARAMETERS of `make deploy` reach SAM unchanged, or are refused."""

from __future__ import annotations

import pytest

from local.overrides import overrides

KNOWN = ("AlarmEmail", "Architecture", "LinkClientName", "RunbookUrl")


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("", ""),
        ("AlarmEmail=a@example.com  LinkClientName=Bank", 'AlarmEmail="a@example.com" LinkClientName="Bank"'),
        ('LinkClientName="Dot\'s Bank & Co"', 'LinkClientName="Dot\'s Bank & Co"'),
        ("LinkClientName='My Bank'", 'LinkClientName="My Bank"'),
        ("AlarmEmail=", 'AlarmEmail=""'),
        ("RunbookUrl=https://wiki.example.com/?page=1&raw=1", 'RunbookUrl="https://wiki.example.com/?page=1&raw=1"'),
    ],
)
def test_a_value_is_passed_unchanged(given: str, passed: str) -> None:
    assert overrides(given, KNOWN) == passed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("LinkClientName=My Bank", "Bank is not Name=value. Quote a value with spaces"),
        ("LinkClientName=Dot's", "No closing quotation. Quote a value"),
        ("AlarmMail=a@example.com", "no parameter AlarmMail"),
        ("Architecture=x86_64", "make deploy ARCHITECTURE=x86_64"),
        (r"LinkClientName='a\b'", "LinkClientName can't have a backslash"),
        ("LinkClientName='\"Bank\"'", "LinkClientName can't have a backslash, a double quote"),
    ],
)
def test_an_invalid_parameter_is_refused_with_the_fix(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^PARAMETERS: ") as refused:
        overrides(given, KNOWN)
    assert message in str(refused.value)
