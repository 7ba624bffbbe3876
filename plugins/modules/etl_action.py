#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etl_action
short_description: Run, schedule, stop, or kill ETLs of BMC Helix Continuous Optimization
version_added: 1.0.0
description:
  - Runs, schedules, stops, or kills ETLs through the REST API of BMC Helix Continuous Optimization, and waits until the
    server shows that it happened.
  - The module sends a request only if the current state of the ETL requires it.
  - Requests that start an ETL are never resent automatically. If a response is lost, the module compares the state of
    the ETL with the state before, and follows a run that did start.
  - The task succeeds only if the server showed the requested result.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._connection
  - capacityops.bmc_helix._etls
  - capacityops.bmc_helix._etls.groups
  - capacityops.bmc_helix._etls.wait
attributes:
  check_mode:
    support: full
    details:
      - The module logs in, reads the state, and decides as usual, but sends no request that changes anything.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - V(schedule), V(stop), and V(kill) change nothing if the ETL is already in the requested state.
      - V(run) starts an ETL that is not running, each time. With O(max_age), it does not while the last success is
        recent.
options:
  action:
    description:
      - V(run) starts the ETL now, with its active run configuration. It turns a service ETL on.
      - V(schedule) activates the schedule configured for the ETL. You cannot set a time or frequency.
      - V(stop) stops the run gracefully. It turns a service ETL off.
      - V(kill) ends the run by force, and cancels a scheduled run.
    type: str
    required: true
    choices: [run, schedule, stop, kill]
  confirm_all:
    description:
      - Required as V(true) if O(action=stop) or O(action=kill) is used with an O(name_pattern) that consists of
        wildcards only.
    type: bool
    default: false
    version_added: 1.1.0
  run_execution_properties:
    description:
      - Properties for this run only, passed to the ETL, with O(action=run) and O(action=schedule).
      - Numbers and booleans become strings (V(true) becomes C("true")). Nested values are rejected.
    type: dict
    default: {}
  secret_run_execution_properties:
    description:
      - As O(run_execution_properties), for values that must not be shown. Ansible masks them in all output.
      - Values that are too short or too common to be masked, such as V(20) or V(true), are rejected.
    type: dict
    default: {}
  wait:
    description:
      - Whether to wait. V(run) waits until this run has ended, V(schedule) until the ETL is scheduled or executing,
        V(stop) and V(kill) until nothing is executing.
      - Without waiting, the task ends when the server has accepted the request (RV(etls[].outcome=accepted)).
    type: bool
    default: true
  start_timeout:
    description:
      - Seconds to wait for the first visible effect of a request, above V(0). Remote ETL engines poll for work, so a
        run can take several minutes to start.
      - If a response was lost, the module looks for the effect of the request during this time before the task fails
        with RV(etls[].outcome=unconfirmed).
    type: int
    default: 300
  stop_launching_on_failure:
    description:
      - Whether the first failure prevents the module from starting the ETLs that have not been started yet
        (RV(etls[].outcome=not_tried)).
    type: bool
    default: false
    version_added: 1.1.0
  if_running:
    description:
      - What O(action=run) does if the ETL is already running.
      - V(attach) sends nothing and follows the run in progress, whatever its properties. If yours matter, use V(queue).
      - V(fail) fails.
      - V(queue) waits for the run to end, and then runs the ETL.
      - V(restart) stops the run (and kills it after O(kill_after)), and then runs the ETL.
    type: str
    choices: [attach, fail, queue, restart]
    default: attach
  max_age:
    description:
      - Seconds, above V(0). O(action=run) starts the ETL only if the last successful run is older, by the clock of the
        server.
      - A failed or aborted run is never recent, nor is a run that ended with WARNING if O(fail_on_warning=true).
    type: int
  fail_on_warning:
    description:
      - Whether a run that ends with exit WARNING fails the task. This is common, for example, when the input is empty.
        The module always shows a warning.
    type: bool
    default: false
  on_timeout:
    description:
      - What to do with a run that is still executing when O(wait_timeout) expires, including a run that the task
        attached to. The task always fails.
      - V(leave) leaves it running. V(stop) and V(kill) end it; the task then reports for up to O(start_timeout) seconds
        more whether it ended.
    type: str
    choices: [leave, stop, kill]
    default: leave
  kill_after:
    description:
      - Seconds, above V(0), after which a stop that had no effect is followed by a kill, for O(action=stop),
        O(if_running=restart), and O(on_timeout=stop).
    type: int
  request_notes:
    description:
      - A folder in which the module remembers the requests that it sent, so that a later run of Ansible follows a
        request that the server accepted and that has not begun, instead of sending another one.
      - Within one run of Ansible, all hosts and tasks on this machine share such notes without this option.
      - The folder must exist, belong to the user of the task, and have mode 0700. A request counts as pending for one
        hour, or until its run is seen.
      - If the option is not set, the Ansible variable C(helix_request_notes) or the environment variable
        E(HELIX_REQUEST_NOTES) is used.
    type: path
    version_added: 1.1.0
