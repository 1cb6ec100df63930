"""The job table."""

from __future__ import annotations

import pytest

from trouper.store.errors import IllegalEvent
from trouper.store.lifecycle import TABLE, JobEvent, after
from trouper.store.records import JobState

ALL = [(state, event) for state in JobState for event in JobEvent]


@pytest.mark.clause("J1")
def test_every_state_has_a_row_and_a_terminal_one_knows_no_event() -> None:
    assert set(TABLE) == set(JobState)
    assert {state for state in TABLE if not TABLE[state]} == {state for state in JobState if state.terminal}


@pytest.mark.clause("J1")
@pytest.mark.parametrize(("state", "event"), ALL)
def test_an_event_leads_where_the_table_says_or_raises_naming_state_and_event(
    state: JobState, event: JobEvent
) -> None:
    if event in TABLE[state]:
        assert after(state, event) is TABLE[state][event]
    else:
        with pytest.raises(IllegalEvent, match=f"a {state} job cannot {event}"):
            after(state, event)


@pytest.mark.clause("J1")
def test_every_job_can_reach_an_end_from_where_it_stands() -> None:
    for state in (JobState.QUEUED, JobState.RUNNING):
        assert any(target.terminal for target in TABLE[state].values())
