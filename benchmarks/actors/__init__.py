"""The suite of the actor and supervision library.

* ``ours``            trouper's actors under a dynamic supervisor, as a user would have them
* ``memory_channel``  trio's channels with tasks around them: what one would write without actors
* ``asyncio_queue``   the same on asyncio
* ``pykka_threads``   Pykka's actors, which are threads; only if it is installed
"""

from __future__ import annotations

from benchmarks.actors.suite import SUITE as SUITE
