"""Where no container can be run, the reason is one line that says what would help."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from local.containers.errors import NoContainerEngineError
from local.containers.programs import Programs, obtained
from local.stack.errors import LocalStackError
from local.stack.paths import Places, silent
from local.stack.serving import check_built

if TYPE_CHECKING:
    from pathlib import Path


def test_without_dockerd_and_apt_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoContainerEngineError, match="no dockerd is installed, and without apt-get none can be had"):
        obtained(tmp_path / "programs", silent)
    assert not (tmp_path / "programs").exists()


def test_a_download_that_fails_leaves_nothing_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package docker.io' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(NoContainerEngineError, match=r"apt-get .* failed: E: Unable to locate package docker\.io"):
        obtained(tmp_path / "programs", silent)
    assert not (tmp_path / "programs").exists()


def test_a_program_that_fails_is_quoted_on_one_line() -> None:
    script = "import sys; sys.exit('first\\nsecond')"
    with pytest.raises(NoContainerEngineError, match=r"failed: first second$"):
        Programs(dict(os.environ)).run([sys.executable, "-c", script])


def test_what_is_not_built_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="make build-local"):
        check_built(Places(project=tmp_path))
