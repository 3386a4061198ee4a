"""The fields that a caller may set of a link token: as plaid-python's models have them."""

from __future__ import annotations

import copy
import datetime as dt
from typing import TYPE_CHECKING, Any

import plaid as plaid_python
import pytest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model_utils import validate_and_convert_types
from plaid_sync.linking.link_token_fields import COUNTRIES, FIELDS, PRODUCTS, Field
from plaid_sync.linking.requests import LinkTokenParameters, parse_link_token_request
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.link import PlaidLinkClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from plaid_sync.linking.sessions import LinkToken

TEXTS = (str, dt.date, dt.datetime)


def words_of(model: Any) -> set[str]:
    """Return the words of a model of Plaid's that is an enumeration."""
    return {word for word in model.allowed_values.get(("value",), {}).values() if word is not None}


def is_of(form: Field, of: Any) -> bool:
    """Return whether a field is of a type of plaid-python's, and has no other words."""
    match form.kind:
        case "flag":
            return of is bool
        case "number":
            return of is int
        case "words":
            return isinstance(of, list) and set(form.choices) <= words_of(of[0])
        case "texts":
            return isinstance(of.openapi_types["value"][0], list)
    return of in TEXTS or (bool(words_of(of)) and set(form.choices) <= words_of(of))


def differences(fields: Mapping[str, Field], model: Any, path: str = "") -> Iterator[str]:
    types = model.openapi_types
    for name, form in fields.items():
        here = f"{path}{name}"
        if name not in types:
            yield f"{here} is no field of {model.__name__}"
            continue
        of = types[name][0]
        if form.kind == "group":
            yield from differences(form.members, of, f"{here}.")
        elif not is_of(form, of):
            yield f"{here} is {of}"


def test_every_field_is_one_of_plaids_with_its_type_and_its_words() -> None:
    assert list(differences(FIELDS, LinkTokenCreateRequest)) == []
    assert set(words_of(LinkTokenCreateRequest.openapi_types["country_codes"][0][0])) == set(COUNTRIES)


def test_a_difference_is_found() -> None:
    wrong = {"products": Field("flag"), "no_field": Field("text"), "country_codes": Field("words", ("XX",))}
    assert len(list(differences(wrong, LinkTokenCreateRequest))) == 3


class Sent(PlaidTransport):
    """Keeps the request instead of sending it."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def call(
        self,
        path: str,
        request: object,
        read_seconds: float,
        parse: Callable[[bytes], Any],
        connect_seconds: float = 0.0,
    ) -> Any:
        del path, read_seconds, connect_seconds
        self.requests.append(request)
        link_token: LinkToken = parse(b'{"link_token": "link-sandbox-1"}')
        return link_token


FULL: dict[str, Any] = {
    "client_user_id": "user",
    "products": ["auth"],
    "required_if_supported_products": ["identity"],
    "optional_products": ["liabilities"],
    "additional_consented_products": ["investments"],
    "country_codes": ["US", "CA"],
    "language": "fr",
    "days_requested": 90,
    "redirect_uri": "https://app.example.com/link",
    "link_customization_name": "blue",
    "account_filters": {"depository": {"account_subtypes": ["checking"]}, "credit": {"account_subtypes": ["all"]}},
    "hosted_link": {
        "delivery_method": "sms",
        "completion_redirect_uri": "https://app.example.com/done",
        "url_lifetime_seconds": 900,
        "is_mobile_app": False,
    },
    "user": {
        "legal_name": "Ada Lovelace",
        "name": {"given_name": "Ada", "family_name": "Lovelace"},
        "phone_number": "+12025550123",
        "email_address": "ada@example.com",
        "address": {"street": "1 Main St", "city": "Boston", "region": "MA", "postal_code": "02108", "country": "US"},
        "id_number": {"value": "123456789", "type": "us_ssn"},
    },
    "enable_multi_item_link": True,
}


@pytest.mark.parametrize(
    ("body", "access_token"),
    [
        (FULL, None),
        ({"client_user_id": "user", "user_id": "usr_1", "android_package_name": "com.example.app"}, None),
        ({"item_id": "i", "account_selection": True, "additional_consented_products": ["transactions"]}, "access-1"),
        ({"item_id": "i", "update": {"reauthorization_enabled": True}, "products": ["statements"]}, "access-1"),
    ],
)
def test_what_is_sent_is_what_plaids_model_takes(body: dict[str, Any], access_token: str | None) -> None:
    request, sent = parse_link_token_request(body), Sent()
    PlaidLinkClient(sent).create_link_token(
        LinkTokenParameters(request, "user", "App", "https://stack.invalid/webhooks/plaid", access_token)
    )
    (fields,) = sent.requests
    strict = {"spec_property_naming": True, "_check_type": True, "configuration": plaid_python.Configuration()}
    checked = validate_and_convert_types(copy.deepcopy(fields), (LinkTokenCreateRequest,), ["body"], **strict)
    assert checked.client_name == "App"
    assert ("user" in fields) == ("user_id" not in fields)
    assert "user_id" in fields or fields["user"]["client_user_id"] == "user"
    assert set(fields.get("products", ())) <= set(PRODUCTS)
    own = {"client_user_id", "item_id", "days_requested", "account_selection", "user", "additional_consented_products"}
    assert {name: fields[name] for name in body if name not in own} == {
        name: value for name, value in body.items() if name not in own
    }
