"""The training of models: the plan function, the state machine and what starts it."""

import json

from aws_cdk import aws_events, aws_s3_assets

from core.settings import Settings
from infra.alarms import alarm, metric
from infra.assets import container_target
from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import ONE_STACK, allow, stack_arn
from infra.notifications import Notifications
from infra.rules import on_event, on_schedule
from infra.states import allow_see_runs, machine_role, make_machine
from infra.storage import Storage
from infra.training.container import Container
from infra.training.jobs import allow_jobs, make_job_role
from infra.training.machine import define_machine, start
from infra.training.registry import Registry, allow_packages


class Training(StageConstruct):
    """Train when there is a reason to, one run at a time, and register what came of it."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        registry: Registry,
        container: Container,
        notifications: Notifications,
    ) -> None:
        """Make the job's role, the plan function, the state machine, its rules and its alarm."""
        super().__init__(scope, construct_id)
        source = self._source()
        self.job_role = make_job_role(self, storage=storage, source=source, container=container)
        self.plan = self._plan(storage, source)
        self.machine = make_machine(
            self,
            says="plan, train, register",
            definition=define_machine(
                settings=self.settings,
                plan_arn=self.plan.function.function_arn,
                register_arn=registry.register.function.function_arn,
                topic_arn=notifications.topic.topic_arn,
                image=container.image,
                job_role_arn=self.job_role.role_arn,
                bucket=storage.bucket.bucket_name,
            ),
            functions=[self.plan.function, registry.register.function],
            log_data=True,
        )
        role = machine_role(self.machine)
        allow_jobs(self, role, self.job_role)
        notifications.allow_publish(role)
        allow_see_runs(self, self.machine, self.plan.role)
        self._start_by_itself(storage)
        # A run either fails or it does not, and each failed run deserves a look: 1 of 1. Hours
        # without a run have no data, which says nothing is wrong.
        alarm(
            self,
            "FailureAlarm",
            kind="training-failure",
            says="A training run failed; the champion keeps serving.",
            topic=notifications.topic,
            of=metric(
                "AWS/States",
                "ExecutionsFailed",
                {"StateMachineArn": self.machine.state_machine_arn},
                statistic="Sum",
            ),
            threshold=1,
            datapoints=(1, 1),
        )

    def _source(self) -> aws_s3_assets.Asset:
        """Package what a training job runs."""
        settings = self.settings
        source = self.deployment.packager.package_source(
            trainable(settings).to_json(), container_target(local=settings.is_local)
        )
        return aws_s3_assets.Asset(self, "Source", path=str(source.path))

    def _plan(self, storage: Storage, source: aws_s3_assets.Asset) -> PackagedFunction:
        """Make the function that decides whether to train, and pins what on."""
        settings = self.settings
        serving_stack = self.deployment.stack_name("serving")
        plan = PackagedFunction(
            self,
            "Plan",
            name="plan",
            description="Decides whether a run is due, and pins the versions of its inputs",
            environment={
                "BUCKET": storage.bucket.bucket_name,
                "SOURCE_URI": source.s3_object_url,
                "SETTINGS_DIGEST": settings.training_digest,
                "SERVING_STACK": serving_stack,
                "MODEL_PACKAGE_GROUP": self.deployment.name,
                "COMMIT": self.deployment.commit,
                "MIN_NEW_LABELS": str(settings.retraining.min_new_labels),
                "COOL_DOWN_HOURS": f"{settings.retraining.cool_down_hours:g}",
                "DATA": json.dumps(
                    {
                        **settings.data.model_dump(
                            include={"arrival", "separator", "encoding", "columns"}
                        ),
                        "id_column": settings.problem.id_column or "",
                    },
                    sort_keys=True,
                ),
            },
            timeout_seconds=300,
            # More than it holds: the CPU that reads samples of the tables grows with it.
            memory_mb=1024,
        )
        role = plan.role
        storage.allow(
            role, "s3:GetObject", "s3:GetObjectVersion", below=["data/", "labelled/", "runs/"]
        )
        storage.allow(role, "s3:GetObject", below=["monitor/claim.json"])
        storage.allow(role, "s3:PutObject", "s3:AbortMultipartUpload", below=["runs/"])
        allow(role, "s3:ListBucket", "s3:ListBucketVersions", on=[storage.bucket.bucket_arn])
        allow_packages(plan, "sagemaker:DescribeModelPackage")
        allow(
            role,
            "cloudformation:DescribeStacks",
            on=[stack_arn(self, serving_stack)],
            because=ONE_STACK,
        )
        return plan

    def _start_by_itself(self, storage: Storage) -> None:
        """Start on new data, and on a schedule if there is one."""
        on_event(
            self,
            "NewData",
            says="new data starts training",
            source="aws.s3",
            kind="Object Created",
            detail={
                "bucket": {"name": [storage.bucket.bucket_name]},
                "object": {"key": [{"prefix": "data/"}]},
            },
            target=start(self.machine, trigger="data", reason="new data under data/"),
        )
        schedule = self.settings.retraining.schedule
        if schedule:
            on_schedule(
                self,
                "Schedule",
                says="training on schedule",
                schedule=aws_events.Schedule.expression(schedule),
                target=start(self.machine, trigger="schedule", reason=f"the schedule {schedule}"),
            )


def trainable(settings: Settings) -> Settings:
    """Keep what a training job reads; an edit of the serving side must not change its source."""
    kept = {"project", "data", "problem", "columns", "split", "training", "gates", "monitoring"}
    return settings.model_copy(
        update={
            name: field.get_default()
            for name, field in type(settings).model_fields.items()
            if name not in kept
        }
    )
