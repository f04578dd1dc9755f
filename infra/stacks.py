"""The three stacks of a stage: each composes constructs, grants, and names its outputs."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Stack, Tags
from constructs import Construct

from core.settings import Settings
from infra.alarms import Notifications
from infra.assets import Packager
from infra.counting import Counting
from infra.delivery import Delivery
from infra.monitoring import Budget, Capture, Dashboard, Monitor
from infra.registry import Registry
from infra.scoring import Scoring
from infra.serving import Serving, TrafficShift, model_parameter
from infra.storage import Storage
from infra.training import Container, Training


def stack_name(settings: Settings, part: str) -> str:
    """Name a stack of the deployment: training, serving or monitoring."""
    return f"{settings.deployment}-{part}"


class StageStack(Stack):
    """A stack of one stage: a fixed name, no account and no region, the stage's tags."""

    def __init__(
        self, scope: Construct, *, settings: Settings, part: str, description: str
    ) -> None:
        """Name the stack; a production stack refuses to be deleted until told otherwise."""
        name = stack_name(settings, part)
        super().__init__(
            scope,
            name,
            stack_name=name,
            description=f"Driftless {settings.deployment}: {description}",
            termination_protection=settings.is_production,
        )
        for key, value in (
            ("project", settings.project.name),
            ("stage", settings.stage),
            ("deployment", settings.deployment),
        ):
            Tags.of(self).add(key, value)

    def _output(self, values: Mapping[str, tuple[str, str]]) -> None:
        """Write the stack's outputs: name, value, description."""
        outputs = Construct(self, "Outputs")
        for name, (value, description) in values.items():
            output = CfnOutput(outputs, name, value=value, description=description)
            output.override_logical_id(name)


class TrainingStack(StageStack):
    """Data, models, the registry and what trains."""

    def __init__(
        self, scope: Construct, *, settings: Settings, packager: Packager, commit: str
    ) -> None:
        """Compose storage, notifications, the registry and the state machine."""
        super().__init__(
            scope, settings=settings, part="training", description="data, training, registry"
        )
        self.storage = Storage(self, "Storage", settings=settings)
        self.notifications = Notifications(self, "Notifications", settings=settings)
        container = Container(self, "Container")
        self.registry = Registry(
            self,
            "Registry",
            settings=settings,
            packager=packager,
            storage=self.storage,
            inference_image=container.image,
        )
        self.training = Training(
            self,
            "Training",
            settings=settings,
            packager=packager,
            storage=self.storage,
            registry=self.registry,
            container=container,
            notifications=self.notifications,
            serving_stack=stack_name(settings, "serving"),
            commit=commit,
        )
        self._output(
            {
                "BucketName": (self.storage.bucket.bucket_name, "Put tables under data/"),
                "StateMachineArn": (
                    self.training.machine.state_machine_arn,
                    "Start a run by hand here",
                ),
                "ModelPackageGroupName": (
                    self.registry.group.model_package_group_name,
                    "Every trained model, with its verdict",
                ),
                "NotificationTopicArn": (
                    self.notifications.topic.topic_arn,
                    "Subscribe here to hear of alarms",
                ),
            }
        )


class ServingStack(StageStack):
    """The API, its live model, and the way from an approval to it."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        packager: Packager,
        training: TrainingStack,
    ) -> None:
        """Compose the API, the shift of traffic and the delivery of approved models."""
        super().__init__(
            scope, settings=settings, part="serving", description="the API and its live model"
        )
        model_uri = model_parameter(self)
        topic = training.notifications.topic
        self.serving = Serving(
            self,
            "Serving",
            settings=settings,
            packager=packager,
            storage=training.storage,
            topic=topic,
            model_uri=model_uri,
        )
        self.shift = TrafficShift(
            self,
            "TrafficShift",
            settings=settings,
            packager=packager,
            storage=training.storage,
            serving=self.serving,
        )
        self.delivery = Delivery(
            self,
            "Delivery",
            settings=settings,
            packager=packager,
            topic=topic,
            serving_stack=stack_name(settings, "serving"),
            predict=self.serving.predict.function,
        )
        self.scoring = Scoring(
            self, "Scoring", settings=settings, packager=packager, storage=training.storage
        )
        self._output(
            {
                "ApiUrl": (self.serving.api.url, "POST predict here"),
                "PredictFunctionName": (
                    self.serving.predict.function.function_name,
                    "Answers the API",
                ),
                "PromoteFunctionName": (
                    self.delivery.promote.function.function_name,
                    "Promotes and rolls back",
                ),
                "ModelUri": (model_uri.value_as_string, "The live model"),
                "ScoringMachineArn": (
                    self.scoring.machine.state_machine_arn,
                    "Scores tables in S3: python -m ops score",
                ),
                "ScoringRoleArn": (
                    self.scoring.score.role.role_arn,
                    "What another bucket's policy must admit for scoring to use it",
                ),
                "ScoringMachineRoleArn": (
                    self.scoring.machine.role.role_arn,
                    "What a foreign target's policy must admit besides: it lists the units there",
                ),
            }
        )


class MonitoringStack(StageStack):
    """What watches the predictions, and what that leads to."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        packager: Packager,
        training: TrainingStack,
        serving: ServingStack,
    ) -> None:
        """Compose the capture of predictions, the monitor, the dashboard and the budget."""
        super().__init__(
            scope, settings=settings, part="monitoring", description="drift, quality, cost"
        )
        capture = Capture(
            self,
            "Capture",
            settings=settings,
            storage=training.storage,
            notifications=training.notifications,
            source=serving.serving.predict.log_group,
        )
        monitor = Monitor(
            self,
            "Monitor",
            settings=settings,
            packager=packager,
            storage=training.storage,
            notifications=training.notifications,
            machine=training.training.machine,
        )
        if settings.monitoring.parallel_above_mb:
            Counting(
                self,
                "Counting",
                settings=settings,
                storage=training.storage,
                monitor=monitor.function,
            )
        dashboard = Dashboard(
            self,
            "Dashboard",
            settings=settings,
            serving=serving.serving,
            delivery=serving.delivery,
            capture=capture,
            machine=training.training.machine,
        )
        if settings.budget.monthly_usd:
            Budget(self, "Budget", settings=settings, notifications=training.notifications)
        self._output(
            {
                "DashboardName": (dashboard.dashboard.dashboard_name, "In CloudWatch"),
                "MonitorFunctionName": (
                    monitor.function.function.function_name,
                    "Judges the captured predictions",
                ),
                "ReportsUri": (
                    training.storage.uri("monitor/reports/"),
                    "One page a judged window",
                ),
            }
        )


def make_stacks(
    scope: Construct, *, settings: Settings, packager: Packager, commit: str
) -> tuple[TrainingStack, ServingStack, MonitoringStack]:
    """Make a stage: training, then serving, then monitoring."""
    training = TrainingStack(scope, settings=settings, packager=packager, commit=commit)
    serving = ServingStack(scope, settings=settings, packager=packager, training=training)
    monitoring = MonitoringStack(
        scope, settings=settings, packager=packager, training=training, serving=serving
    )
    return training, serving, monitoring
