# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The endpoints: exactly the documented requests, and every answer in words."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AuthenticationError,
    HelixError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import EtlStatus
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import LOGIN_PATH
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    FakeTransport,
    Script,
    answer,
    jwt,
    login_answer,
    make_api,
)

LIST_PATH = "/opt/api/v1/backend/etls/"
DEFAULT = {"name": "Default", "active": True, "run_configuration_id": 216}
LISTED = [{"name": "VMware - vCenter Extractor Service", "etl_id": 53, "run_configurations": [DEFAULT]}]
RECEIPT = {"task_execution_request_id": 21359, "request_status": "OK"}
ENDED = {"status": "ENDED", "task_id": 53, "exit_code": "OK", "last_exec_ts": "2022-09-08T14:56:28Z"}


class Server:
    """Logs everybody in, and answers each address (run, status, list, ...) with what a test wants."""

    def __init__(self, **answers):
        self.answers = {name: Script(*(a if isinstance(a, tuple) else (a,))) for name, a in answers.items()}
        self.logins, self.login_takes = 0, 0
        self.transport = FakeTransport(self)
        self.clock = self.transport.clock
        self.api = make_api(self.transport)

    def run(self, **options):
        return self.api.act("run", 53, **options)

    def status(self, **options):
        return self.api.status(53, **options)

    def __call__(self, exchange):
        if exchange.path == LOGIN_PATH:
            self.logins += 1
            self.clock.pass_by(self.login_takes)
            return login_answer(self.logins)
        name = exchange.path[len(LIST_PATH) :].rpartition("/")[2] or "list"
        return self.answers[name](exchange) if name in self.answers else answer(404)

    @property
    def asked(self):
        return [e for e in self.transport.exchanges if not e.path.startswith("/ims/")]


def failure(work, **options):
    with pytest.raises(HelixError) as caught:
        work(**options)
    error = caught.value
    assert error.message
    assert error.remedy
    assert "None" not in error.sentence()
    return error


def receipt(*, code=200, **changes):
    return answer(code, {**RECEIPT, **changes})


# -- the requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["run", "schedule", "stop", "kill"])
@pytest.mark.parametrize("properties", [None, {"additional.property": "value"}])
def test_actions(action, properties):
    server = Server(**{action: receipt()})
    assert server.api.act(action, 53, properties) == (21359, "OK")
    (exchange,) = server.asked
    assert (exchange.method, exchange.path) == ("POST", f"/opt/api/v1/backend/etls/53/{action}")
    has_body = action in ("run", "schedule")
    assert exchange.payload == ({"run_execution_properties": properties or {}} if has_body else None)
    assert exchange.headers == {"Authorization": f"Bearer {jwt(1)}"}


def test_status_and_list():
    server = Server(status=answer(200, ENDED), list=answer(200, LISTED))
    assert server.status() == EtlStatus("ENDED", "OK", "2022-09-08T14:56:28Z")
    assert server.api.list_etls()[0] == (53, LISTED[0]["name"], [DEFAULT])
    assert server.api.list_etls() is server.api.list_etls(), "one request is enough"
    assert [(e.method, e.path, e.payload) for e in server.asked] == [
        ("GET", "/opt/api/v1/backend/etls/53/status", None),
        ("GET", "/opt/api/v1/backend/etls/", None),
    ]


# -- good responses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (answer(204), "none"),
        (answer(204, ENDED), "ENDED"),
        (answer(200, text="null"), "none"),
        (answer(200, text='\ufeff{"status": "RUNNING"}'), "RUNNING"),
    ],
)
def test_shapes_of_a_status(reply, state):
    assert Server(status=reply).status().state == state


@pytest.mark.parametrize(
    ("given", "request_id"),
    [(-1, -1), ("21359", 21359), ("many", None), (None, None), (True, None), (8.7, None), ("9" * 20, None)],
)
@pytest.mark.parametrize(("code", "word"), [(200, "OK"), (201, "ok"), (202, "OK")])
def test_shapes_of_a_receipt(code, word, given, request_id):
    reply = receipt(code=code, request_status=word, task_execution_request_id=given)
    assert Server(run=reply).run() == (request_id, "OK")


