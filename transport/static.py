"""Files of one directory, by safe paths.

Files are read in trio's thread: they are small, local and kept in memory, and a worker thread of
trio would outlive the runtime. What is larger than the bound, hidden, or outside is not there.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

import attrs

from trouper.transport.errors import GatewayError
from trouper.transport.file_cache import CachedFile, FileCache
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


@attrs.frozen
class FileResponse(Response):
    """Holds its file while it is sent, so that others are sent the same bytes."""

    file: CachedFile | None = None


class StaticDirectory:
    """``max_file_bytes``: larger files are not served. Raises ``GatewayError`` if it is no directory."""

    def __init__(self, directory: str | Path, max_file_bytes: int, cache: FileCache) -> None:
        self._root = Path(directory).resolve()
        self._max_file_bytes = max_file_bytes
        self._cache = cache
        if not self._root.is_dir():
            raise GatewayError(f"static={str(directory)!r} is not a directory")

    def answer(self, request: Request, path: str) -> Response | None:
        """The file at ``path`` (decoded, without its leading ``/``); None if there is none."""
        file = self._read(path)
        if file is None:
            return None
        # Always asked again, by its hash: pages change with a deployment and have no versioned names.
        headers = (("etag", file.etag), ("cache-control", "no-cache"))
        known = request.headers.get("if-none-match", "").split(",")
        if file.etag in [tag.strip().removeprefix("W/") for tag in known]:
            return Response(304, headers=headers)
        return FileResponse(200, file.content, _content_type(path), headers, file)

    def _read(self, path: str) -> CachedFile | None:
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
            return self._cache.get(file)
        except (OSError, ValueError, RuntimeError):
            return None


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _content_type(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
