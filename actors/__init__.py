"""What runs: an actor library, and on it the actors of jobs and users.

The general files, in reading order. They import nothing of jobs, and of the store only its base error,
so that the library can be used alone:

* ``errors``    what actors raise to those who talk to them
* ``ask``       requests, and the one-shot slot of an answer
* ``sweeper``   the deadlines of all asks, in one task
* ``ask_chain`` who waits for whom, so that a circle of asks is refused at once
* ``deferred``  an answer that is given after the handler has returned
* ``envelope``  a message on its way; deliveries and dead letters
* ``signals``   what the runtime says to an actor; why an incarnation ended
* ``overflow``  what happens at a mailbox's bound
* ``ledger``    what became of each accepted message
* ``lifeline``, ``control``, ``consumer``, ``tally``  the parts of a mailbox: its end and who watches for it,
  the lane for what the runtime says, the task that waits, the counters
* ``stash``     messages put aside
* ``data_lane`` what waits, and the quick way through it for plain messages
* ``mailbox``   two lanes, a bound, and the sums
* ``ref``       ``tell``, ``send``, ``ask``, ``stop``, ``join``
* ``timers``, ``pipe``  messages of an actor to itself: later, or when work is done
* ``watch``     hearing of the end of others; links
* ``registry``  actors by name, and groups of them
* ``spawner``   what an actor's children need of a supervisor
* ``context``   what an actor can do besides handling messages
* ``actor``, ``function_actor``  the base class; an actor that is one function
* ``idleness``  waiting, when it matters how long
* ``loop``      one incarnation, from ``started`` to ``stopped``
* ``trace``, ``inspection``  looking into actors that run
* ``reports``   one shape for every crash, restart and shutdown

The files of the domain:

* ``options``     every bound of what runs
* ``retry``, ``ended_hook``  how often something is tried; what is done when a job has ended
* ``json_text``   the JSON of what an application gives
* ``job_errors``, ``job_spec``  a job function's declaration and its ways to end
* ``messages``    messages to a job that runs; ``questions`` what it asks a person
* ``job_context`` what a job function can do; ``attempt``, ``unsafe_step``, ``pace``, ``patience`` (a store
  that is down), ``job_actor`` run it once
* ``outputs``     where the outputs stand that run here or that somebody watches
* ``feed_pages``  a large piece of the feed, cut to fit messages
* ``feed``        a user's latest changes, for sessions that are a little behind
* ``channel_items``, ``attachment``, ``channel_feed``, ``channel``   what one session is due: cursors, never
  a queue of output
* ``subscribers``, ``notifier``    the open channels of a user, and the actor that serves them
* ``output_pieces``  what an output iterator yields, here and in the clients
"""
