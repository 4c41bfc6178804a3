"""Sessions end when nobody uses them, when they are old, and when there are too many."""

from __future__ import annotations

from app.ui.sessions import DECISIONS_MAX, ClientSecret, Decision, Sessions, Token


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def opened(sessions, name="shop"):
    return sessions.open(name, ClientSecret(name, "ads_secret"), Token("token", 2000.0, frozenset()))


def new_sessions(clock, count_max=3):
    return Sessions(idle_seconds_max=60, seconds_max=300, count_max=count_max, now=clock)


def test_a_session_ends_when_it_was_idle_too_long_and_not_before():
    sessions = new_sessions(clock := Clock())
    cookie, session = opened(sessions)
    clock.seconds += 60
    found_in_time = sessions.find(cookie)
    clock.seconds += 60.1

    assert found_in_time is session
    assert sessions.find(cookie) is None
    assert len(sessions) == 0


def test_a_session_that_is_used_all_the_time_ends_all_the_same():
    sessions = new_sessions(clock := Clock())
    cookie, session = opened(sessions)
    for _ in range(6):
        clock.seconds += 50
        assert sessions.find(cookie) is session
    clock.seconds += 1

    assert sessions.find(cookie) is None


def test_the_session_that_was_idle_longest_makes_room():
    sessions = new_sessions(clock := Clock(), count_max=2)
    cookies = []
    for name in ("first", "second"):
        cookies.append(opened(sessions, name)[0])
        clock.seconds += 1
    sessions.find(cookies[0])
    clock.seconds += 1
    third, _ = opened(sessions, "third")

    assert [sessions.find(cookie) is not None for cookie in (*cookies, third)] == [True, False, True]


def test_no_secret_and_no_token_shows_in_a_log_line():
    _, session = opened(new_sessions(Clock()))

    assert "ads_secret" not in repr(session)
    assert "ads_secret" not in repr(session.credentials)
    assert "token" not in repr(session.token)


def test_a_cookie_cannot_be_read_from_the_memory_of_sessions():
    sessions = new_sessions(Clock())
    cookie, _ = opened(sessions)

    assert cookie not in sessions._open


def test_the_latest_verdict_counts_and_the_oldest_is_forgotten():
    _, session = opened(new_sessions(Clock()))
    for number in range(DECISIONS_MAX):
        session.decide(f"cr_{number}", Decision("accept"))
    session.decide("cr_0", Decision("reject"))
    session.decide("cr_new", Decision("accept"))

    assert session.decisions["cr_0"].verdict == "reject"
    assert "cr_1" not in session.decisions
    assert len(session.decisions) == DECISIONS_MAX
