"""The REST API answers as API Gateway does, by what was deployed."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.cloud import Cloud
from tests.local.assembly import BUCKET, function, template, write_assembly

SCHEMA = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["instances"],
    "properties": {"instances": {"type": "array"}},
}


def method(resource: str, verb: str, **changes: Any) -> dict[str, Any]:
    arn = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Alias}/invocations"
    return {
        "Type": "AWS::ApiGateway::Method",
        "Properties": {
            "RestApiId": {"Ref": "Api"},
            "ResourceId": {"Ref": resource},
            "HttpMethod": verb,
            "AuthorizationType": "NONE",
            "Integration": {
                "Type": "AWS_PROXY",
                "IntegrationHttpMethod": "POST",
                "Uri": {"Fn::Sub": arn},
            },
        }
        | changes,
    }


def resource(part: str, parent: Any = None) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {
            "RestApiId": {"Ref": "Api"},
            "ParentId": parent or {"Fn::GetAtt": ["Api", "RootResourceId"]},
            "PathPart": part,
        },
    }


def api() -> dict[str, Any]:
    made = function(BUCKET, "code.zip") | {
        "Api": {
            "Type": "AWS::ApiGateway::RestApi",
            "Properties": {"Name": "test", "BinaryMediaTypes": ["application/octet-stream"]},
        },
        "Signed": resource("signed"),
        "Checked": resource("checked"),
        "Open": resource("open"),
        "Slow": resource("slow"),
        "Keyed": resource("keyed"),
        "Item": resource("{item}", {"Ref": "Open"}),
        "Rest": resource("{rest+}", {"Ref": "Item"}),
        "SignedGet": method("Signed", "ANY", AuthorizationType="AWS_IAM"),
        "OpenGet": method("Open", "GET"),
        "OpenPost": method("Open", "POST"),
        "ItemGet": method("Item", "GET"),
        "RestGet": method("Rest", "GET"),
        "SlowGet": method("Slow", "GET"),
        "KeyedGet": method("Keyed", "GET", ApiKeyRequired=True),
        "CheckedPost": method(
            "Checked",
            "POST",
            RequestModels={"application/json": {"Ref": "Model"}},
            RequestParameters={"method.request.querystring.mode": True},
            RequestValidatorId={"Ref": "Validator"},
        ),
        "Model": {
            "Type": "AWS::ApiGateway::Model",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ContentType": "application/json",
                "Schema": SCHEMA,
            },
        },
        "Validator": {
            "Type": "AWS::ApiGateway::RequestValidator",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ValidateRequestBody": True,
                "ValidateRequestParameters": True,
            },
        },
        "Throttled": {
            "Type": "AWS::ApiGateway::GatewayResponse",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ResponseType": "THROTTLED",
                "StatusCode": "429",
                "ResponseParameters": {
                    "gatewayresponse.header.Retry-After": "'1'",
                    "gatewayresponse.header.Content-Type": "'application/problem+json'",
                },
                "ResponseTemplates": {
                    "application/json": '{"title": $context.error.messageString}'
                },
            },
        },
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": {"Ref": "Alias"},
                "Action": "lambda:InvokeFunction",
                "Principal": "apigateway.amazonaws.com",
                "SourceArn": {
                    "Fn::Sub": "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/*/*"
                },
            },
        },
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "access"}},
        "Deployment": {
            "Type": "AWS::ApiGateway::Deployment",
            "Properties": {"RestApiId": {"Ref": "Api"}},
        },
        "Stage": {
            "Type": "AWS::ApiGateway::Stage",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "StageName": "v1",
                "DeploymentId": {"Ref": "Deployment"},
                "AccessLogSetting": {
                    "DestinationArn": {"Fn::GetAtt": ["Log", "Arn"]},
                    "Format": "$context.httpMethod $context.path $context.status "
                    "$context.error.responseType $context.requestId",
                },
                "MethodSettings": [
                    {
                        "ResourcePath": "/slow",
                        "HttpMethod": "GET",
                        "ThrottlingRateLimit": 1,
                        "ThrottlingBurstLimit": 5,
                    }
                ],
            },
        },
        "Key": {
            "Type": "AWS::ApiGateway::ApiKey",
            "Properties": {"Enabled": True, "Value": "key-with-at-least-20-letters"},
        },
        "Plan": {
            "Type": "AWS::ApiGateway::UsagePlan",
            "Properties": {
                "ApiStages": [{"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}],
                "Quota": {"Limit": 2, "Period": "DAY"},
            },
        },
        "PlanKey": {
            "Type": "AWS::ApiGateway::UsagePlanKey",
            "Properties": {
                "KeyId": {"Ref": "Key"},
                "KeyType": "API_KEY",
                "UsagePlanId": {"Ref": "Plan"},
            },
        },
    }
    routes = [name for name, item in made.items() if item["Type"] == "AWS::ApiGateway::Method"]
    made["Deployment"]["DependsOn"] = [*routes, "Throttled"]
    return made


@pytest.fixture(scope="module")
def url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the deployed API's address."""
    folder = tmp_path_factory.mktemp("out")
    assembly = write_assembly(folder, {"rest": template(api(), {"Api": {"Ref": "Api"}})})
    return cloud.api_url(cloud.deploy(assembly)["rest"]["Api"])


