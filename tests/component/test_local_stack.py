"""The local stack itself, mostly with a small project, because it works for any template of this shape."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.stack import Emulator, LocalStack, LocalStackError, Places
from local.stack.emulator import claim_port
from local.stack.paths import silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: dev}
  PlaidBaseUrl: {Type: String, Default: ""}
Globals:
  Function:
    Runtime: python3.13
    Handler: app.lambda_handler
    Timeout: 10
    AutoPublishAlias: live
    Layers: [!Ref CodeLayer]
    Environment:
      Variables:
        STAGE: !Ref Stage
        PLAID_BASE_URL: !Ref PlaidBaseUrl
        SECRET: !Ref PlaidSecret
        QUEUE: !Ref SyncQueue
        KEY: !GetAtt TokenKey.Arn
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {Auth: {EnableIamAuthorizer: true}}
  CodeLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer}
    Metadata: {BuildMethod: makefile}
  WebhookFunction:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-webhook"
      CodeUri: function
      Policies:
        - Statement: {Effect: Allow, Action: sqs:SendMessage, Resource: !GetAtt SyncQueue.Arn}
        - Statement: {Effect: Allow, Action: secretsmanager:GetSecretValue, Resource: !Ref PlaidSecret}
      Events:
        Post: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: POST, Path: /webhooks/plaid}}
  ItemsFunction:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-items"
      CodeUri: function
      Policies:
        - Statement:
            Effect: Allow
            Action: kms:Encrypt
            Resource: !GetAtt TokenKey.Arn
            Condition: {"Null": {"kms:EncryptionContext:item_id": "false"}}
      Events:
        Post:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: POST, Path: /items, Auth: {Authorizer: AWS_IAM}}
  SyncQueue:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true}
  PlaidSecret:
    Type: AWS::SecretsManager::Secret
    Properties: {GenerateSecretString: {SecretStringTemplate: "{}", GenerateStringKey: secret}}
  TokenKey:
    Type: AWS::KMS::Key
    Properties:
      KeyPolicy:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
            Action: "kms:*"
            Resource: "*"
"""

FUNCTION = """
import os
import boto3
import from_layer

def lambda_handler(event, context):
    print("received", sorted(event))
    if "call" in event:
        client = boto3.client(event["service"])
        try:
            getattr(client, event["call"])(**event["arguments"])
        except client.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return "done"
    seen = {name: os.environ.get(name) for name in event.get("environment", [])}
    return {**event, "layer": from_layer.MARK, "seen": seen}
"""

LAYER_MAKEFILE = """
build-CodeLayer:
	mkdir "$(ARTIFACTS_DIR)/python"
	echo 'MARK = "built"' > "$(ARTIFACTS_DIR)/python/from_layer.py"
"""

PLAID_BASE_URL = "http://plaid.invalid"


def write_project(folder: Path, template: str = TEMPLATE, makefile: str = LAYER_MAKEFILE) -> Places:
    for name, text in {"template.yaml": template, "function/app.py": FUNCTION, "layer/Makefile": makefile}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Places(project=folder, run=folder / "run")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    places = write_project(tmp_path_factory.mktemp("project"))
    with LocalStack.start(PLAID_BASE_URL, places=places, progress=silent) as stack:
        yield stack


def post(url: str, credentials: Credentials | None = None, headers: dict[str, str] | None = None) -> int:
    request = AWSRequest("POST", url, data=b"{}", headers={"Content-Type": "application/json", **(headers or {})})
    if credentials:
        SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("POST", urlsplit(url).path, b"{}", dict(request.headers))
        return connection.getresponse().status


