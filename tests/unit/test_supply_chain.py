"""`make supply-chain`: each tool fails for what it is there to find, and an unreachable database is not a pass."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import pytest

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS: Final = PROJECT / ".local" / "tools" / "supply-chain" / ".installed"
HASH: Final = f"--hash=sha256:{'0' * 64}"
VULNERABILITY: Final = {
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
needs_tools = pytest.mark.skipif(not TOOLS.exists(), reason="needs the supply-chain tools: make supply-chain")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a target of the supply chain, with no installation before it."""
    command = ["make", f"--assume-old={TOOLS.relative_to(PROJECT)}", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@contextmanager
def osv_server(*vulnerable: str) -> Iterator[str]:
    """Serve OSV's API with one vulnerability for each of these packages; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": [VULNERABILITY]} if query["package"]["name"] in vulnerable else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(f"six==1.17.0 \\\n    {HASH}\n")
    return path


@needs_tools
@pytest.mark.parametrize(
    ("vulnerable", "status", "output"),
    [
        (("jinja2", "six"), 2, "PYSEC-0000-1"),
        (("jinja2",), 0, "No known vulnerabilities"),
        ((), 0, "NOT checked"),
    ],
)
def test_the_audit_fails_for_a_known_vulnerability(
    lock: Path, vulnerable: tuple[str, ...], status: int, output: str
) -> None:
    with osv_server(*vulnerable) as url:
        done = make("vulnerabilities", f"OSV={url}", f"LOCKS={lock}")
    assert done.returncode == status
    assert output in done.stdout + done.stderr


@needs_tools
def test_a_database_that_does_not_answer_is_reported_in_one_line(lock: Path) -> None:
    arguments = ("vulnerabilities", "OSV=http://127.0.0.1:9/v1/query", f"LOCKS={lock}")
    done = make(*arguments)
    assert (done.returncode, done.stdout) == (
        0,
        "vulnerabilities: NOT checked, http://127.0.0.1:9/v1/query does not answer\n",
    )
    assert make(*arguments, "AUDIT=required").returncode


@needs_tools
@pytest.mark.parametrize(
    ("target", "variable", "code", "finding"),
    [
        ("secrets", "SECRETS_FILES={}/code.py", f'KEY = "{"AKIA" + "Q3EGRIDZQ5VJYTUS"}"\n', "AWS Access Key"),
        ("bandit", "BANDIT_FOLDERS={}", "import subprocess\nsubprocess.call(input(), shell=True)\n", "B602"),
    ],
)
def test_a_committed_secret_and_dangerous_code_are_found(
    tmp_path: Path, target: str, variable: str, code: str, finding: str
) -> None:
    (tmp_path / "code.py").write_text(code)
    done = make(target, variable.format(tmp_path))
    assert done.returncode
    assert finding in done.stdout


def make_for_package(target: str, folder: Path, license_expression: str) -> subprocess.CompletedProcess[str]:
    """Run a target on a build whose only dependency is a package with this license."""
    package = folder / "DependenciesLayer" / "python" / "odd-1.0.dist-info"
    package.mkdir(parents=True)
    header = "Metadata-Version: 2.4\nName: odd\nVersion: 1.0\n"
    (package / "METADATA").write_text(f"{header}License-Expression: {license_expression}\n")
    return make(target, f"BUILT={folder}", f"LAYER_ENVIRONMENT={folder}/environment")


@needs_tools
@pytest.mark.parametrize(("words", "status"), [("MIT", 0), ("GPL-3.0-only", 2)])
def test_a_license_that_is_not_allowed_fails_and_the_sbom_lists_it(tmp_path: Path, words: str, status: int) -> None:
    done = make_for_package("licenses", tmp_path / "licenses", words)
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert make_for_package("sbom", tmp_path / "sbom", words).returncode == 0
    components = json.loads((tmp_path / "sbom" / "sbom.cdx.json").read_text())["components"]
    assert [(component["purl"], component["licenses"][0]["license"]["id"]) for component in components] == [
        ("pkg:pypi/odd@1.0", words)
    ]


def test_every_requirements_file_is_a_lock_that_make_writes() -> None:
    recipe = (PROJECT / "Makefile").read_text().split("\nlock: ")[1].split("\n\n")[0]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*requirements*.txt"]
    files = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    assert files
    assert sorted(re.findall(r"-o (\S+)", recipe)) == sorted(files)


def test_every_lock_pins_each_package_with_its_hashes() -> None:
    for path in PROJECT.glob("*/**/requirements*.txt"):
        if not any(part.startswith(".") for part in path.relative_to(PROJECT).parts):
            entries = [line for line in path.read_text().replace("\\\n", " ").splitlines() if line.strip()]
            loose = [line for line in entries if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:", line)]
            assert (entries != [], loose) == (True, []), path
