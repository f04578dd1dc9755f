"""S3's resource types: buckets and their policies."""

from __future__ import annotations

import re
from typing import Any

from local.resources import Kind, Made, Order, ResourceError


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


KINDS: tuple[type[Kind], ...] = (
    Bucket,
    BucketPolicy,
)
