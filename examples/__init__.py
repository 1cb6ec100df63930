"""Examples of trouper, each run with ``python -m examples.<name>``: packages of their own, or one file."""
