"""S3, KMS, ECR, SSM: what holds data, keys, images and parameters."""

from __future__ import annotations

import re
from typing import Any

from local.resources.base import Kind, Made, Order, ResourceError, tags


class Bucket(Kind):
    """AWS::S3::Bucket."""

    type = "AWS::S3::Bucket"
    create_only = frozenset({"BucketName", "ObjectLockEnabled"})

    def create(self, order: Order) -> Made:
        """Create the bucket, then set each of its configurations."""
        name = order.get("BucketName") or order.name(63, lower=True)
        order.call(
            "s3",
            "CreateBucket",
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": order.cloud.region},
        )
        self._configure(order, name)
        return self._made(order, name)

    def update(self, order: Order) -> Made:
        """Set each configuration again."""
        self._configure(order, order.physical_id)
        return self._made(order, order.physical_id)

    def delete(self, order: Order) -> None:
        """Delete the bucket; as on AWS, one that holds objects is refused."""
        order.discard("s3", "DeleteBucket", Bucket=order.physical_id)

    @staticmethod
    def _made(order: Order, name: str) -> Made:
        region = order.cloud.region
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
                "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
            },
        )

    def _configure(self, order: Order, name: str) -> None:
        for key, value in order.rest("BucketName", "ObjectLockEnabled").items():
            setter = getattr(self, f"_set_{key}", None)
            if setter is None:
                raise ResourceError(f"the local cloud does not support {self.type} {key}")
            setter(order, name, value)

    @staticmethod
    def _set_Tags(order: Order, name: str, value: Any) -> None:
        order.call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": value})

    @staticmethod
    def _set_AccessControl(order: Order, name: str, value: Any) -> None:
        acl = re.sub(r"(?<!^)(?=[A-Z])", "-", value).lower()
        order.call("s3", "PutBucketAcl", Bucket=name, ACL=acl)

    @staticmethod
    def _set_VersioningConfiguration(order: Order, name: str, value: Any) -> None:
        order.call("s3", "PutBucketVersioning", Bucket=name, VersioningConfiguration=value)

    @staticmethod
    def _set_PublicAccessBlockConfiguration(order: Order, name: str, value: Any) -> None:
        order.call("s3", "PutPublicAccessBlock", Bucket=name, PublicAccessBlockConfiguration=value)

    @staticmethod
    def _set_BucketEncryption(order: Order, name: str, value: Any) -> None:
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule.get("ServerSideEncryptionByDefault"),
                "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
            }
            for rule in value["ServerSideEncryptionConfiguration"]
        ]
        order.call(
            "s3",
            "PutBucketEncryption",
            Bucket=name,
            ServerSideEncryptionConfiguration={"Rules": rules},
        )

    @staticmethod
    def _set_OwnershipControls(order: Order, name: str, value: Any) -> None:
        order.call("s3", "PutBucketOwnershipControls", Bucket=name, OwnershipControls=value)

    @staticmethod
    def _set_LoggingConfiguration(order: Order, name: str, value: Any) -> None:
        enabled = {
            "TargetBucket": value.get("DestinationBucketName", name),
            "TargetPrefix": value.get("LogFilePrefix", ""),
        }
        order.call(
            "s3", "PutBucketLogging", Bucket=name, BucketLoggingStatus={"LoggingEnabled": enabled}
        )

    @staticmethod
    def _set_LifecycleConfiguration(order: Order, name: str, value: Any) -> None:
        rules = [_lifecycle_rule(rule, index) for index, rule in enumerate(value["Rules"])]
        order.call(
            "s3",
            "PutBucketLifecycleConfiguration",
            Bucket=name,
            LifecycleConfiguration={"Rules": rules},
        )

    @staticmethod
    def _set_CorsConfiguration(order: Order, name: str, value: Any) -> None:
        rules = [
            {
                ("MaxAgeSeconds" if key == "MaxAge" else "ID" if key == "Id" else key): inner
                for key, inner in rule.items()
            }
            for rule in value["CorsRules"]
        ]
        order.call("s3", "PutBucketCors", Bucket=name, CORSConfiguration={"CORSRules": rules})

    @staticmethod
    def _set_NotificationConfiguration(order: Order, name: str, value: Any) -> None:
        known = {"EventBridgeConfiguration"}
        if set(value) - known:
            raise ResourceError(
                "the local cloud supports bucket notifications to EventBridge only, got "
                + ", ".join(sorted(set(value) - known))
            )
        wanted = value.get("EventBridgeConfiguration", {})
        on = str(wanted.get("EventBridgeEnabled", True)).lower() == "true"
        order.call(
            "s3",
            "PutBucketNotificationConfiguration",
            Bucket=name,
            NotificationConfiguration={"EventBridgeConfiguration": {}} if on else {},
        )