def ask(
    url: str,
    verb: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(verb, target, body, dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), json.loads(text) if text else None


def sign(
    cloud: Cloud, url: str, verb: str = "GET", body: bytes | None = None, **changes: str
) -> dict[str, str]:
    operator = cloud.identity.operator
    request = AWSRequest(verb, url, data=body)
    credentials = Credentials(
        changes.get("key", operator.key),
        changes.get("secret", operator.secret),
        changes.get("token"),
    )
    region, service = changes.get("region", "eu-west-1"), changes.get("service", "execute-api")
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def test_the_event_is_api_gateways(cloud: Cloud, url: str) -> None:
    """The function sees the proxy event of REST APIs, version 1."""
    status, headers, answer = ask(
        f"{url}/open/a%20b/c/d?x=1&x=2&y=", headers={"X-One": "1", "User-Agent": "test"}
    )
    event = answer["event"]
    assert status == 200
    assert headers["X-Version"] == answer["version"]
    assert event["resource"] == "/open/{item}/{rest+}"
    assert event["pathParameters"] == {"item": "a b", "rest": "c/d"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": [""]}
    assert event["queryStringParameters"] == {"x": "2", "y": ""}
    assert event["headers"]["X-One"] == "1"
    context = event["requestContext"]
    assert abs(context["requestTimeEpoch"] / 1000 - cloud.clock.now()) < 600
    assert context["stage"] == "v1"
    assert context["path"] == "/v1/open/a%20b/c/d"
    assert context["requestId"] == headers["x-amzn-RequestId"]
    assert context["identity"]["userAgent"] == "test"
    assert event["body"] is None
    assert event["isBase64Encoded"] is False


def test_binary_bodies_are_base64(url: str) -> None:
    """A declared binary type arrives in base64, text as text."""
    binary = {"Content-Type": "application/octet-stream"}
    event = ask(f"{url}/open", "POST", b"\xff\x00", binary)[2]["event"]
    assert (event["body"], event["isBase64Encoded"]) == ("/wA=", True)
    event = ask(f"{url}/open", "POST", "ü".encode(), {"Content-Type": "text/plain"})[2]["event"]
    assert (event["body"], event["isBase64Encoded"]) == ("ü", False)


def test_signed_calls(cloud: Cloud, url: str) -> None:
    """A rightly signed call passes, with body and query; the caller is in the event."""
    target, body = f"{url}/signed?b=2&a=1%2F2&c", b'{"x": 1}'
    status, _, answer = ask(target, "POST", body, sign(cloud, target, "POST", body))
    assert status == 200
    assert answer["event"]["requestContext"]["identity"]["userArn"].endswith(":root")
    role = cloud.identity.issue("arn:aws:iam::123456789012:role/caller", "me")
    keys = {"key": role.key, "secret": role.secret, "token": role.token}
    status, _, answer = ask(target, "POST", body, sign(cloud, target, "POST", body, **keys))
    assert status == 403
    assert "not authorized to perform: execute-api:Invoke" in json.dumps(answer)
    iam = cloud.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="caller", AssumeRolePolicyDocument=trust)
    statement = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": "arn:aws:execute-api:eu-west-1:123456789012:*/v1/POST/signed",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="caller", PolicyName="call", PolicyDocument=policy)
    status, _, answer = ask(target, "POST", body, sign(cloud, target, "POST", body, **keys))
    identity = answer["event"]["requestContext"]["identity"]
    assert identity["userArn"] == "arn:aws:sts::123456789012:assumed-role/caller/me"


def test_curl_signs(cloud: Cloud, url: str) -> None:
    """`curl --aws-sigv4` is a client that nobody here wrote."""
    operator = cloud.identity.operator
    command = [
        "curl",
        "-sS",
        "--aws-sigv4",
        "aws:amz:eu-west-1:execute-api",
        "--user",
        f"{operator.key}:{operator.secret}",
        "-H",
        "content-type: application/json",
        "-d",
        '{"instances": []}',
        f"{url}/signed?explain=true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["event"]["queryStringParameters"] == {"explain": "true"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": "wrong"}, "does not match the signature"),
        ({"key": "AKIAUNKNOWN000000000"}, "security token included in the request is invalid"),
        ({"region": "us-east-1"}, "Credential should be scoped"),
        ({"service": "s3"}, "Credential should be scoped"),
    ],
)
def test_wrong_signatures(cloud: Cloud, url: str, changes: dict[str, str], message: str) -> None:
    """A wrong secret, an unknown key and a foreign scope are refused, each in AWS's words."""
    status, headers, answer = ask(f"{url}/signed", headers=sign(cloud, f"{url}/signed", **changes))
    assert status == 403
    assert message in answer["message"]
    assert headers["x-amzn-ErrorType"] == "InvalidSignatureException"


