"""Steps that are never repeated: a job whose attempt breaks off inside of one is lost (J6)."""

from __future__ import annotations

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import FENCED, Row
from trouper.store.contract.model.steps import AGAIN, Ending


class Unsafe(Core):
    def unsafe(self, job_id: str, fence: int, step: str | None) -> object:
        row = self.held_by(job_id, fence)
        if row is None:
            return FENCED
        row.unsafe = step
        return "saved"

    def ending(self, row: Row) -> Ending | None:
        return super().ending(row) if row.unsafe is None else ("lost", f"unsafe:{row.unsafe}")

    def state_after(self, row: Row, kind: str) -> Ending:
        if kind in AGAIN and row.unsafe is not None:
            return "lost", f"unsafe:{row.unsafe}"
        return super().state_after(row, kind)
