"""The page at /docs: shows the OpenAPI document and sends requests, with no other host involved.

It is one string, so that the function needs no file of its own for it. Everything that comes from
the document is put on the page as text, never as markup.
"""

import base64
import hashlib

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --accent: #6cb6ff; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
code, pre, textarea, .path { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { background: var(--soft); padding: .75rem; overflow: auto; max-height: 30rem;
  border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0; padding: 0 1rem; }
summary { cursor: pointer; padding: .7rem 0; }
summary .method { display: inline-block; min-width: 3.4rem; font-weight: 700;
  color: var(--accent); }
textarea { width: 100%; min-height: 12rem; border-radius: 6px; border: 1px solid var(--line);
  padding: .75rem; }
label { display: block; margin: .4rem 0; }
input[type=text], input[type=password] { width: 100%; max-width: 32rem; padding: .35rem; }
button { font: inherit; padding: .4rem 1.1rem; border-radius: 6px; cursor: pointer;
  border: 1px solid var(--accent); background: var(--accent); color: Canvas; }
.quiet { opacity: .75; }
.good { color: #1a7f37; } .bad { color: #c93c37; }
"""

_SCRIPT = r"""
"use strict";
const base = location.pathname.replace(/docs\/?$/, "");
const main = document.querySelector("main");
const keys = {};

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

const hex = (buffer) =>
  [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => new TextEncoder().encode(text);
const sha256 = async (text) => hex(await crypto.subtle.digest("SHA-256", bytes(text)));

async function hmac(key, text) {
  const hash = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, hash, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, bytes(text)));
}

// AWS Signature Version 4, service execute-api.
async function sign(method, path, query, body) {
  const region = keys.region || (location.host.match(/execute-api\.([^.]+)/) || [])[1] || "";
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/execute-api/aws4_request`;
  const digest = await sha256(body || "");
  const signed = { host: location.host, "x-amz-content-sha256": digest, "x-amz-date": stamp };
  if (keys.token) signed["x-amz-security-token"] = keys.token;
  const names = Object.keys(signed).sort();
  const canonical = [method, path.split("/").map(encodeURIComponent).join("/"), query,
    ...names.map((name) => `${name}:${signed[name]}`), "", names.join(";"), digest].join("\n");
  const text = ["AWS4-HMAC-SHA256", stamp, scope, await sha256(canonical)].join("\n");
  let key = bytes("AWS4" + keys.secret);
  for (const part of scope.split("/")) key = await hmac(key, part);
  const { host, ...headers } = signed;
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${keys.access}/${scope}, ` +
    `SignedHeaders=${names.join(";")}, Signature=${hex(await hmac(key, text))}`;
  return headers;
}

async function call(method, route, query, body) {
  const path = base + route.replace(/^\//, "");
  const headers = keys.access ? await sign(method, path, query, body) : {};
  if (keys.api) headers["x-api-key"] = keys.api;
  if (body) headers["content-type"] = "application/json";
  return fetch(path + (query ? "?" + query : ""), { method, headers, body: body || undefined });
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function credentials(again) {
  const field = (name, label, type) => make("label", {}, label, make("br"), make("input", {
    type: type || "text", autocomplete: "off", value: keys[name] || "", name,
    oninput: (event) => { keys[name] = event.target.value.trim(); },
  }));
  return make("details", {},
    make("summary", {}, "Credentials (they stay in this page and are gone when it is closed)"),
    make("p", { class: "quiet" }, "Either an API key, or AWS credentials that requests are ",
      "signed with (Signature Version 4)."),
    field("api", "API key", "password"), field("access", "AWS access key id"),
    field("secret", "AWS secret access key", "password"),
    field("token", "AWS session token (temporary credentials)", "password"),
    field("region", "AWS region (if the host's name does not say it)"),
    make("p", {}, make("button", { onclick: again }, "Load the document again")));
}

function resolve(document_, schema) {
  const reference = schema && schema.$ref;
  if (!reference) return schema || {};
  return reference.replace(/^#\//, "").split("/").reduce((node, part) => node[part], document_);
}

function kind(schema) {
  if (schema.enum) return schema.enum.filter((value) => value !== null).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(kind).filter(Boolean).join(" or ");
  const types = [].concat(schema.type || "any").filter((type) => type !== "null").join(" or ");
  return schema.format ? `${types} (${schema.format})` : types;
}

function limits(schema) {
  const found = [];
  if (schema.minimum !== undefined && schema.minimum > -9e15) found.push(`≥ ${schema.minimum}`);
  if (schema.maximum !== undefined && schema.maximum < 9e15) found.push(`≤ ${schema.maximum}`);
  return found.join(", ");
}

function columns(row) {
  const required = new Set(row.required || []);
  return make("table", {},
    make("thead", {}, make("tr", {},
      ...["Column", "Type", "", "Limits", "About"].map((name) => make("th", {}, name)))),
    make("tbody", {}, ...Object.entries(row.properties || {}).map(([name, schema]) =>
      make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, kind(schema)),
        make("td", {}, required.has(name) ? "required" : "may be missing"),
        make("td", {}, limits(schema)), make("td", {}, schema.description || "")))));
}

function starter(document_, route) {
  const schemas = document_.components.schemas;
  if (route === "/predict") {
    const row = (schemas.Row.examples || [{}])[0];
    return JSON.stringify({ instances: [row] }, null, 2);
  }
  if (route === "/feedback") {
    const value = schemas.Labels.properties.labels.items.properties.value;
    const label = { id: "prediction-1", value: value.enum ? value.enum[0] : 0 };
    return JSON.stringify({ labels: [label] }, null, 2);
  }
  return "";
}

function operation(document_, route, method, details) {
  const body = details.requestBody &&
    make("textarea", { spellcheck: "false", "aria-label": `Body of ${route}` });
  if (body) body.value = starter(document_, route);
  const options = (details.parameters || []).filter((option) => option.in === "query")
    .map((option) => ({ option, box: make("input", { type: "checkbox" }) }));
  const status = make("p", { role: "status" });
  const answer = make("pre", { hidden: "" });
  async function send() {
    status.textContent = "…";
    const query = options.filter(({ box }) => box.checked)
      .map(({ option }) => `${encodeURIComponent(option.name)}=true`).join("&");
    const started = performance.now();
    try {
      const response = await call(method.toUpperCase(), route, query, body && body.value);
      const text = await response.text();
      const took = (performance.now() - started).toFixed(1);
      status.textContent = `${response.status} ${response.statusText} in ${took} ms`;
      status.className = response.ok ? "good" : "bad";
      answer.textContent = pretty(text);
    } catch (error) {
      status.textContent = "The request could not be sent: " + error.message;
      status.className = "bad";
      answer.textContent = "";
    }
    answer.hidden = false;
  }
  const responses = Object.entries(details.responses).map(([code, response]) =>
    make("tr", {}, make("td", {}, code),
      make("td", {}, resolve(document_, response).description || "")));
  return make("details", { open: route === "/predict" ? "" : undefined, id: route.slice(1) },
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), " ",
      make("span", { class: "path" }, route), " ",
      make("span", { class: "quiet" }, details.summary || "")),
    body && make("label", {}, "Body", body),
    ...options.map(({ option, box }) =>
      make("label", {}, box, ` ${option.name}: ${option.description || ""}`)),
    make("p", {}, make("button", { onclick: send }, "Send")), status, answer,
    make("details", {}, make("summary", {}, "Answers"),
      make("table", {}, make("tbody", {}, ...responses))));
}

