"""Examples of trouper: each is a package of its own that is run with ``python -m examples.<name>``."""
