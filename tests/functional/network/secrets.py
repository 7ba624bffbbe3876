# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unusual secrets, and the search for them.

Each holds a mark of letters and digits in its middle that no escaping changes, so that the search finds it in whatever
spelling it is shown. Nothing else in the tests' output holds one.
"""

from __future__ import annotations

import base64

ACCESS_KEY = "aK-\"quoted'{{ curly }}%41-Zz01MARKaccesskey-\\back\\u0041slash-ünï€😀"
ACCESS_SECRET_KEY = "  $lead/ing=<tag>&amp;Zz02MARKsecretkey;+~|^`{%raw%}#'\"\\n trailing  "
JWT = "eyJhbGciOiJub25lIn0.Zz03MARKjsonwebtoken-_.c2lnbmF0dXJl"
REFRESH_TOKEN = 'r3f-"{{x}}"\\Zz04MARKrefreshtoken/+=%25&<>'
PRINCIPAL_ID = "pr1nc Zz05MARKprincipal ünï"
GIVEN_TOKEN = "g1v{{n}}!#$%&'*+Zz06MARKgiventoken-.^_`|~<\">\\"
PROPERTY = 'pr0p {{ lookup("pipe","id") }} %s Zz07MARKproperty\nsecond\tline "\\" ünï'
NUMBER = 918273645546372819
PROPERTIES = {"secret.text": PROPERTY, "secret.number": NUMBER}
SECRETS = {
    "access_key": ACCESS_KEY,
    "access_secret_key": ACCESS_SECRET_KEY,
    "property": PROPERTY,
    "given_token": GIVEN_TOKEN,
}
_MARKS = {
    "access_key": "Zz01MARKaccesskey",
    "access_secret_key": "Zz02MARKsecretkey",
    "json_web_token": "Zz03MARKjsonwebtoken",
    "refresh_token": "Zz04MARKrefreshtoken",
    "principal_id": "Zz05MARKprincipal",
    "property": "Zz07MARKproperty",
    "given_token": "Zz06MARKgiventoken",
}


def _spellings(mark: str) -> set[str]:
    """As it is, and inside of base64 at any offset."""
    spellings = {mark, mark.lower()}
    for offset in range(3):
        encoded = base64.b64encode(b"-" * offset + mark.encode()).decode().rstrip("=")
        spellings.add(encoded[-(-offset * 8 // 6) : (offset + len(mark)) * 8 // 6])
    return spellings


_SEARCHED = {name: _spellings(mark) for name, mark in _MARKS.items()}


def found_in(text: str) -> list[str]:
    """The names of the secrets that a text holds."""
    lowered = text.lower()
    return [
        name
        for name, spellings in _SEARCHED.items()
        if any(spelling in text for spelling in spellings) or _MARKS[name].lower() in lowered
    ]
