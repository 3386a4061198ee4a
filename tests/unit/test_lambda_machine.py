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


FORBIDS = "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n"
CLIENT = "runtime/lib/python3.13/site-packages/awslambdaric/__init__.py"
EMULATORS = [
    f"tools/sam/lib/python3.12/site-packages/samcli/local/rapid/aws-lambda-rie-{n}" for n in ("x86_64", "arm64")
]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "The runtime interface client is missing: make .local/runtime/.installed"),
        ({CLIENT: ""}, "The runtime interface emulator is missing: make .local/tools/.installed"),
        (dict.fromkeys([CLIENT, *EMULATORS], ""), "unshare is missing: install util-linux"),
        (
            {**dict.fromkeys([CLIENT, *EMULATORS], ""), "unshare": FORBIDS},
            "Mounting is not permitted (unshare: unshare failed: Operation not permitted)",
        ),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if "unshare" in files else str(tmp_path))
    with pytest.raises(RuntimeUnavailableError) as caught:
        Machine.this(Places(cache=tmp_path))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
