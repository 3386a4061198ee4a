"""Link over HTTP: tokens, what the user does with them, and what /link/token/get tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import simplejson

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, Phase, PlaidError, PlaidSimulator, SimulatedClock

if TYPE_CHECKING:
    from .conftest import Http

ASKED: dict[str, Any] = {
    "client_name": "Ledger",
    "language": "en",
    "country_codes": ["US", "CA"],
    "user": {"client_user_id": "user-1"},
}
NEW = {**ASKED, "products": ["transactions"]}
NO_OTHER_RESULTS: dict[str, Any] = {
    "bank_income_results": [],
    "cra_item_add_results": [],
    "cra_update_results": [],
    "document_income_results": None,
    "payroll_income_results": [],
}


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(transactions=30, phase=Phase.HISTORICAL)


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
def test_a_link_token_needs_its_fields(http: Http, field: str) -> None:
    status, error = http("/link/token/create", **{name: value for name, value in NEW.items() if name != field})
    assert (status, error["error_code"]) == (400, "MISSING_FIELDS")
    assert error["error_message"].endswith(f": {field}")


@pytest.mark.parametrize(
    "wrong",
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
def test_a_link_token_with_a_wrong_field_is_refused(http: Http, wrong: dict[str, Any]) -> None:
    status, error = http("/link/token/create", **{**NEW, **wrong})
    assert (status, error["error_code"]) == (400, "INVALID_FIELD")


def test_production_sends_users_back_over_https_only(http: Http, sim: PlaidSimulator) -> None:
    sim.configure(environment="production")
    status, error = http("/link/token/create", **NEW, redirect_uri="http://ledger.example/back")
    assert (status, error["error_code"]) == (400, "INVALID_FIELD")
    assert http("/link/token/create", **NEW, redirect_uri="https://ledger.example/back")[0] == 200


def test_a_link_token_remembers_what_it_was_created_with(http: Http, sim: PlaidSimulator) -> None:
    webhook, back = "https://ledger.example/webhook", "https://ledger.example/back"
    link_token = create(http, webhook=webhook, redirect_uri=back, transactions={"days_requested": 30})
    shown = get(http, link_token)
    assert {name: shown[name] for name in ("link_token", "created_at", "expiration", "link_sessions", "metadata")} == {
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
    token = sim.link_token(link_token)
    assert (token.config.client_user_id, token.options.days_requested) == ("user-1", 30)


def test_a_user_id_takes_the_place_of_the_user(http: Http) -> None:
    assert http("/link/token/create", **{**NEW, "user": None}, user_id="usr_1")[0] == 200


def test_plaid_hosts_link_if_asked_to(http: Http) -> None:
    assert "hosted_link_url" not in http("/link/token/create", **NEW)[1]
    _, hosted = http("/link/token/create", **NEW, hosted_link={})
    assert hosted["hosted_link_url"].startswith("https://secure.plaid.com/hl/")
    assert hosted["expiration"] == "2026-06-01T12:30:00Z"
    _, long = http("/link/token/create", **NEW, hosted_link={"url_lifetime_seconds": 86_400})
    assert long["expiration"] == "2026-06-02T12:00:00Z"


def test_update_mode_goes_without_products_and_is_short(http: Http, linked: LinkedItem) -> None:
    status, error = http("/link/token/create", **NEW, access_token=linked.access_token)
    assert (status, error["error_code"]) == (400, "INVALID_FIELD")
    extras: tuple[dict[str, Any], ...] = ({}, {"products": []}, {"products": None})
    for extra in extras:
        status, answer = http("/link/token/create", **ASKED, access_token=linked.access_token, **extra)
        assert (status, answer["expiration"]) == (200, "2026-06-01T12:30:00Z")


def test_update_mode_is_refused_to_an_item_that_is_gone(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    link_token = update_token(sim, linked.item_id)
    sim.remove_item(linked.item_id)
    assert http("/link/token/create", **ASKED, access_token=linked.access_token)[1]["error_code"] == "ITEM_NOT_FOUND"
    unknown = http("/link/token/create", **ASKED, access_token="access-sandbox-of-nobody")
    assert unknown[1]["error_code"] == "INVALID_ACCESS_TOKEN"
    with pytest.raises(PlaidError, match="ITEM_NOT_FOUND"):
        sim.complete_link(link_token)


def test_what_the_user_linked_is_told_with_its_public_token(http: Http, sim: PlaidSimulator) -> None:
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
    _, shown = http("/accounts/get", access_token=exchanged["access_token"])
    fields = ("mask", "name", "subtype", "type")
    assert added["accounts"] == [
        {
            "id": account["account_id"],
            **{field: account[field] for field in fields},
            "verification_status": None,
            "class_type": None,
        }
        for account in shown["accounts"]
    ]
    assert (shown["item"]["institution_id"], shown["item"]["institution_name"]) == ("ins_109511", "Tartan Bank")


def test_the_deprecated_form_tells_the_same(http: Http, sim: PlaidSimulator) -> None:
    link_token = create(http)
    sim.complete_link(link_token)
    (added,) = only_session(http, link_token)["results"]["item_add_results"]
    sim.configure(link_results_deprecated=True)
    session = only_session(http, link_token)
    assert not session.keys() & {"results", "exit"}
    assert session["on_exit"] is None
    assert session["on_success"]["public_token"] == added["public_token"]
    metadata = session["on_success"]["metadata"]
    assert (metadata["accounts"], metadata["institution"]) == (added["accounts"], added["institution"])
    assert metadata["link_session_id"] == session["link_session_id"]


@pytest.mark.parametrize("deprecated", [False, True])
def test_a_user_who_leaves_is_told_as_an_exit(http: Http, sim: PlaidSimulator, *, deprecated: bool) -> None:
    sim.configure(link_results_deprecated=deprecated)
    link_token = create(http)
    sim.leave_link(link_token)
    session = only_session(http, link_token)
    exit_told, results = (session[name] for name in (("on_exit", "on_success") if deprecated else ("exit", "results")))
    assert (exit_told["error"], exit_told["metadata"]["link_session_id"]) == (None, session["link_session_id"])
    assert session["finished_at"] is not None
    assert results is None
    sim.leave_link(link_token, "INVALID_CREDENTIALS")
    newest = get(http, link_token)["link_sessions"][0]
    assert newest["on_exit" if deprecated else "exit"]["error"]["error_code"] == "INVALID_CREDENTIALS"


def test_sessions_are_told_newest_first_and_open_ones_as_not_finished(
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


@pytest.mark.parametrize("deprecated", [False, True])
def test_results_can_be_late(http: Http, sim: PlaidSimulator, clock: SimulatedClock, *, deprecated: bool) -> None:
    sim.configure(link_results_seconds=5.0, link_results_deprecated=deprecated)
    link_token = create(http)
    sim.complete_link(link_token)
    names = ("on_exit", "on_success") if deprecated else ("exit", "results")
    clock.advance(4)
    session = only_session(http, link_token)
    assert [session[name] for name in ("finished_at", *names)] == [None] * 3
    clock.advance(1)
    session = only_session(http, link_token)
    assert (session["finished_at"], session[names[1]] is None) == ("2026-06-01T12:00:00Z", False)


def test_a_session_is_told_for_six_hours_even_if_its_token_has_expired(
    http: Http, sim: PlaidSimulator, clock: SimulatedClock
) -> None:
    link_token = create(http)
    sim.complete_link(link_token)
    clock.advance(6 * 3600 - 1)
    assert len(get(http, link_token)["link_sessions"]) == 1
    clock.advance(1)
    assert get(http, link_token)["link_sessions"] == []
    for act in (sim.complete_link, sim.leave_link, sim.open_link):
        with pytest.raises(PlaidError, match="INVALID_LINK_TOKEN"):
            act(link_token)


def test_an_unknown_link_token_is_refused(http: Http, sim: PlaidSimulator) -> None:
    status, error = http("/link/token/get", link_token="link-sandbox-nobody")
    assert (status, error["error_type"], error["error_code"]) == (400, "INVALID_INPUT", "INVALID_LINK_TOKEN")
    assert http("/link/token/get")[1]["error_code"] == "MISSING_FIELDS"
    assert http("/link/token/get", link_token="x", more=1)[1]["error_code"] == "UNKNOWN_FIELDS"
    with pytest.raises(PlaidError, match="INVALID_LINK_TOKEN"):
        sim.leave_link("link-sandbox-nobody")


def test_update_mode_ends_with_no_results(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    link_token = update_token(sim, linked.item_id)
    assert sim.complete_link(link_token) is None
    session = only_session(http, link_token)
    assert session["finished_at"] is not None
    assert (session["exit"], session["results"]) == (None, {"item_add_results": [], **NO_OTHER_RESULTS})


def test_update_mode_may_add_an_account(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    before = {account["account_id"] for account in sim.account_rows(linked.item_id)}
    with pytest.raises(ValueError, match="account_selection_enabled"):
        sim.complete_link(update_token(sim, linked.item_id), new_account=True)
    _, created = http(
        "/link/token/create", **ASKED, access_token=linked.access_token, update={"account_selection_enabled": True}
    )
    sim.complete_link(created["link_token"], new_account=True)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    (added,) = [account for account in answer["accounts"] if account["account_id"] not in before]
    assert len(answer["accounts"]) == len(before) + 1
    sim.add(linked.item_id, 60)
    assert added["account_id"] in {row["account_id"] for row in sim.truth(linked.item_id).values()}
    with pytest.raises(ValueError, match="account_selection_enabled"):
        sim.complete_link(create(http), new_account=True)


def identities(sim: PlaidSimulator, item_id: str) -> list[tuple[str, ...]]:
    fields = ("name", "mask", "type", "subtype", "persistent_account_id")
    return [tuple(account[field] for field in fields) for account in sim.account_rows(item_id)]


def ids_of(sim: PlaidSimulator, linked: LinkedItem) -> set[str]:
    accounts = {account["account_id"] for account in sim.account_rows(linked.item_id)}
    return {linked.item_id, linked.access_token, *accounts, *sim.truth(linked.item_id)}


def test_one_login_linked_twice_has_the_same_accounts_under_other_ids(http: Http, sim: PlaidSimulator) -> None:
    one = sim.link_item(transactions=40, phase=Phase.HISTORICAL, login="ana")
    link_token = create(http)
    sim.complete_link(link_token, login="ana")
    (added,) = only_session(http, link_token)["results"]["item_add_results"]
    two = sim.exchange(added["public_token"])
    three = sim.exchange(sim.create_public_token(transactions=40, login="ana"))
    for other in (two, three):
        sim.advance_phase(other.item_id)
        assert identities(sim, one.item_id) == identities(sim, other.item_id)
        assert not ids_of(sim, one) & ids_of(sim, other)
    for item_id in (one.item_id, two.item_id):  # an account that both share later is the same one, too
        sim.complete_link(update_token(sim, item_id, account_selection=True), new_account=True)
    assert identities(sim, one.item_id)[-1] == identities(sim, two.item_id)[-1]


def test_other_logins_and_other_banks_have_other_accounts(sim: PlaidSimulator) -> None:
    logins = [{"login": "ana"}, {"login": "ben"}, {"login": "ana", "institution_id": "ins_109509"}, {}, {}]
    items = [sim.link_item(transactions=0, **options) for options in logins]  # type: ignore[arg-type] # their names
    masks = {tuple(account["mask"] for account in sim.account_rows(item.item_id)) for item in items}
    assert len(masks) == len(items)


def test_the_control_surface_plays_the_user(http: Http, sim: PlaidSimulator) -> None:
    def act(path: str, **body: Any) -> Any:
        status, answer = http.raw(f"/_sim{path}", simplejson.dumps(body).encode())
        assert status == 200, answer
        return answer

    link_token = create(http)
    act("/link/leave", link_token=link_token, error_code="ITEM_LOCKED")
    opened = act("/link/open", link_token=link_token)["link_session_id"]
    public_token = act("/link", link_token=link_token, login="ana", bank="ins_109512")["public_token"]
    newest, oldest = get(http, link_token)["link_sessions"]
    assert newest["link_session_id"] == opened
    assert newest["results"]["item_add_results"][0]["public_token"] == public_token
    assert oldest["exit"]["error"]["error_code"] == "ITEM_LOCKED"
    linked = sim.exchange(public_token)
    assert identities(sim, linked.item_id) == identities(
        sim, sim.link_item(transactions=0, login="ana", institution_id="ins_109512").item_id
    )
    _, created = http(
        "/link/token/create", **ASKED, access_token=linked.access_token, update={"account_selection_enabled": True}
    )
    assert act("/link", link_token=created["link_token"], new_account=True) == {"public_token": None}
    assert len(sim.account_rows(linked.item_id)) == 6
    status, error = http.raw("/_sim/link", simplejson.dumps({"link_token": link_token, "new_account": True}).encode())
    assert (status, "account_selection_enabled" in error["error"]) == (400, True)
