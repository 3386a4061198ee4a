"""The template with parameters set, deployed: what CloudFormation makes of them, and what it refuses.

The emulator's CloudFormation passes over `VpcConfig`, `PermissionsBoundary` and `SSESpecification`: these are seen in
tests/template only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import ClientError

from local.stack.resources import ACCOUNT_ID
from tests.component.other_stacks import packaged, stack_beside

if TYPE_CHECKING:
    from local.stack import LocalStack
    from local.stack.resources import Resources

CERTIFICATE: Final = f"arn:aws:acm:us-east-1:{ACCOUNT_ID}:certificate/1"


def functions_of(stack: LocalStack, resources: Resources) -> list[Any]:
    client = stack.client("lambda")
    names = resources.of("AWS::Lambda::Function")
    assert len(names) == 6
    return [client.get_function_configuration(FunctionName=name) for name in names]


def test_functions_in_a_network_are_attached_by_a_policy_of_their_roles(stack: LocalStack) -> None:
    network = {"SubnetIds": "subnet-0a1,subnet-0b2", "SecurityGroupIds": "sg-0c3"}
    with stack_beside(stack, "network", network) as resources:
        for function in functions_of(stack, resources):
            attached = stack.client("iam").list_attached_role_policies(RoleName=function["Role"].rpartition("/")[2])
            assert [one["PolicyArn"] for one in attached["AttachedPolicies"]] == [resources.id("NetworkPolicy")]


def test_a_domain_is_mapped_to_the_api_and_named_everywhere(stack: LocalStack) -> None:
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference="domain")["HostedZone"]["Id"]
    domain = {"DomainName": "api.example.com", "CertificateArn": CERTIFICATE, "HostedZoneId": zone.rpartition("/")[2]}
    with stack_beside(stack, "domain", domain) as resources:
        (mapping,) = stack.client("apigatewayv2").get_api_mappings(DomainName="api.example.com")["Items"]
        assert (mapping["ApiId"], mapping["Stage"]) == (resources.id("Api"), "$default")
        records = stack.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        assert "api.example.com." in {record["Name"] for record in records if record["Type"] == "A"}
        items = stack.client("lambda").get_function_configuration(FunctionName=resources.id("ItemsFunction"))
        assert items["Environment"]["Variables"]["WEBHOOK_URL"] == resources.outputs["WebhookUrl"]
        assert resources.outputs["WebhookUrl"] == "https://api.example.com/webhooks/plaid"


def test_a_key_of_the_accounts_own_is_what_queues_logs_and_the_secret_are_encrypted_with(
    stack: LocalStack,
) -> None:
    with stack_beside(stack, "own-key", {"CustomerManagedKey": "true"}) as resources:
        key = stack.client("kms").describe_key(KeyId=resources.id("DataKey"))["KeyMetadata"]["Arn"]
        for url in resources.of("AWS::SQS::Queue"):
            attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert attributes["KmsMasterKeyId"] == key
        groups = stack.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/own-key-")["logGroups"]
        assert [group.get("kmsKeyId") for group in groups] == [key] * 6
        secret = stack.client("secretsmanager").describe_secret(SecretId=resources.id("PlaidSecret"))
        assert secret["KmsKeyId"] == key


def test_an_alias_moves_by_codedeploy_with_our_role_and_alarms(stack: LocalStack) -> None:
    resources = stack.resources.template["Resources"]
    aliases = [one for one in resources.values() if one["Type"] == "AWS::Lambda::Alias"]
    groups = {name: one["Properties"] for name, one in resources.items() if one["Type"].endswith("::DeploymentGroup")}
    assert len(aliases) == 6
    for alias in aliases:
        group = groups.pop(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"])
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
        assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(group["AutoRollbackConfiguration"]["Events"])
    assert groups == {}
    # SAM makes no role besides, which would have a managed policy on everything.
    assert len(stack.resources.of("AWS::IAM::Role")) == 7


def test_the_alarms_that_take_a_version_back_exist(stack: LocalStack) -> None:
    group = stack.resources.template["Resources"]["WebhookFunctionDeploymentGroup"]["Properties"]
    _, watched, _ = group["AlarmConfiguration"]["Fn::If"]
    names = {alarm["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-") for alarm in watched["Alarms"]}
    assert names
    assert names <= stack.alarms().keys()


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"SubnetIds": "subnet-0a1"}, "SecurityGroupIds must be given with SubnetIds"),
        ({"DomainName": "api.example.com"}, "CertificateArn must be given with DomainName"),
        ({"HostedZoneId": "Z0123"}, "DomainName must be given with HostedZoneId"),
        ({"SubnetIds": "subnet-0a1, subnet-0b2"}, "SubnetIds"),
        ({"DeploymentType": "Sometimes"}, "DeploymentType"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
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
