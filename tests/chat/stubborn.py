"""A session that never answers a close: it holds up an orderly stop for as long as that allows."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.chat.server import ChatServer
from tests.chat.support import PATIENCE_S


class Stubborn:
    """Made by ``stubborn_session``, welcomed."""

    def __init__(self, server: ChatServer, cookie: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self._connection = WSConnection(ConnectionType.CLIENT)
        headers = [(b"Cookie", cookie.encode()), (b"Origin", server.url.encode())]
        host = server.url.removeprefix("http://")
        request = Request(host, "/ws", subprotocols=["trouper.v1"], extra_headers=headers)
        self.socket.sendall(self._connection.send(request))
        self._until(AcceptConnection)
        hello = TextMessage(json.dumps([{"t": "hello", "visible": True}]))
        self.socket.sendall(self._connection.send(hello))
        self._until(TextMessage)

    def _until(self, kind: type) -> object:
        while True:
            for event in self._connection.events():
                if isinstance(event, kind):
                    return event
            data = self.socket.recv(65536)
            assert data, f"the connection ended before {kind.__name__}"
            self._connection.receive_data(data)

    def wait_told_to_close(self) -> int:
        """The code of the close frame, which is not answered."""
        event = self._until(CloseConnection)
        assert isinstance(event, CloseConnection)
        return event.code


@contextlib.contextmanager
def stubborn_session(server: ChatServer, cookie: str) -> Iterator[Stubborn]:
    session = Stubborn(server, cookie)
    with session.socket:
        yield session
