"""The local stack builds its layers as for Lambda: they hold all that the functions need, within budget."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from local.builds.__main__ import over_budget, read_budgets
from local.builds.artifact import Build
from local.builds.imports import measure
from local.stack.layers import built_layer
from local.stack.paths import Places, silent

if TYPE_CHECKING:
    from local.builds.imports import Imports
    from local.stack import LocalStack

SOURCES = {"DependenciesLayer": "dependencies", "PlaidSyncLayer": "plaid_sync"}


@pytest.fixture(scope="module")
def places(stack: LocalStack) -> Places:  # noqa: ARG001 - it created the emulator's environment
    return Places()


@pytest.fixture(scope="module")
def build(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The layers and functions of the local stack, in the layout of `sam build`."""
    folder = tmp_path_factory.mktemp("build")
    for layer, source in SOURCES.items():
        (folder / layer).symlink_to(built_layer(layer, places.project / "layers" / source, places, silent))
    for function in (places.project / "functions").iterdir():
        # `sam build` leaves out the bytecode that other tests' imports leave behind.
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(function, folder / f"{function.name.capitalize()}Function", ignore=ignored)
    return Build.read(folder)


@pytest.fixture(scope="module")
def imports(build: Build, places: Places) -> list[Imports]:
    return measure(build, places.emulator_python)


def test_every_function_starts_from_the_layers_alone_within_its_budget(build: Build, imports: list[Imports]) -> None:
    assert len(imports) == len(build.functions) == 7
    # The budget for bytecode is for Lambda's Python: `make build-local` checks it.
    modules = {name: {"modules": budget["modules"]} for name, budget in read_budgets()["imports"].items()}
    assert list(over_budget(build, imports, read_budgets() | {"imports": modules})) == []


def test_only_functions_that_call_plaid_import_its_client(imports: list[Imports]) -> None:
    calling = {function.function for function in imports if "plaid.api_client" in function.modules}
    assert calling == {"AuditFunction", "ItemsFunction", "SyncFunction"}
    modules = {name for function in imports for name in function.modules}
    assert not modules & {"plaid.api.plaid_api", "aws_xray_sdk", "pydantic"}


def test_the_layers_hold_nothing_that_is_never_used(build: Build) -> None:
    names = {path.relative_to(layer.folder).as_posix() for layer in build.layers for path in layer.files}
    assert [name for name in names if name.endswith((".pyi", ".h", "/RECORD", "examples-1.json"))] == []
    assert [name for name in names if "/tests/" in name or name.startswith("python/bin/")] == []


def test_the_layers_hold_exactly_the_versions_of_the_lock(build: Build) -> None:
    """Installed with `--require-hashes`: pip refuses another archive of the same version."""
    lock = (Places().project / "layers" / "dependencies" / "requirements.txt").read_text()
    folders = [str(layer.folder / "python") for layer in build.layers]
    found = {(package.name.lower().replace("_", "-"), package.version) for package in distributions(path=folders)}
    assert found == set(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    assert {name for name, _ in found} >= {"botocore", "cryptography", "plaid-python", "six"}
