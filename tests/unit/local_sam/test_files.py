"""The files of `sam local`: the built code, this machine's architecture, where a container reaches the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.sam.files import SDK_VARIABLES, architecture, for_containers, loopback_ports, template_for_sam
from local.stack.errors import LocalStackError
from local.stack.paths import Places
from local.stack.serving import check_built
from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLACES = Places()
WRITTEN = Template.parse(PLACES.template.read_text())
FOR_SAM = Template.parse(template_for_sam(PLACES))
KINDS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


def code(template: Template) -> dict[str, str]:
    return {
        name: resource["Properties"][KINDS[resource["Type"]]]
        for name, resource in template.document["Resources"].items()
        if resource["Type"] in KINDS
    }


def without(document: Mapping[str, Any]) -> object:
    """Return the template without the intended differences."""
    plain = json.loads(json.dumps(document))
    plain["Parameters"]["Architecture"].pop("Default")
    for name in SDK_VARIABLES:
        plain["Globals"]["Function"]["Environment"]["Variables"].pop(name, None)
    for resource in plain["Resources"].values():
        for name in ("CodeUri", "ContentUri", "Location"):
            resource.get("Properties", {}).pop(name, None)
    return plain


def test_functions_and_layers_are_the_built_ones() -> None:
    assert code(FOR_SAM) == {name: str(PLACES.built / name) for name in code(WRITTEN)}


def test_only_the_sdk_variables_are_added() -> None:
    declared = FOR_SAM.document["Globals"]["Function"]["Environment"]["Variables"]
    assert {name: declared[name] for name in SDK_VARIABLES} == dict.fromkeys(SDK_VARIABLES, "")
    assert FOR_SAM.document["Parameters"]["Architecture"]["Default"] == architecture()
    assert without(FOR_SAM.document) == without(WRITTEN.document)


def test_loopback_addresses_are_replaced_by_the_hosts_name() -> None:
    variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "SYNC_QUEUE_URL": "http://127.0.0.1:4566/000000000000/sync.fifo",
        "PLAID_BASE_URL": "http://localhost:9000",
        "WEBHOOK_URL": "http://127.0.0.1:4566/webhooks/plaid",
        "OTHER_URL": "https://sandbox.plaid.com",
        "ITEMS_TABLE": "items",
    }
    found = {"SyncFunction": variables}
    assert json.loads(for_containers(found)) == {
        "SyncFunction": variables
        | {
            "AWS_ENDPOINT_URL": "http://host.docker.internal:4566",
            "SYNC_QUEUE_URL": "http://host.docker.internal:4566/000000000000/sync.fifo",
            "PLAID_BASE_URL": "http://host.docker.internal:9000",
        }
    }
    assert loopback_ports(found) == {4566, 9000}


def test_samconfig_names_the_files_of_make_local() -> None:
    config = (PLACES.project / "samconfig.toml").read_text()
    for path in (PLACES.sam_template, PLACES.sam_env):
        assert config.count(f'"{path.relative_to(PLACES.project)}"') == 3


def test_the_template_keeps_cloudformations_tags() -> None:
    assert "!Ref" in template_for_sam(PLACES)
    assert yaml.compose(template_for_sam(PLACES), Loader=yaml.SafeLoader)


def test_a_missing_build_is_reported_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="make build-local"):
        check_built(Places(project=tmp_path))
