"""Link over HTTP: link tokens, the user's actions in Link, and the sessions that /link/token/get returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, Phase, PlaidSimulator, SimulatedClock

from .conftest import error_code

if TYPE_CHECKING:
    from .conftest import Http

UPDATE: dict[str, Any] = {
    "client_name": "Ledger",
    "language": "en",
    "country_codes": ["US", "CA"],
    "user": {"client_user_id": "user-1"},
}
NEW = {**UPDATE, "products": ["transactions"]}


def create(http: Http, **fields: Any) -> str:
    status, answer = http("/link/token/create", **{**NEW, **fields})
    assert status == 200, answer
    return str(answer["link_token"])


def get(http: Http, link_token: str) -> dict[str, Any]:
    status, answer = http("/link/token/get", link_token=link_token)
    assert status == 200, answer
    return answer


def only_session(http: Http, link_token: str) -> dict[str, Any]:
    (session,) = get(http, link_token)["link_sessions"]
    return dict(session)


def update_token(sim: PlaidSimulator, item_id: str, *, account_selection: bool = False) -> str:
    return sim.create_link_token(ItemOptions(), item_id, LinkTokenConfig(account_selection=account_selection))[0]


@pytest.mark.parametrize("field", ["client_name", "language", "country_codes", "user", "products"])
def test_a_link_token_requires_its_fields(http: Http, field: str) -> None:
    status, error = http("/link/token/create", **{name: value for name, value in NEW.items() if name != field})
    assert (status, error["error_code"]) == (400, "MISSING_FIELDS")
    assert error["error_message"].endswith(f": {field}")


@pytest.mark.parametrize(
    "invalid",
    [
        {"client_name": "x" * 31},
        {"language": "xx"},
        {"country_codes": []},
        {"country_codes": "US"},
        {"user": {}},
        {"user": {"client_user_id": ""}},
        {"user": "user-1"},
        {"products": []},
        {"products": ["transactions", 7]},
        {"webhook": "somewhere"},
        {"redirect_uri": "https://ledger.example/?a=b"},
        {"transactions": {"days_requested": 731}},
        {"hosted_link": {"url_lifetime_seconds": 0}},
        {"hosted_link": True},
        {"hosted_link": {"delivery_method": "letter"}},
        {"update": {"account_selection_enabled": "yes"}},
        {"products": ["transaction"]},
        {"country_codes": ["XX"]},
        {"optional_products": "auth"},
        {"optional_products": ["auth"], "additional_consented_products": ["auth"]},
        {"required_if_supported_products": ["transactions"]},
        {"android_package_name": 7},
        {"android_package_name": "com.ledger", "redirect_uri": "https://ledger.example"},
        {"enable_multi_item_link": "yes"},
        {"account_filters": []},
        {"account_filters": {"credit": {"account_subtypes": "all"}}},
        {"user": {"client_user_id": "user-1", "date_of_birth": "yesterday"}},
    ],
)
def test_a_link_token_with_an_invalid_field_is_rejected(http: Http, invalid: dict[str, Any]) -> None:
    assert http.error("/link/token/create", **{**NEW, **invalid}) == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("unknown", "name"),
    [
        ({"product": ["auth"]}, "product"),
        ({"hosted_link": {"url_lifetime": 60}}, "hosted_link.url_lifetime"),
        ({"account_filters": {"savings": {}}}, "account_filters.savings"),
        ({"account_filters": {"credit": {"subtypes": []}}}, "account_filters.credit.subtypes"),
        ({"user": {"client_user_id": "user-1", "email": "a@b.example"}}, "user.email"),
    ],
)
def test_an_unknown_field_is_rejected_at_any_depth(http: Http, unknown: dict[str, Any], name: str) -> None:
    status, error = http("/link/token/create", **{**NEW, **unknown})
    assert (status, error["error_code"]) == (400, "UNKNOWN_FIELDS")
    assert error["error_message"].endswith(f": {name}")


def test_a_link_token_takes_every_field_that_transactions_need(http: Http, sim: PlaidSimulator) -> None:
    request: dict[str, Any] = {
        "account_filters": {"depository": {"account_subtypes": ["checking"]}, "credit": {"account_subtypes": ["all"]}},
        "additional_consented_products": ["liabilities"],
        "android_package_name": "com.ledger",
        "enable_multi_item_link": False,
        "hosted_link": {"completion_redirect_uri": "https://ledger.example/done", "is_mobile_app": True},
        "link_customization_name": "dark",
        "optional_products": ["identity"],
        "required_if_supported_products": ["auth"],
        "update": {"account_selection_enabled": False},
        "user_id": "usr_1",
    }
    link_token = create(http, **request)
    token = sim.link_token(link_token)
    assert token.request == {**NEW, **request}
    assert token.options.products == ("transactions", "auth", "identity")
    assert token.config.consented_products == ("liabilities",)
    answer = get(http, link_token)
    assert (answer["user_id"], answer["metadata"]["initial_products"]) == ("usr_1", ["transactions"])
    assert answer["metadata"]["account_filters"] == request["account_filters"]
    public_token = sim.complete_link(link_token)
    assert public_token
    accounts = sim.account_rows(sim.exchange(public_token).item_id)
    assert [account["name"] for account in accounts] == ["Everyday Checking", "Travel Rewards Card", "Euro Wallet"]


def test_link_token_get_returns_the_configuration(http: Http, sim: PlaidSimulator) -> None:
    webhook, back = "https://ledger.example/webhook", "https://ledger.example/back"
    link_token = create(http, webhook=webhook, redirect_uri=back, transactions={"days_requested": 30})
    expected = {
        "link_token": link_token,
        "created_at": "2026-06-01T12:00:00Z",
        "expiration": "2026-06-01T16:00:00Z",
        "link_sessions": [],
        "metadata": {
            "client_name": "Ledger",
            "country_codes": ["US", "CA"],
            "initial_products": ["transactions"],
            "language": "en",
            "redirect_uri": back,
            "webhook": webhook,
        },
    }
    assert expected.items() <= get(http, link_token).items()
    token = sim.link_token(link_token)
    assert (token.config.client_user_id, token.options.days_requested) == ("user-1", 30)
    assert http("/link/token/create", **{**NEW, "user": None}, user_id="usr_1")[0] == 200


@pytest.mark.parametrize(
    ("hosted_link", "expiration"),
    [
        (None, "2026-06-01T16:00:00Z"),
        ({}, "2026-06-01T12:30:00Z"),
        ({"url_lifetime_seconds": 86_400}, "2026-06-02T12:00:00Z"),
    ],
)
def test_hosted_link_has_a_url_and_its_own_lifetime(http: Http, hosted_link: Any, expiration: str) -> None:
    _, answer = http("/link/token/create", **NEW, hosted_link=hosted_link)
    url = answer.get("hosted_link_url", "")
    assert (url.startswith("https://secure.plaid.com/hl/"), answer["expiration"]) == (
        hosted_link is not None,
        expiration,
    )


def test_update_mode_takes_no_products_and_expires_after_30_minutes(http: Http, linked: LinkedItem) -> None:
    assert http.error("/link/token/create", **NEW, access_token=linked.access_token) == "INVALID_FIELD"
    extras: tuple[dict[str, Any], ...] = ({}, {"products": []}, {"products": None})
    for extra in extras:
        status, answer = http("/link/token/create", **UPDATE, access_token=linked.access_token, **extra)
        assert (status, answer["expiration"]) == (200, "2026-06-01T12:30:00Z")


def test_update_mode_of_a_removed_or_unknown_item_is_rejected(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    link_token = update_token(sim, linked.item_id)
    sim.remove_item(linked.item_id)
    tokens = {linked.access_token: "ITEM_NOT_FOUND", "access-sandbox-unknown": "INVALID_ACCESS_TOKEN"}
    for access_token, code in tokens.items():
        assert http.error("/link/token/create", **UPDATE, access_token=access_token) == code
    assert error_code(lambda: sim.complete_link(link_token)) == "ITEM_NOT_FOUND"


def test_sessions_are_kept_for_six_hours_after_an_expired_token_too(
    http: Http, sim: PlaidSimulator, clock: SimulatedClock
) -> None:
    link_token = create(http)
    sim.complete_link(link_token)
    clock.advance(6 * 3600 - 1)
    assert len(get(http, link_token)["link_sessions"]) == 1
    clock.advance(1)
    assert get(http, link_token)["link_sessions"] == []
    for act in (sim.complete_link, sim.leave_link, sim.open_link):
        assert error_code(lambda act=act: act(link_token)) == "INVALID_LINK_TOKEN"  # type: ignore[misc] # bound now


def test_an_account_is_added_only_in_update_mode_with_account_selection(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    for link_token in (update_token(sim, linked.item_id), create(http)):
        with pytest.raises(ValueError, match="account_selection_enabled"):
            sim.complete_link(link_token, new_account=True)


def identities(sim: PlaidSimulator, item_id: str) -> list[tuple[str, ...]]:
    fields = ("name", "mask", "type", "subtype", "persistent_account_id")
    return [tuple(account[field] for field in fields) for account in sim.account_rows(item_id)]


def all_ids(sim: PlaidSimulator, linked: LinkedItem) -> set[str]:
    accounts = {account["account_id"] for account in sim.account_rows(linked.item_id)}
    return {linked.item_id, linked.access_token, *accounts, *sim.truth(linked.item_id)}


def test_items_of_one_login_have_the_same_accounts_under_other_ids(http: Http, sim: PlaidSimulator) -> None:
    first = sim.link_item(transactions=40, phase=Phase.HISTORICAL, login="ana")
    link_token = create(http)
    sim.complete_link(link_token, login="ana")
    (added,) = only_session(http, link_token)["results"]["item_add_results"]
    second = sim.exchange(added["public_token"])
    third = sim.exchange(sim.create_public_token(transactions=40, login="ana"))
    for other in (second, third):
        sim.advance_phase(other.item_id)
        assert identities(sim, first.item_id) == identities(sim, other.item_id)
        assert not all_ids(sim, first) & all_ids(sim, other)
    for item_id in (first.item_id, second.item_id):  # also an account that both share later
        sim.complete_link(update_token(sim, item_id, account_selection=True), new_account=True)
    assert identities(sim, first.item_id)[-1] == identities(sim, second.item_id)[-1]


def test_other_logins_and_institutions_have_other_accounts(sim: PlaidSimulator) -> None:
    logins = [{"login": "ana"}, {"login": "ben"}, {"login": "ana", "institution_id": "ins_109509"}, {}, {}]
    items = [sim.link_item(transactions=0, **options) for options in logins]  # type: ignore[arg-type] # their names
    masks = {tuple(account["mask"] for account in sim.account_rows(item.item_id)) for item in items}
    assert len(masks) == len(items)
