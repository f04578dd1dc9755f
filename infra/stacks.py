"""The three stacks of a stage: each composes constructs, grants, and names its outputs."""

from constructs import Construct

from core.settings import Settings
from infra.assets import Packager
from infra.deployment import Deployment, StageStack
from infra.monitoring.budget import Budget
from infra.monitoring.capture import Capture
from infra.monitoring.counting import Counting
from infra.monitoring.dashboard import Dashboard
from infra.monitoring.monitor import Monitor
from infra.notifications import Notifications
from infra.serving.delivery import Delivery
from infra.serving.scoring import Scoring
from infra.serving.serving import Serving, model_parameter
from infra.serving.traffic import TrafficShift
from infra.storage import Storage
from infra.training.container import Container
from infra.training.registry import Registry
from infra.training.training import Training


class TrainingStack(StageStack):
    """Data, models, the registry and what trains."""

    def __init__(self, scope: Construct, deployment: Deployment) -> None:
        """Compose storage, notifications, the registry and the state machine."""
        super().__init__(scope, deployment, part="training", description="data, training, registry")
        self.storage = Storage(self, "Storage")
        self.notifications = Notifications(self, "Notifications")
        container = Container(self, "Container")
        self.registry = Registry(
            self, "Registry", storage=self.storage, inference_image=container.image
        )
        self.training = Training(
            self,
            "Training",
            storage=self.storage,
            registry=self.registry,
            container=container,
            notifications=self.notifications,
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
        self, scope: Construct, deployment: Deployment, *, training: TrainingStack
    ) -> None:
        """Compose the API, the shift of traffic and the delivery of approved models."""
        super().__init__(
            scope, deployment, part="serving", description="the API and its live model"
        )
        model_uri = model_parameter(self)
        storage, topic = training.storage, training.notifications.topic
        self.serving = Serving(self, "Serving", storage=storage, topic=topic, model_uri=model_uri)
        self.shift = TrafficShift(self, "TrafficShift", storage=storage, serving=self.serving)
        self.delivery = Delivery(
            self, "Delivery", topic=topic, predict=self.serving.predict.function
        )
        self.scoring = Scoring(self, "Scoring", storage=storage)
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
        deployment: Deployment,
        *,
        training: TrainingStack,
        serving: ServingStack,
    ) -> None:
        """Compose the capture of predictions, the monitor, the dashboard and the budget."""
        super().__init__(scope, deployment, part="monitoring", description="drift, quality, cost")
        settings = deployment.settings
        storage, notifications = training.storage, training.notifications
        machine = training.training.machine
        capture = Capture(
            self,
            "Capture",
            storage=storage,
            notifications=notifications,
            source=serving.serving.predict.log_group,
        )
        monitor = Monitor(
            self, "Monitor", storage=storage, notifications=notifications, machine=machine
        )
        if settings.monitoring.parallel_above_mb:
            Counting(self, "Counting", storage=storage, monitor=monitor.function)
        dashboard = Dashboard(
            self,
            "Dashboard",
            serving=serving.serving,
            delivery=serving.delivery,
            capture=capture,
            machine=machine,
        )
        if settings.budget.monthly_usd:
            Budget(self, "Budget", notifications=notifications)
        self._output(
            {
                "DashboardName": (dashboard.dashboard.dashboard_name, "In CloudWatch"),
                "MonitorFunctionName": (
                    monitor.function.function.function_name,
                    "Judges the captured predictions",
                ),
                "ReportsUri": (
                    storage.uri("monitor/reports/"),
                    "One page a judged window",
                ),
            }
        )


def make_stacks(
    scope: Construct, *, settings: Settings, packager: Packager, commit: str
) -> tuple[TrainingStack, ServingStack, MonitoringStack]:
    """Make a stage: training, then serving, then monitoring."""
    deployment = Deployment(settings=settings, packager=packager, commit=commit)
    training = TrainingStack(scope, deployment)
    serving = ServingStack(scope, deployment, training=training)
    monitoring = MonitoringStack(scope, deployment, training=training, serving=serving)
    return training, serving, monitoring
