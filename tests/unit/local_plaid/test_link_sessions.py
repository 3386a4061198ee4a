"""Link over HTTP: link tokens, the user's actions in Link, and the sessions that /link/token/get returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import simplejson

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
NO_OTHER_RESULTS: dict[str, Any] = {
    "bank_income_results": [],
    "cra_item_add_results": [],
    "cra_update_results": [],
    "document_income_results": None,
    "payroll_income_results": [],
}


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
        {"update": {"account_selection_enabled": "yes"}},
    ],
)
def test_a_link_token_with_an_invalid_field_is_rejected(http: Http, invalid: dict[str, Any]) -> None:
    assert http.error("/link/token/create", **{**NEW, **invalid}) == "INVALID_FIELD"


def test_production_requires_an_https_redirect_uri(http: Http, sim: PlaidSimulator) -> None:
    sim.configure(environment="production")
    uri = "http://ledger.example/back"
    assert http.error("/link/token/create", **NEW, redirect_uri=uri) == "INVALID_FIELD"
    assert http("/link/token/create", **NEW, redirect_uri=uri.replace("http:", "https:"))[0] == 200


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


def test_a_completed_session_contains_the_item_and_its_public_token(http: Http, sim: PlaidSimulator) -> None:
    link_token = create(http)
    public_token = sim.complete_link(link_token, institution_id="ins_109511")
    session = only_session(http, link_token)
    assert (session["started_at"], session["finished_at"], session["exit"]) == (*["2026-06-01T12:00:00Z"] * 2, None)
    assert [event["event_name"] for event in session["events"]] == ["OPEN", "HANDOFF"]
    (added,) = session["results"].pop("item_add_results")
    assert session["results"] == NO_OTHER_RESULTS
    assert added["public_token"] == public_token
    assert added["institution"] == {"institution_id": "ins_109511", "name": "Tartan Bank"}
    _, exchanged = http("/item/public_token/exchange", public_token=added["public_token"])
    _, linked = http("/accounts/get", access_token=exchanged["access_token"])
    assert added["accounts"] == [
        {
            "id": account["account_id"],
            **{field: account[field] for field in ("mask", "name", "subtype", "type")},
            "verification_status": None,
            "class_type": None,
        }
        for account in linked["accounts"]
    ]
    assert (linked["item"]["institution_id"], linked["item"]["institution_name"]) == ("ins_109511", "Tartan Bank")


def test_the_deprecated_format_contains_the_same_result(http: Http, sim: PlaidSimulator) -> None:
    link_token = create(http)
    sim.complete_link(link_token)
    (added,) = only_session(http, link_token)["results"]["item_add_results"]
    sim.configure(link_results_deprecated=True)
    session = only_session(http, link_token)
    assert not session.keys() & {"results", "exit"}
    assert session["on_exit"] is None
    assert session["on_success"]["public_token"] == added["public_token"]
    expected = {**added, "link_session_id": session["link_session_id"]}
    metadata = session["on_success"]["metadata"]
    assert all(metadata[field] == expected[field] for field in ("accounts", "institution", "link_session_id"))


@pytest.mark.parametrize(("deprecated", "names"), [(False, ("exit", "results")), (True, ("on_exit", "on_success"))])
def test_an_exit_has_no_results_and_may_have_an_error(
    http: Http, sim: PlaidSimulator, names: tuple[str, str], *, deprecated: bool
) -> None:
    sim.configure(link_results_deprecated=deprecated)
    link_token = create(http)
    sim.leave_link(link_token)
    session = only_session(http, link_token)
    link_exit, results = (session[name] for name in names)
    assert (link_exit["error"], link_exit["metadata"]["link_session_id"]) == (None, session["link_session_id"])
    assert session["finished_at"] is not None
    assert results is None
    sim.leave_link(link_token, "INVALID_CREDENTIALS")
    assert get(http, link_token)["link_sessions"][0][names[0]]["error"]["error_code"] == "INVALID_CREDENTIALS"


@pytest.mark.parametrize(("deprecated", "names"), [(False, ("exit", "results")), (True, ("on_exit", "on_success"))])
def test_results_can_be_delayed(
    http: Http, sim: PlaidSimulator, clock: SimulatedClock, names: tuple[str, str], *, deprecated: bool
) -> None:
    sim.configure(link_results_seconds=5.0, link_results_deprecated=deprecated)
    link_token = create(http)
    sim.complete_link(link_token)
    clock.advance(4)
    session = only_session(http, link_token)
    assert [session[name] for name in ("finished_at", *names)] == [None] * 3
    clock.advance(1)
    session = only_session(http, link_token)
    assert (session["finished_at"], session[names[1]] is None) == ("2026-06-01T12:00:00Z", False)


def test_sessions_are_listed_newest_first_even_unfinished_ones(
    http: Http, sim: PlaidSimulator, clock: SimulatedClock
) -> None:
    link_token = create(http)
    sim.leave_link(link_token)
    clock.advance(60)
    opened = sim.open_link(link_token)
    newest, oldest = get(http, link_token)["link_sessions"]
    assert (newest["link_session_id"], newest["finished_at"]) == (opened, None)
    assert (newest["results"], newest["exit"]) == (None, None)
    assert [event["event_name"] for event in newest["events"]] == ["OPEN"]
    assert oldest["exit"] is not None
    clock.advance(60)
    sim.complete_link(link_token)
    newest, _ = get(http, link_token)["link_sessions"]
    assert (newest["started_at"], newest["finished_at"]) == ("2026-06-01T12:01:00Z", "2026-06-01T12:02:00Z")
    assert len(newest["results"]["item_add_results"]) == 1


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


def test_an_unknown_link_token_is_rejected(http: Http, sim: PlaidSimulator) -> None:
    status, error = http("/link/token/get", link_token="link-sandbox-unknown")
    assert (status, error["error_type"], error["error_code"]) == (400, "INVALID_INPUT", "INVALID_LINK_TOKEN")
    assert http.error("/link/token/get") == "MISSING_FIELDS"
    assert http.error("/link/token/get", link_token="x", more=1) == "UNKNOWN_FIELDS"
    assert error_code(lambda: sim.leave_link("link-sandbox-unknown")) == "INVALID_LINK_TOKEN"


def test_update_mode_finishes_without_results(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    link_token = update_token(sim, linked.item_id)
    assert sim.complete_link(link_token) is None
    session = only_session(http, link_token)
    assert session["finished_at"] is not None
    assert (session["exit"], session["results"]) == (None, {"item_add_results": [], **NO_OTHER_RESULTS})


def test_update_mode_with_account_selection_adds_an_account(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    before = {account["account_id"] for account in sim.account_rows(linked.item_id)}
    for link_token in (update_token(sim, linked.item_id), create(http)):
        with pytest.raises(ValueError, match="account_selection_enabled"):
            sim.complete_link(link_token, new_account=True)
    _, created = http(
        "/link/token/create", **UPDATE, access_token=linked.access_token, update={"account_selection_enabled": True}
    )
    sim.complete_link(created["link_token"], new_account=True)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    (added,) = [account for account in answer["accounts"] if account["account_id"] not in before]
    assert len(answer["accounts"]) == len(before) + 1
    sim.add(linked.item_id, 60)
    assert added["account_id"] in {row["account_id"] for row in sim.truth(linked.item_id).values()}


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


def test_the_control_api_acts_as_the_user(http: Http, sim: PlaidSimulator) -> None:
    link_token = create(http)
    http.control("/link/leave", link_token=link_token, error_code="ITEM_LOCKED")
    opened = http.control("/link/open", link_token=link_token)["link_session_id"]
    completed = http.control("/link", link_token=link_token, login="ana", bank="ins_109512")
    newest, oldest = get(http, link_token)["link_sessions"]
    assert newest["link_session_id"] == opened
    assert newest["results"]["item_add_results"][0]["public_token"] == completed["public_token"]
    assert oldest["exit"]["error"]["error_code"] == "ITEM_LOCKED"
    status, linked = http("/item/public_token/exchange", **completed)
    assert status == 200
    same = sim.link_item(transactions=0, login="ana", institution_id="ins_109512")
    assert identities(sim, linked["item_id"]) == identities(sim, same.item_id)
    _, created = http(
        "/link/token/create", **UPDATE, access_token=linked["access_token"], update={"account_selection_enabled": True}
    )
    updated = http.control("/link", link_token=created["link_token"], new_account=True)
    assert (updated, len(sim.account_rows(linked["item_id"]))) == ({"public_token": None}, 6)
    status, error = http.raw("/_sim/link", simplejson.dumps({"link_token": link_token, "new_account": True}).encode())
    assert (status, "account_selection_enabled" in error["error"]) == (400, True)
