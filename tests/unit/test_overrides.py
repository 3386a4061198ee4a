"""What is given to `make deploy` as PARAMETERS arrives whole at SAM, or is refused."""

from __future__ import annotations

import pytest

from local.overrides import overrides

KNOWN = ("AlarmEmail", "Architecture", "LinkClientName", "RunbookUrl")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("", ""),
        ("AlarmEmail=a@example.com  LinkClientName=Bank", 'AlarmEmail="a@example.com" LinkClientName="Bank"'),
        ('LinkClientName="Dot\'s Bank & Co"', 'LinkClientName="Dot\'s Bank & Co"'),
        ("LinkClientName='My Bank'", 'LinkClientName="My Bank"'),
        ("AlarmEmail=", 'AlarmEmail=""'),
        ("RunbookUrl=https://wiki.example.com/?page=1&raw=1", 'RunbookUrl="https://wiki.example.com/?page=1&raw=1"'),
    ],
)
def test_a_value_arrives_as_it_is(given: str, taken: str) -> None:
    assert overrides(given, KNOWN) == taken


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("LinkClientName=My Bank", "Bank is no Name=value. Quote a value with spaces"),
        ("LinkClientName=Dot's", "No closing quotation. Quote a value"),
        ("AlarmMail=a@example.com", "there is no parameter AlarmMail"),
        ("Architecture=x86_64", "make deploy ARCHITECTURE=x86_64"),
        (r"LinkClientName='a\b'", "LinkClientName can't have a backslash"),
        ("LinkClientName='\"Bank\"'", "LinkClientName can't have a backslash, a double quote"),
    ],
)
def test_what_is_no_parameter_is_refused_with_the_fix(given: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^PARAMETERS: ") as refused:
        overrides(given, KNOWN)
    assert complaint in str(refused.value)
