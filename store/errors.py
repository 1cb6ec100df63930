"""What can go wrong with a store.

    TrouperError                  everything that trouper raises on purpose
    ├── IllegalEvent              a fault of the runtime: no such step in the job table
    └── StoreError
        ├── StoreUnavailable      for now: disk full, locked, I/O error; try again
        │   └── StoreAbandoned    the disk did not answer, and a thread was left with it
        ├── DataRefused           this one operation's data cannot be stored
        └── StoreRefused          for good: this database cannot be used
            ├── StoreInUse        another runtime holds it (names the owner's pid)
            ├── SchemaMismatch    another version's schema
            └── StoreCorrupt      not a database, or a damaged one

A refusal of one operation (an old fence, a conflicting key) is not an error but a value: see
``protocol``.
"""


class TrouperError(Exception):
    """The base of every error that trouper raises on purpose."""


class StoreError(TrouperError):
    """A store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store is down for now (disk full, locked, an I/O error). Nothing was lost; try again."""


class StoreAbandoned(StoreUnavailable):
    """The disk did not answer in the time that a close has, and a thread was left with it. What was
    acknowledged is in the database; what was under way may be, or come to be."""


class StoreRefused(StoreError):
    """This database cannot be used; trying again does not help."""


class StoreInUse(StoreRefused):
    """Another runtime holds the database; the message names its process id."""


class SchemaMismatch(StoreRefused):
    """The database was written with another version of the schema."""


class StoreCorrupt(StoreRefused):
    """The file is not a database, or is damaged."""


class DataRefused(StoreError):
    """One operation's data cannot be stored (a lone surrogate, a wrong type): it failed alone."""


class IllegalEvent(TrouperError):
    """An event that the job table does not know in this state; the message names both."""
