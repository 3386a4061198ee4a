"""The template with parameters set, deployed: what CloudFormation makes of them, and what it refuses.

The emulator's CloudFormation passes over `VpcConfig`, `PermissionsBoundary` and `SSESpecification`: these are seen in
tests/template only.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import ClientError
from plaid_sync.domain.clock import utc_now
from plaid_sync_cli.deployment import TABLES

from local.stack.deploy import put_stack
from local.stack.errors import LocalStackError
from local.stack.package import Packager
from local.stack.paths import Places, silent
from local.stack.resources import ACCOUNT_ID, Resources
from local.stack.stack import ALIAS

if TYPE_CHECKING:
    from local.stack import LocalStack
    from local.stack.package import Package

PERIOD: Final = 60
CERTIFICATE: Final = f"arn:aws:acm:us-east-1:{ACCOUNT_ID}:certificate/1"


def packaged(stack: LocalStack) -> Package:
    places = Places()
    return Packager(stack.client("s3"), places, silent).package(places.template)


def test_network_domain_and_key_are_everywhere_where_they_belong(stack: LocalStack) -> None:
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference="domain")["HostedZone"]["Id"]
    parameters = {
        "SubnetIds": "subnet-0a1,subnet-0b2",
        "SecurityGroupIds": "sg-0c3",
        "CustomerManagedKey": "true",
        "DomainName": "api.example.com",
        "CertificateArn": CERTIFICATE,
        "HostedZoneId": zone.rpartition("/")[2],
    }
    formation = stack.client("cloudformation")
    put_stack(formation, "every-parameter", packaged(stack), {"Stage": "local", **parameters})
    try:
        resources = Resources.read(stack.emulator, "every-parameter")
        # The network and the key, by a policy each of every function's role
        assert len(resources.of("AWS::Lambda::Function")) == 6
        for name in resources.of("AWS::Lambda::Function"):
            role = stack.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
            attached = stack.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
            policies = {resources.id("NetworkPolicy"), resources.id("DataKeyPolicy")}
            assert {policy["PolicyArn"] for policy in attached} == policies
        # The domain
        (mapping,) = stack.client("apigatewayv2").get_api_mappings(DomainName="api.example.com")["Items"]
        assert (mapping["ApiId"], mapping["Stage"]) == (resources.id("Api"), "$default")
        records = stack.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        assert "api.example.com." in {record["Name"] for record in records if record["Type"] == "A"}
        items = stack.client("lambda").get_function_configuration(FunctionName=resources.id("ItemsFunction"))
        assert items["Environment"]["Variables"]["WEBHOOK_URL"] == resources.outputs["WebhookUrl"]
        assert resources.outputs["WebhookUrl"] == "https://api.example.com/webhooks/plaid"
        # The key
        key = stack.client("kms").describe_key(KeyId=resources.id("DataKey"))["KeyMetadata"]["Arn"]
        for url in resources.of("AWS::SQS::Queue"):
            attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert attributes["KmsMasterKeyId"] == key
        groups = stack.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/every-parameter-")
        assert [group.get("kmsKeyId") for group in groups["logGroups"]] == [key] * 6
        secret = stack.client("secretsmanager").describe_secret(SecretId=resources.id("PlaidSecret"))
        assert secret["KmsKeyId"] == key
    finally:
        formation.delete_stack(StackName="every-parameter")


def test_a_creation_that_fails_leaves_its_empty_tables_only(stack: LocalStack) -> None:
    formation, name = stack.client("cloudformation"), "never-created"
    with pytest.raises(LocalStackError, match="ROLLBACK_COMPLETE"):
        put_stack(formation, name, _failing_after_data(stack), {"Stage": "local"})
    tables = [table for table in stack.client("dynamodb").list_tables()["TableNames"] if table.startswith(f"{name}-")]
    assert len(tables) == len(TABLES)
    assert stack.client("sqs").list_queues(QueueNamePrefix=name).get("QueueUrls", []) == []
    assert _key_states(stack, name) == {"PendingDeletion"}


def _failing_after_data(stack: LocalStack) -> Package:
    """The template with a resource that can't be created, after all that is retained."""
    package, after = packaged(stack), [*TABLES, "TokenKeyAlias", "DeadLetterQueue", "FailedEventsQueue"]
    bucket, _, key = package.url.removeprefix(f"{stack.emulator.endpoint_url}/").partition("/")
    text = stack.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    fails = {"Type": "AWS::CloudWatch::Alarm", "DependsOn": after, "Properties": {"MetricName": "Errors"}}
    failing = text.replace("\nResources:\n", f"\nResources:\n  Fails: {json.dumps(fails)}\n")
    stack.client("s3").put_object(Bucket=bucket, Key=f"failing/{key}", Body=failing.encode())
    return replace(package, url=package.url.replace(key, f"failing/{key}"))


