# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FAKE of AWX's API: enough for the modules of awx.awx to create objects, with the checks of AWX (rules.py).

It runs no jobs, has no users, and proves nothing about a real AWX beyond these rules.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.awx import rules

TOKEN = "fake-awx-token-2Yx9Qw7vR1"
SECRET_FIELD = "$encrypted$"
KINDS = {
    *("organizations", "credential_types", "credentials", "execution_environments", "projects", "inventories"),
    *("hosts", "job_templates", "workflow_job_templates", "workflow_job_template_nodes", "schedules", "jobs", "labels"),
}
#: AWX creates a project and synchronizes it later; here, this is one step. A job has ended when it is launched.
ENDED = {
    "status": "successful",
    "failed": False,
    "finished": "2026-01-01T00:00:00Z",
    "created": "",
    "artifacts": {},
    "scm_revision": "",
}


class RefusalError(Exception):
    """HTTP 400 with these complaints."""


class FakeAwx:
    """The objects, by kind and id, and what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[int, dict[str, Any]] = {}
        self.secrets: dict[int, dict[str, Any]] = {}
        self.launched: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.create("organizations", {"name": "Default"})
        galaxy = {"name": "Ansible Galaxy/Automation Hub API Token", "kind": "galaxy", "inputs": {}}
        number = self.create("credential_types", galaxy)["id"]
        self.create("credentials", {"name": "Ansible Galaxy", "credential_type": number, "inputs": {}})

    def one(self, kind: str, /, **wanted: Any) -> dict[str, Any]:
        found = [item for item in self.objects[kind].values() if _fits(item, {k: str(v) for k, v in wanted.items()})]
        assert len(found) == 1, f"{len(found)} {kind} with {wanted}"
        return found[0]

    def state(self) -> str:
        links = sorted((str(link), others) for link, others in self.links.items() if others)
        return json.dumps([self.objects, self.surveys, links], sort_keys=True)

    def create(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        number = 1 + sum(len(items) for items in self.objects.values())
        url = f"/api/v2/{kind}/{number}/"
        singular = {"inventories": "inventory"}.get(kind, kind.removesuffix("s"))
        item = {"id": number, "type": singular, "url": url, "summary_fields": {}, "related": {}}
        if kind.endswith("job_templates"):
            item["related"] = {"survey_spec": f"{url}survey_spec/", "launch": f"{url}launch/"}
        if kind in ("projects", "jobs"):
            item |= ENDED
        self.update(kind, item, data)
        self.objects[kind][number] = item
        return item

    def update(self, kind: str, item: dict[str, Any], data: Mapping[str, Any]) -> None:
        changed = {**item, **data}
        if kind == "credentials":
            changed["inputs"] = self._keep_secrets(changed)
        elif kind == "credential_types" and changed["kind"] != "galaxy":
            _refuse(rules.credential_type(changed["kind"], changed["inputs"], changed["injectors"]))
        elif kind == "workflow_job_template_nodes":
            _refuse(rules.node_prompts(data, self.objects["job_templates"][changed["unified_job_template"]]))
        item.update(changed)

    def _keep_secrets(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as AWX shows them."""
        fields = {
            f["id"]: f for f in self.objects["credential_types"][item["credential_type"]]["inputs"].get("fields", [])
        }
        # Seen on AWX 24.6.1: a false value in a field with choices becomes the first choice.
        inputs = {
            name: value or next(iter(fields.get(name, {}).get("choices", [])), value)
            for name, value in item["inputs"].items()
        }
        _refuse(rules.credential_inputs(inputs, fields))
        kept = self.secrets.setdefault(item["id"], {})
        kept.update({name: value for name, value in inputs.items() if value != SECRET_FIELD})
        return {name: SECRET_FIELD if fields[name].get("secret") and inputs[name] else inputs[name] for name in inputs}

    # ---- requests

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        """Status and body. Paths as AWX has them."""
        if method != "GET":
            self.writes.append(f"{method} {path}")
        if path == "/api/v2/config/":
            return 200, {"version": "24.6.1"}
        match = re.fullmatch(r"/api/v2/(\w+)/(?:(\d+)/(?:(\w+)/)?)?", path)
        kind, number, part = (match[1], int(match[2] or 0), match[3]) if match else ("", 0, "")
        if kind == "unified_job_templates":
            items = [*self.objects["job_templates"].values(), *self.objects["workflow_job_templates"].values()]
            return 200, _page(item for item in items if _fits(item, query))
        if kind not in KINDS or (number and number not in self.objects[kind]):
            return 404, {"detail": "Not found."}
        if part:
            return self._part(method, kind, number, part, body)
        if method == "POST":
            return 201, self.create(kind, body)
        if not number:
            return 200, _page(item for item in self.objects[kind].values() if _fits(item, query))
        item = self.objects[kind][number]
        if method == "PATCH":
            self.update(kind, item, body)
        return 200, item

    def _part(self, method: str, kind: str, number: int, part: str, body: Any) -> tuple[int, Any]:
        if part == "launch":
            self.launched.append(body)
            return 201, self.create("jobs", {})
        if part == "survey_spec":
            if method == "POST":
                _refuse(rules.survey(body))
                self.surveys[number] = body
            return 200, self.surveys.get(number, {})
        linked = self.links.setdefault((kind, number, part), [])
        target = "credentials" if part.endswith("credentials") else kind
        if method == "GET":
            return 200, _page(self.objects[target][other] for other in linked)
        linked.append(body["id"])
        return 204, None


def _fits(item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    return all(str(item.get(name)) == value for name, value in query.items())


def _page(items: Iterable[Any]) -> dict[str, Any]:
    results = list(items)
    return {"count": len(results), "next": None, "previous": None, "results": results}


def _refuse(complaints: list[str]) -> None:
    if complaints:
        raise RefusalError("; ".join(complaints))


class FakeAwxServer(ThreadingHTTPServer):
    """The fake on a free port: `with FakeAwxServer() as server: ... server.url`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.awx = FakeAwx()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> FakeAwxServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeAwxServer

    def _handle(self) -> None:
        split = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            status, answer = self._answer(split.path, dict(parse_qsl(split.query)), json.loads(text) if text else None)
            content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"detail": "Authentication credentials were not provided."}
        try:
            return self.server.awx.answer(self.command, path, query, body)
        except RefusalError as refusal:
            return 400, {"__all__": [str(refusal)]}

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        pass
