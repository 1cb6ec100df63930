"""What is declared of a gateway's pages is checked where it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from trouper.transport.errors import GatewayError
from trouper.transport.http import Request, Response
from trouper.transport.options import GatewayOptions
from trouper.transport.site import Site


def not_a_handler(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize(
    "route", [("get", "/x"), ("GET", "x"), ("GET", "/ws"), ("GET", "/_trouper/x"), ("HEAD", "/x")]
)
def test_a_route_that_is_not_legal_is_refused_where_it_is_declared(route: tuple[str, str]) -> None:
    with pytest.raises(GatewayError, match=r"route \("):
        Site(
            None,
            {route: not_a_handler},
            ready=lambda: True,
            wall=lambda: 0.0,
            options=GatewayOptions(),
            on_crash=lambda *_: None,
        )


def test_a_static_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="not a directory"):
        Site(
            tmp_path / "none",
            None,
            ready=lambda: True,
            wall=lambda: 0.0,
            options=GatewayOptions(),
            on_crash=lambda *_: None,
        )


def test_a_bound_that_is_not_positive_is_refused() -> None:
    with pytest.raises(GatewayError, match="tick_s is 0; legal are finite numbers above 0"):
        GatewayOptions(tick_s=0)
