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
      - Base address of the BMC Helix tenant, for example, V(https://acme-itom.onbmc.com). Required.
      - V(https://) is added to a host name without a scheme. A port and a path prefix are allowed; a user name or a
        password is not. A path that starts with V(/opt/api) or V(/ims) is removed. Write IPv6 addresses in
        brackets.
      - If not set, the variable C(helix_url) or the environment variable E(HELIX_URL) is used.
    type: str
  login_url:
    description:
      - Base address of the BMC Helix Portal, if it differs from O(url).
      - If not set, the variable C(helix_login_url) or the environment variable E(HELIX_LOGIN_URL) is used. The
        default is the value of O(url).
    type: str
  allow_http:
    description:
      - Whether an address can start with V(http://), which sends keys and tokens unencrypted. Use it for test
        servers only.
      - If not set, the variable C(helix_allow_http) or the environment variable E(HELIX_ALLOW_HTTP) is used.
    type: bool
    default: false
  access_key:
    description:
      - The access key of a key pair of the type C(Access key), at least 4 characters. Surrounding white space is
        removed.
      - If not set, the variable C(helix_access_key) or the environment variable E(HELIX_ACCESS_KEY) is used.
    type: str
  access_secret_key:
    description:
      - The secret that belongs to O(access_key), at least 4 characters. Surrounding white space is removed.
      - If not set, the variable C(helix_access_secret_key) or the environment variable E(HELIX_ACCESS_SECRET_KEY)
        is used.
    type: str
  tenant_id:
    description:
      - The tenant, which is sent with the login if set. Most portals need none.
      - If not set, the variable C(helix_tenant_id) or the environment variable E(HELIX_TENANT_ID) is used.
    type: str
  token:
    description:
      - A JSON web token. It is valid for about 15 minutes.
      - If O(access_key) and O(access_secret_key) are also set, the token is used first, and the module logs in with
        the keys before it expires. Otherwise the task fails when the token expires.
      - If not set, the variable C(helix_token) or the environment variable E(HELIX_TOKEN) is used.
    type: str
  validate_certs:
    description:
      - Whether to verify the TLS certificate of the server. Set it to V(false) for test servers only.
      - If not set, the variable C(helix_validate_certs) or the environment variable E(HELIX_VALIDATE_CERTS) is
        used.
    type: bool
    default: true
  ca_path:
    description:
      - A PEM file (or a folder prepared with C(openssl rehash)) with the trusted certificate authorities, on the
        host that runs the task.
      - If not set, the variable C(helix_ca_path) or the environment variable E(HELIX_CA_PATH) is used. The default
        is the file in E(REQUESTS_CA_BUNDLE) or E(SSL_CERT_FILE), the bundle of the operating system, or that of the
        Python package C(certifi), in this order. If a variable names a file that does not exist, the task fails.
    type: path
  client_cert:
    description:
      - A PEM file with the client certificate (and its key, unless O(client_key) is set), if a gateway requires
        one.
      - If not set, the variable C(helix_client_cert) or the environment variable E(HELIX_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - A PEM file with the unencrypted key of O(client_cert).
      - If not set, the variable C(helix_client_key) or the environment variable E(HELIX_CLIENT_KEY) is used.
    type: path
  proxy:
    description:
      - Address of a proxy, V(http://[USER:PASSWORD@]HOST:PORT), which is used for every request. V(http://) is
        added to an address without a scheme. V(socks5://) and V(socks5h://) require the Python library C(PySocks).
      - If not set, the variable C(helix_proxy) or the environment variable E(HELIX_PROXY) is used. The default is
        E(HTTPS_PROXY) with E(NO_PROXY).
    type: str
  request_timeout:
    description:
      - Seconds for one HTTP request, for the connection and for the complete response; above 0 and at most 3600.
      - If not set, the variable C(helix_request_timeout) or the environment variable E(HELIX_REQUEST_TIMEOUT) is
        used.
    type: float
    default: 30
  retries:
    description:
      - Number of retries of a request that only reads, after a connection error or HTTP 429, 502, 503, or 504, with
        increasing pauses; from 0 to 20. A C(Retry-After) of up to 60 seconds is respected. No retry waits beyond
        the timeout of the task.
      - A request that starts an ETL is repeated only if the server certainly did not carry it out.
      - If not set, the variable C(helix_retries) or the environment variable E(HELIX_RETRIES) is used.
    type: int
    default: 3
requirements:
  - requests >= 2.25.1 (Python library, on the host that runs the task; for the lookup, on the control node)
notes:
  - For each connection option, the first of these applies. The option, the Ansible variable C(helix_) plus the name
    of the option, the environment variable, the default. Empty values are treated as unset.
  - A module reads the environment of the host that runs the task. To use the environment of the control node or of
    an AWX credential, run the task on the control node (C(delegate_to), or C(hosts) with C(localhost)). The lookup
    P(capacityops.bmc_helix.jwt_token#lookup) always runs on the control node.
  - Requires BMC Helix Continuous Optimization 22.4 or later. TrueSight Capacity Optimization has a different API.
"""

    # The same options for the lookup, from the environment, the configuration, and variables. List it before
    # DOCUMENTATION: the first fragment takes precedence. Booleans are raw because ansible-core converts an empty or
    # misspelled word to false, which would turn off certificate verification. The lookup converts strictly.
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