def test_a_changed_body_and_an_old_signature(cloud: Cloud, url: str) -> None:
    """What was signed is what must arrive, and soon."""
    headers = sign(cloud, f"{url}/signed", "POST", b"one")
    assert ask(f"{url}/signed", "POST", b"two", headers)[0] == 403
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 600))
    old = sign(cloud, f"{url}/signed")
    old["X-Amz-Date"] = stamp
    status, _, answer = ask(f"{url}/signed", headers=old)
    assert (status, "Signature expired" in answer["message"]) == (403, True)


@pytest.mark.parametrize(("path", "verb"), [("/signed", "GET"), ("/none", "GET"), ("/open", "PUT")])
def test_missing_tokens_and_routes(url: str, path: str, verb: str) -> None:
    """No signature, no such resource, no such method: the same words, as on AWS."""
    status, headers, answer = ask(url + path, verb)
    assert (status, answer) == (403, {"message": "Missing Authentication Token"})
    assert headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_an_unknown_stage(url: str) -> None:
    """A stage that is not deployed is forbidden."""
    assert ask(url.replace("/v1", "/v2") + "/open")[::2] == (403, {"message": "Forbidden"})


def test_validation(url: str) -> None:
    """Parameters and body are checked by the deployed validator before the function is called."""
    status, _, answer = ask(f"{url}/checked", "POST", b"{}")
    assert (status, answer["message"]) == (400, "Missing required request parameters: [mode]")
    for body in (b"{}", b"{", b'{"instances": 1}'):
        status, _, answer = ask(f"{url}/checked?mode=a", "POST", body)
        assert (status, answer) == (400, {"message": "Invalid request body"})
    assert ask(f"{url}/checked?mode=a", "POST", b'{"instances": []}')[0] == 200


def test_limits(url: str) -> None:
    """A body over 10 MB is refused."""
    body = b"x" * (10 * 1024 * 1024 + 1)
    assert ask(f"{url}/open", "POST", body)[::2] == (413, {"message": "Request Too Long"})