notes:
  - An ETL whose engine is in maintenance may start much later. The task then fails with
    RV(etls[].outcome=not_started); the run may still start.
  - The API reports a state for each ETL, not for each run. If another client starts the same ETL at the same moment,
    the two runs cannot be distinguished.
  - In a play for several hosts, use C(run_once) with C(delegate_to). Without C(run_once), the task runs for every host;
    on one machine, the first one starts the ETL, and the others follow the same run. With C(serial), this applies to
    each batch.
seealso:
  - module: capacityops.bmc_helix.etl_info
  - module: capacityops.bmc_helix.etl_wait
"""

EXAMPLES = r"""
- name: Run an ETL and wait until it ends
  capacityops.bmc_helix.etl_action:
    url: https://acme-itom.onbmc.com
    access_key: "{{ vault_helix_access_key }}"
    access_secret_key: "{{ vault_helix_access_secret_key }}"
    action: run
    etl_id: 321

- name: Run it only if the last success is older than an hour (connection from variables or the environment)
  capacityops.bmc_helix.etl_action:
    action: run
    etl_name: Nightly vCenter import
    max_age: 3600

- name: Refresh three ETLs in parallel, each with a property for this run only
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: [321, 322, 323]
    run_execution_properties:
      general.log.level: 10
    wait_timeout: 1800
    fail_on_warning: true

- name: Rerun what failed, except test ETLs
  capacityops.bmc_helix.etl_action:
    action: run
    name_pattern: "*"
    exclude: ["[TEST]*"]
    last_result: [failed, aborted]

- name: Stop a service ETL before maintenance
  capacityops.bmc_helix.etl_action:
    action: stop
    etl_name: VMware - vCenter Extractor Service
    kill_after: 120

- name: Run an ETL, and show what is known if it fails
  block:
    - name: Run the ETL
      capacityops.bmc_helix.etl_action:
        action: run
        etl_id: 321
      register: refresh
  rescue:
    - name: Show the reason and the remedy
      ansible.builtin.debug:
        msg: "{{ refresh.error.kind }}: {{ refresh.error.remedy }}"
"""

RETURN = r"""
action:
  description: The requested action.
  returned: if an ETL was selected
  type: str
  sample: run
msg:
  description: What happened. For several ETLs, the first line is a count, and one line for each failure follows.
  returned: always
  type: str
  sample: ETL 321 ran and ended with exit OK after 42 s.
