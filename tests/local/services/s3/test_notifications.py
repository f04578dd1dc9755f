"""Buckets tell EventBridge of their objects."""

from __future__ import annotations

from tests.local.parts import REGION, PartsHost


def test_objects_put_in_a_bucket_with_events_cause_object_created(host: PartsHost) -> None:
    url, arn = host.queue("q")
    s3 = host.client("s3")
    for name in ("loud", "quiet"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="loud", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket="loud", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["loud", "quiet"]}, "object": {"key": [{"prefix": "data/"}]}},
    }
    host.rule("r", pattern, arn)
    s3.put_object(Bucket="quiet", Key="data/a.csv", Body=b"1")
    s3.put_object(Bucket="loud", Key="other/a.csv", Body=b"1")
    version = s3.put_object(Bucket="loud", Key="data/a b.csv", Body=b"123")["VersionId"]
    assert host.clock.settle(10)
    (event,) = host.messages(url)
    assert event["resources"] == ["arn:aws:s3:::loud"]
    assert event["detail"]["object"]["key"] == "data/a b.csv"
    assert event["detail"]["object"]["size"] == 3
    assert event["detail"]["object"]["version-id"] == version
    assert event["detail"]["reason"] == "PutObject"
    s3.copy_object(
        Bucket="loud", Key="data/c.csv", CopySource={"Bucket": "loud", "Key": "other/a.csv"}
    )
    assert host.clock.settle(10)
    assert "CopyObject" in [event["detail"]["reason"] for event in host.messages(url)]


def test_deletions_cause_object_deleted(host: PartsHost) -> None:
    url, arn = host.queue("q")
    s3 = host.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_notification_configuration(
        Bucket="bucket", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    host.rule("r", {"detail-type": ["Object Deleted"]}, arn)
    s3.put_object(Bucket="bucket", Key="k", Body=b"1")
    s3.delete_object(Bucket="bucket", Key="k")
    assert host.clock.settle(10)
    (event,) = host.messages(url)
    assert event["detail"]["deletion-type"] == "Permanently Deleted"