def test_a_failing_function_is_a_502(cloud: Cloud, url: str) -> None:
    """What the function breaks is not shown to the caller."""
    name = cloud.stacks.find("rest").resources["Function"].physical_id
    client = cloud.client("lambda")
    live = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    client.update_function_configuration(FunctionName=name, Handler="index.absent")
    broken = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=broken)
    try:
        assert ask(f"{url}/open")[::2] == (502, {"message": "Internal server error"})
    finally:
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=live)


def test_keys_and_quotas(cloud: Cloud, url: str) -> None:
    """A key is needed, may be used as often as its plan says, and again the next day."""
    key = {"x-api-key": "key-with-at-least-20-letters"}
    assert ask(f"{url}/keyed")[::2] == (403, {"message": "Forbidden"})
    assert ask(f"{url}/keyed", headers={"x-api-key": "wrong"})[0] == 403
    assert [ask(f"{url}/keyed", headers=key)[0] for _ in range(3)] == [200, 200, 429]
    cloud.clock.advance(24 * 3600)
    assert ask(f"{url}/keyed", headers=key)[0] == 200


def test_throttles_under_many_callers(url: str) -> None:
    """200 callers at once: every one is answered; beyond the burst with 429 and Retry-After."""
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: ask(f"{url}/slow"), range(200)))
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) == {200, 429}
    assert 5 <= statuses[200] <= 60
    refused = next(answer for answer in answers if answer[0] == 429)
    assert refused[1]["Retry-After"] == "1"
    assert refused[1]["Content-Type"] == "application/problem+json"
    assert refused[2] == {"title": "Too Many Requests"}


def test_nothing_is_lost_under_load(url: str) -> None:
    """200 calls from 50 callers without a throttle all reach the function."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: ask(f"{url}/open/{n}"), range(200)))
    assert {status for status, _, _ in answers} == {200}
    seen = {answer["event"]["pathParameters"]["item"] for _, _, answer in answers}
    assert seen == {str(n) for n in range(200)}


def test_access_log(cloud: Cloud, url: str) -> None:
    """Each call is a line in the deployed format; what is not there is a dash."""
    _, headers, _ = ask(f"{url}/open")
    _, refused, _ = ask(f"{url}/signed")
    logs = cloud.client("logs")
    events = logs.filter_log_events(logGroupName="access")["events"]
    lines = {event["message"] for event in events}
    assert f"GET /v1/open 200 - {headers['x-amzn-RequestId']}" in lines
    missing = f"GET /v1/signed 403 MISSING_AUTHENTICATION_TOKEN {refused['x-amzn-RequestId']}"
    assert missing in lines


def test_a_route_is_served_only_once_deployed(cloud: Cloud, url: str) -> None:
    """A stage serves its deployment's snapshot, not the API as it was changed since."""
    api_id = cloud.stacks.find("rest").resources["Api"].physical_id
    client = cloud.client("apigateway")
    root = cloud.stacks.find("rest").resources["Api"].attributes["RootResourceId"]
    made = client.create_resource(restApiId=api_id, parentId=root, pathPart="later")
    where = {"restApiId": api_id, "resourceId": made["id"], "httpMethod": "GET"}
    client.put_method(**where, authorizationType="NONE")
    assert ask(f"{url}/later")[0] == 403


def test_without_a_permission_the_gateway_may_not_call(cloud: Cloud, url: str) -> None:
    """A missing AWS::Lambda::Permission fails here as on AWS."""
    name = cloud.stacks.find("rest").resources["Function"].physical_id
    sid = cloud.stacks.find("rest").resources["Permission"].physical_id
    client = cloud.client("lambda")
    client.remove_permission(FunctionName=name, StatementId=sid)
    assert ask(f"{url}/open")[::2] == (500, {"message": "Internal server error"})


def test_metrics(cloud: Cloud, url: str) -> None:
    """Calls are counted in AWS/ApiGateway, by API and by stage."""
    found = cloud.client("cloudwatch").list_metrics(Namespace="AWS/ApiGateway")["Metrics"]
    names = {(m["MetricName"], len(m["Dimensions"])) for m in found}
    assert {("Count", 1), ("Count", 2), ("4XXError", 1), ("5XXError", 2), ("Latency", 1)} <= names
