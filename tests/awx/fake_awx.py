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
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.awx import rules

TOKEN = "fake-awx-token-2Yx9Qw7vR1"
SECRET_FIELD = "$encrypted$"
# The defaults of AWX, and how it handles null.
DEFAULTS: dict[str, dict[str, Any]] = {
    "credential_types": {"inputs": {}, "injectors": {}, "description": "", "managed": False},
    "inventories": {"kind": "", "host_filter": None, "variables": "", "description": ""},
    "hosts": {"variables": "", "description": "", "enabled": True},
    "projects": {"scm_type": "", "scm_url": "", "scm_branch": "", "local_path": "", "credential": None},
    "job_templates": {"extra_vars": "", "survey_enabled": False, "job_type": "run"},
    "workflow_job_template_nodes": {"extra_data": {}},
}
KINDS = {
    *("organizations", "credential_types", "credentials", "execution_environments", "projects", "inventories"),
    *("hosts", "job_templates", "workflow_job_templates", "workflow_job_template_nodes", "schedules"),
}
LINKS = ("galaxy_credentials", "credentials", "success_nodes", "failure_nodes", "always_nodes", "labels")


class RefusalError(Exception):
    """HTTP 400 with these complaints."""


class FakeAwx:
    """The objects, by kind and id, and what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[int, dict[str, Any]] = {}
        self.secrets: dict[int, dict[str, Any]] = {}
        self.writes: list[str] = []
        self._last = 0
        self.create("organizations", {"name": "Default"})
        galaxy = self.create("credential_types", {"name": "Ansible Galaxy/Automation Hub API Token", "kind": "galaxy"})
        self.create("credentials", {"name": "Ansible Galaxy", "credential_type": galaxy["id"], "inputs": {}})

    def one(self, kind: str, /, **wanted: Any) -> dict[str, Any]:
        found = [item for item in self.objects[kind].values() if _fits(item, {k: str(v) for k, v in wanted.items()})]
        assert len(found) == 1, f"{len(found)} {kind} with {wanted}"
        return found[0]

    def state(self) -> str:
        links = sorted((str(link), others) for link, others in self.links.items() if others)
        return json.dumps([self.objects, self.surveys, links], sort_keys=True)

    def create(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        self._last += 1
        number = self._last
        url = f"/api/v2/{kind}/{number}/"
        singular = {"inventories": "inventory"}.get(kind, kind.removesuffix("s"))
        item = {"id": number, "type": singular, "url": url, **DEFAULTS.get(kind, {})}
        item["related"] = {"survey_spec": f"{url}survey_spec/"} if kind.endswith("job_templates") else {}
        # AWX creates a project and synchronizes it later; here, this is one step.
        if kind == "projects":
            item |= {"status": "successful", "failed": False, "finished": "2026-01-01T00:00:00Z", "scm_revision": ""}
            item["summary_fields"] = {}
        self._put(kind, item, data)
        self.objects[kind][number] = item
        return item

    def update(self, kind: str, item: dict[str, Any], data: Mapping[str, Any]) -> None:
        changed = dict(item)
        self._put(kind, changed, data)
        item.update(changed)

    def _put(self, kind: str, item: dict[str, Any], data: Mapping[str, Any]) -> None:
        given = {name: value for name, value in data.items() if value is not None or name not in DEFAULTS.get(kind, {})}
        item.update(given)
        if kind == "credentials":
            self._keep_secrets(item)
        elif kind == "credential_types" and item.get("kind") != "galaxy":
            _refuse(rules.credential_type(item.get("kind"), item["inputs"], item["injectors"]))
        elif kind == "workflow_job_template_nodes":
            template = self.objects["job_templates"][item["unified_job_template"]]
            _refuse(rules.node_prompts(item, template))

    def _keep_secrets(self, item: dict[str, Any]) -> None:
        fields = {
            f["id"]: f for f in self.objects["credential_types"][item["credential_type"]]["inputs"].get("fields", [])
        }
        complaints = []
        for name, value in item["inputs"].items():
            # Seen on AWX 24.6.1: a false value in a field with choices becomes the first choice.
            if fields.get(name, {}).get("choices") and not value:
                item["inputs"] = {**item["inputs"], name: fields[name]["choices"][0]}
                continue
            wanted = bool if fields.get(name, {}).get("type") == "boolean" else str
            if name not in fields:
                complaints.append(f"{name}: additional properties are not allowed")
            elif not isinstance(value, wanted):
                complaints.append(f"{name}: {value!r} is not of type {wanted.__name__}")
            elif "choices" in fields[name] and value not in fields[name]["choices"]:
                complaints.append(f"{name}: not among the choices")
        _refuse(complaints)
        kept = self.secrets.setdefault(item["id"], {})
        kept.update({name: value for name, value in item["inputs"].items() if value != SECRET_FIELD})
        item["inputs"] = {
            name: SECRET_FIELD if fields[name].get("secret") and value else value
            for name, value in item["inputs"].items()
        }

    # ---- requests

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        """Status and body. Paths as AWX has them."""
        if method != "GET" and not path.startswith("/api/v2/tokens/"):
            self.writes.append(f"{method} {path}")
        match = re.fullmatch(r"/api/v2/(\w+)/(?:(\d+)/(?:(\w+)/)?)?", path)
        if match is None:
            return 404, {"detail": "Not found."}
        kind, number, part = match[1], int(match[2] or 0), match[3]
        if kind == "tokens":
            return (204, None) if method == "DELETE" else (201, {"id": 1, "token": TOKEN})
        if kind == "unified_job_templates":
            items = [*self.objects["job_templates"].values(), *self.objects["workflow_job_templates"].values()]
            return 200, _page(item for item in items if _fits(item, query))
        if kind not in KINDS or (number and number not in self.objects[kind]):
            return 404, {"detail": "Not found."}
        if part:
            return self._part(method, kind, number, part, body)
        return self._object(method, kind, number, query, body)

    def _object(self, method: str, kind: str, number: int, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            return 201, self.create(kind, body)
        if not number:
            return 200, _page(item for item in self.objects[kind].values() if _fits(item, query))
        item = self.objects[kind][number]
        if method == "PATCH":
            self.update(kind, item, body)
        return 200, item

    def _part(self, method: str, kind: str, number: int, part: str, body: Any) -> tuple[int, Any]:
        if part == "survey_spec":
            if method == "POST":
                complaints = rules.survey(body)
                if complaints:
                    return 400, {"error": "; ".join(complaints)}
                self.surveys[number] = body
            return 200, self.surveys.get(number, {})
        if part not in LINKS:
            return 404, {"detail": "Not found."}
        linked = self.links.setdefault((kind, number, part), [])
        target = "credentials" if part.endswith("credentials") else kind
        if method == "GET":
            return 200, _page(self.objects[target][other] for other in linked)
        if body.get("disassociate"):
            linked.remove(body["id"])
        else:
            linked.append(body["id"])
        return 204, None


def _fits(item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    either = {name[4:]: value for name, value in query.items() if name.startswith("or__")}
    rest = {name: value for name, value in query.items() if not name.startswith("or__")}
    return all(str(item.get(name)) == value for name, value in rest.items()) and (
        not either or any(str(item.get(name)) == value for name, value in either.items())
    )


def _page(items: Any) -> dict[str, Any]:
    results = list(items)
    return {"count": len(results), "next": None, "previous": None, "results": results}


def _refuse(complaints: list[str]) -> None:
    if complaints:
        raise RefusalError(complaints)


class FakeAwxServer:
    """The fake on a free port: `with FakeAwxServer() as server: ... server.url`."""

    def __init__(self) -> None:
        self.awx = FakeAwx()
        lock = threading.Lock()
        awx = self.awx

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                split = urlsplit(self.path)
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(text) if text else None
                authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                with lock:
                    if not authorized and not split.path.startswith("/api/v2/tokens/"):
                        status, answer = 401, {"detail": "Authentication credentials were not provided."}
                    else:
                        try:
                            status, answer = awx.answer(self.command, split.path, dict(parse_qsl(split.query)), body)
                        except RefusalError as refusal:
                            status, answer = 400, {"__all__": ["; ".join(refusal.args[0])]}
                    content = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeAwxServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