etls:
  description:
    - One entry for each ETL, in the order given. Empty if no ETL was selected, or if the task failed before.
    - The entries of ETLs that did not fail are short, unless O(details=full).
  returned: always
  type: list
  elements: dict
  contains:
    etl_id:
      description: The id.
      type: int
      returned: always
      sample: 321
    etl_name:
      description: The name.
      type: str
      returned: when the name is known
      sample: Nightly vCenter import
    action:
      description: The action.
      type: str
      returned: unless the run ended well and O(details=auto)
      sample: run
    changed:
      description: Whether a request was accepted or took effect, or (in check mode) would be sent.
      type: bool
      returned: always
      sample: true
    failed:
      description: Whether this ETL makes the task fail.
      type: bool
      returned: always
      sample: false
    outcome:
      description:
        - V(succeeded), V(warning), V(failed), V(aborted) - how the run ended. V(failed) also if the request was
          rejected.
        - V(scheduled), V(service_on), V(service_off), V(stopped) - the requested state was confirmed.
        - V(nothing_to_do), V(fresh) - no request was needed; V(fresh) because of O(max_age).
        - V(accepted) - the request was accepted, and O(wait=false).
        - V(not_started) - accepted, but no effect within O(start_timeout).
        - V(timed_out) - no end within O(wait_timeout).
        - V(unconfirmed) - it is not known whether the request had an effect, or how it ended.
        - V(not_tried) - nothing was sent, because O(total_timeout) expired or another ETL failed
          (O(stop_launching_on_failure)).
        - V(would_run), V(would_schedule), V(would_stop), V(would_kill) - in check mode.
      type: str
      returned: always
      sample: succeeded
    attached:
      description: Whether the task only followed a run that was already in progress or requested.
      type: bool
      returned: unless the run ended well and O(details=auto)
      sample: false
    before:
      description: The state before the request. C(status) is null for an ETL that never ran.
      type: dict
      returned: unless the run ended well and O(details=auto); null if it could not be read
      sample: {"status": "ENDED", "exit_code": "OK", "last_exec_ts": "2026-11-22T01:00:41Z"}
    after:
      description: The state when last seen.
      type: dict
      returned: if it could be read, else null
      sample: {"status": "ENDED", "exit_code": "OK", "last_exec_ts": "2026-11-23T14:56:28Z"}
    task_execution_request_id:
      description: The number of the request, assigned by the server; -1 for a service ETL. Null if no request was
        accepted.
      type: int
      returned: unless the run ended well and O(details=auto)
      sample: 21359
    request_status:
      description: The status that the server returned for the request, or null.
      type: str
      returned: unless the run ended well and O(details=auto)
      sample: OK
    evidence:
      description:
        - How the end is known. V(timestamp_changed), V(seen_running), V(state_reached), or V(adopted) if the response
          to the request was lost but its effect was seen.
      type: str
      returned: unless the run ended well and O(details=auto); null if there was nothing to wait for
      sample: timestamp_changed
    timeline:
      description: Every change of the state that was seen, with the time by the server's clock.
      type: list
      elements: dict
      returned: if it failed, or O(details=full)
      sample: [{"at": "2026-11-23T14:55:46Z", "status": "RUNNING", "exit_code": "OK"}]
    started_at:
      description: When the request was sent, by the server's clock, or null.
      type: str
      returned: unless the run ended well and O(details=auto)
      sample: "2026-11-23T14:55:44Z"
    elapsed_seconds:
      description: Seconds from the first status check to the end.
      type: float
      returned: unless the run ended well and O(details=auto)
      sample: 42.3
    polls:
      description: Number of polls.
      type: int
      returned: if it failed, or O(details=full)
      sample: 14
    lost_polls:
      description: Number of polls without a usable response.
      type: int
      returned: if it failed, or O(details=full)
      sample: 0
    token_renewals:
      description: How often the token was renewed meanwhile.
      type: int
      returned: if it failed, or O(details=full)
      sample: 0
    msg:
      description: What happened to this ETL.
      type: str
      returned: always
      sample: ETL 321 ran and ended with exit OK after 42 s.
    error:
      description: As RV(error), for this ETL.
      type: dict
      returned: if it failed
      sample: {"kind": "exit_error", "remedy": "See the ETL's log in the Helix console (the API does not provide it)."}
etl:
  description: The complete entry, if a single ETL was selected; without RV(etls[].timeline) and the numbers of polls,
    unless it failed or O(details=full).
  returned: if a single ETL was selected
  type: dict
  sample: {"etl_id": 321, "outcome": "succeeded", "changed": true}
