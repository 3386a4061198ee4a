"""Evaluates a template's rules, conditions and `Fn::If` for given parameters, as CloudFormation does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        """Return whether a condition or an assertion holds."""
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return self.holds(self.template.document["Conditions"][argument])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Equals":
                left, right = (self.values[side["Ref"]] if isinstance(side, dict) else side for side in argument)
                return str(left) == str(right)
        raise AssertionError(f"{function} is unknown")

    def refusals(self) -> list[str]:
        """Return the descriptions of the assertions that fail."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.document["Rules"].values()
            if self.holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.holds(assertion["Assert"])
        ]

    def resolved(self) -> Template:
        """Return the template without conditions."""
        document = {key: value for key, value in self.template.document.items() if key not in {"Rules", "Conditions"}}
        document["Resources"] = {
            name: resource
            for name, resource in document["Resources"].items()
            if "Condition" not in resource or self.holds({"Condition": resource["Condition"]})
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
