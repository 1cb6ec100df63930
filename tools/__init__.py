"""What the project's people run; not installed.

* ``check``      the one command that checks everything
* ``mutations``  breaks the code on purpose, and checks that the named tests fail
"""
