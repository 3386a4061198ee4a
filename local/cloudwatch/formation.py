"""The types of resources that the emulator's CloudFormation does not know, and would refuse a whole stack for."""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus
from importlib import import_module
from typing import Any


def add_resource_types() -> None:
    """Let templates have composite alarms; and saved queries and CodeDeploy, of which the emulator has no API.

    These lead nowhere. So an alias moves to its new version at once, as the emulator does it without CodeDeploy.
    """
    provisioners: Any = import_module("ministack.services.cloudformation.provisioners")
    types = provisioners._RESOURCE_HANDLERS  # noqa: SLF001 - see `local.stack.serve`
    types["AWS::CloudWatch::CompositeAlarm"] = {"create": _create_composite_alarm, "delete": _delete_composite_alarm}
    nowhere = {"create": _create_nothing, "update": _keep_nothing, "delete": _delete_nothing}
    for kind in ("AWS::Logs::QueryDefinition", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
        types[kind] = nowhere


def _create_composite_alarm(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, str]]:
    name = properties.get("AlarmName") or f"{stack}-{logical_id}"
    _ask("_put_composite_alarm", {**properties, "AlarmName": name})
    (alarm,) = _ask("_describe_alarms", {"AlarmNames": [name], "AlarmTypes": ["CompositeAlarm"]})["CompositeAlarms"]
    return name, {"Arn": alarm["AlarmArn"]}


def _delete_composite_alarm(name: str, _properties: dict[str, Any]) -> None:
    _ask("_delete_alarms", {"AlarmNames": [name]})


def _ask(handler: str, request: dict[str, Any]) -> dict[str, Any]:
    """Call one of CloudWatch's operations as its JSON protocol does.

    Raises:
        ValueError: It was refused; CloudFormation takes that for the resource's failure.
    """
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    status, _, body = getattr(cloudwatch, handler)({}, request, False, True)  # noqa: FBT003 - the emulator's signature
    answer: dict[str, Any] = json.loads(body)
    if status != HTTPStatus.OK:
        raise ValueError(answer["message"])
    return answer


def _create_nothing(_logical_id: str, _properties: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    return str(uuid.uuid4()), {}


def _keep_nothing(name: str, *_request: Any, **_named: Any) -> tuple[str, dict[str, str]]:  # noqa: ANN401
    return name, {}


def _delete_nothing(_name: str, _properties: dict[str, Any]) -> None:
    """Delete nothing: there is nothing."""
