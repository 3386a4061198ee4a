"""`make supply-chain`: what it is for is found, and what could not be looked at is never called fine."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.stack.paths import PROJECT
from tests.supply_chain import build, code, locks, secrets, vulnerabilities
from tests.supply_chain.__main__ import main
from tests.supply_chain.finding import State, ToolError, run_tool
from tests.supply_chain.secrets import Fake, Suspect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASH = f"--hash=sha256:{'0' * 64}"
A_VULNERABILITY = {
    "id": "PYSEC-0000-1",
    "schema_version": "1.6.0",
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "six", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}],
        }
    ],
}


@contextmanager
def database(vulnerable: dict[str, Any]) -> Iterator[str]:
    """Serve OSV's API on this machine: the vulnerabilities of these packages, and none of others."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = vulnerable.get(asked["package"]["name"])
            body = json.dumps({"vulns": [known]} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(f"six==1.17.0 \\\n    {HASH}\n")
    return path


KNOWN = {"jinja2": A_VULNERABILITY}
"""What a real database knows, by which it is told from a proxy that answers anything."""


def test_a_known_vulnerability_is_found_with_the_version_that_repairs_it(lock: Path) -> None:
    with database(KNOWN | {"six": A_VULNERABILITY}) as url:
        finding = vulnerabilities.check(url, [lock])
    assert finding.state is State.FAILED
    assert finding.details == (f"{lock}: six 1.17.0: PYSEC-0000-1, repaired in 9.9",)


def test_where_nothing_is_known_all_is_well(lock: Path) -> None:
    with database(KNOWN) as url:
        finding = vulnerabilities.check(url, [lock])
    assert (finding.state, finding.details) == (State.OK, ())


def test_a_database_that_can_not_be_reached_is_told_and_no_pass(lock: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/query"
        finding = vulnerabilities.check(url, [lock])
        assert finding.state is State.NOT_RUN
        assert url in finding.line
        assert "NOT looked up" in finding.line
        assert vulnerabilities.check(url, [lock], must_run=True).state is State.FAILED
        assert main(["--only", "vulnerabilities", "--database", url]) == 0
        assert main(["--only", "vulnerabilities", "--database", url, "--must-audit"]) == 1


def test_a_proxy_that_knows_of_no_vulnerability_at_all_is_no_database(lock: Path) -> None:
    with database({}) as url:
        assert vulnerabilities.check(url, [lock]).state is State.NOT_RUN


def test_a_lock_that_pip_audit_can_not_read_is_no_pass(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("six>=1\n")
    with database(KNOWN) as url, pytest.raises(ToolError):
        vulnerabilities.check(url, [path])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("six==1.17.0\n", "no SHA-256"),
        (f"six>=1.17.0 \\\n    {HASH}\n", "not pinned"),
        (f"https://example.org/six.whl {HASH}\n", "not pinned"),
        ("# nothing\n", "empty"),
    ],
)
def test_a_lock_that_leaves_something_open_is_named(text: str, complaint: str) -> None:
    (said,) = locks.complaints("lock", text)
    assert complaint in said


def test_every_requirements_file_is_a_lock_that_make_writes() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*requirements*.txt"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    assert {str(path.relative_to(PROJECT)) for path in locks.locks()} == set(listed)


def test_a_secret_is_found_wherever_it_stands(tmp_path: Path) -> None:
    nobodys = "AKIA" + "Q3EGRIDZQ5VJYTUS"
    (tmp_path / "settings.py").write_text(f'KEY = "{nobodys}"\n')
    suspects = secrets.scan(tmp_path)
    assert {(one.file, one.kind) for one in suspects} == {("settings.py", "AWS Access Key")}
    assert all("settings.py:1" in complaint for complaint in secrets.judge(suspects, []))


def test_a_fake_explains_its_own_value_in_its_own_files_only() -> None:
    fake = Fake("local/*", "Secret Keyword", ("local-secret",), "why")
    mine = Suspect("local/stack/stack.py", 1, "Secret Keyword", "b0d5d4b5c9d5cb8a6ee0eb7ee4dcfb5d5e4a1ab4")
    digest = "a" * 40
    (genuine,) = secrets.judge([Suspect("local/x.py", 3, "Secret Keyword", digest)], [])
    assert genuine.startswith("local/x.py:3: Secret Keyword")
    assert not fake.explains(mine)
    assert not fake.explains(Suspect("functions/x.py", 1, "Secret Keyword", digest))
    (stale,) = secrets.judge([], [fake])
    assert "nothing is there any more" in stale


def test_dangerous_code_is_found(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("import subprocess\nsubprocess.call(input(), shell=True)\n")
    finding = code.dangers(path)
    assert finding.state is State.FAILED
    assert any("B602" in detail for detail in finding.details)


def test_without_a_build_that_is_told_and_one_that_can_not_be_read_is_no_pass(tmp_path: Path) -> None:
    assert build.check(tmp_path).state is State.NOT_RUN
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    finding = build.check(tmp_path)
    assert finding.state is State.FAILED
    assert finding.details


def test_a_tool_that_fails_is_no_pass() -> None:
    with pytest.raises(ToolError, match="exit code 2"):
        run_tool("bandit", "--no-such-option")
    with pytest.raises(ToolError, match="make supply-chain"):
        run_tool("no-such-tool")