def user(stack: LocalStack, name: str, action: str) -> Credentials:
    iam = stack.client("iam")
    iam.create_user(UserName=name)
    statement = {
        "Effect": "Allow",
        "Action": action,
        "Resource": f"arn:aws:execute-api:*:*:{api_id(stack)}/*/POST/items",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def api_id(stack: LocalStack) -> str:
    return stack.resources.id("Api")


def call(stack: LocalStack, function: str, service: str, name: str, **arguments: Any) -> Any:
    return stack.invoke(function, {"service": service, "call": name, "arguments": arguments})


def test_functions_get_their_layers_parameters_and_region(stack: LocalStack) -> None:
    names = ["AWS_REGION", "AWS_ENDPOINT_URL", "STAGE", "PLAID_BASE_URL"]
    result = stack.invoke("webhook", {"environment": names})
    assert result["layer"] == "built"
    assert result["seen"] == {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": stack.emulator.endpoint_url,
        "STAGE": "local",
        "PLAID_BASE_URL": PLAID_BASE_URL,
    }


def test_the_developers_own_aws_settings_do_not_reach_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    with LocalStack.start(PLAID_BASE_URL, places=write_project(tmp_path), progress=silent) as stack:
        assert stack.invoke("webhook", {"environment": ["AWS_PROFILE"]})["seen"] == {"AWS_PROFILE": None}


def test_the_apis_routes_answer_and_nothing_else_does(stack: LocalStack) -> None:
    assert post(stack.webhook_url) == 200
    assert post(f"{stack.api_url}/else") == 404


def test_iam_authorized_routes_admit_only_whom_iam_admits(stack: LocalStack) -> None:
    url = f"{stack.api_url}/items"
    invited, other = user(stack, "invited", "execute-api:Invoke"), user(stack, "other", "execute-api:ManageConnections")
    forger = Credentials(invited.access_key, "not the secret")
    assert post(url) == 403
    assert post(url, headers={"Authorization": "Bearer token"}) == 403
    assert post(url, credentials=other) == 403
    assert post(url, credentials=forger) == 403
    assert post(url, credentials=invited) == 200


def test_a_function_may_do_what_its_role_allows_and_nothing_else(stack: LocalStack) -> None:
    message = {
        "QueueUrl": stack.sync_queue_url,
        "MessageBody": "{}",
        "MessageGroupId": "a",
        "MessageDeduplicationId": "a",
    }
    assert call(stack, "webhook", "sqs", "send_message", **message) == "done"
    assert call(stack, "webhook", "sqs", "receive_message", QueueUrl=stack.sync_queue_url) == "AccessDenied"
    assert call(stack, "items", "sqs", "send_message", **message) == "AccessDenied"


def test_a_roles_client_has_the_functions_rights(stack: LocalStack) -> None:
    message = {
        "QueueUrl": stack.sync_queue_url,
        "MessageBody": "{}",
        "MessageGroupId": "b",
        "MessageDeduplicationId": "b",
    }
    stack.role_client("webhook", "sqs").send_message(**message)
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.role_client("items", "sqs").send_message(**message)


def test_policies_may_name_a_secret_by_ref(stack: LocalStack) -> None:
    secret = stack.resources.id("PlaidSecret")
    assert call(stack, "webhook", "secretsmanager", "get_secret_value", SecretId=secret) == "done"
    assert call(stack, "items", "secretsmanager", "get_secret_value", SecretId=secret) == "AccessDeniedException"


def test_the_secret_holds_plaids_credentials(stack: LocalStack) -> None:
    value = stack.client("secretsmanager").get_secret_value(SecretId=stack.resources.id("PlaidSecret"))["SecretString"]
    assert json.loads(value) == {"client_id": "local-client-id", "secret": "local-secret"}


def test_policies_may_demand_an_encryption_context(stack: LocalStack) -> None:
    key = {"KeyId": stack.resources.id("TokenKey"), "Plaintext": "token"}
    assert call(stack, "items", "kms", "encrypt", **key, EncryptionContext={"item_id": "i"}) == "done"
    assert call(stack, "items", "kms", "encrypt", **key, EncryptionContext={"other": "i"}) == "AccessDeniedException"
    assert call(stack, "items", "kms", "encrypt", **key) == "AccessDeniedException"


def test_logs_are_in_cloudwatch_and_in_a_file(stack: LocalStack) -> None:
    stack.invoke("items", {"a_question": 1})
    assert "received ['a_question']" in stack.logs("items")
    assert "received ['a_question']" in (stack.emulator.logs / "items.log").read_text()


def test_a_functions_environment_can_be_changed(tmp_path: Path) -> None:
    with LocalStack.start(PLAID_BASE_URL, places=write_project(tmp_path), progress=silent) as stack:
        stack.invoke("webhook", {})
        stack.set_environment("webhook", {"STAGE": "changed"})
        seen = stack.invoke("webhook", {"environment": ["STAGE", "PLAID_BASE_URL"]})["seen"]
        assert seen == {"STAGE": "changed", "PLAID_BASE_URL": PLAID_BASE_URL}


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


def test_only_functions_reach_aws_through_the_proxy(tmp_path: Path) -> None:
    with forwarder() as proxy:
        places = write_project(tmp_path)
        with LocalStack.start(
            PLAID_BASE_URL, places=places, functions_endpoint_url=proxy.url, progress=silent
        ) as stack:
            proxy.target = int(stack.emulator.endpoint_url.rpartition(":")[2])
            assert post(stack.webhook_url) == 200
            assert proxy.connections == 0
            secret = stack.resources.id("PlaidSecret")
            assert call(stack, "webhook", "secretsmanager", "get_secret_value", SecretId=secret) == "done"
            assert proxy.connections > 0


def test_a_proxy_may_send_its_own_host_header(tmp_path: Path) -> None:
    with rewriting_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.server_port}"
        places = write_project(tmp_path)
        with LocalStack.start(PLAID_BASE_URL, places=places, functions_endpoint_url=url, progress=silent) as stack:
            proxy.target = urlsplit(stack.emulator.endpoint_url).netloc
            secret = stack.resources.id("PlaidSecret")
            assert call(stack, "webhook", "secretsmanager", "get_secret_value", SecretId=secret) == "done"
            assert call(stack, "items", "secretsmanager", "get_secret_value", SecretId=secret) != "done"
            assert proxy.passed_on == 2