async function load() {
  main.replaceChildren(make("p", { class: "quiet" }, "Loading openapi.json …"));
  let response;
  try { response = await call("GET", "/openapi.json", "", ""); } catch (error) {
    main.replaceChildren(make("p", { class: "bad" }, "No answer: " + error.message));
    return;
  }
  const text = await response.text();
  if (!response.ok) {
    const problem = make("pre", {}, pretty(text));
    const why = `openapi.json answered ${response.status}.` +
      (response.status === 403 ? " Give your credentials below and load it again." : "");
    main.replaceChildren(make("p", { class: "bad" }, why), problem, credentials(load));
    main.querySelector("details").open = true;
    return;
  }
  const document_ = JSON.parse(text);
  document.title = document_.info.title;
  const operations = Object.entries(document_.paths).flatMap(([route, methods]) =>
    Object.entries(methods).map(([method, details]) =>
      operation(document_, route, method, details)));
  main.replaceChildren(
    make("h1", {}, document_.info.title),
    make("p", { class: "quiet" }, document_.info.description || "",
      ` Version ${document_.info.version}. `,
      make("a", { href: "openapi.json" }, "openapi.json")),
    credentials(load), make("h2", {}, "Requests"), ...operations,
    make("h2", {}, "A row"), columns(document_.components.schemas.Row));
}

load();
"""

HTML = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predictions</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main></main>
<noscript>This page needs JavaScript; openapi.json says the same.</noscript>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    """Return the source expression that allows one inline element (CSP Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)};"
        " img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
