"""From an approval to the live model: events, a queue, its dead letters, the promote function."""

from aws_cdk import (
    Duration,
    aws_events_targets,
    aws_lambda,
    aws_lambda_event_sources,
    aws_sns,
    aws_sqs,
)

from infra.alarms import alarm, metric, own_metric
from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import ONE_STACK, allow, stack_arn
from infra.rules import on_event
from infra.serving.traffic import shift_minutes
from infra.training.registry import allow_packages

_PROMOTE_SECONDS = 60


class Delivery(StageConstruct):
    """Promote what is approved, and note what became of it."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        topic: aws_sns.ITopic,
        predict: aws_lambda.IFunction,
    ) -> None:
        """Make the queues, the rules that fill them, the function that empties them, the alarms."""
        super().__init__(scope, construct_id)
        self.dead_letters = aws_sqs.Queue(
            self,
            "DeadLetters",
            encryption=aws_sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        # An update that finds the stack busy is tried again; it may have to wait out a whole shift
        # of traffic, and its rollback.
        tries = 30 + 2 * shift_minutes(self.settings.serving.traffic_shift) * 60 // _PROMOTE_SECONDS
        self.queue = aws_sqs.Queue(
            self,
            "Queue",
            encryption=aws_sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(4),
            # Lambda refuses a queue whose messages reappear before the function's timeout.
            visibility_timeout=Duration.seconds(_PROMOTE_SECONDS),
            dead_letter_queue=aws_sqs.DeadLetterQueue(
                queue=self.dead_letters, max_receive_count=tries
            ),
        )
        self.promote = self._promote(predict)
        self._rules()
        self._alarms(topic)

    def _promote(self, predict: aws_lambda.IFunction) -> PackagedFunction:
        serving_stack = self.deployment.stack_name("serving")
        promote = PackagedFunction(
            self,
            "Promote",
            name="promote",
            description="Puts an approved model live by updating the serving stack's one parameter",
            environment={
                "SERVING_STACK": serving_stack,
                "MODEL_PACKAGE_GROUP": self.deployment.name,
                "PREDICT_FUNCTION": predict.function_name,
                "KEEP_VERSIONS": str(self.settings.serving.keep_versions),
            },
            timeout_seconds=_PROMOTE_SECONDS,
            memory_mb=256,
        )
        allow_packages(
            promote,
            "sagemaker:DescribeModelPackage",
            "sagemaker:UpdateModelPackage",
        )
        # The update runs under the role that the stack was deployed with; this one may only ask for
        # it.
        allow(
            promote.role,
            "cloudformation:CancelUpdateStack",
            "cloudformation:DescribeStackEvents",
            "cloudformation:DescribeStacks",
            "cloudformation:UpdateStack",
            on=[stack_arn(self, serving_stack)],
            because=ONE_STACK,
        )
        allow(
            promote.role,
            "lambda:ListAliases",
            "lambda:ListVersionsByFunction",
            on=[predict.function_arn],
        )
        # Versions alone: the ARN of the function itself does not match.
        allow(
            promote.role,
            "lambda:DeleteFunction",
            on=[f"{predict.function_arn}:*"],
            because="Old versions of one function, by their numbers.",
        )
        promote.function.add_event_source(
            aws_lambda_event_sources.SqsEventSource(
                self.queue, batch_size=10, report_batch_item_failures=True
            )
        )
        return promote

    def _rules(self) -> None:
        serving_stack = stack_arn(self, self.deployment.stack_name("serving"))
        target = aws_events_targets.SqsQueue(self.queue)
        on_event(
            self,
            "Approved",
            says="an approved model is promoted",
            source="aws.sagemaker",
            kind="SageMaker Model Package State Change",
            detail={
                "ModelPackageGroupName": [self.deployment.name],
                "ModelApprovalStatus": ["Approved"],
            },
            target=target,
        )
        on_event(
            self,
            "Ended",
            says="what became of a promotion",
            source="aws.cloudformation",
            kind="CloudFormation Stack Status Change",
            detail={
                "stack-id": [{"prefix": serving_stack.removesuffix("*")}],
                "status-details": {
                    "status": [
                        "UPDATE_COMPLETE",
                        "UPDATE_ROLLBACK_COMPLETE",
                        "UPDATE_ROLLBACK_FAILED",
                        "UPDATE_FAILED",
                    ]
                },
            },
            target=target,
        )

    def _alarms(self, topic: aws_sns.ITopic) -> None:
        # One promotion is one datapoint, and each that fails deserves a look: 1 of 1. Between
        # promotions there is no data, and nothing wrong.
        alarm(
            self,
            "PromotionFailureAlarm",
            kind="promotion-failure",
            says="An approved model did not go live; the one before it keeps serving.",
            topic=topic,
            of=own_metric(self.deployment, "PromotionFailures", statistic="Sum"),
            threshold=1,
            datapoints=(1, 1),
        )
        # SQS reports nothing for a queue that nobody used for six hours: no message, no alarm.
        alarm(
            self,
            "DeadLettersAlarm",
            kind="dead-letters",
            says="A promotion was given up after all its tries.",
            topic=topic,
            of=metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                {"QueueName": self.dead_letters.queue_name},
                statistic="Maximum",
            ),
            threshold=1,
            datapoints=(1, 1),
        )