def test_a_failing_function_says_why(stack: LocalStack) -> None:
    with pytest.raises(LocalStackError, match="has no attribute 'no_such_call'"):
        call(stack, "webhook", "sqs", "no_such_call")


def test_a_refused_template_names_the_resource(tmp_path: Path) -> None:
    places = write_project(
        tmp_path,
        TEMPLATE + "  Wrong:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: no.fifo, FifoQueue: false}\n",
    )
    with (
        pytest.raises(LocalStackError, match="Wrong"),
        LocalStack.start(PLAID_BASE_URL, places=places, progress=silent),
    ):
        pass


def test_a_layer_that_does_not_build_shows_makes_output(tmp_path: Path) -> None:
    places = write_project(tmp_path, makefile="build-CodeLayer:\n\t@echo no luck; exit 1\n")
    with (
        pytest.raises(LocalStackError, match=r"(?s)make .*build-CodeLayer.*no luck"),
        LocalStack.start(PLAID_BASE_URL, places=places, progress=silent),
    ):
        pass


def test_an_emulator_can_be_had_alone_and_emptied(tmp_path: Path) -> None:
    with Emulator.start(Places(run=tmp_path), progress=silent) as emulator:
        emulator.client("sqs").create_queue(QueueName="one")
        emulator.reset()
        assert emulator.client("sqs").list_queues().get("QueueUrls", []) == []
    assert not emulator.running
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_lock_that_cannot_be_installed_is_named_and_tried_again(tmp_path: Path) -> None:
    places = Places(cache=tmp_path, run=tmp_path, emulator_lock=tmp_path / "broken.txt")
    places.emulator_lock.write_text("not a requirement\n")
    for _ in range(2):
        with (
            pytest.raises(LocalStackError, match=r"(?s)from broken\.txt.*not a requirement"),
            Emulator.start(places, progress=silent),
        ):
            pass


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalStackError, match=f"Port {port} .*choose another"):
            claim_port(port)


class Forwarder(socketserver.ThreadingTCPServer):
    """Forwards connections as they are, and counts them."""

    daemon_threads = True
    target = 0
    connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Forwarding(socketserver.BaseRequestHandler):
    server: Forwarder

    def handle(self) -> None:
        self.server.connections += 1
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            answering = threading.Thread(target=pump, args=(upstream, self.request), daemon=True)
            answering.start()
            pump(self.request, upstream)
            answering.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def forwarder() -> Iterator[Forwarder]:
    with Forwarder(("127.0.0.1", 0), Forwarding) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
