"""Who is asking: a name typed at the first visit, kept in a signed cookie.

There is no password: this is an example, and the names keep its users' threads apart. What is real is
the cookie: it is signed (itsdangerous) with a secret kept beside the database, so that nobody can make
one up, it is out of scripts' reach, and it is not sent along by other sites.
"""

from __future__ import annotations

import os
import secrets
import unicodedata
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer

from trouper.transport.auth import Hello
from trouper.transport.http import Request, Response

COOKIE = "trouper_user"
COOKIE_AGE_S = 365 * 24 * 3600
NAME_CHARS_MAX = 40


def secret_beside(database: Path) -> bytes:
    """The secret kept in ``<database>.secret``, made at the first start, readable by its owner only.

    For whoever holds the database, so that there are no two to make one. An empty file counts as none:
    with an empty secret anybody could sign.
    """
    path = database.with_name(f"{database.name}.secret")
    if path.exists() and (secret := path.read_bytes().strip()):
        return secret
    secret = secrets.token_urlsafe(32).encode("ascii")
    # In one step: a server that is killed here must not leave half a secret.
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return secret


class Login:
    """The cookie: made, read, taken back."""

    def __init__(self, secret: bytes) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt="trouper.examples.chat")

    def user_of(self, cookies: object) -> str | None:
        """The name in the cookie; None without one, or with one that we did not sign."""
        value = cookies.get(COOKIE) if isinstance(cookies, dict) else None
        if value is None:
            return None
        try:
            name = self._serializer.loads(value, max_age=COOKIE_AGE_S)
        except BadSignature:
            return None
        return name if isinstance(name, str) else None

    def authenticate(self, hello: Hello) -> str | None:
        """For ``trouper.serve``: the cookie came with the upgrade request."""
        return self.user_of(dict(hello.cookies))

    def log_in(self, request: Request) -> Response:
        """``POST /login`` with a form's ``name``."""
        # Composed, as a telephone and a computer type one and the same name differently.
        name = unicodedata.normalize("NFC", " ".join(request.form().get("name", "").split()))
        if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
            message = f"a name has 1 to {NAME_CHARS_MAX} printable characters; go back and type one\n"
            return Response.text(message, 400)
        return Response.redirect("/", self._set_cookie(self._serializer.dumps(name), COOKIE_AGE_S))

    def log_out(self, request: Request) -> Response:
        """``POST /logout``."""
        return Response.redirect("/login", self._set_cookie("", 0))

    def _set_cookie(self, value: str, age_s: int) -> tuple[tuple[str, str], ...]:
        cookie = f"{COOKIE}={value}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Strict"
        return (("set-cookie", cookie),)
