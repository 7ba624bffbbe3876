# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options, documented once. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    # The options of all modules and of the lookup; a test holds them to the table in module_utils/_options.py.
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Base address of the BMC Helix tenant, for example V(https://acme-itom.onbmc.com).
      - A bare host name is completed with V(https://). A port and a path prefix are allowed; a user name or a password
        are not.
      - If not set, the environment variable E(HELIX_URL) is used. The option or the variable is needed.
    type: str
  login_url:
    description:
      - Base address of the BMC Helix Portal, where it differs from O(url).
      - If not set, the environment variable E(HELIX_LOGIN_URL) is used, and else O(url).
    type: str
  allow_http:
    description:
      - Whether an address may begin with V(http://), which sends keys and tokens in the clear. For test servers.
      - If not set, the environment variable E(HELIX_ALLOW_HTTP) is used.
    type: bool
    default: false
  access_key:
    description:
      - The access key of a programmatic access key pair of type C(Access key).
      - If not set, the environment variable E(HELIX_ACCESS_KEY) is used.
    type: str
  access_secret_key:
    description:
      - The secret that belongs to O(access_key).
      - If not set, the environment variable E(HELIX_ACCESS_SECRET_KEY) is used.
    type: str
  tenant_id:
    description:
      - The tenant, sent with the login where it is given. Most portals need none.
      - If not set, the environment variable E(HELIX_TENANT_ID) is used.
    type: str
  token:
    description:
      - A ready JSON web token. It lives about 15 minutes.
      - With O(access_key) and O(access_secret_key) beside it, it is used first and renewed by the keys; without them
        the
        task fails when it expires.
      - If not set, the environment variable E(HELIX_TOKEN) is used.
    type: str
  validate_certs:
    description:
      - Whether the TLS certificate of the server is verified. Turn it off for a test server only.
      - If not set, the environment variable E(HELIX_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - A PEM file (or an OpenSSL folder) with the certificate authorities to trust, on the host that the task runs on.
      - If not set, the environment variable E(HELIX_CA_PATH) is used; else the file that E(REQUESTS_CA_BUNDLE) or
        E(SSL_CERT_FILE) names, else the bundle of the operating system, else the one of the Python package C(certifi).
    type: path
  client_cert:
    description:
      - A PEM file with the client certificate (and its key, unless O(client_key) is given), for gateways that demand
        one.
      - If not set, the environment variable E(HELIX_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - A PEM file with the unencrypted key of O(client_cert).
      - If not set, the environment variable E(HELIX_CLIENT_KEY) is used.
    type: path
  proxy:
    description:
      - Address of a forward proxy, V(http://[USER:PASSWORD@]HOST:PORT). It is used for every request.
      - If not set, the environment variable E(HELIX_PROXY) is used; else E(HTTPS_PROXY) and E(NO_PROXY) are obeyed.
    type: str
  request_timeout:
    description:
      - Seconds for one HTTP exchange, for the connection and for the answer.
      - If not set, the environment variable E(HELIX_REQUEST_TIMEOUT) is used.
    type: float
    default: 30
  retries:
    description:
      - How often a request that only reads is tried again after a lost connection or HTTP 429, 502, 503 or 504, with
        growing pauses; a C(Retry-After) of the server is respected up to 60 seconds.
      - A request that starts something is never repeated unless it certainly did not reach the server.
      - If not set, the environment variable E(HELIX_RETRIES) is used.
    type: int
    default: 3
requirements:
  - requests >= 2.25.1 (Python library, on the host that the task runs on; for the lookup on the control node)
notes:
  - A module runs on the host of the task and reads the environment B(there). Run it on the control node
    (C(delegate_to), or C(hosts) with C(localhost)) to use the environment of the control node or of an AWX credential.
    The lookup P(capacityops.bmc_helix.jwt_token#lookup) always runs on the control node.
  - An empty environment variable counts as unset.
  - Needs BMC Helix Continuous Optimization 22.4 or newer. TrueSight Capacity Optimization has another API.
"""

    # For the lookup: the same options from the environment, the configuration and variables. It stands before
    # DOCUMENTATION in the list of fragments, because the first one counts. The booleans are raw: core's own conversion
    # takes an empty or misspelt word for false, which would switch the check of certificates off. The lookup converts
    # strictly.
    PLUGIN = r"""
options:
  url:
    env:
      - name: HELIX_URL
    ini:
      - section: bmc_helix
        key: url
    vars:
      - name: helix_url
  login_url:
    env:
      - name: HELIX_LOGIN_URL
    ini:
      - section: bmc_helix
        key: login_url
    vars:
      - name: helix_login_url
  allow_http:
    type: raw
    env:
      - name: HELIX_ALLOW_HTTP
    ini:
      - section: bmc_helix
        key: allow_http
    vars:
      - name: helix_allow_http
  access_key:
    env:
      - name: HELIX_ACCESS_KEY
    ini:
      - section: bmc_helix
        key: access_key
    vars:
      - name: helix_access_key
  access_secret_key:
    env:
      - name: HELIX_ACCESS_SECRET_KEY
    ini:
      - section: bmc_helix
        key: access_secret_key
    vars:
      - name: helix_access_secret_key
  tenant_id:
    env:
      - name: HELIX_TENANT_ID
    ini:
      - section: bmc_helix
        key: tenant_id
    vars:
      - name: helix_tenant_id
  token:
    env:
      - name: HELIX_TOKEN
    ini:
      - section: bmc_helix
        key: token
    vars:
      - name: helix_token
  validate_certs:
    type: raw
    env:
      - name: HELIX_VALIDATE_CERTS
    ini:
      - section: bmc_helix
        key: validate_certs
    vars:
      - name: helix_validate_certs
  ca_path:
    env:
      - name: HELIX_CA_PATH
    ini:
      - section: bmc_helix
        key: ca_path
    vars:
      - name: helix_ca_path
  client_cert:
    env:
      - name: HELIX_CLIENT_CERT
    ini:
      - section: bmc_helix
        key: client_cert
    vars:
      - name: helix_client_cert
  client_key:
    env:
      - name: HELIX_CLIENT_KEY
    ini:
      - section: bmc_helix
        key: client_key
    vars:
      - name: helix_client_key
  proxy:
    env:
      - name: HELIX_PROXY
    ini:
      - section: bmc_helix
        key: proxy
    vars:
      - name: helix_proxy
  request_timeout:
    env:
      - name: HELIX_REQUEST_TIMEOUT
    ini:
      - section: bmc_helix
        key: request_timeout
    vars:
      - name: helix_request_timeout
  retries:
    env:
      - name: HELIX_RETRIES
    ini:
      - section: bmc_helix
        key: retries
    vars:
      - name: helix_retries
"""
