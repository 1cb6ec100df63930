"""How it reaches people: the wire, sessions, and a gateway for them on one port.

In reading order; docs/protocol.md is the specification.

* The wire: ``codes`` (close and error codes), ``messages`` and ``rows`` (every item as a class), ``integers``
  (those that JSON carries), ``values`` (which of the right type are legal), ``codec`` (text to items and
  back, strictly), ``wording`` (what a peer is told of its own mistake), ``views`` (rows as items).
* A session: ``options`` (every bound), ``session_state`` (its states, a table), ``session_ports`` (what it
  asks of its channel and of the shell), ``session`` (the protocol, no ``await``), ``outgoing`` (what cannot
  be written spoils nothing beside it), ``ports`` (what is asked of the runtime),
  ``commands`` (carried out against it), ``auth`` (whose session it is).
* Timing and bytes: ``ticker`` (one task that flushes all sessions), ``delivery_rate`` (how large a message
  may be, no ``await``), ``alarms`` (one task for beats and
  silences), ``outbox`` (a byte queue and the only task that sends).
* The port: ``http`` (requests and responses), ``origin`` (same-origin check), ``file_cache`` (files in
  memory, each once), ``static`` (files of a directory), ``site`` (what is answered where), ``connection``
  (what connections share), ``websocket`` (one of them), ``gateway`` (``serve``).
* The Python client: ``client`` (its front), ``client_options``, ``client_link`` (one WebSocket),
  ``client_core`` (its protocol's state, no ``await``), ``client_clock`` (the server's time),
  ``client_hello``, ``client_events``, ``client_feed``, ``client_output``, ``client_streams`` (its
  iterators), ``client_commands``, ``client_encoding`` (what may be sent), ``client_views``,
  ``client_errors``; ``hashing`` (verifies an output). The browser's is ``browser/trouper.js``.
* ``errors``: what can go wrong.
"""
