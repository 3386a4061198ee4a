"""The build is complete: the functions find all of their code under Lambda's paths, and nothing elsewhere."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.events import FOLDER, SEED, FixedSubject, Samples, function_of
from local.lambda_runtime import EMULATOR_GONE, FunctionError
from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from tests.integration.artifact import Artifact
from tests.integration.harness import World
from tests.integration.test_events import QUEUED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deployment import Deployment

pytestmark = pytest.mark.built

PROJECT: Final = Path(__file__).parents[2]
TMP: Final = "/tmp"  # noqa: S108 - Lambda's
PROBE: Final = Path(__file__).parent / "probe"
FUNCTIONS: Final = ["audit", "changes", "items", "outbound", "sweep", "sync", "webhook"]
SAMPLES: Final = sorted(path.stem for path in FOLDER.glob("*.json"))
LAYERED: Final = {"aws_lambda_powertools", "boto3", "botocore", "cryptography", "plaid", "plaid_sync", "urllib3"}
"""Packages that must come from the layers."""
ROOTS: Final = ("/var/task/", "/opt/python/", "/var/lang/lib/python3.13/", "/var/runtime/")


@pytest.fixture(scope="module")
def probed(artifact: Artifact) -> Iterator[Artifact]:
    """The built functions with a probe in front of their handlers, in an extra layer."""
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
    """A world with the Plaid that signs the samples; each function has one process for all tests of this module."""
    plaid = PlaidSimulator(seed=SEED, behavior=Behavior(initial_seconds=None, historical_seconds=None))
    with PlaidServer(plaid, probed.plaid_port) as server:
        yield World(deployment, plaid, server, utc_now, functions=probed)


@pytest.fixture(scope="module")
def used(world: World) -> World:
    """The same, after each function has done its work: late imports are done as well."""
    # The samples are for the first Item of a Plaid with this seed, which the functions never get to know.
    world.plaid.link_item()
    world.stack.client("sqs").purge_queue(QueueUrl=world.stack.sync_queue_url)
    item_id = world.link(transactions=30)
    world.drain()
    body = json.dumps({"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": item_id}).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    world.drain()
    assert world.sweep() == {"enqueued": 0, "deferred": 0}
    assert world.audit({"item_id": item_id})["outcome"] == "clean"
    assert world.invoke("changes", sample("changes_item_needs_user")) == {"batchItemFailures": []}
    assert world.invoke("outbound", sample("outbound_item_needs_user")) == {"batchItemFailures": []}
    world.assert_exact(item_id)
    return world


def sample(name: str) -> dict[str, Any]:
    """Create a sample event, signed now."""
    return Samples(FixedSubject(utc_now())).event(name)


def probe(world: World, name: str, question: str, **details: object) -> Any:
    return world.invoke(name, {"probe": question, **details})


def test_the_tests_and_the_samples_cover_every_function_of_the_template(artifact: Artifact) -> None:
    assert sorted(artifact.built) == sorted({function_of(name) for name in SAMPLES}) == FUNCTIONS


# ---- answers


@pytest.mark.parametrize("name", [name for name in SAMPLES if function_of(name) == "webhook"])
def test_a_sample_webhook_is_answered(world: World, name: str) -> None:
    """tests/integration/test_events.py has the other functions' samples, and runs on the artifact as well."""
    answer = world.invoke("webhook", sample(name))
    result = {"result": "queued" if name in QUEUED else "published"}
    expected = (401, {"error": REFUSED[name]}) if name in REFUSED else (200, result)
    assert (answer["statusCode"], json.loads(answer["body"])) == expected


# ---- where imports come from


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_import_comes_from_lambdas_paths(used: World, name: str) -> None:
    files: dict[str, str] = probe(used, name, "modules")["files"]
    assert [file for file in files.values() if not file.startswith(ROOTS)] == []
    assert files["app"] == "/var/task/app.py"
    layered = {module: file for module, file in files.items() if module.partition(".")[0] in LAYERED}
    assert [file for file in layered.values() if not file.startswith("/opt/python/")] == []
    assert {module.partition(".")[0] for module in layered} >= {"plaid_sync", "botocore"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_cold_start_compiles_nothing_of_the_layers(used: World, name: str) -> None:
    """Except the function itself, one file: `sam build` packs no bytecode of it."""
    compiled: list[str] = probe(used, name, "modules")["compiled"]
    assert [file for file in compiled if file.startswith(("/opt/", "/var/task/"))] == ["/var/task/app.py"]


def test_all_bytecode_of_the_layers_matches_this_python_and_its_source(world: World) -> None:
    """Lambda never compares it with its source, so stale bytecode would run."""
    assert probe(world, "changes", "bytecode") == {}


# ---- sandbox


def test_a_function_runs_in_lambdas_sandbox(world: World) -> None:
    read_only = ["/", "/etc", "/opt", "/opt/python", "/usr/lib", "/var/lang", "/var/runtime", "/var/task"]
    elsewhere = [str(PROJECT), str(PROJECT / "functions"), "/root", "/home", "/usr/bin", "/bin/sh"]
    box = probe(world, "webhook", "sandbox", paths=[*read_only, TMP, *elsewhere])
    assert (box["user"], box["folder"], box["python"]) == (993, "/var/task", [3, 13])
    assert (box["existing"], box["writable"]) == ([*read_only, TMP], [TMP])
    assert box["variables"]["_HANDLER"] == "probe.lambda_handler"
    # Besides Lambda's own, the function has the variables of the template and no other.
    known = {*world.environment("webhook"), *world.deployment.variables("webhook"), "PROBED_HANDLER"}
    of_lambda = {"LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ"}
    others = {name for name in box["variables"] if not name.startswith(("AWS_", "LAMBDA_", "_"))}
    assert others - known == of_lambda


def test_a_killed_worker_loses_nothing(artifact: Artifact, deployment: Deployment, world: World) -> None:
    """Its process ends while Plaid answers its second page. SQS redelivers the message to a new process."""
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
