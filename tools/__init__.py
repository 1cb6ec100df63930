"""What the project's people run; not installed.

* ``check``  the one command that checks everything
"""
