"""Keys of the Links table that link tokens and public tokens have."""

from __future__ import annotations

from plaid_sync.linking.sessions import link_id_of, session_key


def test_a_session_is_stored_under_a_digest() -> None:
    assert session_key("link-1").startswith("session#")
    assert "link-1" not in session_key("link-1")
    assert session_key("link-1") != session_key("link-2")
    assert link_id_of("public-sandbox-1") == link_id_of("public-sandbox-1") != link_id_of("public-sandbox-2")
