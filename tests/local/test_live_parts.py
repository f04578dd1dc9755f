"""The parts together behind the endpoint: object, rule, machine, job, topic, alarm."""

from __future__ import annotations

import json

from local.cloud import Cloud
from tests.local.services.sagemaker.test_jobs import pack

SCRIPT = "import os; open(os.environ['SM_MODEL_DIR'] + '/model', 'w').write('fitted')"


def test_an_object_starts_a_run_that_trains_and_notifies(cloud: Cloud) -> None:
    s3, states, sqs = cloud.client("s3"), cloud.client("stepfunctions"), cloud.client("sqs")
    s3.create_bucket(Bucket="live", CreateBucketConfiguration={"LocationConstraint": cloud.region})
    s3.put_bucket_notification_configuration(
        Bucket="live", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="live", Key="code/a.gz", Body=pack(training__train=SCRIPT))
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "states.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = cloud.client("iam").create_role(
        RoleName="live-machine", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]["Arn"]
    cloud.client("iam").put_role_policy(
        RoleName="live-machine",
        PolicyName="all",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
            }
        ),
    )
    topic = cloud.client("sns").create_topic(Name="live")["TopicArn"]
    queue = sqs.create_queue(QueueName="live")["QueueUrl"]
    queue_arn = f"arn:aws:sqs:{cloud.region}:{cloud.account}:live"
    cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://live/code/a.gz"}}
    job = {
        "TrainingJobName": "live-run",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": "training/train.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code/a.gz",
        },
        "RoleArn": role,
        "InputDataConfig": [{"ChannelName": "code", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": "s3://live/models", "CompressionType": "NONE"},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": "ml.m5.large",
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "EnableNetworkIsolation": True,
    }
    definition = {
        "StartAt": "Debounce",
        "States": {
            "Debounce": {"Type": "Wait", "Seconds": 600, "Next": "Train"},
            "Train": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
                "Parameters": job,
                "Next": "Notify",
            },
            "Notify": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sns:publish",
                "Parameters": {
                    "TopicArn": topic,
                    "Message.$": "$.ModelArtifacts.S3ModelArtifacts",
                },
                "Next": "Fail",
            },
            "Fail": {"Type": "Fail", "Error": "Drill"},
        },
    }
    machine = states.create_state_machine(
        name="live", definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="live-failure",
        Namespace="AWS/States",
        MetricName="ExecutionsFailed",
        Dimensions=[{"Name": "StateMachineArn", "Value": machine}],
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Sum",
        Threshold=1.0,
        TreatMissingData="notBreaching",
    )
    pattern = {
        "source": ["aws.s3"],
        "detail": {"bucket": {"name": ["live"]}, "object": {"key": [{"prefix": "data/"}]}},
    }
    cloud.client("events").put_rule(Name="live", EventPattern=json.dumps(pattern))
    cloud.client("events").put_targets(
        Rule="live", Targets=[{"Id": "1", "Arn": machine, "Input": '{"trigger": "data"}'}]
    )

    s3.put_object(Bucket="live", Key="data/table.csv", Body=b"a,b\n1,2\n")
    cloud.clock.advance(900)

    (run,) = states.list_executions(stateMachineArn=machine)["executions"]
    assert run["status"] == "FAILED"
    described = states.describe_execution(executionArn=run["executionArn"])
    assert described["error"] == "Drill", described
    fitted = s3.get_object(Bucket="live", Key="models/live-run/output/model/model")["Body"].read()
    assert fitted == b"fitted"
    message = sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    assert json.loads(message)["Message"] == "s3://live/models/live-run/output/model/"
    history = cloud.client("cloudwatch").describe_alarms(AlarmNames=["live-failure"])
    assert "ALARM" in (
        history["MetricAlarms"][0]["StateValue"],
        *(state[3] for state in cloud.metrics._backend().alarms["live-failure"].history),
    )
