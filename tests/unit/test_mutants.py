"""Every guard still exists in the engine: `make mutants` takes each out and runs the tests."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from local.stack.paths import PROJECT
from tests.mutants.mutation import ENGINE, AnchorError, Guard, copy_engine, load_guards, mutate

if TYPE_CHECKING:
    from pathlib import Path

GUARDS = load_guards()


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_guard_is_where_its_anchor_says_and_can_be_taken_out(guard: Guard) -> None:
    path, source = mutate(guard)
    assert source != ast.unparse(ast.parse((ENGINE / path).read_text(encoding="utf-8")))
    assert (PROJECT / guard.tests.partition("::")[0]).is_file()
    assert guard.protects.endswith(".")


@pytest.mark.parametrize(
    ("where", "find"),
    [
        ("plaid_sync.sync.engine.is_gone", "item.reconcile"),
        ("plaid_sync.no_module.is_covered", "item.reconcile"),
        ("plaid_sync.sync.engine.is_covered", "item.reconcile and _"),
        ("plaid_sync.sync.engine.is_covered", "item"),
    ],
)
def test_an_anchor_that_does_not_exist_or_is_ambiguous_is_reported_by_the_functions_name(where: str, find: str) -> None:
    with pytest.raises(AnchorError, match=where):
        mutate(Guard("name", "It protects.", where, (find, "False")))


@pytest.mark.parametrize(
    ("find", "put", "expected"),
    [
        ("a.reconcile", "", "    if b(1, key=2):"),
        ("b(...)", "True", "    if a.reconcile or True:"),
        ("key=_", "", "    if a.reconcile or b(1):"),
        ("_ or _", "False", "    if False:"),
        ("if _: ...", "return None", "    return None"),
        ("c.d(_)", "", "        pass"),
        ("c.d(_)", "e = 1; f()", "        e = 1\n        f()"),
    ],
)
def test_a_pattern_matches_syntax_and_not_text(tmp_path: Path, find: str, put: str, expected: str) -> None:
    source = "def f(a, b):\n    if (a.reconcile  # a comment\n            or b(1, key=2)):\n        c.d('x')\n"
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    _, mutated = mutate(Guard("name", "It protects.", "module.f", (find, put)), tmp_path)
    assert f"{expected}\n" in f"{mutated}\n"


def test_a_copy_of_the_engine_lacks_the_guard(tmp_path: Path) -> None:
    path, source = mutate(GUARDS[0])
    copy_engine(tmp_path, GUARDS[0])
    assert (tmp_path / path).read_text(encoding="utf-8") == source
