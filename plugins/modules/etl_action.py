#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etl_action
short_description: Run, schedule, stop or kill ETLs of BMC Helix Continuous Optimization
version_added: 1.0.0
description:
  - Runs, schedules, stops or kills one or several ETLs through the REST API of BMC Helix Continuous Optimization, and
    waits
    until that has happened.
  - The state of each ETL decides whether a request is needed at all, so a task that is run again changes nothing while
    the
    ETL is in the wanted state.
  - A request that starts something is never repeated blindly. When its answer is lost, the state of the ETL is
    compared with
    the one before, and a run that did start is adopted.
  - The task is green only if the server was seen to do what was asked.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._connection
  - capacityops.bmc_helix._etls
  - capacityops.bmc_helix._etls.wait
attributes:
  check_mode:
    support: full
    details:
      - The state is read and the request is decided on as usual, but nothing is sent that changes anything. It does
        log in.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - V(schedule), V(stop) and V(kill) change nothing where the ETL is already in the wanted state.
      - V(run) starts an ETL that is not running, each time; with O(max_age) it does not while the last success is
        recent.
options:
  action:
    description:
      - V(run) starts the ETL now, with its active run configuration. A service ETL is turned on.
      - V(schedule) arms the schedule that is stored with the ETL. It takes no time and no frequency.
      - V(stop) ends what is executing, orderly. A service ETL is turned off.
      - V(kill) ends what is executing by force, and cancels an execution that is only scheduled.
    type: str
    required: true
    choices: [run, schedule, stop, kill]
  run_execution_properties:
    description:
      - Properties for this one execution, handed to the ETL as they are, with O(action=run) and O(action=schedule).
      - Values are texts; numbers and booleans become texts (V(true) becomes C("true")). Nested values are refused.
    type: dict
    default: {}
  secret_run_execution_properties:
    description:
      - As O(run_execution_properties), for values that must not be shown. They are masked in all output.
      - A very short or common value would be masked everywhere it occurs, so put only real secrets here.
    type: dict
    default: {}
  wait:
    description:
      - Whether the task waits. V(run) waits until this run has ended, V(schedule) until the ETL is seen to be
        scheduled or
        executing, V(stop) and V(kill) until nothing executes.
      - Without waiting the task ends when the server has accepted the request (RV(etls[].outcome=accepted)).
    type: bool
    default: true
  start_timeout:
    description:
      - Seconds within which a request must be seen to take effect. A remote ETL engine asks for work only now and
        then, so
        minutes can pass before a run shows.
      - It is also the time for which an answer that was lost is reconciled before the task fails as
        RV(etls[].outcome=unconfirmed).
    type: int
    default: 300
  if_running:
    description:
      - What O(action=run) does with an ETL that is running already.
      - V(attach) sends nothing and follows the run that is under way.
      - V(fail) fails.
      - V(queue) waits for it to end and then runs the ETL.
      - V(restart) stops it (and kills it after O(kill_after)), and then runs the ETL.
    type: str
    choices: [attach, fail, queue, restart]
    default: attach
  max_age:
    description:
      - Seconds. O(action=run) is needed only if the last successful execution is older than that, by the server's
        clock.
      - A failed or aborted execution is never recent, nor one that ended with WARNING under O(fail_on_warning=true).
    type: int
  fail_on_warning:
    description:
      - Whether a run that ends with exit WARNING fails the task. Such an end is everyday, for example with an empty
        input.
    type: bool
    default: false
  on_timeout:
    description:
      - What becomes of a run that O(wait_timeout) overtakes, also of one that was attached to. The task fails in any
        case.
      - V(leave) leaves it alone. V(stop) and V(kill) end it; the task then says for up to O(start_timeout) seconds more
        what became of it.
    type: str
    choices: [leave, stop, kill]
    default: leave
  kill_after:
    description:
      - Seconds after which a stop that did not work is escalated to a kill. For O(action=stop), O(if_running=restart)
        and
        O(on_timeout=stop).
    type: int
notes:
  - An ETL that is started while an ETL engine is in maintenance may start much later. The task then fails with
    RV(etls[].outcome=not_started); the request may still be carried out.
  - The API knows a state for each ETL, not for each execution. If somebody else starts the same ETL at the same
    moment, the
    two cannot be told apart.
seealso:
  - module: capacityops.bmc_helix.etl_info
  - module: capacityops.bmc_helix.etl_wait
"""

EXAMPLES = r"""
- name: Run an ETL and wait for its end
  capacityops.bmc_helix.etl_action:
    url: https://acme-itom.onbmc.com
    access_key: "{{ helix_access_key }}"
    access_secret_key: "{{ helix_access_secret_key }}"
    action: run
    etl_id: 321

- name: Run it only if the last success is older than an hour (connection from the environment)
  capacityops.bmc_helix.etl_action:
    action: run
    etl_name: Nightly vCenter import
    max_age: 3600

- name: Refresh three ETLs at once, each with a property for this run only
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: [321, 322, 323]
    run_execution_properties:
      general.log.level: 10
    wait_timeout: 1800
    fail_on_warning: true

- name: Make room for maintenance
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
    - name: Show outcome and remedy
      ansible.builtin.debug:
        msg: "{{ refresh.etl.outcome | default('not tried') }}: {{ refresh.error.remedy }}"
"""

RETURN = r"""
action:
  description: The action that was asked for.
  returned: when an ETL was addressed
  type: str
  sample: run
msg:
  description: What happened, in one readable sentence.
  returned: always
  type: str
  sample: ETL 321 ran and ended with exit OK after 42 s.
