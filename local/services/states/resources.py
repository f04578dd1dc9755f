"""Step Functions' resource type: the state machine."""

from __future__ import annotations

import json

from local.resources import Kind, Made, Order


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine."""

    type = "AWS::StepFunctions::StateMachine"
    create_only = frozenset({"StateMachineName", "StateMachineType"})

    def create(self, order: Order) -> Made:
        """Create the machine."""
        name = order.get("StateMachineName") or order.name(80)
        answer = order.call(
            "stepfunctions",
            "CreateStateMachine",
            name=name,
            definition=_definition(order),
            roleArn=order["RoleArn"],
            **order.given(
                type="StateMachineType",
                loggingConfiguration="LoggingConfiguration",
                tracingConfiguration="TracingConfiguration",
                encryptionConfiguration="EncryptionConfiguration",
            ),
            tags=order.get("Tags"),
        )
        arn = answer["stateMachineArn"]
        return Made(arn, {"Arn": arn, "Name": name, "StateMachineRevisionId": "INITIAL"})

    def update(self, order: Order) -> Made:
        """Update definition, role and logging."""
        order.call(
            "stepfunctions",
            "UpdateStateMachine",
            stateMachineArn=order.physical_id,
            definition=_definition(order),
            roleArn=order["RoleArn"],
            **order.given(
                loggingConfiguration="LoggingConfiguration",
                tracingConfiguration="TracingConfiguration",
            ),
        )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the machine."""
        order.discard("stepfunctions", "DeleteStateMachine", stateMachineArn=order.physical_id)


def _definition(order: Order) -> str:
    """Return the machine's definition with its substitutions made."""
    if "DefinitionString" in order.properties:
        definition = str(order["DefinitionString"])
    elif "Definition" in order.properties:
        definition = json.dumps(order["Definition"])
    else:
        where = order["DefinitionS3Location"]
        answer = order.cloud.client("s3").get_object(Bucket=where["Bucket"], Key=where["Key"])
        definition = answer["Body"].read().decode()
    for name, value in (order.get("DefinitionSubstitutions") or {}).items():
        definition = definition.replace("${" + name + "}", str(value))
    return definition


KINDS: tuple[type[Kind], ...] = (StateMachine,)
