# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text that is shown may hold a secret, in whatever form a server sends it back."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import MASK, Redactor

SECRETS = [
    "correct-horse-battery-staple",
    'with"double"quotes77',
    "with'single'quotes77",
    "back\\slash\\and\\more88",
    "new\nline\nand\ttab  and blanks99",
    "pa&ss  w<rd\n123",
    "braces{{ lookup }}{% x %}per%cent%20%2Fcent%s17",
    "plus+slash/equals==<tag>&amp;</tag>;31",
    "ümläut-ß-64-日本語の秘密の鍵です-🔑-key-🔒-77",
    "user:pass@host:8080/x",
    "c3VwZXIgc2VjcmV0IHZhbHVlIQ==",
    "aaaaaaaaaaaaaaaaaaaa",
]
FORMS = {
    "plain": lambda s: s,
    "json": json.dumps,
    "json in utf-8": lambda s: json.dumps(s, ensure_ascii=False),
    "json in json": lambda s: json.dumps(json.dumps(s)),
    "json with escaped slashes": lambda s: json.dumps(s).replace("/", "\\/"),
    "json as Gson writes it": lambda s: re.sub("[<>&='/+]", lambda m: f"\\u{ord(m.group()):04x}", json.dumps(s)),
    "url": lambda s: f"/search?q={quote(s, safe='')}&page=1",
    "url in lower case": lambda s: re.sub("%[0-9A-F]{2}", lambda m: m.group().lower(), quote(s, safe="")),
    "form": quote_plus,
    "html": lambda s: f"<p>You sent: <b>{html.escape(s)}</b></p>",
    "html with numbers": lambda s: "".join(c if c.isalnum() or c.isspace() else f"&#{ord(c)};" for c in s),
    "python": repr,
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of a pair": lambda s: base64.b64encode(f"j:{s}".encode()).decode(),
    "basic": lambda s: "Basic " + base64.b64encode(f"joe:{s}".encode()).decode(),
}


def left_over(secret: str, text: str) -> bool:
    """Whether a part of six characters of the secret can be read in the text."""
    parts = {secret[i : i + 6] for i in range(len(secret) - 5)}
    return any(part in text for part in parts)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_no_part_of_a_secret_is_left(secret, form):
    redactor = Redactor()
    redactor.add(secret)
    echoed = FORMS[form](secret)
    shown = redactor.text(f"The server said: {echoed} and refused.")
    assert not left_over(secret, shown), shown
    assert form == "html with numbers" or MASK in redactor.masked(echoed), "the same in a result"
    assert not left_over(echoed.strip('\\"'), shown) or form in ("url", "html", "basic"), shown
    assert MASK in shown
    assert shown.startswith("The server said: ")
    assert shown.endswith("and refused.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # With a tag, and with invisible characters inside of it
        ("corr<wbr>ect-horse-battery-staple", MASK),
        ("corr\u200bect-horse-battery-\u202estaple", MASK),
        # The longer one first
        ("correct-horse-battery-staple and correct-horse", f"{MASK} and {MASK}"),
        # The password of an address, in its spellings; user, host, and port are no secrets
        ("pa55w%2Ford and pa55w/ord for joe on proxy:3128", f"{MASK} and {MASK} for joe on proxy:3128"),
    ],
)
def test_registered_secrets_and_passwords_of_addresses(text, shown):
    for url in ("http://joe:pa55w%2Ford@proxy:3128", "joe://joe:pa55w%2Ford@proxy", "joe:pa55w%2Ford@proxy:3128"):
        told = []
        redactor = Redactor(told.append)
        redactor.add("correct-horse", None, "correct-horse", "correct-horse-battery-staple")
        redactor.add("correct-horse")
        assert told == ["correct-horse", "correct-horse-battery-staple"], "Ansible is told once"
        for added in (url, None, "http://[::1"):
            redactor.add_url(added)
        assert redactor.text(text) == shown


def test_keys_of_data_are_masked_too():
    redactor = Redactor()
    redactor.add("correct-horse")
    assert redactor.masked({"correct-horse": ["a correct-horse", 5, None]}) == {MASK: [f"a {MASK}", 5, None]}


def test_a_long_text_is_cut_and_a_secret_in_it_is_not():
    redactor = Redactor()
    redactor.add("correct-horse-battery-staple")
    for length in range(1, 60):
        shown = redactor.text("x" * length + " correct-horse-battery-staple", limit=40)
        assert "corr" not in shown
        assert len(shown) <= 40
    shown = redactor.text("word " * 1000)
    assert len(shown) <= 300
    assert shown.endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef0123456789 rejected", f"Authorization: {MASK} rejected"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZDEy", f"Proxy-Authorization: {MASK}"),
        ("token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is bad", f"token={MASK} is bad"),
        ("could not reach https://joe:pa55@proxy:3128/", f"could not reach https://{MASK}proxy:3128/"),
        ('{"Refresh_Token": "abc", "n": 1}', f'{{"Refresh_Token": "{MASK}", "n": 1}}'),
        # no secret
        ("The bearer of this key", "The bearer of this key"),
        ("Basic authentication required", "Basic authentication required"),
        ("https://acme-itom.onbmc.com:8443/opt/api", "https://acme-itom.onbmc.com:8443/opt/api"),
    ],
)
def test_what_looks_like_a_secret(text, shown):
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<html><script>steal()</script><style>b{}</style><h1>502 Bad&nbsp;Gateway</h1></html>", "502 Bad Gateway"),
        ("one\ntwo\r\n\tthree\x00\x1b[31m", "one two three [31m"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("\x1b]52;c;ZXZpbA==\x07ok: [localhost]\u2028ok", "]52;c;ZXZpbA== ok: [localhost] ok"),
        ("   ", ""),
    ],
)
def test_one_readable_line(text, shown):
    assert Redactor().text(text) == shown


def test_values_that_would_mask_half_of_every_message_are_no_secrets():
    redactor = Redactor()
    redactor.add(None, "", "abc", "   ", "true", "False", "None")
    data = {"changed": "true", "x": "False abc None   values"}
    assert redactor.masked(data) == data


def test_half_a_secret_at_the_cut_is_not_shown():
    """Only the first part of a long page is masked; a secret across its end must not be shown in part."""
    secret, redactor = "aLongSecretWithoutAnyPattern" * 4, Redactor()
    redactor.add(secret)
    for border in (64 * 1024, 80 * 1024):
        for length in range(border - 120, border + 20, 14):
            text = "<" + "!" * 400 + ">" + "<p>" * ((length - 402) // 3) + secret + "<p>" * 9000
            assert "aLongSecret" not in redactor.text(text)
