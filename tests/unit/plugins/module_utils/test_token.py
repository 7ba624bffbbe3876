# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens: log in once, renew in time, renew after a 401, never hammer with refused keys."""

from __future__ import annotations

import threading
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
    checked_token,
    jwt_claims,
    usable_life,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    KEY,
    SECRET,
    URL,
    WALL,
    FakeClock,
    FakeTransport,
    Script,
    answer,
    jwt,
    login_answer,
)


class Portal:
    """Counts, and answers with numbered tokens; what a test wants otherwise stands in logins."""

    def __init__(self, life=900.0, clock=None, skew=0.0, exp=True, date=True):
        self.clock = clock or FakeClock()
        self.life, self.skew, self.exp, self.date = life, skew, exp, date
        self.logins: list = []
        self.number = 0

    def token(self):
        self.number += 1
        now = self.clock.wall() + self.skew
        claims = {"exp": now + self.life} if self.exp else {}
        told = formatdate(now, usegmt=True) if self.date else ""
        return login_answer(self.number, date=told, **claims)

    def __call__(self, exchange):
        assert exchange.path == LOGIN_PATH
        return self.logins.pop(0) if self.logins else self.token()


def number_of(token):
    return jwt_claims(token)["n"]


def source(portal, **credentials):
    transport = FakeTransport(portal, portal.clock)
    keys = credentials or {"access_key": KEY, "access_secret_key": SECRET}
    return TokenSource(transport, URL, Credentials(**keys)), transport


def test_login_as_the_contract_says():
    tokens, transport = source(Portal())
    token = tokens.current()
    assert number_of(token) == 1
    (exchange,) = transport.exchanges
    assert (exchange.method, exchange.path) == ("POST", "/ims/api/v1/access_keys/login")
    assert exchange.payload == {"access_key": KEY, "access_secret_key": SECRET}
    assert "Authorization" not in exchange.headers
    assert tokens.renewals == 0


def test_the_tenant_is_sent_where_it_is_given():
    _tokens, transport = source(Portal(), access_key=KEY, access_secret_key=SECRET, tenant_id="42")
    _tokens.current()
    assert transport.exchanges[0].payload["tenant_id"] == "42"


def test_a_new_token_is_not_over_whatever_our_clock_says():
    """Without a Date header only our clock is left; where it is wrong, each look of a wait would renew the token."""
    portal = Portal(skew=-7200.0, date=False)
    tokens, transport = source(portal)
    tokens.current()
    portal.clock.pass_by(BLIND_LIFE - 1)
    assert number_of(tokens.current()) == 1
    portal.clock.pass_by(2)
    assert number_of(tokens.current()) == 2
    assert transport.lines == ["POST " + LOGIN_PATH, "POST " + LOGIN_PATH]


def test_one_login_for_many_uses():
    tokens, transport = source(Portal())
    assert len({tokens.current() for _number in range(50)}) == 1
    assert transport.lines == ["POST " + LOGIN_PATH]


def test_everything_secret_is_known_to_the_redactor():
    portal = Portal()
    portal.logins = [
        answer(200, {"json_web_token": jwt(9), "token": "the-refresh-token", "principal_id": "the-principal-id"})
    ]
    tokens, transport = source(portal)
    tokens.current()
    for secret in (KEY, SECRET, jwt(9), "the-refresh-token", "the-principal-id"):
        assert secret not in transport.redactor.text(f"see {secret} there")


@pytest.mark.parametrize("skew", [0.0, 7200.0, -7200.0])
def test_renewed_a_minute_before_it_expires_by_the_servers_clock(skew):
    portal = Portal(life=900.0, skew=skew)
    tokens, transport = source(portal)
    first = tokens.current()
    portal.clock.pass_by(838)
    assert tokens.current() == first
    portal.clock.pass_by(4)
    assert tokens.current() != first
    assert transport.lines[1:] == ["POST " + LOGIN_PATH]
    assert tokens.renewals == 1


def test_without_exp_it_is_used_for_ten_minutes():
    portal = Portal(exp=False)
    tokens, _transport = source(portal)
    first = tokens.current()
    portal.clock.pass_by(BLIND_LIFE - 1)
    assert tokens.current() == first
    portal.clock.pass_by(2)
    assert tokens.current() != first


