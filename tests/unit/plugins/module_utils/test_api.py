# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The endpoints: exactly the documented requests, and every answer in words."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    AuthenticationError,
    DeadlineError,
    EtlNotFoundError,
    HelixError,
    RequestRefusedError,
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
LISTED = [
    {
        "name": "VMware - vCenter Extractor Service",
        "etl_id": 53,
        "run_configurations": [{"name": "Default", "active": True, "run_configuration_id": 216}],
    }
]
RECEIPT = {"task_execution_request_id": 21359, "request_status": "OK"}
ENDED = {"status": "ENDED", "task_id": 53, "exit_code": "OK", "last_exec_ts": "2022-09-08T14:56:28Z"}


class Server:
    """Logs everybody in, and answers each address with what a test wants."""

    def __init__(self, **answers):
        self.answers = {
            name: Script(*(value if isinstance(value, tuple) else (value,))) for name, value in answers.items()
        }
        self.logins = 0
        self.transport = FakeTransport(self)
        self.api = make_api(self.transport)

    def __call__(self, exchange):
        if exchange.path == LOGIN_PATH:
            self.logins += 1
            return login_answer(self.logins)
        name = exchange.path[len(LIST_PATH) :].rpartition("/")[2] or "list"
        return self.answers[name](exchange) if name in self.answers else answer(404)

    @property
    def asked(self):
        return [e for e in self.transport.exchanges if not e.path.startswith("/ims/")]


def failure(work):
    with pytest.raises(HelixError) as caught:
        work()
    error = caught.value
    assert error.message
    assert error.remedy
    assert "None" not in error.sentence()
    return error


# -- the requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["run", "schedule", "stop", "kill"])
@pytest.mark.parametrize("properties", [None, {}, {"additional.property": "value"}])
def test_actions_and_their_properties(action, properties):
    server = Server(**{action: answer(200, RECEIPT)})
    assert server.api.act(action, 53, properties) == (21359, "OK")
    (exchange,) = server.asked
    assert (exchange.method, exchange.path) == ("POST", f"/opt/api/v1/backend/etls/53/{action}")
    has_body = action in ("run", "schedule")
    assert exchange.payload == ({"run_execution_properties": properties or {}} if has_body else None)
    assert exchange.headers == {"Authorization": f"Bearer {jwt(1)}"}


def test_status_and_list():
    server = Server(status=answer(200, ENDED), list=answer(200, LISTED))
    assert server.api.status(53) == EtlStatus("ENDED", "OK", "2022-09-08T14:56:28Z")
    assert server.api.list_etls()[0] == (53, LISTED[0]["name"], LISTED[0]["run_configurations"])
    assert server.api.list_etls() is server.api.list_etls(), "one request is enough"
    assert [(e.method, e.path, e.payload) for e in server.asked] == [
        ("GET", "/opt/api/v1/backend/etls/53/status", None),
        ("GET", "/opt/api/v1/backend/etls/", None),
    ]


# -- answers that are good --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (answer(204), "none"),
        (answer(200), "none"),
        (answer(204, ENDED), "ENDED"),
        (answer(200, text="null"), "none"),
        (answer(200, text='\ufeff{"status": "RUNNING"}'), "RUNNING"),
    ],
)
def test_shapes_of_a_status(reply, state):
    assert Server(status=reply).api.status(53).state == state


