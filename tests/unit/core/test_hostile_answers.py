"""Hostile answers of Plaid's: what the fuzzer does (`tests/fuzz`), for a few seconds."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import make


@cache
def target() -> Any:
    return make("answers")


@settings(max_examples=600, deadline=None)
@given(st.binary(max_size=400))
def test_no_answer_whatever_gives_an_undocumented_error_and_no_entry_of_a_page_vanishes(case: bytes) -> None:
    target().run(case)


def test_the_seeds_of_the_fuzzer_reach_every_call_rows_removals_and_broken_entries() -> None:
    fresh = make("answers")
    for case in fresh.seeds():
        fresh.run(case)
    reached = ("a page", "rows", "removals", "a health", "an ill one", "an exchange", "a removal")
    assert min(fresh.tally[name] for name in reached) > 0
