"""The AWS emulator (`ministack`) as a process on a free local port, with IAM enforced.

Every call that a function makes is signed with its own role's credentials; the signature is verified, and the role's
actions, resources and conditions are evaluated as the template has them, in DynamoDB transactions action by action.
The administrator's credentials here may do everything, and their signatures are not verified.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader, create_loader

from local.stack.errors import LocalStackError
from local.stack.paths import Places, Progress, say
from local.stack.signals import end_group
from local.stack.venv import make_emulator_venv

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
REGION = "us-east-1"
ACCESS_KEY_ID = "LOCALADMIN"
SECRET_ACCESS_KEY = "local-admin-secret"  # noqa: S105 - admits to this machine's emulator only
START_SECONDS = 60
STOP_SECONDS = 5


class EmulatorOptions(TypedDict, total=False):
    port: int
    functions_endpoint_url: str | None
    logs: Path | None
    queue_clock: Path | None


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator.

    Attributes:
        logs: The folder with its own log, `emulator.log`, and each function's, `sync.log` for example.
        process: Its process, the leader of a process group that the functions' processes belong to.
    """

    endpoint_url: str
    logs: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    region: str = REGION
    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = SECRET_ACCESS_KEY
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    @contextmanager
    def start(  # noqa: PLR0913 - one keyword per option
        cls,
        places: Places | None = None,
        *,
        port: int = 0,
        functions_endpoint_url: str | None = None,
        logs: Path | None = None,
        queue_clock: Path | None = None,
        progress: Progress = say,
    ) -> Iterator[Emulator]:
        """Run an emulator for the time of the `with` block.

        Args:
            places: Where to find the lock and to keep the environment; the project's own by default.
            port: The port to listen on; a free one by default.
            functions_endpoint_url: Where the deployed functions reach AWS, if not at the emulator directly.
            logs: The folder for logs, if they are to outlive it.
            queue_clock: The file that the queues take the time from (see `serve.follow_queue_clock`); the real time
                by default.
            progress: Reports what takes time.
        """
        places = places or Places()
        make_emulator_venv(places, progress)
        places.temporary.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="emulator-", dir=places.temporary))
        logs = logs or temporary / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        number = claim_port(port)
        environment = _environment(number, temporary, functions_endpoint_url)
        if queue_clock is not None:
            environment["LOCAL_QUEUE_CLOCK"] = str(queue_clock)
        try:
            with _process(places.emulator_python, environment, logs) as process:
                emulator = cls(f"http://{HOST}:{number}", logs, process)
                emulator._await_health()
                yield emulator
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return the boto3 client with administrator's rights; clients can be shared by threads."""
        if service not in self._clients:
            self._clients[service] = self.client_of(service, self.access_key_id, self.secret_access_key)
        return self._clients[service]

    def client_of(self, service: str, access_key_id: str, secret_access_key: str, token: str | None = None) -> Any:  # noqa: ANN401
        """Return a boto3 client with the rights that these credentials have."""
        return aws_client(self.endpoint_url, self.region, service, (access_key_id, secret_access_key, token))

    def reset(self) -> None:
        """Delete every resource, and end the functions' processes."""
        self._request("POST", "/_ministack/reset")

    def _await_health(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.running and time.monotonic() < deadline:
            with suppress(OSError, HTTPException):
                return self._request("GET", "/_ministack/health")
            time.sleep(0.02)
        raise LocalStackError(f"The AWS emulator did not start:\n{self.log_tail()}")

    def _request(self, method: str, path: str) -> None:
        with closing(HTTPConnection(urlsplit(self.endpoint_url).netloc, timeout=30)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            if answer.status != HTTPStatus.OK:
                raise LocalStackError(f"The AWS emulator answers {path} with {answer.status}.")

    def log_tail(self, characters: int = 2000) -> str:
        return (self.logs / "emulator.log").read_text(errors="replace")[-characters:]


def aws_client(endpoint_url: str, region: str, service: str, credentials: tuple[str, str, str | None]) -> Any:  # noqa: ANN401
    """Return a boto3 client of an emulator: access key id, secret access key and session token say whose."""
    access_key_id, secret_access_key, token = credentials
    return _session().client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=900, max_pool_connections=32, proxies={}),
    )


def _session() -> boto3.Session:
    """Return a session that the developer's own AWS settings, valid or not, have no part in."""
    nothing = (None, None, None, None)
    no_file = (None, None, os.devnull, None)
    variables = {"profile": nothing, "config_file": no_file, "credentials_file": no_file, "ca_bundle": nothing}
    session = botocore.session.Session(session_vars=variables)
    session.register_component("data_loader", _models())
    return boto3.Session(botocore_session=session)


@cache
def _models() -> Loader:
    """Return the only loader of the AWS APIs' descriptions: cached, for they cost most of a client's time."""
    return create_loader()


def claim_port(port: int = 0) -> int:
    """Return `port` if it is free, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LocalStackError(
                f"Port {port} on {HOST} cannot be used ({error.strerror}): stop what listens there (lsof -i :{port}), "
                "or choose another port, or leave the port out to get a free one."
            ) from error
        number: int = probe.getsockname()[1]
        return number


def _environment(port: int, temporary: Path, functions_endpoint_url: str | None) -> dict[str, str]:
    """Return the emulator's whole environment: functions inherit it, so nothing of the developer's shell is in it."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "AUTH": "true",
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        # A Docker socket that does not exist: the emulator must not look for containers of its own.
        "DOCKER_HOST": f"unix://{temporary}/no-docker.sock",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if functions_endpoint_url:
        environment["AWS_ENDPOINT_URL"] = functions_endpoint_url
    return environment


@contextmanager
def _process(python: Path, environment: dict[str, str], logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    # -P: the modules beside the script are not the emulator's to import.
    command = [str(python), "-u", "-P", str(Path(__file__).with_name("serve.py")), str(logs)]
    with (logs / "emulator.log").open("wb") as output:
        # Our own interpreter and script. A session of its own: an interrupt from the terminal reaches it through us.
        process = subprocess.Popen(  # noqa: S603 # nosec B603
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the emulator and every function's process: all of them are in its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    end_group(process, STOP_SECONDS)
