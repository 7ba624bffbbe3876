# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that echoes secrets in every way one can think of, and our own masking alone against it.

Nothing of Ansible masks here: what core does comes on top. tests/functional/test_secrets_leaks.py has the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._module import serve
from ansible_collections.capacityops.bmc_helix.plugins.modules.etl_action import act
from ansible_collections.capacityops.bmc_helix.plugins.modules.etl_info import inform
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import ACT, INFO, FakeClock

from tests.functional.network.parrot import EXCHANGES, STYLES, Parrot
from tests.functional.network.secrets import (
    ACCESS_KEY,
    ACCESS_SECRET_KEY,
    GIVEN_TOKEN,
    JWT,
    PRINCIPAL_ID,
    PROPERTIES,
    PROPERTY,
    REFRESH_TOKEN,
    SECRETS,
    found_in,
)

KEYS = {"access_key": ACCESS_KEY, "access_secret_key": ACCESS_SECRET_KEY}
#: The shortest property that is accepted as a secret
SHORT = "Zq7x9_"


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with Parrot(KEYS, JWT, REFRESH_TOKEN, PRINCIPAL_ID) as server:
        yield server


def everything_said(url: str, *, look: bool = False, **changes: Any) -> str:
    """Run an ETL, or list all and look at them; give back all that would be shown, in whatever way it ends."""
    options: dict[str, Any] = {
        **(INFO if look else ACT),
        "url": url,
        "allow_http": True,
        **KEYS,
        # Nothing here is TLS; not to load the system's bundle hundreds of times.
        "validate_certs": False,
        "retries": 0,
        "run_execution_properties": {"plain": "shown"},
        "secret_run_execution_properties": {**PROPERTIES, "short": SHORT},
        "wait_timeout": 60,
        "on_timeout": "kill",
        **changes,
    }
    said: list[Any] = []
    module = mock.Mock(params=options, check_mode=False, no_log_values=set(), warn=said.append)
    module.exit_json = module.fail_json = lambda **result: said.append(result)
    serve(module, inform if look else act, FakeClock())
    text = json.dumps(said, ensure_ascii=False)
    assert "internal_error" not in text
    assert SHORT not in text
    return text


def test_the_search_finds_what_is_there(parrot: Parrot) -> None:
    """Or everything below would be green for nothing."""
    for style in STYLES:
        text, _kind = parrot._bad(f"run-500-{style}", "run", {"Authorization": f"Bearer {JWT}"}, json.dumps(SECRETS))
        assert len(found_in(text)) == 7, style


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_no_echo_gets_through(parrot: Parrot, exchange: str, style: str) -> None:
    look = exchange in ("login", "list")
    # Properties come first, because long answers are cut. Without an action nobody set them: they are no secrets.
    parrot.secrets = KEYS if look else {"short": SHORT, "property": PROPERTY, **KEYS}
    # An answer of another shape (201) and statuses with words of their own take no other way in another style.
    for status in (200, 302, 400, 401, 500, *((201, 403, 404, 503) if style == "nested" else ())):
        url = parrot.url(f"{exchange}-{status}-{style}")
        said = everything_said(url, look=look)
        assert found_in(said) == [], f"HTTP {status}: {said}"
        if exchange != "login" and status in (200, 500):
            said = everything_said(url, look=look, token=GIVEN_TOKEN)
            assert "given_token" not in found_in(said), f"HTTP {status}: {said}"
        if status == 401:
            # Masked, not swallowed: what went wrong, and what to do, is still there.
            assert "HTTP 401" in said
            assert "Unexpected" in said or style == "base64"
            assert "********" in said
            assert '"remedy": "' in said


def test_success_says_nothing_secret(parrot: Parrot) -> None:
    parrot.started.clear()
    said = everything_said(parrot.url())
    assert '"outcome": "succeeded"' in said
    assert found_in(said) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"url": f"https://user:{GIVEN_TOKEN}@127.0.0.1"},
        {"login_url": f"https://user:{GIVEN_TOKEN}@127.0.0.1"},
        {"token": f"{GIVEN_TOKEN} with blanks", "access_key": None, "access_secret_key": None},
        {"token": f"{GIVEN_TOKEN}ü"},
        {"access_key": None},
        {"proxy": f"http://user:{GIVEN_TOKEN}@127.0.0.1:1"},
        {"proxy": f"http://user:{GIVEN_TOKEN}/{GIVEN_TOKEN}@127.0.0.1:1"},
        {"proxy": f"htp://user:{GIVEN_TOKEN}@127.0.0.1:1"},
        {"secret_run_execution_properties": {"nested": {"x": PROPERTY}}},
        {"secret_run_execution_properties": {"short": "Zz07M"}},
    ],
)
def test_refused_options_are_not_quoted(parrot: Parrot, changes: dict[str, Any]) -> None:
    said = everything_said(**{"url": parrot.url(), **changes})
    assert '"error"' in said
    assert found_in(said) == []
    assert "Zz07M" not in said
