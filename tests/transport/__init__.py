"""Wire, sessions, gateway and clients."""