@pytest.mark.parametrize(
    ("item", "etl"),
    [
        ({"etl_id": "5", "name": None}, (5, "", [])),
        ({"etl_id": 5, "run_configurations": ["x", None]}, (5, "", [])),
        ({"etl_id": 5, "name": ["x"], "run_configurations": {"a": 1}}, (5, "", [])),
        # Only documented fields are passed on.
        ({"etl_id": 5, "secret": 1, "run_configurations": [{**DEFAULT, SECRET: 1}]}, (5, "", [DEFAULT])),
        ({"etl_id": 5, "run_configurations": [dict.fromkeys(DEFAULT, "yes")]}, (5, "", [{"name": "yes"}])),
    ],
)
def test_list_entries(item, etl):
    assert Server(list=answer(200, [item])).api.list_etls() == [etl]
    assert Server(list=answer(204)).api.list_etls() == Server(list=answer(200, [])).api.list_etls() == []


def test_no_text_of_the_server_controls_a_terminal_or_shows_a_secret():
    evil = f"a\x1b]52;c;ZXZpbA==\x07b\r\nok: [localhost]\u202ec\u200b\u2067 {SECRET}"
    clean = "a ]52;c;ZXZpbA== b ok: [localhost]c ********"
    server = Server(
        status=answer(200, {"status": evil, "exit_code": evil, "last_exec_ts": evil}),
        list=answer(200, [{"etl_id": 5, "name": evil, "run_configurations": [{"name": evil}]}]),
    )
    assert server.api.status(5) == (clean.upper(), clean.upper(), clean)
    assert server.api.list_etls() == [(5, clean, [{"name": clean}])]


# -- bad responses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["error", "WARNING", "E\x1b[31mRROR"])
def test_200_is_not_success(word):
    """ERROR is a rejection; another word leaves it open whether the request was carried out."""
    error = failure(Server(run=receipt(request_status=word)).run)
    refused = word == "error"
    assert error.kind == ("request_refused" if refused else "unexpected_answer")
    assert error.request_status == word.upper().replace("\x1b", " ")
    assert error.request_status in error.message
    assert (error.maybe_done, error.transient) == (not refused, False)


@pytest.mark.parametrize(
    "reply",
    [
        answer(200),
        answer(204),
        receipt(code=206),
        *(answer(200, data) for data in ({}, [], "OK", {"task_execution_request_id": 5})),
        *(receipt(request_status=word) for word in (None, ["OK"], " ")),
        answer(200, text='{"request_status": "OK"'),
        answer(200, text="<html><h1>Maintenance</h1></html>"),
    ],
)
def test_a_receipt_that_is_none_leaves_it_open(reply):
    error = failure(Server(run=reply).run)
    assert (error.kind, error.maybe_done) == ("unexpected_answer", True)


@pytest.mark.parametrize(
    ("codes", "kind", "maybe_done", "transient"),
    [
        ((301, 307), "redirected", False, False),
        ((302, 303), "redirected", True, False),
        ((400,), "etl_not_found", False, False),
        ((403,), "permission", False, False),
        ((404,), "wrong_address", False, False),
        ((405, 407, 409), "unexpected_answer", False, False),
        ((429,), "rate_limited", False, True),
        ((408, 500, 502, 503, 504, 600), "server_error", True, True),
        ((299,), "unexpected_answer", True, False),
    ],
)
def test_what_a_status_means_for_a_run(codes, kind, maybe_done, transient):
    for code in codes:
        server = Server(run=answer(code, Retry_After="17"))
        error = failure(server.run)
        assert (error.kind, error.maybe_done, error.transient) == (kind, maybe_done, transient)
        assert (error.http_status, error.method, error.path) == (code, "POST", "/opt/api/v1/backend/etls/53/run")
        assert "53" in error.message
        assert kind == "etl_not_found" or error.retry_after == 17.0
        assert server.transport.lines.count("POST /opt/api/v1/backend/etls/53/run") == 1, "sent once, whatever came"


def test_reads_are_retried_and_redirected_reads_are_lost_polls():
    server = Server(status=(answer(503), answer(429), answer(200, ENDED)))
    assert server.status().state == "ENDED"
    assert len(server.asked) == 3
    assert failure(Server(status=answer(302)).status).transient


