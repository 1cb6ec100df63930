"""What every store does, in dictionaries: no journal, no indexes, no threads, no damage.

It is written from the protocol and docs/promises.md, not from ``rules``: it is there to disagree with them.
Each method takes what the store's method takes and gives what the answer must amount to (``gist``).

* ``core``       what a store is: jobs are submitted, claimed, write and end. Begin here
* ``steps``      what each step of it means; ``rows`` what is remembered

Each further chapter is a small model of one thing more: it has methods of its own, and adds to steps of the
core. An engine's author who looks for one thing need not read the others.

* ``inbox``      notifications and their marks (N1, N5)
* ``unsafe``     steps that are never repeated (J6)
* ``threads``    one job of a thread at a time, and what a submit does to a busy one (J4)
* ``turns``      whose turn it is, limits, places in the queue (J4)
* ``times``      delays, back-off, time-outs, and a clock that is set (J5)
* ``nodes``      boots and their leases, what each node can run, and what it has begun (J6)
* ``keys``       keys that are cancelled before their job comes (J2)
* ``signals``, ``questions``  messages to a job (J7), and what it asks a person (J8)
* ``hooks``      what is to be done for a job that has ended (N1)
* ``usage``      how far the bounds are used (E2)
"""

from __future__ import annotations

import attrs

from trouper.store.contract.model.hooks import Hooks
from trouper.store.contract.model.keys import Keys
from trouper.store.contract.model.nodes import Nodes
from trouper.store.contract.model.questions import Questions
from trouper.store.contract.model.signals import Signals
from trouper.store.contract.model.threads import Threads
from trouper.store.contract.model.times import Times
from trouper.store.contract.model.turns import Turns
from trouper.store.contract.model.unsafe import Unsafe
from trouper.store.contract.model.usage import Usage


@attrs.define(slots=False, kw_only=True)
class Model(Hooks, Nodes, Usage, Keys, Questions, Signals, Unsafe, Threads, Turns, Times):
    """All of it. The order says who has the first word: what a node cannot run is not started, whatever a
    start means besides; a step that is never repeated goes before a thread; and so on."""
