"""Each request counts once."""

from orchestrator.cluster.replay import MAX_LIVES, WINDOW, ReplayGuard, Verdict


def judge(guard: ReplayGuard, number: int, *, boot: str = "b1", session: str | None = None) -> Verdict:
    return guard.judge(sender="node2", boot=boot, session=guard.session if session is None else session, number=number)


def test_a_number_counts_once_in_any_order() -> None:
    guard = ReplayGuard()
    order = [3, 1, 2, 0, 10, 9, 5000, 4999]
    assert [judge(guard, number) for number in order] == [Verdict.FRESH] * len(order)
    assert [judge(guard, number) for number in order] == [Verdict.REPLAYED] * len(order)


def test_what_is_older_than_the_window_is_taken_for_a_replay() -> None:
    guard = ReplayGuard()
    assert judge(guard, WINDOW) is Verdict.FRESH
    assert judge(guard, 1) is Verdict.FRESH
    assert judge(guard, 0) is Verdict.REPLAYED


def test_each_life_of_a_sender_counts_for_itself() -> None:
    guard = ReplayGuard()
    assert judge(guard, 5, boot="b1") is Verdict.FRESH
    assert judge(guard, 5, boot="b2") is Verdict.FRESH
    assert judge(guard, 5, boot="b1") is Verdict.REPLAYED


def test_another_process_has_another_session() -> None:
    former, guard = ReplayGuard(), ReplayGuard()
    assert judge(guard, 0, session=former.session) is Verdict.OTHER_SESSION
    assert judge(guard, 0, session="") is Verdict.OTHER_SESSION


def test_with_too_many_lives_to_remember_all_begins_anew() -> None:
    guard = ReplayGuard()
    session = guard.session
    for life in range(MAX_LIVES):
        assert judge(guard, 0, boot=str(life)) is Verdict.FRESH
    assert judge(guard, 0, boot="one more") is Verdict.OTHER_SESSION
    assert judge(guard, 0, boot="0", session=session) is Verdict.OTHER_SESSION
    assert judge(guard, 0, boot="0") is Verdict.FRESH
