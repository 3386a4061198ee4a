"""Reads a SAM template as data, intrinsic functions in their long form, and makes broken copies of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT: Final = Path(__file__).resolve().parents[2]
ABSENT: Final = object()
"""In `Template.broken`: remove the entry."""


class _Loader(yaml.SafeLoader):
    """A YAML loader that knows CloudFormation's tags."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return {name: text.split(".", 1) if suffix == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    raise yaml.YAMLError(f"!{suffix} of {node}")


_Loader.add_multi_constructor("!", _intrinsic)


@dataclass(frozen=True, slots=True)
class Template:
    document: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Template:
        return cls(yaml.load(text, _Loader))  # noqa: S506 - a subclass of SafeLoader

    @property
    def resources(self) -> Mapping[str, Any]:
        return self.document["Resources"]  # type: ignore[no-any-return] # foreign YAML

    def of(self, resource_type: str) -> dict[str, dict[str, Any]]:
        return {name: found for name, found in self.resources.items() if found["Type"] == resource_type}

    def properties(self, logical_id: str) -> dict[str, Any]:
        return self.resources[logical_id].get("Properties", {})  # type: ignore[no-any-return] # foreign YAML

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Every function's properties by logical id, Globals included."""
        common = self.document.get("Globals", {}).get("Function", {})
        return {
            name: _merged(common, found["Properties"]) for name, found in self.of("AWS::Serverless::Function").items()
        }

    def events(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield function and properties of every event source of a kind."""
        for name, properties in self.functions.items():
            for event in properties.get("Events", {}).values():
                if event["Type"] == kind:
                    yield name, event["Properties"]

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every policy statement with its resource, trust policies included."""
        for name in self.resources:
            for document in _policy_documents(self.properties(name)):
                for statement in document["Statement"]:
                    # Of a conditional one, that of AWS.
                    yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement

    def broken(self, path: str, value: object) -> Template:
        """Return a copy with another value, or ABSENT, at a path (`Resources/SyncQueue/...`).

        A number selects an entry of a list; so does the Sid of a statement or the IndexName of an index.
        In a name, `~1` is a slash.
        """
        document = copy.deepcopy(self.document)
        *parents, last = (step.replace("~1", "/") for step in path.split("/"))
        target: Any = document
        for step in parents:
            target = target[_index(target, step)]
        key = _index(target, last)
        if value is ABSENT:
            del target[key]
        else:
            target[key] = value
        return Template(document)


def _index(target: Any, step: str) -> Any:
    if not isinstance(target, list):
        return step
    if step.isdecimal():
        return int(step)
    names = [(entry.get("Sid"), entry.get("IndexName")) for entry in target]
    return next(number for number, found in enumerate(names) if step in found)


def listed(value: Any) -> list[Any]:
    """Return as a list what CloudFormation and IAM accept as one value or a list."""
    return value if isinstance(value, list) else [value]


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as SAM merges Globals: it merges maps, joins lists and replaces other values."""
    merged = dict(common)
    for name, value in own.items():
        inherited = merged.get(name)
        if isinstance(value, dict) and isinstance(inherited, dict):
            merged[name] = _merged(inherited, value)
        elif isinstance(value, list) and isinstance(inherited, list):
            merged[name] = [*inherited, *value]
        else:
            merged[name] = value
    return merged


def _policy_documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("Statement"), list):
            yield value
        for inner in value.values():
            yield from _policy_documents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _policy_documents(inner)


def environment(properties: Mapping[str, Any]) -> dict[str, Any]:
    return properties.get("Environment", {}).get("Variables", {})  # type: ignore[no-any-return] # foreign YAML


NO_VALUE: Final = {"Ref": "AWS::NoValue"}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Evaluates a template for the values of all parameters and pseudo parameters."""

    template: Template
    values: Mapping[str, Any]

    @classmethod
    def of(cls, template: Template, parameters: Mapping[str, str]) -> Resolver:
        """Evaluate for these parameters, and the defaults of all others."""
        defaults = {name: found.get("Default") for name, found in template.document["Parameters"].items()}
        assert {*parameters} - {"AWS::Partition"} <= defaults.keys()
        return cls(template, {"AWS::Partition": "aws", **defaults, **parameters})

    def holds(self, expression: Any) -> bool:
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return self.holds(self.template.document["Conditions"][argument])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Or":
                return any(map(self.holds, argument))
            case "Fn::Equals":
                left, right = (self.values[side["Ref"]] if isinstance(side, dict) else side for side in argument)
                return str(left) == str(right)
        raise AssertionError(f"{function} is unknown")

    def refusals(self) -> list[str]:
        return [
            assertion["AssertDescription"]
            for rule in self.template.document["Rules"].values()
            if self.holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.holds(assertion["Assert"])
        ]

    def resolved(self) -> Template:
        document = {key: value for key, value in self.template.document.items() if key not in {"Rules", "Conditions"}}
        for section in {"Resources", "Outputs"} & document.keys():
            document[section] = {
                name: found
                for name, found in document[section].items()
                if "Condition" not in found or self.holds({"Condition": found["Condition"]})
            }
        resolved: dict[str, Any] = self._resolve(document)
        return Template(resolved)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [entry for entry in map(self._resolve, value) if entry != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return self._resolve(then if self.holds({"Condition": condition}) else otherwise)
        made = {name: self._resolve(inner) for name, inner in value.items()}
        return {name: inner for name, inner in made.items() if inner != NO_VALUE}
