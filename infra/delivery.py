"""From an approval to the live model: events, a queue, its dead letters, the promote function."""

from aws_cdk import (
    Duration,
    aws_cloudwatch,
    aws_events,
    aws_events_targets,
    aws_lambda,
    aws_lambda_event_sources,
    aws_sns,
    aws_sqs,
)
from constructs import Construct

from core.settings import Settings
from infra.alarms import alarm, metric, own_metric
from infra.assets import Packager
from infra.functions import PackagedFunction
from infra.grants import ONE_STACK, allow
from infra.registry import allow_packages
from infra.serving import shift_minutes
from infra.training import stack_arn

_PROMOTE_SECONDS = 60


class Delivery(Construct):
    """Promote what is approved, and note what became of it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        topic: aws_sns.ITopic,
        serving_stack: str,
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
        tries = 30 + 2 * shift_minutes(settings.serving.traffic_shift) * 60 // _PROMOTE_SECONDS
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
        self.promote = self._promote(settings, packager, serving_stack, predict)
        self._rules(settings, serving_stack)
        self._alarms(settings, topic)

    def _promote(
        self,
        settings: Settings,
        packager: Packager,
        serving_stack: str,
        predict: aws_lambda.IFunction,
    ) -> PackagedFunction:
        promote = PackagedFunction(
            self,
            "Promote",
            name="promote",
            settings=settings,
            packager=packager,
            description="Puts an approved model live by updating the serving stack's one parameter",
            environment={
                "SERVING_STACK": serving_stack,
                "MODEL_PACKAGE_GROUP": settings.deployment,
                "PREDICT_FUNCTION": predict.function_name,
                "KEEP_VERSIONS": str(settings.serving.keep_versions),
            },
            timeout_seconds=_PROMOTE_SECONDS,
            memory_mb=256,
        )
        allow_packages(
            promote.role,
            settings,
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

    def _rules(self, settings: Settings, serving_stack: str) -> None:
        target = aws_events_targets.SqsQueue(self.queue)
        aws_events.Rule(
            self,
            "Approved",
            description=f"{settings.deployment}: an approved model is promoted",
            event_pattern=aws_events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [settings.deployment],
                    "ModelApprovalStatus": ["Approved"],
                },
            ),
            targets=[target],
        )
        aws_events.Rule(
            self,
            "Ended",
            description=f"{settings.deployment}: what became of a promotion",
            event_pattern=aws_events.EventPattern(
                source=["aws.cloudformation"],
                detail_type=["CloudFormation Stack Status Change"],
                detail={
                    "stack-id": [{"prefix": stack_arn(self, serving_stack).removesuffix("*")}],
                    "status-details": {
                        "status": [
                            "UPDATE_COMPLETE",
                            "UPDATE_ROLLBACK_COMPLETE",
                            "UPDATE_ROLLBACK_FAILED",
                            "UPDATE_FAILED",
                        ]
                    },
                },
            ),
            targets=[target],
        )

    def _alarms(self, settings: Settings, topic: aws_sns.ITopic) -> None:
        quiet = aws_cloudwatch.TreatMissingData.NOT_BREACHING
        # One promotion is one datapoint, and each that fails deserves a look: 1 of 1. Between
        # promotions there is no data, and nothing wrong.
        alarm(
            self,
            "PromotionFailureAlarm",
            settings=settings,
            kind="promotion-failure",
            says="An approved model did not go live; the one before it keeps serving.",
            topic=topic,
            of=own_metric(settings, "PromotionFailures", statistic="Sum"),
            threshold=1,
            datapoints=(1, 1),
            missing=quiet,
        )
        # SQS reports nothing for a queue that nobody used for six hours: no message, no alarm.
        alarm(
            self,
            "DeadLettersAlarm",
            settings=settings,
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
            missing=quiet,
        )
