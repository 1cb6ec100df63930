"""Files of one directory, by safe paths.

Files are read in trio's thread: they are small, local and cached by the system, and a worker thread of
trio would outlive the runtime. What is larger than the bound, hidden, or outside is not there.
"""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from trouper.transport.errors import GatewayError
from trouper.transport.http import Request, Response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_STRANGE = frozenset("\\:\0")
"""Separators and drives of other systems."""


class StaticDirectory:
    """``max_file_bytes``: larger files are not served. Raises ``GatewayError`` if it is no directory."""

    def __init__(self, directory: str | Path, max_file_bytes: int) -> None:
        self._root = Path(directory).resolve()
        self._max_file_bytes = max_file_bytes
        if not self._root.is_dir():
            raise GatewayError(f"static={str(directory)!r} is not a directory")

    def answer(self, request: Request, path: str) -> Response | None:
        """The file at ``path`` (decoded, without its leading ``/``); None if there is none."""
        content = self._read(path)
        if content is None:
            return None
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        # Always asked again, by its hash: pages change with a deployment and have no versioned names.
        headers = (("etag", etag), ("cache-control", "no-cache"))
        if etag in [
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        ]:
            return Response(304, headers=headers)
        return Response(200, content, _content_type(path), headers)

    def _read(self, path: str) -> bytes | None:
        parts = path.split("/")
        if any(part == "" or _is_hidden(part) or not _STRANGE.isdisjoint(part) for part in parts):
            return None
        try:
            # Follows links, which may lead out, or to what is hidden beside them.
            file = self._root.joinpath(*parts).resolve(strict=True)
            if not (file.is_relative_to(self._root) and file.is_file()):
                return None
            if any(map(_is_hidden, file.relative_to(self._root).parts)):
                return None
            if file.stat().st_size > self._max_file_bytes:
                return None
            return file.read_bytes()
        except (OSError, ValueError, RuntimeError):
            return None


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _content_type(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
