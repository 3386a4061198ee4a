"""The dependencies layer keeps what the engine and the functions use: a new client ships with its model."""

from __future__ import annotations

import ast
import gzip
import json
import re
import sysconfig
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layers.dependencies import prune

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "dependencies"
KEPT: dict[str, Any] = tomllib.loads((LAYER / "kept.toml").read_text())
SOURCES = {
    path: path.read_text() for folder in ("layers/plaid_sync", "functions") for path in (ROOT / folder).rglob("*.py")
}
FACTORY = ROOT / "layers/plaid_sync/plaid_sync/aws/clients.py"
"""The only module that creates AWS clients; its callers pass the service."""


def services_of(source: str) -> Iterator[str]:
    """The services of the clients that a source creates; one that is not a literal matches nothing in kept.toml."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and "client" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            service = node.args[0] if node.args else None
            yield str(service.value) if isinstance(service, ast.Constant) else ast.unparse(node)


def plaid_modules_of(source: str) -> Iterator[str]:
    """The modules of plaid-python that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if re.match(r"plaid(\.|$)", alias.name))
        elif isinstance(node, ast.ImportFrom) and re.match(r"plaid(\.|$)", node.module or ""):
            yield str(node.module)


def test_the_layer_has_exactly_the_models_of_the_services_in_use() -> None:
    used = {service for path, source in SOURCES.items() if path != FACTORY for service in services_of(source)}
    assert sorted(used) == KEPT["services"]


def test_one_module_creates_clients() -> None:
    creates = r"\bboto3\.(client|resource|Session)\b|create_client|botocore\.session"
    assert [path for path, source in SOURCES.items() if re.search(creates, source)] == [FACTORY]


def test_the_layer_has_exactly_the_modules_of_plaid_that_are_imported() -> None:
    used = {module for source in SOURCES.values() for module in plaid_modules_of(source)}
    assert sorted(used) == KEPT["plaid"]


def test_late_imports_of_a_kept_module_are_kept() -> None:
    site = Path(sysconfig.get_path("purelib"))
    kept = prune.reachable(site, KEPT["plaid"])
    assert "plaid.model.transfer_intent_create_network" not in kept
    # The request model of /transactions/sync imports this within a function, when it is first used.
    assert {"plaid.model.transactions_sync_request_options", "plaid.rest", "plaid.model_utils"} <= kept


def test_an_unknown_module_in_kept_toml_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"kept\.toml names plaid\.model\.nothing"):
        prune.reachable(Path(sysconfig.get_path("purelib")), ["plaid", "plaid.model.nothing"])


def test_the_lock_is_the_same_for_every_python_that_builds() -> None:
    """pip evaluates markers for the Python that runs it, not for the one that it installs for."""
    markers = re.findall(r"; (.*) \\$", (LAYER / "requirements.txt").read_text(), re.MULTILINE)
    variables = {word for marker in markers for word in re.findall(r"\b[a-z]+_[a-z_]+\b", marker)}
    assert markers
    assert variables <= {"implementation_name", "platform_python_implementation"}


def test_of_the_endpoints_and_models_nothing_is_kept_that_no_client_reads(tmp_path: Path) -> None:
    endpoints = {"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}, "ec2": {}}, "regions": {"r": {}}}]}
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    model = {
        "documentation": "<p>prose</p>",
        "shapes": {"Function": {"members": {"documentation": {"shape": "Text", "documentation": "<p>prose</p>"}}}},
        "clientContextParams": [{"documentation": "prose", "type": "boolean"}],
    }
    path = tmp_path / "sqs" / "2012-11-05" / "service-2.json.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(json.dumps(model).encode()))
    prune.shrink_models(tmp_path, {"sqs"})
    kept = json.loads((tmp_path / "endpoints.json").read_text())
    assert kept == {"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}}, "regions": {"r": {}}}]}
    assert [file.name for file in path.parent.iterdir()] == ["service-2.json"]
    assert json.loads(path.with_suffix("").read_text()) == {
        "documentation": "",
        "shapes": {"Function": {"members": {"documentation": {"shape": "Text", "documentation": ""}}}},
        "clientContextParams": [{"documentation": "", "type": "boolean"}],
    }
