"""What `sam local` is told: the built code, this machine's architecture, where a container finds the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from local.sam.files import SDK_VARIABLES, architecture, for_containers, loopback_ports, template_for_sam
from local.stack.paths import Places
from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Return the template without what is meant to differ."""
    plain = json.loads(json.dumps(document))
    plain["Parameters"]["Architecture"].pop("Default")
    for name in SDK_VARIABLES:
        plain["Globals"]["Function"]["Environment"]["Variables"].pop(name, None)
    for resource in plain["Resources"].values():
        for name in ("CodeUri", "ContentUri", "Location"):
            resource.get("Properties", {}).pop(name, None)
    return plain


def test_functions_and_layers_are_those_that_were_built() -> None:
    assert code(FOR_SAM) == {name: str(PLACES.built / name) for name in code(WRITTEN)}


def test_the_sdks_variables_are_declared_and_all_else_is_as_written() -> None:
    declared = FOR_SAM.document["Globals"]["Function"]["Environment"]["Variables"]
    assert {name: declared[name] for name in SDK_VARIABLES} == dict.fromkeys(SDK_VARIABLES, "")
    assert FOR_SAM.document["Parameters"]["Architecture"]["Default"] == architecture()
    assert without(FOR_SAM.document) == without(WRITTEN.document)


def test_this_machines_loopback_has_another_name_in_a_container() -> None:
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


def test_samconfig_names_the_files_that_make_local_writes() -> None:
    config = (PLACES.project / "samconfig.toml").read_text()
    for path in (PLACES.sam_template, PLACES.sam_env):
        assert config.count(f'"{path.relative_to(PLACES.project)}"') == 3


def test_the_template_is_yaml_that_sam_reads() -> None:
    assert "!Ref" in template_for_sam(PLACES)
    assert yaml.compose(template_for_sam(PLACES), Loader=yaml.SafeLoader)