def test_what_an_error_carries():
    assert "custom_etl.edit" in failure(Server(run=answer(403)).run).remedy
    assert "etls_read" in failure(Server(status=answer(403)).status).remedy
    server = Server()
    server.answers["run"] = lambda exchange: answer(500, {"echo": exchange.headers["Authorization"]})
    error = failure(server.run)
    assert "eyJ" not in error.sentence() + str(error.facts())
    assert "********" in error.facts()["server_message"]


INVALID = {"message": "validation.request.accept.invalid"}


@pytest.mark.parametrize(
    ("reply", "listed", "missing"),
    [
        (answer(400, {"message": "ETL not found"}), answer(500), True),
        (answer(400), answer(500), True),
        (answer(400, INVALID), answer(200, LISTED), True),
        (answer(400, INVALID), answer(500), False),
        (answer(404), answer(200, LISTED), True),
        (answer(404), answer(404), False),
        (answer(404, text="<html>ETL page not found</html>"), answer(404), False),
    ],
)
def test_when_an_etl_is_not_found(reply, listed, missing):
    server = Server(status=reply, run=reply, list=listed)
    for work in (lambda: server.api.status(99), lambda: server.api.act("run", 99)):
        error = failure(work)
        assert (error.kind == "etl_not_found") == missing
        assert not error.maybe_done


def test_a_400_about_an_etl_that_is_there_shows_the_words_of_the_server():
    listed = answer(200, [*LISTED, {"etl_id": 7}])
    server = Server(run=answer(400, {"message": "no active run configuration"}), list=listed)
    assert "no active run configuration" in failure(server.run).message


@pytest.mark.parametrize(
    "data",
    [{"etls": LISTED}, "x", 5, [5], [{}], [{"name": "no id"}]]
    + [[{"etl_id": value}] for value in (None, True, 8.7, "8.7", "-5", "٣", " 5", {})],
)
def test_responses_of_another_shape(data):
    assert "unexpected shape" in failure(Server(list=answer(200, data)).api.list_etls).message
    assert failure(Server(status=answer(200, {"state": "fine"})).status).transient


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_after_the_deadline():
    server = Server(run=receipt())
    error = failure(server.run, deadline=server.clock.now())
    assert (error.kind, error.maybe_done, error.transient) == ("timed_out", False, False)
    assert server.transport.exchanges == []


@pytest.mark.parametrize("rejected", [False, True])
def test_a_login_that_takes_until_the_deadline_leads_to_no_request(rejected):
    server = Server(run=(answer(401), receipt()) if rejected else receipt())
    if rejected:
        server.api.tokens.current()
    server.login_takes = 31
    assert failure(server.run, deadline=server.clock.now() + 30).kind == "timed_out"
    assert len(server.asked) == rejected


def test_limits_of_a_poll():
    server = Server(status=answer(503, Retry_After="60"))
    server.api.tokens.current()
    failure(server.status, deadline=server.clock.now() + 59)
    assert len(server.asked) == 1, "it is not retried beyond the deadline"
    server = Server()
    server.transport._handler = lambda exchange: answer(503)
    failure(server.status, retries=0)
    assert len(server.transport.exchanges) == 1, "its login is not retried, either"


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["run", "status"])
@pytest.mark.parametrize("passes", [True, False])
def test_a_401_is_answered_with_a_new_token_once(call, passes):
    good = receipt() if call == "run" else answer(200, ENDED)
    server = Server(**{call: (answer(401), good if passes else answer(401))})
    if passes:
        getattr(server, call)()
    else:
        error = failure(getattr(server, call))
        assert (error.kind, error.maybe_done) == ("authentication", False)
        assert not isinstance(error, AuthenticationError), "the keys are good; it may pass"
        assert all(word in error.remedy for word in ("url", "login_url", "tenant_id"))
    assert [e.headers["Authorization"] for e in server.asked] == [f"Bearer {jwt(1)}", f"Bearer {jwt(2)}"]
    assert server.api.tokens.renewals == 1


def test_a_lost_login_says_nothing_about_the_request():
    server = Server()
    server.transport._handler = Script(TransportError("lost", maybe_done=True, transient=True, remedy="Again."))
    assert not failure(server.run).maybe_done
