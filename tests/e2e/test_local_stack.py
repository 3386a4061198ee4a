"""The local stack's own behavior: what reaches the functions, how a deployment fails, an emulator alone.

That roles, routes and authorization are as deployed: tests/integration/test_local_roles.py and test_api_over_http.py.
"""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.stack import Emulator, LocalStack, LocalStackError, Places
from local.stack.paths import silent
from tests.deployment import NOWHERE
from tests.e2e.test_local_command import post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RewritingProxy(ThreadingHTTPServer):
    """Passes requests on as most HTTP proxies do, with the Host header of the server behind."""

    target = ""
    passed_on = 0


class _PassOn(BaseHTTPRequestHandler):
    server: RewritingProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        with closing(HTTPConnection(self.server.target)) as behind:
            behind.request("POST", self.path, body, headers)
            answer = behind.getresponse()
            content = answer.read()
        self.server.passed_on += 1
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def rewriting_proxy() -> Iterator[RewritingProxy]:
    with RewritingProxy(("127.0.0.1", 0), _PassOn) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


def test_only_functions_reach_aws_through_the_proxy_and_none_has_the_developers_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")  # a function with this profile would fail
    with rewriting_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.server_port}"
        with LocalStack.start(NOWHERE, functions_endpoint_url=url, progress=silent) as stack:
            proxy.target = urlsplit(stack.emulator.endpoint_url).netloc
            assert post(stack.webhook_url) == 401
            assert proxy.passed_on == 0
            assert stack.invoke("sweep", {})["enqueued"] == 0
            assert proxy.passed_on > 0
            assert "sweep completed" in (stack.emulator.logs / "sweep.log").read_text()


TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String}
  PlaidBaseUrl: {Type: String}
Resources:
"""
WRONG = TEMPLATE + "  Wrong: {Type: AWS::SQS::Queue, Properties: {QueueName: no.fifo, FifoQueue: false}}\n"
UNBUILT = """\
  CodeLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer}
    Metadata: {BuildMethod: makefile}
"""


@pytest.mark.parametrize(
    ("template", "error"),
    [(WRONG, "Wrong"), (TEMPLATE + UNBUILT, r"(?s)make .*build-CodeLayer.*no luck")],
    ids=["resource", "layer"],
)
def test_a_failed_deployment_names_its_cause(tmp_path: Path, template: str, error: str) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "Makefile").write_text("build-CodeLayer:\n\t@echo no luck; exit 1\n")
    (tmp_path / "template.yaml").write_text(template)
    places = Places(project=tmp_path, run=tmp_path / "run")
    with pytest.raises(LocalStackError, match=error), LocalStack.start(NOWHERE, places=places, progress=silent):
        pass


def test_an_emulator_can_be_had_alone_and_emptied(tmp_path: Path) -> None:
    with Emulator.start(Places(run=tmp_path), progress=silent) as emulator:
        emulator.client("sqs").create_queue(QueueName="one")
        emulator.reset()
        assert emulator.client("sqs").list_queues().get("QueueUrls", []) == []
    assert not emulator.running
    assert list((tmp_path / "tmp").iterdir()) == []