def _lifecycle_rule(rule: dict[str, Any], index: int) -> dict[str, Any]:
    """Turn a template's lifecycle rule into the API's."""
    fitted: dict[str, Any] = {
        "ID": rule.get("Id", f"rule-{index}"),
        "Status": rule.get("Status", "Enabled"),
        "Filter": {"Prefix": rule.get("Prefix", "")},
    }
    if "TagFilters" in rule:
        fitted["Filter"] = {"And": {"Prefix": rule.get("Prefix", ""), "Tags": rule["TagFilters"]}}
    if "ExpirationInDays" in rule:
        fitted["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "ExpiredObjectDeleteMarker" in rule:
        fitted["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    noncurrent = rule.get("NoncurrentVersionExpiration") or (
        {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
        if "NoncurrentVersionExpirationInDays" in rule
        else None
    )
    if noncurrent:
        fitted["NoncurrentVersionExpiration"] = noncurrent
    if "AbortIncompleteMultipartUpload" in rule:
        fitted["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    if "Transitions" in rule:
        fitted["Transitions"] = [
            {"Days": int(item["TransitionInDays"]), "StorageClass": item["StorageClass"]}
            for item in rule["Transitions"]
        ]
    if "NoncurrentVersionTransitions" in rule:
        fitted["NoncurrentVersionTransitions"] = [
            {"NoncurrentDays": int(item["TransitionInDays"]), "StorageClass": item["StorageClass"]}
            for item in rule["NoncurrentVersionTransitions"]
        ]
    return fitted


class BucketPolicy(Kind):
    """AWS::S3::BucketPolicy."""

    type = "AWS::S3::BucketPolicy"
    create_only = frozenset({"Bucket"})

    def create(self, order: Order) -> Made:
        """Put the policy."""
        order.call("s3", "PutBucketPolicy", Bucket=order["Bucket"], Policy=order["PolicyDocument"])
        return Made(order["Bucket"], {"Bucket": order["Bucket"]})

    update = create

    def delete(self, order: Order) -> None:
        """Take the policy away."""
        order.discard("s3", "DeleteBucketPolicy", Bucket=order.physical_id)


class Key(Kind):
    """AWS::KMS::Key."""

    type = "AWS::KMS::Key"
    create_only = frozenset({"KeySpec", "KeyUsage", "MultiRegion"})

    def create(self, order: Order) -> Made:
        """Create the key."""
        answer = order.call(
            "kms",
            "CreateKey",
            **order.given("Description", "KeySpec", "KeyUsage", "MultiRegion"),
            Policy=order.get("KeyPolicy"),
            Tags=[{"TagKey": k, "TagValue": v} for k, v in tags(order.get("Tags")).items()],
        )
        key = answer["KeyMetadata"]
        made = Made(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})
        self._rotate(order, key["KeyId"])
        return made

    @staticmethod
    def _rotate(order: Order, key: str) -> None:
        if str(order.get("EnableKeyRotation", False)).lower() == "true":
            order.call("kms", "EnableKeyRotation", KeyId=key)

    def update(self, order: Order) -> Made:
        """Put policy, description and rotation."""
        key = order.physical_id
        if order.get("KeyPolicy"):
            order.call(
                "kms", "PutKeyPolicy", KeyId=key, PolicyName="default", Policy=order["KeyPolicy"]
            )
        order.call(
            "kms", "UpdateKeyDescription", KeyId=key, Description=order.get("Description", "")
        )
        self._rotate(order, key)
        return Made(key, order.attributes)

    def delete(self, order: Order) -> None:
        """Schedule the key's deletion, as CloudFormation does."""
        order.discard(
            "kms",
            "ScheduleKeyDeletion",
            KeyId=order.physical_id,
            PendingWindowInDays=int(order.get("PendingWindowInDays", 30)),
        )


class KeyAlias(Kind):
    """AWS::KMS::Alias."""

    type = "AWS::KMS::Alias"
    create_only = frozenset({"AliasName"})

    def create(self, order: Order) -> Made:
        """Create the alias."""
        order.call(
            "kms", "CreateAlias", AliasName=order["AliasName"], TargetKeyId=order["TargetKeyId"]
        )
        return Made(order["AliasName"])

    def update(self, order: Order) -> Made:
        """Point the alias at another key."""
        order.call(
            "kms", "UpdateAlias", AliasName=order.physical_id, TargetKeyId=order["TargetKeyId"]
        )
        return Made(order.physical_id)

    def delete(self, order: Order) -> None:
        """Delete the alias."""
        order.discard("kms", "DeleteAlias", AliasName=order.physical_id)


class Repository(Kind):
    """AWS::ECR::Repository."""

    type = "AWS::ECR::Repository"
    create_only = frozenset({"RepositoryName", "EncryptionConfiguration"})

    def create(self, order: Order) -> Made:
        """Create the repository with its policies."""
        answer = order.call(
            "ecr",
            "CreateRepository",
            RepositoryName=order.get("RepositoryName") or order.name(256, lower=True),
            **order.given(
                "ImageTagMutability",
                "ImageScanningConfiguration",
                "EncryptionConfiguration",
                tags="Tags",
            ),
        )
        repository = answer["repository"]
        made = Made(
            repository["repositoryName"],
            {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]},
        )
        self._configure(order, made.physical_id)
        return made

    @staticmethod
    def _configure(order: Order, name: str) -> None:
        if order.get("RepositoryPolicyText"):
            order.call(
                "ecr",
                "SetRepositoryPolicy",
                repositoryName=name,
                policyText=order["RepositoryPolicyText"],
            )
        lifecycle = (order.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle:
            order.call(
                "ecr", "PutLifecyclePolicy", repositoryName=name, lifecyclePolicyText=lifecycle
            )

    def update(self, order: Order) -> Made:
        """Put the policies again."""
        self._configure(order, order.physical_id)
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the repository."""
        order.discard("ecr", "DeleteRepository", repositoryName=order.physical_id, force=True)


class Parameter(Kind):
    """AWS::SSM::Parameter."""

    type = "AWS::SSM::Parameter"
    create_only = frozenset({"Name"})

    def create(self, order: Order) -> Made:
        """Create the parameter."""
        return self._put(order, order.get("Name") or order.name(), overwrite=False)

    def update(self, order: Order) -> Made:
        """Overwrite the parameter."""
        return self._put(order, order.physical_id, overwrite=True)

    @staticmethod
    def _put(order: Order, name: str, *, overwrite: bool) -> Made:
        order.call(
            "ssm",
            "PutParameter",
            Name=name,
            Overwrite=overwrite,
            **order.given("Type", "Value", "Description", "AllowedPattern", "Tier", "DataType"),
        )
        return Made(name, {"Type": order["Type"], "Value": order["Value"]})

    def delete(self, order: Order) -> None:
        """Delete the parameter."""
        order.discard("ssm", "DeleteParameter", Name=order.physical_id)
