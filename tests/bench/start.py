"""The start of each function, as built: `PYTHONPATH=layers/plaid_sync python -m tests.bench.start`.

It needs `make build-local .local/runtime/.installed`.
Each start is a new process under Lambda's runtime interface client, with /var/task and /opt read-only. Measured are its
CPU and wall time up to the first poll for an event, and what its first invocation takes more than its third, which is
what was put off at the start. The functions and the baselines take turns; a figure is the median of all rounds.

The baselines are the handlers of tests/bench/handlers with one client, on a layer of boto3 of the same version as pip
installs it, compiled as this project's layers are. The floor is a handler that does nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.lambda_runtime import BuiltFunction, Machine
from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.stack.paths import PROJECT
from tests.bench.figures import Figure, Table
from tests.bench.runtime_api import running
from tests.deployment import deployed, idle_stack
from tests.integration.artifact import built_functions
from tests.integration.harness import World, http_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.runtime_api import Runtime, Spent

BUILD: Final = PROJECT / ".aws-sam" / "local"
HANDLERS: Final = PROJECT / "tests" / "bench" / "handlers"
PACKAGES: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
TARGET: Final = 1.15
FLOOR: Final = "empty"
BASELINES: Final = {
    "webhook": "sqs",
    "sync": "dynamodb",
    "items": "dynamodb",
    "sweep": "dynamodb",
    "audit": "dynamodb",
    "changes": "sqs",
}
"""The functions, each with the handler that it is compared to."""
ROUNDS: Final = 9
WARM: Final = 2
"""The invocation, from 0, that finds all done: the second one may still create what few need."""


@dataclass(slots=True)
class Samples:
    """What one function took, in seconds, by round.

    Attributes:
        first: what the first invocation took more than a warm one.
    """

    init: list[Spent] = field(default_factory=list)
    first: list[Spent] = field(default_factory=list)
    warm: list[Spent] = field(default_factory=list)

    def cpu(self) -> float:
        """Return the start's milliseconds of CPU time."""
        return _median(spent.cpu for spent in self.init)

    def wall(self) -> float:
        """Return the start's milliseconds."""
        return _median(spent.wall for spent in self.init)

    def together(self) -> float:
        """Return the milliseconds of CPU time of the start and of what the first invocation takes more."""
        return _median(init.cpu + first.cpu for init, first in zip(self.init, self.first, strict=True))


def measure(rounds: int = ROUNDS, build: Path = BUILD) -> Table:
    """Start each function of a build and each baseline in turns."""
    samples = sample(rounds, build)
    empty = samples[FLOOR]
    figures: list[Figure] = []
    for name, baseline in BASELINES.items():
        ours, usual = samples[name], samples[baseline]
        for what, unit, of in (
            ("start", "ms of CPU time", Samples.cpu),
            ("start", "ms", Samples.wall),
            ("start and first invocation", "ms of CPU time", Samples.together),
        ):
            figures.append(
                Figure(f"{what} of {name}", unit, of(ours), of(usual), of(empty), round(TARGET * of(usual), 1))
            )
    return Table("start", tuple(figures), "a handler with one SQS client (webhook, changes) or one DynamoDB client")


def sample(rounds: int, build: Path) -> dict[str, Samples]:
    """Return the samples of each function and of each baseline."""
    machine, built, samples = Machine.this(), built_functions(build), defaultdict[str, Samples](Samples)
    plaid = PlaidSimulator(seed=1, behavior=Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None))
    with (
        idle_stack() as stack,
        deployed(stack) as deployment,
        PlaidServer(plaid) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        world = World(deployment, plaid, server, utc_now)
        functions = {name: built[name] for name in BASELINES} | baselines(Path(folder))
        item_id = world.synced(transactions=10)
        for _ in range(rounds):
            for name, function in functions.items():
                role = name if name in BASELINES else "sync"
                variables = world.deployment.variables(role) | world.environment(role)
                with running(machine, function, variables, Path(folder) / "log") as runtime:
                    taken = [invoke(runtime, world, name, item_id) for _ in range(WARM + 1)]
                samples[name].init.append(runtime.init)
                samples[name].first.append(taken[0] - taken[WARM])
                samples[name].warm.append(taken[WARM])
    return samples


def invoke(runtime: Runtime, world: World, name: str, item_id: str) -> Spent:
    """Invoke a function with an event that it handles to its end; return what that took."""
    made = event(world, name, item_id)
    answer, spent = runtime.invoke(made)
    if name == "sync":
        assert made["Records"]
        assert answer == {"batchItemFailures": []}, answer
        for record in made["Records"]:
            world.delete(record)
    return spent


def event(world: World, name: str, item_id: str) -> Any:
    """Return an event of a function."""
    if name == "webhook":
        webhook = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": item_id}
        body = json.dumps(webhook | {"environment": "sandbox"}).encode()
        headers = {"plaid-verification": world.plaid.sign(body)}
        return http_event("POST", "/webhooks/plaid", body.decode()) | {"headers": headers}
    if name == "sync":
        world.enqueue(item_id)
        return {"Records": world.receive()}
    if name == "items":
        return http_event("GET", f"/items/{item_id}")
    if name == "changes":
        return json.loads((PROJECT / "tests" / "events" / "changes_item_needs_user.json").read_text())
    return {"item_id": item_id} if name == "audit" else {}


def baselines(folder: Path) -> dict[str, BuiltFunction]:
    """Package the usual handlers: boto3 in a layer as pip installs it, compiled as this project's layers are."""
    layer = folder / "boto3"
    site, target = Path(sysconfig.get_path("purelib")), layer / "python"
    target.mkdir(parents=True)
    for name in PACKAGES:
        source = site / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    python = Machine.this().python / "bin" / "python3.13"
    compiled = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(target)]
    subprocess.run(compiled, check=True)
    return {
        path.name: BuiltFunction(path.name, "app.lambda_handler", path, (layer,), timeout=60, memory=512)
        for path in sorted(HANDLERS.iterdir())
    }


def _median(seconds: Iterable[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The start of each function, as built.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--build", type=Path, default=BUILD)
    options = parser.parse_args(arguments)
    for figure in measure(options.rounds, options.build).figures:
        assert figure.baseline is not None
        print(  # noqa: T201
            f"{figure.name:38}{figure.unit:16}{figure.ours:8.1f}  baseline {figure.baseline:7.1f}  "
            f"ratio {figure.ours / figure.baseline:5.2f}  floor {figure.floor:6.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
