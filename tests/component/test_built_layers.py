"""The layers of the local stack are built as those for Lambda: they are enough, and within budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from local.builds.artifact import Build
from local.builds.budgets import Budgets
from local.builds.components import software
from local.builds.imports import measure
from local.builds.licences import Licences
from local.stack.layers import built_layer
from local.stack.paths import Places, silent

if TYPE_CHECKING:
    from local.builds.imports import Loaded
    from local.stack import LocalStack

SOURCES = {"DependenciesLayer": "dependencies", "PlaidSyncLayer": "plaid_sync"}


@pytest.fixture(scope="module")
def places(stack: LocalStack) -> Places:  # noqa: ARG001 - it has made the emulator's environment
    return Places()


@pytest.fixture(scope="module")
def build(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The layers and functions of the local stack, laid out as `sam build` does."""
    folder = tmp_path_factory.mktemp("build")
    for layer, source in SOURCES.items():
        (folder / layer).symlink_to(built_layer(layer, places.project / "layers" / source, places, silent))
    for function in (places.project / "functions").iterdir():
        (folder / f"{function.name.capitalize()}Function").symlink_to(function)
    return Build.read(folder)


@pytest.fixture(scope="module")
def loaded(build: Build, places: Places) -> list[Loaded]:
    return measure(build, places.emulator_python)


def test_every_function_starts_from_the_layers_alone_and_within_its_budget(build: Build, loaded: list[Loaded]) -> None:
    assert len(loaded) == len(build.functions) == 6
    budgets = Budgets.read()
    # Bytecode is as long as that only on Lambda's Python: `make build-local` counts it there.
    modules = {name: {"modules": budget["modules"]} for name, budget in budgets.imports.items()}
    assert list(replace(budgets, imports=modules).problems_of_imports(loaded)) == []


def test_only_who_calls_plaid_loads_its_client(loaded: list[Loaded]) -> None:
    calling = {one.function for one in loaded if "plaid.api_client" in one.modules}
    assert calling == {"AuditFunction", "ItemsFunction", "SyncFunction"}
    assert not {name for one in loaded for name in one.modules} & {"plaid.api.plaid_api", "aws_xray_sdk", "pydantic"}


def test_the_layers_are_within_their_budgets_and_hold_nothing_of_no_use(build: Build) -> None:
    assert list(Budgets.read().problems_of_size(Build(build.folder, build.layers, ()))) == []
    names = {path.relative_to(layer.folder).as_posix() for layer in build.layers for path in layer.files}
    assert [name for name in names if name.endswith((".pyi", ".h", "/RECORD", "examples-1.json"))] == []
    assert [name for name in names if "/tests/" in name or name.startswith("python/bin/")] == []


def test_every_package_came_in_an_archive_of_the_lock_with_a_licence_that_is_allowed(build: Build) -> None:
    lock = (Places().project / "layers" / "dependencies" / "requirements.txt").read_text()
    found = software(build)
    assert {one.name for one in found if one.within is None} >= {"boto3", "cryptography", "plaid-python", "six"}
    assert [one.name for one in found if one.within is None and f"sha256:{one.sha256}" not in lock] == []
    assert Licences.read().problems(found) == []
