"""How far the bounds of users and of jobs are used (E2)."""

from __future__ import annotations

from trouper.store.contract.model.keys import Keys
from trouper.store.contract.model.questions import Questions


class Usage(Keys, Questions):
    def usage(self) -> object:
        """The users with something active, the largest first; the most pending messages, tombstones and
        questions."""
        users = {row.spec.user: len(self.active(row.spec.user)) for row in self.active()}
        largest = sorted(users, key=lambda user: (-users[user], user))
        counts = [(user, len(self.queued(user)), users[user] - len(self.queued(user))) for user in largest]
        pending = [row.signals - row.heard for row in self.active()]
        asked = max((self.asked(row.id, "")[0] for row in self.active()), default=0)
        keys = [user for (user, _), end in self.tombstones.items() if end > self.clock()]
        return counts, max(pending, default=0), max(map(keys.count, keys), default=0), asked