@pytest.mark.parametrize(
    ("token", "life"),
    [
        (jwt(exp=WALL + 900), 840.0),
        (jwt(exp=WALL + 100), 80.0),
        (jwt(exp=WALL), 0.0),
        (jwt(exp=WALL - 50), -50.0),
        (jwt(exp=str(WALL + 900)), BLIND_LIFE),
        (jwt(exp=True), BLIND_LIFE),
        (jwt(exp=None), BLIND_LIFE),
        (jwt(exp=-5), BLIND_LIFE),
        (jwt(exp=1e300), BLIND_LIFE),
        (jwt(), BLIND_LIFE),
        ("no.jwt", BLIND_LIFE),
        ("a.b.c", BLIND_LIFE),
        ("a.!!!.c", BLIND_LIFE),
        ("..", BLIND_LIFE),
        ("a.W10.c", BLIND_LIFE),
    ],
)
def test_the_life_of_a_token(token, life):
    assert usable_life(token, WALL) == pytest.approx(life)


def test_a_token_that_another_thread_has_replaced_already_is_not_replaced_again():
    tokens, transport = source(Portal())
    first = tokens.current()
    second = tokens.replace(first)
    assert tokens.replace(first) == second
    assert len(transport.exchanges) == 2


def test_one_login_for_twenty_threads():
    portal = Portal()
    barrier = threading.Barrier(20)
    tokens, transport = source(portal)
    seen = []

    def work():
        barrier.wait(10)
        first = tokens.current()
        barrier.wait(10)
        seen.append((first, tokens.replace(first)))

    threads = [threading.Thread(target=work) for _number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 20
    assert transport.lines == ["POST " + LOGIN_PATH, "POST " + LOGIN_PATH]
    assert len({second for _first, second in seen}) == 1


def test_refused_keys_are_tried_once_only():
    portal = Portal()
    portal.logins = [answer(401, {"message": f"no such key {KEY}"})]
    tokens, transport = source(portal)
    for _number in range(5):
        with pytest.raises(AuthenticationError) as caught:
            tokens.current()
    assert transport.lines == ["POST " + LOGIN_PATH]
    assert KEY not in str(caught.value.facts()) + caught.value.sentence()
    for word in ("mistyped", "expired", "deactivated", "rotated"):
        assert word in caught.value.remedy


def test_refused_keys_in_the_middle():
    portal = Portal()
    tokens, transport = source(portal)
    first = tokens.current()
    portal.logins = [answer(401)]
    for _number in range(3):
        with pytest.raises(AuthenticationError):
            tokens.replace(first)
    assert len(transport.lines) == 2


@pytest.mark.parametrize(
    ("failure", "kind", "words", "transient"),
    [
        (answer(403), "authentication", "forbidden", False),
        (answer(404), "authentication", "404", False),
        (answer(302, Location="https://elsewhere.test"), "redirected", "redirected", False),
        (answer(500), "server_error", "HTTP 500", True),
        (answer(503), "server_error", "HTTP 503", True),
        (answer(429), "unexpected_answer", "HTTP 429", True),
        (answer(200, text="<html>Sign in</html>"), "unexpected_answer", "a web page", True),
        (answer(200, {"token": "only-a-refresh-token"}), "unexpected_answer", "without a json_web_token", False),
        (answer(200, []), "unexpected_answer", "without a json_web_token", False),
        (answer(200), "unexpected_answer", "without a json_web_token", False),
        (answer(200, {"json_web_token": "with blanks in it"}), "invalid_option", "json_web_token", False),
        (answer(200, {"json_web_token": {"a": 1}}), "unexpected_answer", "without a json_web_token", False),
    ],
)
def test_logins_that_fail(failure, kind, words, transient):
    tokens, _transport = source(Portal())
    _transport._handler = Script(failure)
    with pytest.raises(HelixError) as caught:
        tokens.current()
    assert (caught.value.kind, caught.value.transient) == (kind, transient)
    assert words in caught.value.message
    assert caught.value.remedy
    assert "only-a-refresh-token" not in caught.value.sentence()


def test_a_login_is_tried_again_like_a_read():
    portal = Portal()
    portal.logins = [answer(503), TransportError("lost", transient=True), answer(429, Retry_After="7")]
    tokens, transport = source(portal)
    assert number_of(tokens.current()) == 1
    assert len(transport.lines) == 4
    assert portal.clock.slept[-1] >= 7


def test_404_names_the_tenant():
    portal = Portal()
    portal.logins = [answer(404)]
    tokens, _transport = source(portal, access_key=KEY, access_secret_key=SECRET, tenant_id="42")
    with pytest.raises(AnswerError, match="tenant_id '42'"):
        tokens.current()


def test_early_renewal_that_fails_leaves_the_token_in_use():
    portal = Portal()
    tokens, transport = source(portal)
    first = tokens.current()
    transport._handler = Script(answer(503))
    portal.clock.pass_by(845)
    assert tokens.current() == first
    count = len(transport.lines)
    assert tokens.current() == first
    assert len(transport.lines) == count, "not at every use"


def test_a_token_alone_is_used_until_the_server_refuses_it():
    portal = Portal()
    given = jwt(5, exp=portal.clock.wall() - 100)
    tokens, transport = source(portal, token=f"  {given}\n")
    assert tokens.current() == given
    with pytest.raises(AuthenticationError) as caught:
        tokens.replace(given)
    assert "has expired" in caught.value.message
    assert "It expired at" in caught.value.message
    assert given not in caught.value.sentence()
    assert transport.lines == []


@pytest.mark.parametrize(("age", "used"), [(800, True), (-100, False)])
def test_a_token_with_keys_beside_it_is_used_while_it_is_good(age, used):
    portal = Portal()
    given = jwt(5, exp=portal.clock.wall() + age)
    tokens, transport = source(portal, token=given, access_key=KEY, access_secret_key=SECRET)
    assert (tokens.current() == given) == used
    assert transport.lines == ([] if used else ["POST " + LOGIN_PATH])
    assert number_of(tokens.replace(given)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "No credentials were provided"),
        ({"access_key": " ", "access_secret_key": "\t", "token": ""}, "No credentials were provided"),
        ({"access_key": "abc", "access_secret_key": SECRET}, "access_key has fewer than 4 characters"),
        ({"access_key": KEY, "access_secret_key": "abc"}, "access_secret_key has fewer than 4 characters"),
        ({"token": "abc"}, "token has fewer than 4 characters"),
        ({"access_key": KEY}, "access_secret_key is missing"),
        ({"access_secret_key": SECRET}, "access_key is missing"),
        ({"access_key": KEY, "token": jwt()}, "access_secret_key is missing"),
        ({"token": "Bearer abc"}, "option token"),
        ({"token": "  "}, "option token"),
        ({"token": "töken-with-umlaut"}, "option token"),
        ({"token": "a\nb"}, "option token"),
    ],
)
def test_credentials_that_are_refused(options, words):
    with pytest.raises(OptionError) as caught:
        Credentials(**options)
    assert words in caught.value.message
    assert caught.value.remedy
    for value in options.values():
        assert not value.strip() or value not in caught.value.sentence()


def test_keys_and_tenant_are_trimmed():
    keys = Credentials(access_key=f" {KEY}\n", access_secret_key=f"\t{SECRET} ", tenant_id=" 42 ")
    assert (keys.access_key, keys.access_secret_key, keys.tenant_id) == (KEY, SECRET, "42")


def test_a_login_is_not_retried_beyond_the_deadline():
    portal = Portal()
    portal.logins = [answer(503, Retry_After="25")]
    tokens, transport = source(portal)
    with pytest.raises(AnswerError, match="HTTP 503"):
        tokens.current(deadline=portal.clock.now() + 20)
    assert portal.clock.slept == []
    assert len(transport.lines) == 1


def test_how_long_the_token_may_be_used():
    portal = Portal()
    tokens, _transport = source(portal)
    assert tokens.usable_seconds == 0
    tokens.current()
    portal.clock.pass_by(100)
    assert tokens.usable_seconds == pytest.approx(740, abs=2)


def test_a_token_is_trimmed():
    assert checked_token(" abc\n", "x") == "abc"
