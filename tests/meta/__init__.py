"""The rules of the house, as tests.

* ``source``         the project's files and what each imports, read with ``ast`` and ``git``
* ``test_floors``    imports point down, no cycles, the general libraries stay general
* ``test_house``     sizes, maps, names of tests, nothing in git that does not belong there
* ``test_clauses``   the run fails for a promise without a test, and for a test of no promise
"""
