"""
The OpenAPI document as one HTML page without scripts and without any other host, served at /docs.

For people; programs read /openapi.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #8881; padding: 1rem; overflow-x: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8883; }
"""

JSON = "application/json"


def reference_page(document: Mapping[str, Any]) -> str:
    """Every operation with its parameters, an example to paste, and its answers."""
    info = document["info"]
    sections = [
        _operation(path, method, operation, document)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>{_prose(info['description'])}"
        f'<p>For programs: <a href="openapi.json">openapi.json</a>.</p>{_contents(document)}'
        f"{''.join(sections)}</body></html>"
    )


def _contents(document: Mapping[str, Any]) -> str:
    items = [
        f'<li><a href="#{escape(operation["operationId"])}"><code>{method.upper()} {escape(path)}</code></a> '
        f"{escape(operation['summary'])}</li>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return f"<ul>{''.join(items)}</ul>"


def _operation(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    return "".join(
        (
            f'<h2 id="{escape(operation["operationId"])}">{escape(operation["summary"])}</h2>',
            f"<p><code>{method.upper()} {escape(path)}</code></p>{_prose(operation.get('description', ''))}",
            _parameters(operation.get("parameters", [])),
            _body(path, operation.get("requestBody"), document),
            _responses(operation["responses"]),
        )
    )


def _parameters(parameters: list[Mapping[str, Any]]) -> str:
    rows = [
        (f"<code>{escape(each['name'])}</code>", f"in {escape(each['in'])}", _inline(each.get("description", "")))
        for each in parameters
    ]
    return _table(("Parameter", "Where", "Meaning"), rows)


def _body(path: str, body: Mapping[str, Any] | None, document: Mapping[str, Any]) -> str:
    if body is None:
        return ""
    media_type, content = next(iter(sorted(body["content"].items(), key=lambda item: item[0] != JSON)))
    schema = content.get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    rows = list(_members(schema, document)) if "properties" in schema else []
    forms = f"<p>As {escape(', '.join(body['content']))}.</p>"
    examples = content.get("examples", {}).values() if media_type == JSON else ()
    calls = "".join(f"<p>{escape(each['summary'])}:</p>{_curl(path, each['value'])}" for each in examples)
    return forms + _table(("Member", "Default", "Meaning"), rows) + calls


def _members(
    schema: Mapping[str, Any], document: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """A row for each member of an object, members of members with a dotted name."""
    for name, member in schema["properties"].items():
        required = name in schema.get("required", ())
        given = json.dumps(member["default"]) if member.get("default", "") != "" else "none"
        default = "required" if required else escape(given)
        yield f"<code>{escape(prefix + name)}</code>", default, _inline(member.get("description", ""))
        reference = next((each["$ref"] for each in (member, *member.get("anyOf", ())) if "$ref" in each), "")
        if reference:
            yield from _members(document["components"]["schemas"][reference.rsplit("/", 1)[-1]], document, f"{name}.")


def _curl(path: str, value: Any) -> str:
    """A line for a POSIX shell; a quote inside the JSON is written as its escape, so nothing ends the string early."""
    body = json.dumps(value, indent=2, ensure_ascii=False).replace("'", "\\u0027")
    call = (
        f'curl -sS localhost:8000{path} -H "Authorization: Bearer $TOKEN" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
    return f"<pre>{escape(call)}</pre>"


def _responses(responses: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (escape(status), ", ".join(map(escape, each.get("content", {}))), escape(each["description"]))
        for status, each in responses.items()
    ]
    examples = [
        f"<details><summary>Example of an answer</summary><pre>"
        f"{escape(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre></details>"
        for content in next(each for status, each in responses.items() if status < "3").get("content", {}).values()
        if "example" in content
    ]
    return _table(("Status", "Type", "Meaning"), rows) + "".join(examples)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Cells are HTML already."""
    if not rows:
        return ""
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _prose(text: str) -> str:
    """The little Markdown that our descriptions use: paragraphs, bullets, code."""
    lines = filter(None, text.splitlines())
    return "".join(
        f"<p>{'&bull; ' if line.startswith('* ') else ''}{_inline(line.removeprefix('* '))}</p>" for line in lines
    )


def _inline(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
