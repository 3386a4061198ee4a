"""What the parameters of a deployment make of the template, and which combinations it rejects."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from plaid_sync.aws.dynamodb.recurring import MAX_AGE
from plaid_sync.items_api.broker import ENDPOINTS

from local.stack.stack import PLAID_ENDPOINTS
from tests.template.cloudformation import NO_VALUE, Resolver, Template, environment
from tests.template.test_template import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATE: Final = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
VPC: Final = {"SubnetIds": "subnet-0a1,subnet-0b2", "SecurityGroupIds": "sg-0c3"}
DOMAIN: Final = {"DomainName": "api.example.com", "CertificateArn": CERTIFICATE}
KEY: Final = {"CustomerManagedKey": "true"}
ZONE: Final = DOMAIN | {"HostedZoneId": "Z0123"}
BOUNDARY: Final = {"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/bound"}
ROLES: Final = 7
CANARIES: Final = {"WebhookFunction", "SyncFunction", "ItemsFunction"}
ONLY_PLAID: Final = "PlaidBaseUrl must be empty in prod and with Plaid's production environment."


def resolved(template: Template, parameters: Mapping[str, str]) -> Template:
    resolver = Resolver.of(template, parameters)
    assert resolver.refusals() == []
    return resolver.resolved()


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [
        (VPC, {"NetworkPolicy"}),
        (DOMAIN, {"ApiDomain", "ApiDomainMapping"}),
        (ZONE, {"ApiDomain", "ApiDomainMapping", "ApiDomainRecord"}),
        (KEY, {"DataKey", "DataKeyAlias", "DataKeyPolicy"}),
        (BOUNDARY, set()),
        ({"Monitoring": "full"}, {"Alarms", "Dashboard"}),
    ],
)
def test_each_set_of_parameters_adds_or_removes_its_resources_and_no_others(
    template: Template, parameters: dict[str, str], changed: set[str]
) -> None:
    without, made = resolved(template, {}), resolved(template, parameters)
    assert made.resources.keys() ^ without.resources.keys() == changed


def test_without_parameters_there_is_no_network_domain_key_or_boundary(template: Template) -> None:
    made = resolved(template, {})
    for name in ("VpcConfig", "PermissionsBoundary", "KmsKeyId", "KMSMasterKeyId", "SSEType", "KmsMasterKeyId"):
        assert f"'{name}'" in str(template.document)
        assert f"'{name}'" not in str(made.document)
    assert all(queue["Properties"]["SqsManagedSseEnabled"] for queue in made.of("AWS::SQS::Queue").values())
    assert made.properties("Api")["DisableExecuteApiEndpoint"] is False
    assert all(role["Properties"].get("ManagedPolicyArns", []) == [] for role in made.of("AWS::IAM::Role").values())
    assert str(NO_VALUE) not in str(made.resources)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"SubnetIds": "subnet-0a1"}, "SecurityGroupIds must be given with SubnetIds."),
        ({"SecurityGroupIds": "sg-0a1"}, "SubnetIds must be given with SecurityGroupIds."),
        ({"DomainName": "api.example.com"}, "CertificateArn must be given with DomainName."),
        ({"CertificateArn": CERTIFICATE}, "DomainName must be given with CertificateArn."),
        ({"HostedZoneId": "Z0123"}, "DomainName must be given with HostedZoneId."),
        ({"Stage": "prod", "PlaidBaseUrl": "https://plaid.example.com"}, ONLY_PLAID),
        ({"PlaidEnvironment": "production", "PlaidBaseUrl": "https://plaid.example.com"}, ONLY_PLAID),
        ({"PlaidEnvironment": "production", "PlaidBaseUrl": "http://127.0.0.1:9000"}, ONLY_PLAID),
    ],
)
def test_an_invalid_combination_is_rejected(template: Template, parameters: dict[str, str], complaint: str) -> None:
    assert Resolver.of(template, parameters).refusals() == [complaint]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("SubnetIds", ["subnet-0a1", VPC["SubnetIds"]], ["subnet-0a1, subnet-0b2", "sg-0c3", "subnet-0a1,"]),
        ("SecurityGroupIds", ["sg-0c3", "sg-1,sg-2,sg-3,sg-4,sg-5"], ["sg-1,sg-2,sg-3,sg-4,sg-5,sg-6", "default"]),
        ("DomainName", ["api.example.com", "a.de"], ["https://a.de", "localhost", "API.example.com", "a..b"]),
        ("CertificateArn", [CERTIFICATE, CERTIFICATE.replace("aws", "aws-cn", 1)], ["arn:aws:iam::1:x", "1234"]),
        ("HostedZoneId", ["Z0123ABC"], ["/hostedzone/Z0123", "example.com"]),
        (
            "PlaidEndpoints",
            ["/accounts/balance/get", ",".join(sorted(ENDPOINTS))],
            # These change an Item, return a token or move a cursor; and lists with mistakes.
            [
                *("/item/remove", "/item/access_token/invalidate", "/transactions/sync", "/processor/token/create"),
                *("accounts/balance/get", "/auth/get, /identity/get", "/auth/get,", "/auth/get/identity/get", "*"),
            ],
        ),
        (
            "PlaidBaseUrl",
            ["https://plaid.example.com", "https://10.0.0.5:8443", "http://127.0.0.1:9000", "http://localhost"],
            # Keys and tokens would travel in clear.
            [
                "http://plaid.example.com",
                "http://10.0.0.5:9000",
                "http://127.0.0.1.example.com",
                "http://localhost@a.de",
            ],
        ),
        (
            "PermissionsBoundaryArn",
            ["arn:aws:iam::111122223333:policy/bound", "arn:aws-us-gov:iam::aws:policy/PowerUserAccess"],
            ["bound", "arn:aws:iam::111122223333:role/admin"],
        ),
    ],
)
def test_an_invalid_value_is_rejected(template: Template, name: str, good: list[str], bad: list[str]) -> None:
    parameter = template.document["Parameters"][name]
    assert all(re.fullmatch(parameter["AllowedPattern"], value) for value in (*good, ""))
    assert not any(re.fullmatch(parameter["AllowedPattern"], value) for value in bad)
    assert parameter["ConstraintDescription"].startswith("must be empty or ")


def test_no_response_is_served_for_longer_than_its_invalidations_are_kept(template: Template) -> None:
    assert timedelta(hours=template.document["Parameters"]["RecurringCacheHours"]["MaxValue"]) == MAX_AGE


def test_the_local_stack_has_every_endpoint_that_a_stack_can_have() -> None:
    assert set(PLAID_ENDPOINTS) == ENDPOINTS


@pytest.mark.parametrize("parameters", [{}, {"PlaidEnvironment": "production"}, {"SyncMaximumConcurrency": "50"}])
def test_what_is_reserved_for_sync_is_its_maximum_concurrency(template: Template, parameters: dict[str, str]) -> None:
    """With less, Lambda would throttle the queue's pollers."""
    made = resolved(template, {**parameters, "ReserveSyncConcurrency": "true"})
    (mapping,) = (event["ScalingConfig"] for _, event in made.events("SQS"))
    assert made.properties("SyncFunction")["ReservedConcurrentExecutions"] == mapping["MaximumConcurrency"]
    without = resolved(template, parameters).functions.values()
    assert not [found for found in without if "ReservedConcurrentExecutions" in found]
    limited = resolved(template, {"WebhookReservedConcurrency": "100"})
    assert limited.properties("WebhookFunction")["ReservedConcurrentExecutions"] == {
        "Ref": "WebhookReservedConcurrency"
    }


