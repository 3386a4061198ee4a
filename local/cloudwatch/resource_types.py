"""Types and properties of resources that the emulator's CloudFormation refuses."""

from __future__ import annotations

import uuid
from importlib import import_module
from typing import Any


def add_resource_types() -> None:
    """Let templates have metric math in alarms, saved queries and CodeDeploy.

    The emulator has no API for the last two: they are deployed and do nothing. An alias moves to its new version at
    once.
    """
    provisioners: Any = import_module("ministack.services.cloudformation.provisioners")
    types = provisioners._RESOURCE_HANDLERS  # noqa: SLF001 - see `local.stack.serve`
    placeholder = {"create": _create_placeholder, "update": _update_placeholder, "delete": _delete_placeholder}
    for kind in ("AWS::Logs::QueryDefinition", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
        types[kind] = placeholder
    _allow_metric_math(provisioners)


def _allow_metric_math(provisioners: Any) -> None:  # noqa: ANN401 - a module
    record = provisioners._cw_metric_alarm_record  # noqa: SLF001

    def record_with_math(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        queries = properties.get("Metrics")
        if not queries:
            return dict(record(name, properties))
        alarm = record(name, {**properties, "Metrics": None, "Namespace": "math", "MetricName": "math"})
        of_one_metric = ("Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Period", "Unit")
        return {key: value for key, value in alarm.items() if key not in of_one_metric} | {
            "Metrics": [{**query, "ReturnData": _is_returned(query)} for query in queries]
        }

    provisioners._cw_metric_alarm_record = record_with_math  # noqa: SLF001


def _is_returned(query: dict[str, Any]) -> bool:
    return str(query.get("ReturnData", True)).lower() == "true"


def _create_placeholder(_logical_id: str, _properties: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    return str(uuid.uuid4()), {}


def _update_placeholder(name: str, *_request: Any, **_named: Any) -> tuple[str, dict[str, str]]:  # noqa: ANN401
    return name, {}


def _delete_placeholder(_name: str, _properties: dict[str, Any]) -> None:
    """Do nothing."""
