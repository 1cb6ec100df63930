"""Conversations that docs/protocol.md prescribes, played against the gateway and against clients."""
