"""What things cost, next to what others pay for the same. Not installed.

    python -m benchmarks actors                      a table, after some minutes
    python -m benchmarks actors --quick              in seconds, to see that all of it runs
    python -m benchmarks actors --json FILE          the rounds too, for comparing
    python -m benchmarks actors --profile FILE       where our own time goes, as text

The files, in reading order:

* ``measuring``  a measure, who takes part in it, and the rounds
* ``processor``  whether the processors were ours alone
* ``footprint``  bytes for each of many, in a process of its own
* ``machine``    what the numbers were taken on
* ``report``     the table and the JSON
* ``profiling``  where the time goes
* ``suites``     the suites by name: a new one is one more line there
* ``actors``     the suite of the actor and supervision library
* ``delivery``   the suite of delivery, over real sockets
* ``store``      the suite of the SQLite store

``results/`` holds runs worth keeping.
"""
