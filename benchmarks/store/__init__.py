"""The suite of the SQLite store, with ``synchronous=FULL``: every commit waits for the disk.

* ``opened``      a store on a new file; a recording of all that its connection executes
* ``writers``     trouper's store under many writers: admissions, ends of attempts, output
* ``statements``  the same statements in the same batches, in a plain loop without trio
* ``disk``        a bare loop of ``fdatasync``: what the disk allows
* ``ticks``       what the commits of 1,250 streaming jobs cost, in processor time
"""

from __future__ import annotations

from benchmarks.store.suite import SUITE as SUITE
