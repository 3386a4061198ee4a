"""What CloudFormation makes of a template for certain parameters: rules, conditions and `Fn::If`, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_VALUE: Final = {"Ref": "AWS::NoValue"}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Evaluates for one set of parameters.

    Attributes:
        template: as written.
        values: of all parameters and pseudo parameters.
    """

    template: Template
    values: Mapping[str, Any]

    @classmethod
    def of(cls, template: Template, parameters: Mapping[str, str]) -> Resolver:
        """For these parameters, and the defaults of all others."""
        defaults = {name: found.get("Default") for name, found in template.document["Parameters"].items()}
        assert parameters.keys() <= defaults.keys()
        return cls(template, {"AWS::Partition": "aws", **defaults, **parameters})

    def holds(self, expression: Any) -> bool:
        """Whether a condition or an assertion holds."""
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return self.holds(self.template.document["Conditions"][argument])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Equals":
                left, right = (self.values[one["Ref"]] if isinstance(one, dict) else one for one in argument)
                return str(left) == str(right)
        raise AssertionError(f"{function} is unknown")

    def refusals(self) -> list[str]:
        """What the rules say against the parameters."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.document["Rules"].values()
            if self.holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.holds(assertion["Assert"])
        ]

    def resolved(self) -> Template:
        """The template with its conditions decided."""
        document = dict(self.template.document)
        document["Resources"] = {
            name: resource
            for name, resource in document["Resources"].items()
            if "Condition" not in resource or self.holds({"Condition": resource["Condition"]})
        }
        resolved: dict[str, Any] = self._resolve(
            {k: v for k, v in document.items() if k not in {"Rules", "Conditions"}}
        )
        return Template(resolved)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [one for one in map(self._resolve, value) if one != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return self._resolve(then if self.holds({"Condition": condition}) else otherwise)
        made = {name: self._resolve(one) for name, one in value.items()}
        return {name: one for name, one in made.items() if one != NO_VALUE}