def _key_states(stack: LocalStack, name: str) -> set[str]:
    client = stack.client("kms")
    keys = [client.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in client.list_keys()["Keys"]]
    return {key["KeyState"] for key in keys if f"access tokens of {name}." in key["Description"]}


def test_an_alias_moves_by_codedeploy_with_our_role_and_alarms(stack: LocalStack) -> None:
    resources = stack.resources.template["Resources"]
    aliases = [resource for resource in resources.values() if resource["Type"] == "AWS::Lambda::Alias"]
    groups = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"].endswith("::DeploymentGroup")
    }
    assert len(aliases) == 7
    for alias in (alias for alias in aliases if "UpdatePolicy" in alias):
        group = groups.pop(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"])
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
        assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(group["AutoRollbackConfiguration"]["Events"])
    assert groups == {}
    # SAM makes no role besides, which would have a managed policy on everything.
    assert len(stack.resources.of("AWS::IAM::Role")) == 8


@pytest.mark.parametrize("function", ["webhook", "sync", "items"])
def test_errors_of_the_deployed_version_ring_the_alarm_that_rolls_it_back_and_those_of_another_do_not(
    stack: LocalStack, function: str
) -> None:
    name = stack.functions[function]
    (slug,) = [slug for slug in stack.alarms() if slug.startswith(f"{function}-version-")]
    version = slug.rpartition("-")[2]
    assert version in {entry["Version"] for entry in _versions(stack, name)}
    _put_error(stack, name, str(int(version) + 1))
    assert stack.alarms()[slug] != "ALARM"
    _put_error(stack, name, version)
    assert stack.alarms()[slug] == "ALARM"
    with stack.alarms_later(3 * PERIOD):
        assert stack.alarms()[slug] == "OK"


def _versions(stack: LocalStack, name: str) -> list[Any]:
    return list(stack.client("lambda").list_versions_by_function(FunctionName=name)["Versions"])


def _put_error(stack: LocalStack, name: str, version: str) -> None:
    dimensions = {"FunctionName": name, "Resource": f"{name}:{ALIAS}", "ExecutedVersion": version}
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    stack.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {"MetricName": "Errors", "Value": 1.0, "Dimensions": pairs, "Timestamp": utc_now() - timedelta(seconds=1)}
        ],
    )


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"SubnetIds": "subnet-0a1"}, "SecurityGroupIds must be given with SubnetIds"),
        ({"DeploymentType": "Sometimes"}, "DeploymentType"),
    ],
)
def test_inconsistent_parameters_are_refused_before_anything_is_created(
    stack: LocalStack, parameters: dict[str, str], complaint: str
) -> None:
    formation = stack.client("cloudformation")
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    with pytest.raises(ClientError, match=complaint):
        formation.create_stack(
            StackName="refused",
            TemplateURL=packaged(stack).url,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=given,
        )
    with pytest.raises(ClientError, match="does not exist"):
        formation.describe_stacks(StackName="refused")
