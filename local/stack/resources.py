"""What a deployment consists of: the processed template and the physical ids of its resources."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stack.emulator import Emulator

ACCOUNT_ID = "000000000000"


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of a deployed stack.

    Attributes:
        template: The template after SAM's transformation, intrinsic functions unresolved; none of a nested stack.
    """

    template: Mapping[str, Any]
    ids: Mapping[str, str]
    types: Mapping[str, str]
    outputs: Mapping[str, str]
    nested: Mapping[str, Resources]
    region: str

    @classmethod
    def read(cls, emulator: Emulator, stack_name: str) -> Resources:
        formation = emulator.client("cloudformation")
        body = formation.get_template(StackName=stack_name, TemplateStage="Processed")["TemplateBody"]
        return cls._read(emulator, stack_name, json.loads(body) if isinstance(body, str) else body)

    @classmethod
    def _read(cls, emulator: Emulator, stack_name: str, template: Mapping[str, Any]) -> Resources:
        formation = emulator.client("cloudformation")
        stack = formation.describe_stacks(StackName=stack_name)["Stacks"][0]
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
        found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return cls(
            template=template,
            ids={resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found},
            types={resource["LogicalResourceId"]: resource["ResourceType"] for resource in found},
            outputs={output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
            nested={
                resource["LogicalResourceId"]: cls._read(emulator, resource["PhysicalResourceId"], {})
                for resource in found
                if resource["ResourceType"] == "AWS::CloudFormation::Stack"
            },
            region=emulator.region,
        )

    def of(self, resource_type: str) -> list[str]:
        own = [self.ids[logical_id] for logical_id, kind in self.types.items() if kind == resource_type]
        return own + [found for resources in self.nested.values() for found in resources.of(resource_type)]

    def id(self, logical_id: str) -> str:
        try:
            return self.ids[logical_id]
        except KeyError:
            raise LocalStackError(f"The template has no resource {logical_id}; it has {sorted(self.ids)}.") from None

    def resolve(self, value: Any) -> str:  # noqa: ANN401 - a template's value, a string or an intrinsic function
        """Return a template's string value, with `Ref`, `Fn::GetAtt` of an ARN and `Fn::Sub` resolved."""
        match value:
            case str():
                return value
            case {"Ref": str(name)}:
                return self._reference(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._reference(f"{name}.{attribute}")
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: self._reference(found[1]), text)
            case {"Fn::Sub": [str(text), dict(names)]}:
                resolved = {name: self.resolve(item) for name, item in names.items()}
                return re.sub(
                    r"\$\{([^!}][^}]*)\}", lambda found: resolved.get(found[1]) or self._reference(found[1]), text
                )
        raise LocalStackError(f"The local stack cannot resolve {json.dumps(value)}.")

    def _reference(self, name: str) -> str:
        pseudo = {
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        logical_id, _, attribute = name.partition(".")
        physical_id = self.id(logical_id)
        if attribute == "Arn" and not physical_id.startswith("arn:"):
            return f"arn:aws:lambda:{self.region}:{ACCOUNT_ID}:function:{physical_id}"
        return physical_id
