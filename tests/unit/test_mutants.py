"""That the mutants still fit the code: `make mutants` runs them, and takes minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local.stack.paths import PROJECT
from tests.model.scenarios import SMALL
from tests.mutants.mutant import Change, RottenError, load, load_equivalents, text_of

MUTANTS, EQUIVALENTS = load(), load_equivalents()
ALL: list[Change] = [*MUTANTS, *EQUIVALENTS]


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.name)
def test_a_mutant_fits_the_code_and_is_python(change: Change) -> None:
    assert change.applied(text_of(change)) != text_of(change)


def test_no_mutant_names_what_is_not_there(tmp_path: Path) -> None:
    """An undefined name would fail a test without showing anything about a guard."""
    for number, change in enumerate(ALL):
        (tmp_path / f"{number}.py").write_text(change.applied(text_of(change)), encoding="utf-8")
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--isolated", "--no-cache", "--select", "F821,F823"]
    done = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_names_are_unique_and_guards_are_sentences() -> None:
    assert len({change.name for change in ALL}) == len(ALL)
    assert all(change.guard.endswith(".") for change in ALL)
    assert all(equivalent.why for equivalent in EQUIVALENTS)


def test_what_should_catch_a_mutant_is_there() -> None:
    assert all(mutant.pytest or mutant.model or mutant.faults for mutant in MUTANTS)
    scenarios = {scenario.name for scenario in SMALL}
    assert {name for mutant in MUTANTS for name in mutant.model} <= scenarios
    for test in {test for mutant in MUTANTS for test in mutant.pytest}:
        file, _, name = test.partition("::")
        assert f"\ndef {name.partition('[')[0]}(" in (PROJECT / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("b = 1", "once"), ("a = 1; a = 1", "once"), ("a = 1\nif a:", "not Python")],
)
def test_a_mutant_that_does_not_fit_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(RottenError, match=complaint):
        Change("name", "guard", "file.py", old="a = 1", new="a = 2").applied(text)


def test_an_anchor_tells_two_places_apart() -> None:
    change = Change("name", "guard", "file.py", old="a = 1", new="a = 2", after="b = 1")
    assert change.applied("a = 1; b = 1; a = 1") == "a = 1; b = 1; a = 2"
    with pytest.raises(RottenError, match="after"):
        change.applied("a = 1")
