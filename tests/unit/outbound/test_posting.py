"""Only https to public addresses is posted to, and no redirect is followed."""

from __future__ import annotations

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.delivery import Answer
from plaid_sync.posting import HttpPoster, is_public

from tests.fakes.outbound import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - to refuse
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:a9fe:a9fe::1", False),
    ],
)
def test_an_address_of_a_private_network_is_none_of_the_internet(address: str, public: bool) -> None:  # noqa: FBT001
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://books.example/", "url_not_https"),
        ("https://127.0.0.1/", "address_not_public"),
        ("https://localhost/", "address_not_public"),
        ("https://[::1]/", "address_not_public"),
        ("https://169.254.169.254/latest/meta-data", "address_not_public"),
        ("https://2130706433/", "address_not_public"),
        (f"https://{'a' * 64}.example/", "host_not_found"),
    ],
)
def test_what_is_not_public_is_never_connected_to(url: str, code: str) -> None:
    with pytest.raises(TransientError) as caught:
        HttpPoster().post(url, b"{}", {})
    assert caught.value.code == code


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with Receiver(SECRET).listening() as target, Receiver(SECRET).listening() as receiver:
        receiver.answers.append(307)
        receiver.headers |= {"location": target.url, "retry-after": "7"}
        assert HttpPoster(public_only=False).post(receiver.url, b"{}", {"webhook-id": "a"}) == Answer(307, 7)
        assert (receiver.ids, target.ids) == (["a"], [])


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "1e3", "9999999"])
def test_a_wait_that_is_no_number_of_seconds_is_none(value: str) -> None:
    with Receiver(SECRET, headers={"retry-after": value}).listening() as receiver:
        receiver.answers.append(503)
        assert HttpPoster(public_only=False).post(receiver.url, b"{}", {}) == Answer(503, None)


def test_no_answer_and_no_tls_are_failures() -> None:
    with Receiver(SECRET).listening() as receiver, pytest.raises(TransientError, match=r"SSLError|ProtocolError"):
        HttpPoster(public_only=False).post(receiver.url.replace("http:", "https:"), b"{}", {})
    with pytest.raises(TransientError, match="NewConnectionError"):
        HttpPoster(public_only=False).post(receiver.url, b"{}", {})