@pytest.mark.parametrize(
    ("data", "receipt"),
    [
        (RECEIPT, (21359, "OK")),
        ({**RECEIPT, "request_status": "ok"}, (21359, "OK")),
        ({**RECEIPT, "task_execution_request_id": -1}, (-1, "OK")),
        ({**RECEIPT, "task_execution_request_id": "21359"}, (21359, "OK")),
        ({**RECEIPT, "task_execution_request_id": "many"}, (None, "OK")),
        ({**RECEIPT, "task_execution_request_id": None}, (None, "OK")),
        ({**RECEIPT, "task_execution_request_id": True}, (None, "OK")),
        ({**RECEIPT, "task_execution_request_id": 8.7}, (None, "OK")),
        ({"request_status": "OK"}, (None, "OK")),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_shapes_of_a_receipt(status, data, receipt):
    assert Server(run=answer(status, data)).api.act("run", 53) == receipt


@pytest.mark.parametrize("reply", [answer(204), answer(200), answer(200, [])])
def test_an_empty_list(reply):
    assert Server(list=reply).api.list_etls() == []


# -- answers that are not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["ERROR", "error", "WARNING", "QUEUED", "NOK", "E\x1b[31mRROR"])
def test_200_is_not_success(word):
    """ERROR is a rejection; another word leaves it open whether the request was carried out."""
    error = failure(lambda: Server(run=answer(200, {**RECEIPT, "request_status": word})).api.act("run", 53))
    refused = word.upper() == "ERROR"
    assert isinstance(error, RequestRefusedError) == refused
    assert error.kind == ("request_refused" if refused else "unexpected_answer")
    assert error.request_status == word.upper().replace("\x1b", " ")
    assert error.request_status in error.message
    assert error.maybe_done != refused
    assert not error.transient


@pytest.mark.parametrize(
    "reply",
    [
        answer(200),
        answer(204),
        answer(200, {}),
        answer(200, []),
        answer(200, "OK"),
        answer(200, {"task_execution_request_id": 5}),
        answer(200, {"request_status": None}),
        answer(200, {"request_status": ["OK"]}),
        answer(200, {"request_status": " "}),
        answer(200, text="OK"),
        answer(200, text='{"request_status": "OK"'),
        answer(200, text="<html><h1>Maintenance</h1></html>"),
        answer(206, RECEIPT),
    ],
)
def test_a_receipt_that_is_none_leaves_it_open(reply):
    error = failure(lambda: Server(run=reply).api.act("run", 53))
    assert error.maybe_done
    assert not isinstance(error, RequestRefusedError)


@pytest.mark.parametrize(
    ("code", "kind", "maybe_done", "transient"),
    [
        (301, "redirected", False, False),
        (302, "redirected", True, False),
        (303, "redirected", True, False),
        (307, "redirected", False, False),
        (400, "etl_not_found", False, False),
        (403, "permission", False, False),
        (404, "wrong_address", False, False),
        (405, "unexpected_answer", False, False),
        (408, "server_error", True, True),
        (409, "unexpected_answer", False, False),
        (415, "unexpected_answer", False, False),
        (429, "rate_limited", False, True),
        (500, "server_error", True, True),
        (501, "server_error", True, True),
        (502, "server_error", True, True),
        (503, "server_error", True, True),
        (504, "server_error", True, True),
        (520, "server_error", True, True),
        (299, "unexpected_answer", True, False),
        (600, "server_error", True, True),
    ],
)
def test_what_a_status_means_for_a_run(code, kind, maybe_done, transient):
    server = Server(run=answer(code))
    error = failure(lambda: server.api.act("run", 53))
    assert (error.kind, error.maybe_done, error.transient) == (kind, maybe_done, transient)
    assert (error.http_status, error.method, error.path) == (code, "POST", "/opt/api/v1/backend/etls/53/run")
    assert "53" in error.message
    # sent once, whatever came back
    assert [e.path for e in server.asked].count("/opt/api/v1/backend/etls/53/run") == 1


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_reads_are_tried_again_and_writes_are_not(code):
    server = Server(status=(answer(code), answer(code), answer(200, ENDED)), run=answer(code))
    assert server.api.status(53).state == "ENDED"
    assert len(server.asked) == 3
    failure(lambda: server.api.act("run", 53))
    assert len(server.asked) == 4


def test_what_an_error_carries():
    assert failure(lambda: Server(run=answer(429, Retry_After="17")).api.act("run", 53)).retry_after == 17.0
    assert "custom_etl.edit" in failure(lambda: Server(run=answer(403)).api.act("run", 53)).remedy
    assert "etls_read" in failure(lambda: Server(status=answer(403)).api.status(53)).remedy
    echo = Server(list=answer(500))
    echo.answers["run"] = lambda e: answer(500, {"echo": e.headers["Authorization"]})
    error = failure(lambda: echo.api.act("run", 53))
    assert "eyJ" not in error.sentence() + str(error.facts())
    assert "********" in error.facts()["server_message"]


@pytest.mark.parametrize(
    ("reply", "listed", "missing"),
    [
        (answer(400, {"message": "ETL not found"}), answer(200, LISTED), True),
        (answer(400, text="etl 99 was NOT FOUND"), answer(500), True),
        (answer(400), answer(200, LISTED), True),
        (answer(400), answer(500), True),
        (answer(404), answer(200, LISTED), True),
        (answer(404), answer(404), False),
        # an answer about something else
        (answer(400, {"message": "validation.request.accept.invalid"}), answer(500), False),
        (answer(400, {"message": "validation.request.accept.invalid"}), answer(200, LISTED), True),
        (answer(404, text="<html>ETL page not found</html>"), answer(404), False),
    ],
)
def test_when_an_etl_is_not_found(reply, listed, missing):
    for work in (lambda s: s.api.status(99), lambda s: s.api.act("run", 99)):
        error = failure(lambda: work(Server(status=reply, run=reply, list=listed)))  # noqa: B023 - called at once
        assert isinstance(error, EtlNotFoundError) == missing
        assert not error.maybe_done


def test_a_400_about_an_etl_that_is_there_shows_what_the_server_said():
    server = Server(run=answer(400, {"message": "no active run configuration"}), list=answer(200, LISTED))
    error = failure(lambda: server.api.act("run", 53))
    assert not isinstance(error, EtlNotFoundError)
    assert "no active run configuration" in error.message
    assert error.facts()["server_message"]


@pytest.mark.parametrize(
    "data",
    [{}, {"etls": LISTED}, "x", 5, [5], [[]], [{}], [{"etl_id": None}], [{"etl_id": "many"}], [{"name": "no id"}]]
    + [[{"etl_id": value}] for value in (True, 8.7, "8.7", "-5", "٣", " 5", {}, [5])],
)
def test_lists_of_another_shape(data):
    error = failure(Server(list=answer(200, data)).api.list_etls)
    assert isinstance(error, AnswerError)
    assert "unexpected shape" in error.message


@pytest.mark.parametrize(
    "item",
    [
        {"etl_id": 5},
        {"etl_id": "5", "name": None},
        {"etl_id": 5, "run_configurations": None},
        {"etl_id": 5, "run_configurations": ["x", None]},
        {"etl_id": 5, "name": ["x"], "run_configurations": {"a": 1}},
    ],
)
def test_list_entries_that_lack_something(item):
    assert Server(list=answer(200, [item])).api.list_etls() == [(5, "", [])]


def test_a_status_of_another_shape():
    error = failure(lambda: Server(status=answer(200, {"state": "fine"})).api.status(53))
    assert error.transient, "a later poll may be better"


# -- texts of the server ----------------------------------------------------------------------------------------------

EVIL = "a\x1b]52;c;ZXZpbA==\x07b\r\nok: [localhost]\u202ec\u200b\u2067"
CLEAN = "a ]52;c;ZXZpbA== b ok: [localhost]c"


def test_no_text_of_the_server_controls_a_terminal():
    server = Server(
        status=answer(200, {"status": EVIL, "exit_code": EVIL, "last_exec_ts": EVIL}),
        list=answer(200, [{"etl_id": 5, "name": EVIL, "run_configurations": [{"name": EVIL}]}]),
    )
    status = server.api.status(5)
    assert status == (CLEAN.upper(), CLEAN.upper(), CLEAN)
    assert server.api.list_etls() == [(5, CLEAN, [{"name": CLEAN}])]


def test_only_documented_fields_are_passed_on():
    documented = LISTED[0]["run_configurations"]
    item = {"etl_id": 5, "name": "a", "secret": 1, "run_configurations": [{**documented[0], SECRET: 1}]}
    assert Server(list=answer(200, [item])).api.list_etls() == [(5, "a", documented)]
    odd = {"etl_id": 5, "run_configurations": [{"name": 7, "active": "yes", "run_configuration_id": True}]}
    assert Server(list=answer(200, [odd])).api.list_etls() == [(5, "", [{"name": ""}])]


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_after_the_deadline():
    server = Server(run=answer(200, RECEIPT))
    error = failure(lambda: server.api.act("run", 53, deadline=server.transport.clock.now()))
    assert isinstance(error, DeadlineError)
    assert (error.kind, error.maybe_done, error.transient) == ("timed_out", False, False)
    assert server.transport.exchanges == []


@pytest.mark.parametrize("rejected", [False, True])
def test_a_login_that_takes_until_the_deadline_leads_to_no_request(rejected):
    server = Server(run=(answer(401), answer(200, RECEIPT)) if rejected else answer(200, RECEIPT))
    deadline = server.transport.clock.now() + 30
    if rejected:
        server.api.tokens.current()
    real = server.transport._handler

    def slow_login(exchange):
        if exchange.path == LOGIN_PATH:
            server.transport.clock.pass_by(31)
        return real(exchange)

    server.transport._handler = slow_login
    assert isinstance(failure(lambda: server.api.act("run", 53, deadline=deadline)), DeadlineError)
    assert len(server.asked) == rejected


def test_a_poll_is_not_retried_beyond_the_deadline():
    server = Server(status=answer(503, Retry_After="60"))
    server.api.tokens.current()
    failure(lambda: server.api.status(53, deadline=server.transport.clock.now() + 59))
    assert len(server.asked) == 1


def test_a_poll_does_not_retry_its_login():
    server = Server()
    server.transport._handler = lambda exchange: answer(503)
    failure(lambda: server.api.status(53, retries=0))
    assert len(server.transport.exchanges) == 1


# -- 401 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("passes", [True, False])
def test_a_401_is_answered_with_a_new_token_once(write, passes):
    after = (answer(200, RECEIPT), answer(200, ENDED)) if passes else (answer(401), answer(401))
    server = Server(run=(answer(401), after[0]), status=(answer(401), after[1]))

    def work():
        return server.api.act("run", 53) if write else server.api.status(53)

    if passes:
        work()
    else:
        error = failure(work)
        assert (error.kind, error.maybe_done) == ("authentication", False)
        assert not isinstance(error, AuthenticationError), "the keys are good; it may pass"
        for word in ("url", "login_url", "tenant_id"):
            assert word in error.remedy
    assert [e.headers["Authorization"] for e in server.asked] == [f"Bearer {jwt(1)}", f"Bearer {jwt(2)}"]
    assert server.api.tokens.renewals == 1


def test_a_lost_login_says_nothing_about_the_request():
    lost = TransportError("lost", maybe_done=True, transient=True, remedy="Again.")
    server = Server(run=answer(200, RECEIPT))
    server.transport._handler = lambda exchange: lost
    assert not failure(lambda: server.api.act("run", 53)).maybe_done