error:
  description: Why the task failed; of the first ETL that failed, if several did.
  returned: on failure
  type: dict
  contains:
    kind:
      description:
        - The kind of failure, one of V(authentication), V(permission), V(etl_not_found), V(etl_name),
          V(invalid_option), V(missing_library), V(connection), V(timeout), V(tls), V(proxy), V(redirected),
          V(wrong_address), V(rate_limited), V(server_error), V(unexpected_answer), V(request_refused),
          V(already_running), V(exit_error), V(exit_warning), V(aborted), V(not_started), V(not_tried), V(timed_out),
          V(unconfirmed), V(internal_error).
      type: str
      returned: always
      sample: etl_not_found
    http_status:
      description: The HTTP status, if there was a response.
      type: int
      returned: always, may be null
      sample: 400
    method:
      description: The HTTP method of the request that failed.
      type: str
      returned: always, may be null
      sample: GET
    path:
      description: The path of the request that failed.
      type: str
      returned: always, may be null
      sample: /opt/api/v1/backend/etls/9999/status
    server_message:
      description: The response of the server, shortened, with secrets masked.
      type: str
      returned: always, may be null
      sample: ETL not found
    remedy:
      description: What to do next.
      type: str
      returned: always
      sample: Check the id in the console.
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils._actions import LAST_RESULT, SELECTORS, carry_out, check_selection
from ..module_utils._http import Clock
from ..module_utils._module import HelixModule, serve
from ..module_utils._options import SELECTION, connection_argument_spec, nonempty_env, plain_properties
from ..module_utils._plan import ACTIONS, IF_RUNNING, ON_TIMEOUT, Policy
from ..module_utils._run_files import Host

_POLICY_OPTIONS = (
    *("wait", "wait_timeout", "start_timeout", "poll_interval", "if_running", "max_age"),
    *("fail_on_warning", "on_timeout", "kill_after"),
)


def act(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_action): the result for one or several ETLs, with C(failed) if one of them failed.

    :raises HelixError: nothing was done.
    """
    check_selection(options)
    name = "secret_run_execution_properties"
    secret = plain_properties(options[name], name, secret=True)
    host.redactor.add(*secret.values())
    properties = plain_properties(options["run_execution_properties"], "run_execution_properties", warn=host.warn)
    policy = Policy(
        action=options["action"],
        check_mode=host.check_mode,
        retries=options["retries"],
        properties={**properties, **secret},
        **{name: options[name] for name in _POLICY_OPTIONS},
    )
    policy.check()
    return carry_out(options, policy, host, {})


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            "action": {"type": "str", "required": True, "choices": list(ACTIONS)},
            **SELECTION,
            **LAST_RESULT,
            "total_timeout": {"type": "int"},
            "confirm_all": {"type": "bool", "default": False},
            "run_execution_properties": {"type": "dict", "default": {}},
            "secret_run_execution_properties": {"type": "dict", "default": {}, "no_log": True},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 3600, "aliases": ["timeout"]},
            "start_timeout": {"type": "int", "default": 300},
            "poll_interval": {"type": "int", "default": 10, "aliases": ["interval"]},
            "stop_launching_on_failure": {"type": "bool", "default": False},
            "if_running": {"type": "str", "choices": list(IF_RUNNING), "default": "attach"},
            "max_age": {"type": "int"},
            "fail_on_warning": {"type": "bool", "default": False},
            "on_timeout": {"type": "str", "choices": list(ON_TIMEOUT), "default": "leave"},
            "kill_after": {"type": "int"},
            "max_parallel": {"type": "int", "default": 8},
            "details": {"type": "str", "choices": ["auto", "full"], "default": "auto"},
            "request_notes": {"type": "path", "fallback": (nonempty_env, ["HELIX_REQUEST_NOTES"])},
        },
        mutually_exclusive=[SELECTORS],
        required_one_of=[SELECTORS],
        supports_check_mode=True,
    )
    serve(module, act, Clock())


if __name__ == "__main__":
    main()
