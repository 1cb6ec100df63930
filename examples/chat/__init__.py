"""A chat whose answers outlive the tab: ``python -m examples.chat``.

Reading order: ``jobs/`` is what can be asked (``jobs/__init__.py`` has a map of its own).
"""
