"""What was built is whole, finds all of itself under Lambda's paths, and nothing anywhere else."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.events import FOLDER, SEED, FixedSubject, Samples
from local.lambda_runtime import EMULATOR_GONE, FunctionError
from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from tests.component.artifact import Artifact
from tests.component.test_events import ANSWERS, QUEUED, REFUSED
from tests.component.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deployment import Deployment

pytestmark = pytest.mark.built

PROJECT: Final = Path(__file__).parents[2]
TMP: Final = "/tmp"  # noqa: S108 - Lambda's
PROBE: Final = Path(__file__).parent / "probe"
FUNCTIONS: Final = ["audit", "changes", "items", "sweep", "sync", "webhook"]
SAMPLES: Final = sorted(path.stem for path in FOLDER.glob("*.json"))
NOT_LINKED: Final = (404, "item_not_found")
LAYERED: Final = {"aws_lambda_powertools", "boto3", "botocore", "cryptography", "jwt", "plaid", "plaid_sync", "urllib3"}
"""Packages that only the layers may bring."""
ROOTS: Final = ("/var/task/", "/opt/python/", "/var/lang/lib/python3.13/", "/var/runtime/")


@pytest.fixture(scope="module")
def probed(artifact: Artifact) -> Iterator[Artifact]:
    """The built functions with a probe before their handlers, in a layer of its own."""
    built = {
        name: replace(function, handler="probe.lambda_handler", layers=(*function.layers, PROBE))
        for name, function in artifact.built.items()
    }
    handlers = {name: {"PROBED_HANDLER": function.handler} for name, function in artifact.built.items()}
    counts = artifact.invocations, artifact.starts
    with Artifact(artifact.machine, built, artifact.logs, artifact.plaid_port, handlers, *counts).running() as probed:
        yield probed


@pytest.fixture(scope="module")
def world(deployment: Deployment, probed: Artifact) -> Iterator[World]:
    """A world with the Plaid that has signed the samples; a function has one process for all tests of this module."""
    plaid = PlaidSimulator(seed=SEED, behavior=Behavior(initial_seconds=None, historical_seconds=None))
    with PlaidServer(plaid, probed.plaid_port) as server:
        yield World(deployment, plaid, server, utc_now, functions=probed)


@pytest.fixture(scope="module")
def used(world: World) -> World:
    """The same, after each function has worked, so that what is imported late is imported."""
    # The samples are about the Item that a Plaid of this seed links first, which stays unknown to the functions.
    world.plaid.link_item()
    world.stack.client("sqs").purge_queue(QueueUrl=world.stack.sync_queue_url)
    item_id = world.link(transactions=30)
    world.drain()
    body = json.dumps({"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": item_id}).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    world.drain()
    assert world.sweep()["waiting"] == 0
    assert world.audit({"item_id": item_id})["outcome"] == "clean"
    assert world.invoke("changes", sample("changes_item_needs_user")) == {"batchItemFailures": []}
    world.assert_exact(item_id)
    return world


def sample(name: str) -> dict[str, Any]:
    """Return a sample event, signed now."""
    return Samples(FixedSubject(utc_now())).event(name)


def ask(world: World, name: str, question: str, **details: object) -> Any:
    return world.invoke(name, {"probe": question, **details})


def test_the_functions_of_the_template_are_those_that_the_tests_know(artifact: Artifact) -> None:
    assert sorted(artifact.built) == FUNCTIONS


# ---- what it answers


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_event_is_answered(world: World, name: str) -> None:
    event = sample(name)
    function = name.split("_", maxsplit=1)[0]
    answer = world.invoke(function, event)
    match function:
        case "webhook":
            refusal = REFUSED.get(name)
            result = {"result": "queued" if name in QUEUED else "ignored"}
            expected = (401, {"error": refusal}) if refusal else (200, result)
            assert (answer["statusCode"], json.loads(answer["body"])) == expected
        case "items":
            assert (answer["statusCode"], json.loads(answer["body"]).get("code")) == ANSWERS.get(name, NOT_LINKED)
        case "sync":
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            assert failed == {record["messageId"] for record in event["Records"]}  # neither Item is linked
        case "sweep":
            assert answer.keys() == {"enqueued", "left", "waiting"}
        case "changes":
            assert answer == {"batchItemFailures": []}
        case "audit":
            assert answer.get("outcome", "unregistered") == "unregistered"


def test_every_function_has_samples() -> None:
    assert sorted({name.split("_")[0] for name in SAMPLES}) == FUNCTIONS


# ---- where it is from


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_that_is_loaded_lies_under_lambdas_paths(used: World, name: str) -> None:
    files: dict[str, str] = ask(used, name, "modules")["files"]
    assert [file for file in files.values() if not file.startswith(ROOTS)] == []
    assert files["app"] == "/var/task/app.py"
    ours = {module: file for module, file in files.items() if module.partition(".")[0] in LAYERED}
    assert [file for file in ours.values() if not file.startswith("/opt/python/")] == []
    assert {module.partition(".")[0] for module in ours} >= {"plaid_sync", "boto3", "botocore"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_cold_start_compiles_nothing_of_the_layers(used: World, name: str) -> None:
    """The function itself is one file, and is compiled: `sam build` packs no bytecode of it."""
    compiled: list[str] = ask(used, name, "modules")["compiled"]
    assert [file for file in compiled if file.startswith(("/opt/", "/var/task/"))] == ["/var/task/app.py"]


def test_all_bytecode_of_the_layers_is_of_this_python_and_of_its_source(world: World) -> None:
    """It is never compared with its source in Lambda, so that stale bytecode would run."""
    assert ask(world, "changes", "bytecode") == {}


# ---- where it runs


def test_a_function_runs_where_lambda_runs_it(world: World) -> None:
    read_only = ["/", "/etc", "/opt", "/opt/python", "/usr/lib", "/var/lang", "/var/runtime", "/var/task"]
    elsewhere = [str(PROJECT), str(PROJECT / "functions"), "/root", "/home", "/usr/bin", "/bin/sh"]
    box = ask(world, "webhook", "sandbox", paths=[*read_only, TMP, *elsewhere])
    assert (box["user"], box["group"], box["groups"]) == (993, 990, [])
    assert (box["folder"], box["python"]) == ("/var/task", [3, 13])
    assert (box["tmp"], box["writable"]) == (512 << 20, [TMP])
    assert box["existing"] == [*read_only, TMP]
    assert {"home", "root", "srv", "mnt"}.isdisjoint(box["top"])
    assert len(box["processes"]) == 3, "a shell, the emulator and the function"
    assert box["path"][:4] == [
        "/var/task",
        "/opt/python/lib/python3.13/site-packages",
        "/opt/python",
        "/var/lang/lib/python3.13/site-packages",
    ]
    variables = box["variables"]
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "WebhookFunction"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["LAMBDA_TASK_ROOT"] == "/var/task"
    assert variables["LAMBDA_RUNTIME_DIR"] == "/var/runtime"
    assert variables["_HANDLER"] == "probe.lambda_handler"
    assert variables["AWS_SESSION_TOKEN"] == world.deployment.variables("webhook")["AWS_SESSION_TOKEN"]
    known = {*world.environment("webhook"), *world.deployment.variables("webhook"), "PROBED_HANDLER"}
    assert {name for name in variables if not name.startswith(("AWS_", "LAMBDA_", "_"))} - known == {
        "LANG",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONPATH",
        "TZ",
    }


def test_a_worker_that_is_killed_for_real_loses_nothing(
    artifact: Artifact, deployment: Deployment, world: World
) -> None:
    """Its process ends while Plaid answers its second page; the message comes back, and a new process goes on."""
    world.plaid.reset_calls()
    plain = World(deployment, world.plaid, world.server, utc_now, functions=artifact)
    item_id = plain.link(transactions=700)
    plain.plaid.inject_fault("/transactions/sync", skip=1, delay=2)
    records = plain.receive()
    ended: list[FunctionError] = []

    def work() -> None:
        try:
            plain.invoke("sync", {"Records": records})
        except FunctionError as error:
            ended.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    while plain.plaid.calls["/transactions/sync"] < 2:
        worker.join(0.01)
    artifact.restart(plain, "sync", {})
    worker.join()
    assert [error.kind for error in ended] == [EMULATOR_GONE]
    assert plain.rows(item_id) == {}
    plain.redeliver(records)
    plain.drain()
    plain.assert_exact(item_id)
