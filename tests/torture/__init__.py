"""The real server on one database, killed again and again while clients work: what they were told holds.

Reading order:

* ``jobs``      the jobs that are run, and the late writes of attempts that are over
* ``server``    the program, which kills itself at a named fault point
* ``lives``     its lives, one after the other, and the counters of its deaths
* ``journal``   what the clients were told, and the copies of outputs that they hold
* ``lanes``     what the clients do
* ``database``  what is in the file, read between two lives
* ``checks``    what must be true of the three
* ``torment``   all of it together
"""
