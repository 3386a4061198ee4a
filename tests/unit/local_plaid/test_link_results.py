"""The results of Link sessions in /link/token/get and in webhooks, and what update mode repairs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, PlaidSimulator, SimulatedClock

from .conftest import NO_RECEIVER, Receiver, payloads

if TYPE_CHECKING:
    from .conftest import Http

START = {"link_session_id", "started_at"}
FINISHED = START | {"finished_at", "events"}
HOSTED = LinkTokenConfig(hosted=True)
MULTI = LinkTokenConfig(multi_item=True)


def token_of(sim: PlaidSimulator, config: LinkTokenConfig | None = None, item_id: str | None = None) -> str:
    return sim.create_link_token(ItemOptions(NO_RECEIVER, transactions=3), item_id, config)[0]


def session_of(http: Http, link_token: str) -> dict[str, Any]:
    (session,) = http("/link/token/get", link_token=link_token)[1]["link_sessions"]
    return dict(session)


@pytest.mark.parametrize(
    ("form", "success", "exited"),
    [
        ("full", {"results", "on_success"}, {"exit", "on_exit"}),
        ("deprecated", {"on_success"}, {"on_exit"}),
        ("partial", set(), set()),
    ],
)
def test_the_switch_decides_what_a_finished_session_shows(
    http: Http, sim: PlaidSimulator, form: Any, success: set[str], exited: set[str]
) -> None:
    sim.configure(link_results=form)
    completed, left = token_of(sim), token_of(sim)
    public_token = sim.complete_link(completed)
    sim.leave_link(left, "INVALID_CREDENTIALS")
    session = session_of(http, completed)
    assert session.keys() == FINISHED | success
    if "results" in session:
        assert [added["public_token"] for added in session["results"]["item_add_results"]] == [public_token]
    if "on_success" in session:
        assert session["on_success"]["public_token"] == public_token
    assert session_of(http, left).keys() == FINISHED | exited
    assert [event["event_name"] for event in session["events"]] == ["HANDOFF", "OPEN"]


def test_results_can_be_absent_except_for_hosted_link_and_multi_item_sessions(http: Http, sim: PlaidSimulator) -> None:
    sim.configure(link_results="absent")
    for config in (None, HOSTED, MULTI):
        link_token = token_of(sim, config)
        sim.complete_link(link_token)
        if config is MULTI:
            sim.finish_link(link_token)
        assert ("results" in session_of(http, link_token)) is (config is not None)
        assert (session_of(http, link_token).keys() == START) is (config is None)


def test_an_unfinished_session_has_no_result_and_timestamps_have_nanoseconds(http: Http, sim: PlaidSimulator) -> None:
    link_token = token_of(sim)
    sim.open_link(link_token)
    session = session_of(http, link_token)
    assert (set(session), session["finished_at"]) == (FINISHED, None)
    sim.complete_link(link_token)
    session = session_of(http, link_token)
    assert all(re.fullmatch(r".*:00\.\d{9}Z", session[name]) for name in ("started_at", "finished_at"))


@pytest.mark.parametrize("deprecated", [False, True])
def test_a_session_is_shown_while_it_is_open_and_after_it_finished(
    http: Http, sim: PlaidSimulator, clock: SimulatedClock, *, deprecated: bool
) -> None:
    sim.configure(link_results="deprecated" if deprecated else "full", link_results_seconds=5)
    link_token = token_of(sim)
    session_id = sim.open_link(link_token)
    clock.advance(60)
    public_token = sim.complete_link(link_token)
    assert session_of(http, link_token)["finished_at"] is None
    clock.advance(5)
    session = session_of(http, link_token)
    added = session["on_success"] if deprecated else session["results"]["item_add_results"][0]
    assert (session["link_session_id"], added["public_token"]) == (session_id, public_token)


def link_webhooks(sim: PlaidSimulator, link_token: str) -> list[dict[str, Any]]:
    return [payload for payload in payloads(sim) if payload.get("link_token") == link_token]


def test_hosted_link_fires_its_webhooks(http: Http, sim: PlaidSimulator) -> None:
    link_token = token_of(sim, LinkTokenConfig(hosted=True, user_id="usr_1"))
    public_token = sim.complete_link(link_token)
    added, finished, events = link_webhooks(sim, link_token)
    common = {
        "environment": "sandbox",
        "link_session_id": session_of(http, link_token)["link_session_id"],
        "link_token": link_token,
        "webhook_type": "LINK",
    }
    assert added == {**common, "webhook_code": "ITEM_ADD_RESULT", "public_token": public_token}
    result = {"status": "SUCCESS", "public_tokens": [public_token], "user_id": "usr_1"}
    assert finished == {**common, "webhook_code": "SESSION_FINISHED", **result}
    assert [event["event_name"] for event in events["events"]] == ["OPEN", "HANDOFF"]
    sim.leave_link(link_token, "INVALID_CREDENTIALS")
    finished, events = link_webhooks(sim, link_token)[3:]
    assert (finished["status"], "public_tokens" in finished) == ("EXITED", False)
    assert events["events"][-1]["event_metadata"]["error_code"] == "INVALID_CREDENTIALS"


def test_other_sessions_fire_webhooks_with_the_switch_only(sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.complete_link(token_of(sim))
    assert payloads(sim) == []
    sim.configure(link_webhooks_always=True)
    link_token = token_of(sim)
    sim.complete_link(link_token)
    codes = [payload["webhook_code"] for payload in link_webhooks(sim, link_token)]
    assert codes == ["ITEM_ADD_RESULT", "SESSION_FINISHED", "EVENTS"]
    update = token_of(sim, item_id=linked.item_id)
    sim.complete_link(update)
    finished, _ = link_webhooks(sim, update)
    assert (finished["status"], "public_tokens" in finished) == ("SUCCESS", False)


def test_several_items_are_added_in_one_multi_item_session(http: Http, sim: PlaidSimulator) -> None:
    link_token = token_of(sim, MULTI)
    public_tokens = [sim.complete_link(link_token, institution_id=bank) for bank in ("ins_109508", "ins_109509")]
    assert session_of(http, link_token)["finished_at"] is None
    sim.finish_link(link_token)
    session = session_of(http, link_token)
    assert [added["public_token"] for added in session["results"]["item_add_results"]] == public_tokens
    assert session["on_success"]["public_token"] == public_tokens[0]
    first, second, finished = link_webhooks(sim, link_token)
    assert [webhook["public_token"] for webhook in (first, second)] == public_tokens
    assert (finished["webhook_code"], finished["public_tokens"]) == ("SESSION_FINISHED", public_tokens)
    sim.complete_link(link_token)
    sim.leave_link(link_token)
    assert len(http("/link/token/get", link_token=link_token)[1]["link_sessions"]) == 2
    assert link_webhooks(sim, link_token)[-1]["status"] == "SUCCESS"


def test_link_webhooks_are_lost_and_duplicated_as_others(sim: PlaidSimulator, receiver: Receiver) -> None:
    link_token, _ = sim.create_link_token(ItemOptions(receiver.url, transactions=3), config=HOSTED)
    sim.configure(webhook_duplicates=1.0)
    sim.lose_webhooks()
    sim.complete_link(link_token)
    sim.run_due()
    assert receiver.codes() == ["ITEM_ADD_RESULT", *["SESSION_FINISHED"] * 2, *["EVENTS"] * 2]


@pytest.mark.parametrize("consents", [False, True])
def test_update_mode_repairs_a_missing_consent_only_if_it_requests_it(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, *, consents: bool
) -> None:
    sim.set_item_error(linked.item_id, "ADDITIONAL_CONSENT_REQUIRED")
    assert http.error("/transactions/sync", access_token=linked.access_token) == "ADDITIONAL_CONSENT_REQUIRED"
    config = LinkTokenConfig(consented_products=("transactions",) if consents else ())
    sim.complete_link(token_of(sim, config, linked.item_id))
    assert (sim.item(linked.item_id).error_code is None) is consents


def test_the_control_api_finishes_a_multi_item_session(http: Http, sim: PlaidSimulator) -> None:
    link_token = token_of(sim, MULTI)
    http.control("/link", link_token=link_token)
    http.control("/link/finish", link_token=link_token)
    assert len(session_of(http, link_token)["results"]["item_add_results"]) == 1


def test_an_item_is_removed_for_a_reason(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    token = linked.access_token
    assert http.error("/item/remove", access_token=token, reason_code="BOREDOM") == "INVALID_FIELD"
    assert http.error("/item/remove", access_token=token, reason_note="x" * 513) == "INVALID_FIELD"
    assert http("/item/remove", access_token=token, reason_code="FRAUD_ABUSE", reason_note="x" * 512)[0] == 200
    assert sim.item(linked.item_id).removal_reason == ("FRAUD_ABUSE", "x" * 512)


def test_an_invalidated_access_token_ends_at_once_and_cursors_stay(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    _, page = http("/transactions/sync", access_token=linked.access_token, count=500)
    _, answer = http("/item/access_token/invalidate", access_token=linked.access_token)
    assert http.error("/item/get", access_token=linked.access_token) == "INVALID_ACCESS_TOKEN"
    new = answer["new_access_token"]
    assert http("/transactions/sync", access_token=new, cursor=page["next_cursor"])[1]["added"] == []
    assert sim.item(linked.item_id).access_token == new
