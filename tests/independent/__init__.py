"""A client that was written from docs/protocol.md alone: the page is enough."""
