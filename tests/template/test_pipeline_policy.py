"""The pipeline's policies are what CloudFormation needs for the templates' resources, by the schemas of their types.

A resource's schema lists the permissions of its handlers. cfn-lint has all schemas, and the actions of all services.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.template import operations
from tests.template.cloudformation import PROJECT, Template, listed
from tests.template.test_transformed import transformed

if TYPE_CHECKING:
    from pathlib import Path

TOOLS: Final = PROJECT / ".local" / "tools" / "sam"
DATA: Final = next(TOOLS.glob("lib/python3*/site-packages/cfnlint/data"), TOOLS)
pytestmark = pytest.mark.skipif(DATA == TOOLS, reason="cfn-lint is missing: run `make template-lint`")

UNUSED: Final = (
    # Handlers of features that no template uses
    *("dynamodb:*Replica", "dynamodb:*Import*", "dynamodb:*Item", "dynamodb:Scan", "dynamodb:Query"),
    *("dynamodb:*ableKinesisStreamingDestination", "dynamodb:UpdateKinesisStreamingDestination", "kinesis:*"),
    *("dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy", "dynamodb:UpdateContributorInsights"),
    *("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),  # of an import
    *("logs:*BearerToken*", "logs:PutDataProtectionPolicy", "logs:DeleteDataProtectionPolicy", "logs:PutIndexPolicy"),
    *("logs:DeleteIndexPolicy", "logs:DeleteResourcePolicy", "logs:PutLogGroupDeletionProtection", "firehose:*"),
    *("lambda:*CodeSigningConfig", "lambda:*ProvisionedConcurrencyConfig", "lambda:PutFunctionScalingConfig"),
    *("lambda:PassCapacityProvider", "lambda:AssociateRuntimeAlias", "elasticfilesystem:*", "s3files:*"),
    *("secretsmanager:*Replica*", "secretsmanager:GetRandomPassword", "sns:PutDataProtectionPolicy"),
    *("events:PutPermission", "events:RemovePermission", "codedeploy:RegisterOnPremisesInstance"),
    *("iam:*GroupPolicy", "iam:*UserPolicy"),
    "iam:DeleteRolePermissionsBoundary",  # it would free a role from the boundary
    "iam:CreateServiceLinkedRole",  # once in an account: docs/deploying.md
    *("s3:getObject", "s3:GetObjectMetadata", "s3:REST.PUT.OBJECT", "kms:ReEncrypt"),  # no action has these names
)
READ_ANYWAY: Final = {
    *("lambda:GetFunctionCodeSigningConfig", "lambda:GetProvisionedConcurrencyConfig"),
}
"""What handlers call to read a resource, although it has no such feature."""
OTHERS: Final = {
    # `sam deploy`, and `make deploy` before it
    *("cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet", "cloudformation:ExecuteChangeSet"),
    *("cloudformation:DescribeStackEvents", "cloudformation:GetTemplateSummary"),
    *("s3:PutObject", "s3:GetBucketLocation", "s3:GetBucketPolicy", "s3:GetEncryptionConfiguration"),
    # API Gateway, for the access log
    *("logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:GetLogDelivery", "logs:ListLogDeliveries"),
    # `plaid-sync whoami`, `quotas`, `keys`, `about`, `doctor` and `smoke`
    *("lambda:GetAccountSettings", "servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"),
    *("sts:GetCallerIdentity", "cloudformation:ListStackResources", "cloudwatch:GetMetricStatistics"),
    *("lambda:InvokeFunction", "dynamodb:Query", "execute-api:Invoke"),
}
ON_ALL: Final = {
    "cloudwatch:DescribeAlarms",  # CloudWatch may check it against all alarms
    "execute-api:Invoke",  # cfn-lint knows no resources of it
    *("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"),  # of any service
}
INLINE_LIMIT, MANAGED_LIMIT = 10_240, 6_144
"""Characters without white space: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
LONG_NAMES: Final = {"ACCOUNT": "1" * 12, "REGION": "ap-northeast-1", "STACK": "plaid-sync-staging"}


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


