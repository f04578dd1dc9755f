"""Many callers at once: every request gets an answer, and the throttles of the stage hold."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from requests import Response, Session
from requests.adapters import HTTPAdapter

from tests.serving.conftest import BURST_LIMIT, RATE_LIMIT, ROW, Served

pytestmark = pytest.mark.xdist_group("serving")
CALLERS = 200
CALLS_EACH = 2


@pytest.fixture
def narrow(served: Served) -> Iterator[None]:
    """Lower the stage's limit for a while, as an operator may at any time."""

    def limit(rate: int) -> None:
        served.cloud.client("apigateway").update_stage(
            restApiId=served.api_id,
            stageName="v1",
            patchOperations=[
                {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": str(rate)}
            ],
        )

    limit(5)
    yield
    limit(RATE_LIMIT)


@pytest.mark.usefixtures("narrow")
def test_200_callers_at_once_are_all_answered_or_told_to_wait(served: Served) -> None:
    """A call is answered by its own prediction or by 429 with the seconds to wait: none is lost."""
    session = Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=CALLERS))
    url = f"{served.url}/predict"
    signature = served.signature()
    together = threading.Barrier(CALLERS)

    def call(caller: int) -> list[tuple[str, Response]]:
        together.wait()
        answers = []
        for turn in range(CALLS_EACH):
            name = f"caller-{caller}-{turn}"
            body = json.dumps({"instances": [ROW], "ids": [name]})
            headers = {"Content-Type": "application/json"}
            response = session.post(url, data=body, headers=headers, auth=signature, timeout=60)
            answers.append((name, response))
        return answers

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [answer for found in pool.map(call, range(CALLERS)) for answer in found]

    statuses = Counter(response.status_code for _, response in answers)
    assert set(statuses) == {200, 429}
    assert sum(statuses.values()) == CALLERS * CALLS_EACH
    assert statuses[200] >= BURST_LIMIT
    for name, response in answers:
        if response.status_code == 200:
            assert [p["id"] for p in response.json()["predictions"]] == [name]
        else:
            assert int(response.headers["Retry-After"]) >= 1
            assert response.headers["Content-Type"] == "application/problem+json"
