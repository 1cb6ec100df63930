"""What runs: an actor library, and on it the actors of jobs and users.

The general files, in reading order. They import nothing of jobs, and of the store only its base error,
so that the library can be used alone:

* ``errors``    what actors raise to those who talk to them
* ``ask``       requests, and the one-shot slot of an answer
* ``sweeper``   the deadlines of all asks, in one task
* ``envelope``  a message on its way; deliveries and dead letters
* ``signals``   what goes through the control lane; why an incarnation ended
* ``mailbox``   two lanes, a bound, and what happens at the bound
* ``ref``       ``tell``, ``send``, ``ask``, ``stop``, ``join``
* ``context``   what an actor can do besides handling messages
* ``actor``     the base class
* ``loop``      one incarnation, from ``started`` to ``stopped``
* ``spawner``   what an actor's children need of a supervisor
* ``reports``   one shape for every crash, restart and shutdown

The files of the domain:

* ``options``     every bound of what runs
* ``job_errors``, ``job_spec``  a job function's declaration and its ways to end
* ``job_context`` what a job function can do; ``attempt``, ``job_actor`` run it once
* ``outputs``     where the outputs stand that run here or that somebody watches
* ``feed``        a user's latest changes, for sessions that are a little behind
* ``channel_items``, ``channel``   what one session is due: cursors, never a queue of output
* ``subscribers``, ``notifier``    the open channels of a user, and the actor that serves them
* ``output_pieces``  what an output iterator yields, here and in the clients
"""
