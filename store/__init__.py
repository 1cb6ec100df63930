"""What is remembered: the bottom floor, which imports nothing of ours.

Reading order:

* ``seams``       clock, wall clock, ids, randomness, the named thread, fault points (general)
* ``errors``      the tree of store errors
* ``records``     jobs, notifications, entries: the rows and what they mean
* ``lifecycle``   the table of job states and events (no ``await``)
* ``rules``       what admit, claim, finish, cancel decide, for every engine (no ``await``); ``waiting`` how a
  job waits in the queue
* ``output_log``  a running attempt's output: uncommitted, committed, its tail (no ``await``)
* ``completions`` what is still to be done for an ended job, and its rows in memory; ``signals`` messages
  to a job, ``questions`` what it asks a person, likewise
* ``admissions``  what a submit asks and meets; ``people`` what people ask besides: cancel, notify, mark
* ``protocol``    the ``Store`` that every engine implements, its requests and results
* ``leases``      whose what runs is: boots, and what several nodes on one store need; ``nodes`` which boots
  are live, and what jobs each can run
* ``views``       what its reads give that is more than rows: the feed, the output; ``usage`` how far the
  bounds of users and jobs are used
* ``options``     the bounds of a store, each with its unit; ``checks`` what a number among options may be
* ``tables``      the rows and logs as a transaction sees them
* ``transaction`` one operation under way; ``admitting`` (admit, cancel), ``transactions`` (claim,
  append, finish …) and ``queries``: written once over the tables; ``completing`` for completions,
  ``signalling`` for messages, ``asking`` for questions
* ``engine``      the ``Store``'s methods over an engine that carries out transactions and reads
* ``wall_watch``  a jump of the wall clock, told from time that has passed
* ``memory``      the store without a file, on ``memory_tables``, ``memory_beside`` and
  ``memory_queue``
* ``schema``      the SQLite tables and their version; ``sqlite_open`` opens them, ``file_lock`` owns them
* ``sqlite_rows``, ``sqlite_completions``, ``sqlite_signals``, ``sqlite_questions`` (all in
  ``sqlite_beside``), ``sqlite_queue`` (its statements), ``sqlite_usage``, ``sqlite_tables``  the
  rows; ``sqlite_log`` the output in journal and blocks (``sqlite_blocks``)
* ``sqlite_batch`` one commit on the store's thread; ``sqlite_overdue`` a call that does not return;
  ``sqlite_thread`` what the thread holds, and that its end has a bound; ``sqlite_writer`` group commit;
  ``sqlite`` the store
* ``contract``    the tests that every engine must pass, for those who write their own (a package)
* ``urls``        ``memory:`` and ``sqlite:///chat.db`` to an opened engine
"""