etls:
  description: One entry for each ETL, in the order given. Empty if the task failed before it addressed an ETL.
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
      returned: if the ETL was given by name
      sample: Nightly vCenter import
    action:
      description: The action.
      type: str
      returned: always
      sample: run
    changed:
      description: Whether a request was accepted, or (in check mode) would be sent.
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
        - V(succeeded), V(warning), V(failed), V(aborted) - how the run ended; V(failed) also where the request was
          refused.
        - V(scheduled), V(service_on), V(service_off), V(stopped) - the wanted state was seen.
        - V(nothing_to_do), V(fresh) - no request was needed; V(fresh) because of O(max_age).
        - V(accepted) - the request was accepted, and O(wait=false).
        - V(not_started) - accepted, but no effect within O(start_timeout).
        - V(timed_out) - no end within O(wait_timeout).
        - V(unconfirmed) - it is not known whether the request had an effect, or how it ended.
        - V(would_run), V(would_schedule), V(would_stop), V(would_kill) - in check mode.
      type: str
      returned: always
      sample: succeeded
    attached:
      description: Whether the execution was under way before and was followed only.
      type: bool
      returned: always
      sample: false
    before:
      description: The state before the request. C(status) is null for an ETL that never ran.
      type: dict
      returned: if it could be read, else null
      sample: {"status": "ENDED", "exit_code": "OK", "last_exec_ts": "2026-11-22T01:00:41Z"}
    after:
      description: The state when last seen.
      type: dict
      returned: if it could be read, else null
      sample: {"status": "ENDED", "exit_code": "OK", "last_exec_ts": "2026-11-23T14:56:28Z"}
    task_execution_request_id:
      description: The number that the server gave the request; -1 for a service ETL. Null where no request was
        accepted.
      type: int
      returned: always
      sample: 21359
    request_status:
      description: The word with which the server answered the request, else null.
      type: str
      returned: always
      sample: OK
    evidence:
      description:
        - How the end is known. V(timestamp_changed), V(seen_running), V(state_reached), or V(adopted) where the answer
          to
          the request was lost but its effect was seen.
      type: str
      returned: always, null where nothing was waited for
      sample: timestamp_changed
    timeline:
      description: Every change of the state that was seen, with the time by the server's clock.
      type: list
      elements: dict
      returned: always
      sample: [{"at": "2026-11-23T14:55:46Z", "status": "RUNNING", "exit_code": "OK"}]
    started_at:
      description: When the request was sent, by the server's clock, else null.
      type: str
      returned: always
      sample: "2026-11-23T14:55:44Z"
    elapsed_seconds:
      description: Seconds from the first look to the end.
      type: float
      returned: always
      sample: 42.3
    polls:
      description: How many looks the wait took.
      type: int
      returned: always
      sample: 14
    lost_polls:
      description: How many of them got no usable answer.
      type: int
      returned: always
      sample: 0
    token_renewals:
      description: How often the token was renewed meanwhile.
      type: int
      returned: always
      sample: 0
    msg:
      description: What happened to this ETL, in one readable sentence.
      type: str
      returned: always
      sample: ETL 321 ran and ended with exit OK after 42 s.
    error:
      description: As RV(error), for this ETL.
      type: dict
      returned: if it failed
      sample: {"kind": "exit_error", "remedy": "See the ETL's log in the Helix console (the API has none)."}
etl:
  description: The entry of RV(etls), if a single ETL was addressed.
  returned: if a single ETL was addressed
  type: dict
  sample: {"etl_id": 321, "outcome": "succeeded", "changed": true}
error:
  description: Why the task failed; of the first ETL that failed, if several did.
  returned: on failure
  type: dict
  contains:
    kind:
      description:
        - The sort of failure, one of V(authentication), V(permission), V(etl_not_found), V(etl_name),
          V(invalid_option), V(missing_library), V(connection), V(timeout), V(tls), V(proxy), V(redirected),
          V(wrong_address), V(rate_limited), V(server_error), V(unexpected_answer), V(request_refused),
          V(already_running), V(exit_error), V(exit_warning), V(aborted), V(not_started), V(timed_out),
          V(unconfirmed), V(internal_error).
      type: str
      returned: always
      sample: etl_not_found
    http_status:
      description: The HTTP status, if there was an answer.
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
      description: What the server said, shortened, with secrets masked.
      type: str
      returned: always, may be null
      sample: ETL not found
    remedy:
      description: What to do next.
      type: str
      returned: always
      sample: Check the id in the console.
"""

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._module import HelixModule, serve
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._actions import act
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import connection_argument_spec


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            "action": {"type": "str", "required": True, "choices": ["run", "schedule", "stop", "kill"]},
            "etl_id": {"type": "list", "elements": "int"},
            "etl_name": {"type": "list", "elements": "str"},
            "run_execution_properties": {"type": "dict", "default": {}},
            "secret_run_execution_properties": {"type": "dict", "default": {}, "no_log": True},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 3600},
            "start_timeout": {"type": "int", "default": 300},
            "poll_interval": {"type": "int", "default": 10},
            "if_running": {"type": "str", "choices": ["attach", "fail", "queue", "restart"], "default": "attach"},
            "max_age": {"type": "int"},
            "fail_on_warning": {"type": "bool", "default": False},
            "on_timeout": {"type": "str", "choices": ["leave", "stop", "kill"], "default": "leave"},
            "kill_after": {"type": "int"},
            "max_parallel": {"type": "int", "default": 8},
        },
        mutually_exclusive=[("etl_id", "etl_name")],
        required_one_of=[("etl_id", "etl_name")],
        supports_check_mode=True,
    )
    serve(module, act, Clock())


if __name__ == "__main__":
    main()
