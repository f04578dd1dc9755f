"""What calls to EventBridge need (see `local.rights`)."""

from __future__ import annotations

from collections.abc import Iterator

from local.rights import Call, Judge, Need


def _put_events(call: Call) -> Iterator[Need]:
    for entry in call.parameters.get("Entries", ()):
        bus = entry.get("EventBusName", "default")
        yield Need(
            "events:PutEvents",
            bus if bus.startswith("arn:") else call.arn(f"event-bus/{bus}"),
            {
                "events:source": entry.get("Source", ""),
                "events:detail-type": entry.get("DetailType", ""),
            },
        )


NEEDS: dict[str, Judge] = {"events:PutEvents": _put_events}
