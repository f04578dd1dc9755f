"""The score function: each task of the scoring state machine is one call of it."""

import functools
import json
from typing import TYPE_CHECKING, Any

from core.bundle import Bundle
from core.scoring import Job, Unit
from lambdas.score.env import Environment
from lambdas.score.planning import plan
from lambdas.score.ports import Store
from lambdas.score.service import finish, give_up, score

if TYPE_CHECKING:
    from lambdas.score.model import Model

# What is left of a call's time when Plan stops and asks to be called again.
MARGIN_SECONDS = 60.0


@functools.cache
def _store() -> Store:
    return Store()


@functools.lru_cache(maxsize=1)
def _model(model_uri: str) -> "Model":
    # numpy and msgspec take a moment to import, which planning need not wait for.
    from lambdas.score.model import Model

    folder = model_uri.rstrip("/")
    bundle = Bundle(lambda name: _store().get(f"{folder}/{name}"))
    if Environment.read().engine == "onnx":
        from lambdas.score.onnx import open_onnx

        return Model(bundle, open_onnx)
    return Model(bundle)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Plan a job, score a unit, note that one failed, or sum up.

    Raises DataError for what another try would not change; anything else is tried again.
    """
    job, store = Job.from_dict(event["job"]), _store()
    if event["action"] == "plan":
        seconds = context.get_remaining_time_in_millis
        answer = plan(job, store, lambda: seconds() / 1000.0 > MARGIN_SECONDS)
    elif event["action"] == "finish":
        answer = finish(job, store)
    else:
        unit = Unit.from_dict(event["unit"])
        if event["action"] == "give_up":
            answer = give_up(job, unit, store, event["error"])
        else:
            answer = score(job, unit, store, lambda: _model(job.model_uri))
    line = {"level": "info", "action": event["action"], "job": job.id, **answer}
    print(json.dumps(line), flush=True)
    return answer
