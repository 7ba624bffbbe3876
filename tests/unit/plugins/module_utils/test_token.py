# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens: log in once, renew in time, renew after a 401, never repeat a login with refused keys."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    AuthenticationError,
    HelixError,
    OptionError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import (
    BLIND_LIFE,
    LOGIN_PATH,
    Credentials,
    TokenSource,
    usable_life,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    KEY,
    SECRET,
    URL,
    WALL,
    FakeClock,
    FakeTransport,
    answer,
    jwt,
    login_answer,
)

KEYS = {"access_key": KEY, "access_secret_key": SECRET}


class Portal:
    """Answers first what stands in `logins`, then with numbered tokens of 900 seconds."""

    def __init__(self, *logins, skew=0.0, date=True, pause=0.0):
        self.clock = FakeClock()
        self.skew, self.date, self.pause = skew, date, pause
        self.logins = list(logins)
        self.number = 0

    def __call__(self, exchange):
        if self.logins:
            return self.logins.pop(0)
        time.sleep(self.pause)
        self.number += 1
        now = self.clock.wall() + self.skew
        return login_answer(self.number, date=formatdate(now, usegmt=True) if self.date else "", exp=now + 900)


def source(portal, **credentials):
    transport = FakeTransport(portal, portal.clock)
    return TokenSource(transport, URL, Credentials(**(credentials or KEYS))), transport


def test_one_login_for_many_uses_and_all_its_secrets_are_masked():
    data = {"json_web_token": jwt(9), "token": "the-refresh-token", "principal_id": "the-principal-id"}
    tokens, transport = source(
        Portal(answer(200, data)), access_key=f" {KEY}\n", access_secret_key=f"\t{SECRET} ", tenant_id=" 42 "
    )
    assert tokens.usable_seconds == 0
    assert {tokens.current() for _number in range(50)} == {jwt(9)}
    (exchange,) = transport.exchanges
    assert (exchange.method, exchange.path) == ("POST", "/ims/api/v1/access_keys/login")
    assert exchange.payload == {**KEYS, "tenant_id": "42"}
    assert "Authorization" not in exchange.headers
    assert tokens.renewals == 0
    for secret in (KEY, SECRET, *data.values()):
        assert secret not in transport.redactor.text(f"see {secret} there")


@pytest.mark.parametrize(
    ("skew", "date", "life"),
    [
        (0.0, True, 840),
        (7200.0, True, 840),
        (-7200.0, True, 840),
        # Without a Date header only our clock is left. If it is wrong, every use would renew the token.
        (-7200.0, False, BLIND_LIFE),
    ],
)
def test_renewed_a_minute_before_it_expires_by_the_servers_clock(skew, date, life):
    portal = Portal(skew=skew, date=date)
    tokens, transport = source(portal)
    first = tokens.current()
    assert "tenant_id" not in transport.exchanges[0].payload
    portal.clock.pass_by(life - 2)
    assert tokens.current() == first
    assert tokens.usable_seconds == pytest.approx(2, abs=1)
    portal.clock.pass_by(4)
    assert tokens.current() != first
    assert (transport.lines, tokens.renewals) == (["POST " + LOGIN_PATH] * 2, 1)


@pytest.mark.parametrize(
    ("token", "life"),
    [
        (jwt(exp=WALL + 900), 840.0),
        (jwt(exp=WALL + 100), 80.0),
        (jwt(exp=WALL), 0.0),
        (jwt(exp=WALL - 50), -50.0),
        (jwt(exp=str(WALL + 900)), BLIND_LIFE),
        (jwt(exp=True), BLIND_LIFE),
        (jwt(exp=-5), BLIND_LIFE),
        (jwt(exp=1e300), BLIND_LIFE),
        ("no.jwt", BLIND_LIFE),
        ("a.!!!.c", BLIND_LIFE),
        ("a.W10.c", BLIND_LIFE),
    ],
)
def test_the_life_of_a_token(token, life):
    assert usable_life(token, WALL) == pytest.approx(life)


def test_one_login_and_one_renewal_for_twenty_threads():
    tokens, transport = source(Portal(pause=0.01))
    barrier = threading.Barrier(20)

    def work(_number):
        barrier.wait(10)
        first = tokens.current()
        barrier.wait(10)
        return first, tokens.replace(first)

    with ThreadPoolExecutor(20) as threads:
        results = set(threads.map(work, range(20)))
    assert len(results) == 1
    assert transport.lines == ["POST " + LOGIN_PATH] * 2


