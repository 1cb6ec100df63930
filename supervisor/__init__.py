"""What keeps it running: a supervision library, and on it the runtime.

The general files, in reading order. They import nothing of jobs, of the store only its seams and its base
error, and of actors the general files, so that the library can be used alone:

* ``errors``      what supervisors raise; ``legal`` what is refused where it is declared
* ``strategy``    who is restarted with whom, and when it all ends (no ``await``)
* ``intensity``   how often is too often; ``backoff`` how long to wait; ``budget`` both for one child
* ``tree``        what runs, as text and as JSON
* ``child_spec``  what a child is, declared
* ``child``       the record of one child, and the task of one incarnation
* ``shutdown``    how one child is stopped: asked, cancelled, reported as stuck
* ``lane``        how anything reaches a supervisor's loop; its timers
* ``base``        one nursery whose body is the loop, and the ordered stop
* ``ordered``     children in an order, restarted by a strategy; ``supervisor`` what may be asked of it
* ``actor_child`` an actor as a child, and children of that actor
* ``places``      a bound on how many run at a time; ``keyed_ref`` a ref that holds a key
* ``population``  children that come and go; ``dynamic`` by name, ``keyed`` actors by key

The files of the domain:

* ``options``     every bound of a runtime; ``refusals`` why a submit was not accepted
* ``admission``, ``expiry``, ``reading``  jobs come in, fall due, and are read
* ``lease``       the node's lease on a store that several nodes share; ``begun`` what was begun of what it
  claimed
* ``steering``    what people send to a job that is under way
* ``completions``  what is done for a job that has ended; ``waiters`` who waits for that end
* ``queue_board`` the places of waiting jobs, told to their users' sessions; ``audience`` these sessions, and
  their users' notifiers
* ``gateways``    what brings sessions, as a child
* ``runtime_tree``, ``runtime``           the tree that runs them, and the handle of it
* ``usage``       what a runtime uses of its bounds
"""
