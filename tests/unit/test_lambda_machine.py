"""A machine that can't run functions as Lambda does says so in one line, with what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from local.lambda_runtime import Machine, RuntimeUnavailableError
from local.stack.paths import Places

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the artifact tests need Linux")


def error(cache: Path) -> str:
    with pytest.raises(RuntimeUnavailableError) as caught:
        Machine.this(Places(cache=cache))
    return str(caught.value)


def client_in(cache: Path) -> None:
    (cache / "runtime/lib/python3.13/site-packages/awslambdaric").mkdir(parents=True)


def emulators_in(cache: Path) -> None:
    folder = cache / "tools/sam/lib/python3.12/site-packages/samcli/local/rapid"
    folder.mkdir(parents=True)
    for architecture in ("x86_64", "arm64"):
        (folder / f"aws-lambda-rie-{architecture}").touch()


def test_a_missing_client_is_named(tmp_path: Path) -> None:
    assert error(tmp_path) == "The runtime interface client is missing: make .local/runtime/.installed"


def test_a_missing_emulator_is_named(tmp_path: Path) -> None:
    client_in(tmp_path)
    assert error(tmp_path) == "The runtime interface emulator is missing: make .local/tools/.installed"


def test_a_missing_unshare_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_in(tmp_path)
    emulators_in(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert error(tmp_path).startswith("unshare is missing: install util-linux")


def test_a_forbidden_mount_is_reported_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_in(tmp_path)
    emulators_in(tmp_path)
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    message = error(tmp_path)
    assert message.startswith("Mounting is not permitted (unshare: unshare failed: Operation not permitted)")
    assert "\n" not in message