POLICIES: Final = {
    name: _read(PROJECT / "infra" / f"{name}.json") for name in ("pipeline-policy", "pipeline-policy-options")
}
STATEMENTS: Final[dict[str, Any]] = {
    statement["Sid"]: statement for policy in POLICIES.values() for statement in policy["Statement"]
}
ALLOWED: Final = {action for statement in STATEMENTS.values() for action in statement["Action"]}


@pytest.fixture(scope="module")
def permissions() -> set[str]:
    """The permissions to create, read, update and delete each type of the templates."""
    schemas = _read(DATA / "schemas" / "providers" / "us-east-1.json")
    root = transformed(Template.parse((PROJECT / "template.yaml").read_text()), {})
    templates = [root, *(operations.read(name) for name in ("alarms", "dashboard", "queries"))]
    found: set[str] = set()
    for kind in {resource["Type"] for template in templates for resource in template.resources.values()}:
        handlers = _read(DATA / "schemas" / "resources" / f"{schemas[kind]}.json")["handlers"]
        for name in handlers.keys() - {"list"}:
            found.update(handlers[name]["permissions"])
    return found


def is_unused(action: str) -> bool:
    return action not in READ_ANYWAY and any(fnmatchcase(action, pattern) for pattern in UNUSED)


def test_the_policies_allow_what_cloudformation_needs_and_what_else_is_named_here(permissions: set[str]) -> None:
    assert {action for action in permissions if not is_unused(action)} - ALLOWED == set()
    assert ALLOWED - permissions - OTHERS == set()
    assert OTHERS <= ALLOWED
    assert OTHERS & {action for action in permissions if not is_unused(action)} == set()
    assert [pattern for pattern in UNUSED if not any(fnmatchcase(action, pattern) for action in permissions)] == []


def test_an_action_is_allowed_on_everything_only_if_it_has_no_resources(permissions: set[str]) -> None:
    services = _read(DATA / "AdditionalSpecs" / "Policies.json")
    for statement in STATEMENTS.values():
        for action in statement["Action"]:
            service, _, name = action.lower().partition(":")
            known = services[service]["Actions"].get(name)
            if known is None:  # a tag action of API Gateway
                assert action in permissions
            elif action not in ON_ALL:
                assert (statement["Resource"] == "*") != bool(known.get("Resources")), action


def test_roles_are_created_within_the_boundary_and_passed_to_two_services() -> None:
    bounded = {"StringEquals": {"iam:PermissionsBoundary": "BOUNDARY"}}
    writes = ("Attach", "Create", "Detach", "Put", "DeleteRolePolicy")
    for statement in STATEMENTS.values():
        roles = [action for action in statement["Action"] if action.startswith("iam:") and "Role" in action]
        if any(action.removeprefix("iam:").startswith(writes) for action in roles):
            assert statement["Condition"] == bounded
        if "iam:PassRole" in roles:
            services = statement["Condition"]["StringEquals"]["iam:PassedToService"]
            assert services == ["lambda.amazonaws.com", "codedeploy.amazonaws.com"]


@pytest.mark.parametrize(("name", "limit"), list(zip(POLICIES, (INLINE_LIMIT, MANAGED_LIMIT), strict=True)))
def test_a_policy_fits_where_it_is_attached(name: str, limit: int) -> None:
    text = json.dumps(POLICIES[name], separators=(",", ":"))
    for placeholder, value in LONG_NAMES.items():
        text = text.replace(placeholder, value)
    assert len(text) <= limit


def test_statements_are_sorted_and_resources_are_of_the_stack() -> None:
    for statement in STATEMENTS.values():
        assert statement["Action"] == sorted(set(statement["Action"]))
        for resource in listed(statement["Resource"]):
            assert resource == "*" or resource.count(":") >= 5
