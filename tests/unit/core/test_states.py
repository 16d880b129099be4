from distriqueue.core import states
from distriqueue.core.states import LEGAL, TERMINAL, TRANSITIONS, Status, is_legal


def test_every_state_is_reached_and_only_completed_is_never_left() -> None:
    left = {transition.source for transition in TRANSITIONS}
    reached = {transition.target for transition in TRANSITIONS} | states.INITIAL
    assert reached == set(Status)
    assert set(Status) - left == {Status.COMPLETED}


def test_a_terminal_state_is_left_only_by_the_clients_retry() -> None:
    causes = {transition.cause for transition in TRANSITIONS if transition.source in TERMINAL}
    assert causes == {"client retries", "client retries, and it has to wait"}


def test_no_step_is_listed_twice() -> None:
    assert len(LEGAL) == len(TRANSITIONS)


def test_a_job_never_starts_twice_without_going_back_to_pending() -> None:
    assert not is_legal(Status.RUNNING, Status.RUNNING)
    assert not is_legal(Status.RETRYING, Status.RUNNING)
    assert {Status.PENDING, Status.QUEUED} == states.CLAIMABLE


def test_status_is_read_in_any_case() -> None:
    assert Status.parse("QUEUED") is Status.QUEUED


def test_the_diagram_has_every_step() -> None:
    drawn = states.diagram().splitlines()
    assert sum("-->" in line for line in drawn) == len(TRANSITIONS) + len(states.INITIAL) + len(TERMINAL)
