"""The dashboard: one page for service, drift, quality, delivery and cost."""

from aws_cdk import Duration, aws_cloudwatch, aws_stepfunctions

from infra.alarms import metric, own_metric
from infra.deployment import Scope, StageConstruct
from infra.monitoring.capture import Capture
from infra.serving.api import API_STAGE
from infra.serving.delivery import Delivery
from infra.serving.serving import Serving


class Dashboard(StageConstruct):
    """Show service, drift, quality, delivery and what costs on one page."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        serving: Serving,
        delivery: Delivery,
        capture: Capture,
        machine: aws_stepfunctions.IStateMachine,
    ) -> None:
        """Make the dashboard."""
        super().__init__(scope, construct_id)
        api = {"ApiName": self.deployment.name, "Stage": API_STAGE}
        period = Duration.minutes(max(5, self.settings.monitoring.schedule_minutes))

        def graph(title: str, *shown: aws_cloudwatch.IMetric) -> aws_cloudwatch.GraphWidget:
            return aws_cloudwatch.GraphWidget(title=title, left=list(shown), width=8, height=6)

        def gateway(name: str, statistic: str) -> aws_cloudwatch.Metric:
            return metric("AWS/ApiGateway", name, api, statistic=statistic)

        def own(name: str, statistic: str) -> aws_cloudwatch.Metric:
            return own_metric(self.deployment, name, statistic=statistic, period=period)

        function = {"FunctionName": serving.predict.function.function_name}
        self.dashboard = aws_cloudwatch.Dashboard(
            self,
            "Dashboard",
            # Named: people look for it under the deployment's name.
            dashboard_name=self.deployment.name,
            widgets=[
                [
                    graph("Requests", gateway("Count", "Sum"), own("RowsRefused", "Sum")),
                    graph("Latency (ms)", gateway("Latency", "p50"), gateway("Latency", "p99")),
                    graph(
                        "Errors",
                        gateway("4XXError", "Sum"),
                        gateway("5XXError", "Sum"),
                        metric("AWS/Lambda", "Throttles", function, statistic="Sum"),
                    ),
                ],
                [
                    graph("Drift: evidence (1 alarms)", own("DriftEvidence", "Maximum")),
                    graph(
                        "Findings",
                        own("DriftDetected", "Maximum"),
                        own("DataQualityFindings", "Maximum"),
                        own("PredictionShift", "Maximum"),
                    ),
                    graph("Rows judged", own("RowsJudged", "Sum"), own("Predictions", "Sum")),
                ],
                [
                    graph(
                        "Quality (estimated until labels come)",
                        own("EstimatedQuality", "Average"),
                        own("QualityDrop", "Maximum"),
                    ),
                    graph(
                        "Labels and runs of the monitor",
                        own("LabelledRows", "Sum"),
                        own("MonitorRuns", "Sum"),
                    ),
                    graph(
                        "Delivery",
                        metric(
                            "AWS/Firehose",
                            "DeliveryToS3.DataFreshness",
                            {"DeliveryStreamName": capture.stream.ref},
                            statistic="Maximum",
                        ),
                        metric(
                            "AWS/SQS",
                            "ApproximateNumberOfMessagesVisible",
                            {"QueueName": delivery.dead_letters.queue_name},
                            statistic="Maximum",
                        ),
                        own("CapturesUnreadable", "Sum"),
                    ),
                ],
                [
                    graph(
                        "Cost of serving: requests, milliseconds of predict",
                        gateway("Count", "Sum"),
                        metric("AWS/Lambda", "Duration", function, statistic="Sum"),
                    ),
                    graph(
                        "Cost of capture: bytes of log lines, bytes to Firehose",
                        metric(
                            "AWS/Logs",
                            "IncomingBytes",
                            {"LogGroupName": serving.predict.log_group.log_group_name},
                            statistic="Sum",
                        ),
                        metric(
                            "AWS/Firehose",
                            "IncomingBytes",
                            {"DeliveryStreamName": capture.stream.ref},
                            statistic="Sum",
                        ),
                    ),
                    graph(
                        "Cost of training: milliseconds of runs",
                        metric(
                            "AWS/States",
                            "ExecutionTime",
                            {"StateMachineArn": machine.state_machine_arn},
                            statistic="Sum",
                        ),
                    ),
                ],
            ],
        )
