"""What is remembered: the bottom floor, which imports nothing of ours.

Reading order:

* ``seams``       clock, wall clock, ids, randomness, the named thread, fault points (general)
* ``errors``      the tree of store errors
* ``records``     jobs, notifications, entries: the rows and what they mean
* ``lifecycle``   the table of job states and events (no ``await``)
* ``rules``       what admit, claim, finish, cancel decide, for every engine (no ``await``)
* ``output_log``  a running attempt's output: uncommitted, committed, its tail (no ``await``)
* ``protocol``    the ``Store`` that every engine implements, its requests and results
* ``tables``      the rows as a transaction sees them; ``transactions``, written once over them
* ``memory``      the store without a file
* ``schema``      the SQLite tables, their version; ``sqlite_tables`` the rows in SQLite
* ``sqlite_writer`` one connection on one named thread, group commit; ``sqlite`` the store on it
* ``urls``        ``memory:`` and ``sqlite:///chat.db`` to an opened engine
"""
