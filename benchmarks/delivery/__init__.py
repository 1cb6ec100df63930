"""The suite of delivery: from a job's ``write`` to a socket, on loopback, over real WebSockets.

Each measure starts a server in a process of its own, on one core, and a load generator in another
process, on the other cores. The figure to trust is the server's processor time for each delivered
token; the load generator says how busy it was itself.

* ``scenario``       what a server and the load generator are told; what a token looks like
* ``dialects``       what a client says to each kind of server
* ``load``           the load generator: plain sockets and ``epoll``
* ``arrivals``       what came of it: which tokens, and how late
* ``running``        starts both, and takes a figure from them
* ``ours``           trouper: every stream a submitted job that writes through its ``ctx``
* ``plain``          what the next two have in common
* ``plain_trio``     trio-websocket, a task and a channel for each session
* ``plain_asyncio``  Python ``websockets``, a task and a queue for each session
* ``node_peers``     installs ``ws`` and socket.io into a cache folder when node is there
* ``node_peer.mjs``  both of them
* ``figures``        what is done with them, and the figure that is taken
* ``profile``        where our server's time goes
* ``suite``          the measures, who takes part, and what ours is to reach
"""

from __future__ import annotations

from benchmarks.delivery.suite import SUITE as SUITE