@pytest.mark.parametrize("use", ["first", "replace", "early renewal"])
def test_refused_keys_are_tried_once_only(use):
    portal = Portal()
    tokens, transport = source(portal)
    before = "" if use == "first" else tokens.current()
    portal.logins = [answer(401, {"message": f"no such key {KEY}"})]
    portal.clock.pass_by(845 if use == "early renewal" else 0)
    for _number in range(3):
        with pytest.raises(AuthenticationError) as caught:
            tokens.replace(before) if use == "replace" else tokens.current()
    assert len(transport.lines) == (1 if use == "first" else 2)
    assert KEY not in str(caught.value.facts()) + caught.value.sentence()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("failure", "kind", "transient"),
    [
        (answer(403), "authentication", False),
        (answer(404), "authentication", False),
        (answer(302, Location="https://elsewhere.test"), "redirected", False),
        (answer(500), "server_error", True),
        (answer(429), "unexpected_answer", True),
        (answer(418), "unexpected_answer", False),
        (answer(200, text="<html>Sign in</html>"), "unexpected_answer", True),
        (answer(200, {"token": "only-a-refresh-token"}), "unexpected_answer", False),
        (answer(200, []), "unexpected_answer", False),
        (answer(200, {"json_web_token": {"a": 1}}), "unexpected_answer", False),
        (answer(200, {"json_web_token": "with blanks in it"}), "invalid_option", False),
    ],
)
def test_logins_that_fail(failure, kind, transient):
    tokens, _transport = source(Portal(*[failure] * 9), **KEYS, tenant_id="42")
    with pytest.raises(HelixError) as caught:
        tokens.current()
    assert (caught.value.kind, caught.value.transient) == (kind, transient)
    assert ("tenant_id '42'" in caught.value.message) == (failure.status == 404)
    assert caught.value.remedy
    assert "only-a-refresh-token" not in caught.value.sentence()


def test_a_login_is_retried_like_a_read():
    lost = TransportError("lost", transient=True)
    tokens, transport = source(Portal(answer(503), lost, answer(429, Retry_After="7")))
    assert tokens.current() == jwt(1, exp=transport.clock.wall() + 900)
    assert len(transport.lines) == 4
    assert transport.clock.slept[-1] >= 7
    for limit in ({"deadline": transport.clock.now() + 5}, {"retries": 0}):
        tokens, transport = source(Portal(answer(503, Retry_After="25")))
        with pytest.raises(AnswerError, match="HTTP 503"):
            tokens.current(**limit)
        assert (len(transport.lines), transport.clock.slept) == (1, [])


def test_an_early_renewal_that_fails_leaves_the_token_in_use():
    portal = Portal()
    tokens, transport = source(portal)
    first = tokens.current()
    portal.logins = [answer(503)] * 4
    portal.clock.pass_by(845)
    assert tokens.current() == tokens.current() == first
    assert portal.logins == []
    assert len(transport.lines) == 5, "not again at every use"
    portal.clock.pass_by(6)
    assert tokens.current() != first


def test_a_token_alone_is_used_until_the_server_refuses_it():
    given = jwt(5, exp=WALL - 100)
    tokens, transport = source(Portal(), token=f"  {given}\n")
    assert tokens.current() == given
    with pytest.raises(AuthenticationError, match="It expired at") as caught:
        tokens.replace(given)
    assert given not in caught.value.sentence()
    assert transport.lines == []


@pytest.mark.parametrize(("age", "used"), [(800, True), (-100, False)])
def test_a_token_with_keys_beside_it_is_used_while_it_is_good(age, used):
    given = jwt(5, exp=WALL + age)
    tokens, transport = source(Portal(), token=given, **KEYS)
    assert (tokens.current() == given) == used
    assert len(transport.lines) == (0 if used else 1)
    assert tokens.replace(given) == jwt(1, exp=transport.clock.wall() + 900)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "No credentials were provided"),
        ({"access_key": " ", "access_secret_key": "\t", "token": ""}, "No credentials were provided"),
        ({"access_key": "abc", "access_secret_key": SECRET}, "access_key has fewer than 4 characters"),
        ({"access_key": KEY, "access_secret_key": "abc"}, "access_secret_key has fewer than 4 characters"),
        ({"token": "abc"}, "token has fewer than 4 characters"),
        ({"access_key": KEY, "token": jwt()}, "access_secret_key is missing"),
        ({"access_secret_key": SECRET}, "access_key is missing"),
        ({"token": "  "}, "option token"),
        ({"token": "Bearer abc"}, "option token"),
        ({"token": "töken-with-umlaut"}, "option token"),
    ],
)
def test_credentials_that_are_refused(options, words):
    with pytest.raises(OptionError) as caught:
        Credentials(**options)
    assert words in caught.value.message
    assert caught.value.remedy
    for value in options.values():
        assert not value.strip() or value not in caught.value.sentence()
