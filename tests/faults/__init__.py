"""A fault at every call of the store, at every place inside a commit on SQLite, and at every await of the
runtime, in what a runtime does all day.

* ``faulty``     a store whose n-th call goes wrong
* ``outages``    an engine that goes wrong from one moment to another, memory and SQLite
* ``stage``      a runtime on it, in virtual time, and what must hold of it however it went
* ``scenarios``  submit and stream, retry, cancel, interrupt, roll back, notify, drain, two who read
* ``dealings``   ask a person, send messages, run a hook, charge once, cancel before the job comes
"""
