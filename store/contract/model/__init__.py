"""What every store does, in dictionaries: no journal, no indexes, no threads, no damage.

It is written from the protocol and docs/promises.md, not from ``rules``: it is there to disagree with them.
Each method takes what the store's method takes and gives what the answer must amount to (``gist``). It is
about 500 lines with the whole protocol in it, of which a quarter are the rows; no chapter needs another one.

* ``rows``  what is remembered; how a job waits, how it ends, and what a clock that is set does to it
* ``admitting``  submit, cancel, cancel by key
* ``claiming``   who starts next, who is only ended, who waits for a name; places in the queue
* ``attempts``   what a running attempt writes, and what its end means
* ``people``     notifications and their marks, answers, signals
* ``hooks``      completions
"""

from __future__ import annotations

from trouper.store.contract.model.admitting import Admitting
from trouper.store.contract.model.attempts import Attempts
from trouper.store.contract.model.claiming import Claiming
from trouper.store.contract.model.hooks import Hooks
from trouper.store.contract.model.people import People


class Model(Admitting, Claiming, Attempts, People, Hooks):
    """All of it: chapters over the same rows."""
