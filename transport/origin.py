"""Whether a request comes from the gateway's own page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether ``Origin`` names the host that was asked (names of headers in lower case).

    Browsers send ``Origin`` with every WebSocket and every POST, and pages cannot set it. Without
    one (a program, not a browser) a request passes only if it has no cookie: what brings its own
    token cannot be a stranger's page using somebody's cookie.
    """
    origin = headers.get("origin")
    if origin is None:
        return "cookie" not in headers
    asked = headers.get("host", "")
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        host = urlsplit(f"//{asked}")
        return (
            parts.scheme in _DEFAULT_PORTS
            and parts.hostname is not None
            and parts.hostname == host.hostname
            # Behind a proxy that speaks TLS, Host has no port and Origin's scheme is https.
            and port == (host.port or _DEFAULT_PORTS[parts.scheme])
        )
    except ValueError:
        return False