def test_snapshots_are_a_switch_of_webhook_items_and_sync(template: Template) -> None:
    """Lambda refuses SnapStart with provisioned concurrency, a file system, or more than 512 MB at /tmp."""
    off, on = resolved(template, {}).functions, resolved(template, {"SnapStart": "true"}).functions
    assert {name for name, found in off.items() if found.get("SnapStart", {}).get("ApplyOn", "None") != "None"} == set()
    started = {name for name, found in on.items() if found.get("SnapStart") == {"ApplyOn": "PublishedVersions"}}
    assert started == CANARIES
    refused = {"ProvisionedConcurrencyConfig", "FileSystemConfigs", "EphemeralStorage"}
    assert not [name for name in started if on[name].keys() & refused]


# -- canary ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "configuration"),
    [
        ({"Stage": "dev"}, "CodeDeployDefault.LambdaAllAtOnce"),
        ({"Stage": "prod"}, "CodeDeployDefault.LambdaCanary10Percent5Minutes"),
        ({"Stage": "prod", "DeploymentType": "AllAtOnce"}, {"Fn::Sub": "CodeDeployDefault.Lambda${DeploymentType}"}),
    ],
)
def test_prod_gets_a_new_version_by_a_canary(
    template: Template, parameters: dict[str, str], configuration: object
) -> None:
    functions = resolved(template, parameters).functions
    assert len(functions) == 6
    for name in CANARIES:
        preference = functions[name]["DeploymentPreference"]
        assert preference["Type"] == configuration
        assert preference["Role"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
    assert {name for name in functions if functions[name]["DeploymentPreference"].get("Enabled", True)} == CANARIES


def test_codedeploy_moves_the_aliases_of_the_canaries_and_no_others(template: Template) -> None:
    shift, provisioned, alarms = template.properties("DeploymentRole")["Policies"][0]["PolicyDocument"]["Statement"]
    assert shift["Action"] == ["lambda:GetAlias", "lambda:UpdateAlias"]
    assert {arn["Fn::GetAtt"][0] for arn in shift["Resource"]} == CANARIES
    assert {arn["Fn::Sub"] for arn in provisioned["Resource"]} == {f"${{{name}.Arn}}:*" for name in CANARIES}
    assert alarms["Action"] == "cloudwatch:DescribeAlarms"
    assert alarms["Resource"]["Fn::Sub"].endswith(":alarm:*")


@pytest.mark.parametrize(
    ("parameters", "monitored"),
    [
        ({"Stage": "dev"}, False),
        ({"Stage": "prod"}, True),
        ({"Stage": "local"}, True),
        ({"Stage": "dev", "Monitoring": "full"}, True),
        ({"Stage": "prod", "Monitoring": "none"}, False),
    ],
)
def test_prod_is_monitored_and_dev_is_if_the_parameter_says_so(
    template: Template, parameters: dict[str, str], *, monitored: bool
) -> None:
    made = resolved(template, parameters).resources
    assert ("Alarms" in made, "Dashboard" in made) == (monitored, monitored)


def test_without_monitoring_nothing_names_an_alarm_or_the_dashboard(template: Template) -> None:
    outputs = template.document["Outputs"]
    conditional = {name for name, output in outputs.items() if output.get("Condition") == "Monitored"}
    assert conditional == {"DashboardName", "DashboardUrl", "PageTopicArn", "AlarmTopicArn"}
    made = resolved(template, {"Monitoring": "none"})
    assert re.findall(r"Alarms\.|Dashboard\.", str(made.resources)) == []


# -- boundary, network, domain, key ------------------------------------------------------------------------------------


def test_the_boundary_limits_every_role(template: Template) -> None:
    roles = resolved(template, BOUNDARY).of("AWS::IAM::Role")
    boundaries = [role["Properties"]["PermissionsBoundary"] for role in roles.values()]
    assert boundaries == [{"Ref": "PermissionsBoundaryArn"}] * ROLES


def test_in_a_network_every_function_is_attached_and_may_be(template: Template) -> None:
    made = resolved(template, VPC)
    for name, properties in made.functions.items():
        assert properties["VpcConfig"] == {
            "SubnetIds": {"Fn::Split": [",", {"Ref": "SubnetIds"}]},
            "SecurityGroupIds": {"Fn::Split": [",", {"Ref": "SecurityGroupIds"}]},
        }
        assert made.properties(f"{name}Role")["ManagedPolicyArns"] == [{"Ref": "NetworkPolicy"}]


def test_a_domain_replaces_the_host_name_everywhere(template: Template) -> None:
    made = resolved(template, DOMAIN)
    assert made.properties("Api")["DisableExecuteApiEndpoint"] is True
    outputs = made.document["Outputs"]
    assert outputs["ApiUrl"]["Value"] == {"Fn::Sub": "https://${DomainName}"}
    assert outputs["WebhookUrl"]["Value"] == {"Fn::Sub": "https://${DomainName}/webhooks/plaid"}
    assert environment(made.properties("ItemsFunction"))["WEBHOOK_URL"] == outputs["WebhookUrl"]["Value"]
    assert "execute-api.${AWS::Region}" not in str(made.document)
    elsewhere = resolved(template, DOMAIN | {"WebhookUrl": "https://proxy.example.com/webhooks/plaid"})
    assert environment(elsewhere.properties("ItemsFunction"))["WEBHOOK_URL"] == {"Ref": "WebhookUrl"}


def test_a_customer_managed_key_encrypts_all_stored_data(template: Template) -> None:
    made, arn = resolved(template, KEY), {"Fn::GetAtt": ["DataKey", "Arn"]}
    for table in made.of("AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": arn}
    for queue in made.of("AWS::SQS::Queue").values():
        assert (queue["Properties"]["KmsMasterKeyId"], queue["Properties"]["SqsManagedSseEnabled"]) == (arn, False)
    for kind in ("AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"):
        assert [found["Properties"]["KmsKeyId"] for found in made.of(kind).values()] == [arn] * len(made.of(kind))
    for name in made.functions:
        assert made.properties(f"{name}Role")["ManagedPolicyArns"] == [{"Ref": "DataKeyPolicy"}]
    assert made.resources["DataKey"]["DeletionPolicy"] == made.resources["DataKey"]["UpdateReplacePolicy"] == "Retain"


def test_the_functions_use_that_key_only_through_the_services_that_store_data(template: Template) -> None:
    (statement,) = template.properties("DataKeyPolicy")["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Resource"] == {"Fn::GetAtt": ["DataKey", "Arn"]}
    services = {name["Fn::Sub"].split(".")[0] for name in statement["Condition"]["StringEquals"]["kms:ViaService"]}
    assert services == {"dynamodb", "sqs", "secretsmanager"}
    # Operators attach the same policy: docs/cli.md.
    output = template.document["Outputs"]["DataKeyPolicyArn"]
    assert (output["Condition"], output["Value"]) == ("OwnKey", {"Ref": "DataKeyPolicy"})


# -- regions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_no_template_is_bound_to_a_region_or_a_partition(text: str) -> None:
    written = "\n".join(line for line in text.splitlines() if "AllowedPattern" not in line)
    assert re.findall(r"\b[a-z]{2}-(?:[a-z]+-)+\d\b", written) == []  # us-east-1
    assert re.findall(r"arn:aws[a-z-]*:", written) == []
    assert re.findall(r"\d{12}", written) == []
    hosts = set(re.findall(r"[\w.-]*amazonaws[\w.-]*|[\w.-]*aws\.amazon\.com[\w.]*", written))
    principals = {f"{name}.amazonaws.com" for name in ("lambda", "codedeploy", "cloudwatch", "events")}
    consoles = {"console.aws.amazon.com", "console.amazonaws.cn", "console.amazonaws-us-gov.com"}
    assert hosts - principals - consoles - {"health.aws.amazon.com"} == set()


@pytest.mark.parametrize(
    ("partition", "console"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
    ],
)
def test_the_console_has_the_partitions_host_name(template: Template, partition: str, console: str) -> None:
    made = resolved(template, {"AWS::Partition": partition, "Monitoring": "full"})
    assert made.properties("Dashboard")["Parameters"]["Console"] == console
