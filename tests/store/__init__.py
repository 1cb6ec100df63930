"""The store: its pure rules, one contract that both engines keep, and what only SQLite can suffer."""
