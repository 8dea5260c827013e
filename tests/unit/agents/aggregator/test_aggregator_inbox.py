import threading

from ocs.agents.aggregator.inbox import Inbox, Item, Kind
from tests.harness.archive import event


def test_events_are_taken_in_the_order_they_came():
    inbox = Inbox()
    inbox.open()
    events = [event([float(i)], a=[i]) for i in range(3)]
    for one in events:
        inbox.put(one)

    items, lost = inbox.take()
    assert ([item.event for item in items], lost) == ([tuple(one) for one in events], 0)
    assert inbox.take() == ([], 0)


def test_a_closed_inbox_takes_nothing_but_keeps_what_waits():
    inbox = Inbox()
    inbox.put(event([1.0], a=[1]))
    inbox.open()
    inbox.put(event([2.0], a=[2]))
    inbox.close()
    inbox.put(event([3.0], a=[3]))

    items, _ = inbox.take()
    assert [item.event[0]["t"]["timestamps"] for item in items] == [[2.0]]


def test_what_is_not_recorded_stays_outside():
    inbox = Inbox()
    inbox.open()
    for other in ([{}, {"record": False}], [{}], None, "x", [{}, None], {}):
        inbox.put(other)

    assert inbox.take() == ([], 0)


def test_beyond_its_bound_the_oldest_is_dropped_and_counted():
    inbox = Inbox(max_values=10)
    inbox.open()
    for i in range(5):
        inbox.put(event([float(i)] * 4, a=[i] * 4))

    items, lost = inbox.take()
    assert [item.event[0]["t"]["data"]["a"][0] for item in items] == [3, 4]
    assert lost == 12


def test_a_crowd_ends_the_wait_of_the_recording_thread():
    inbox = Inbox(max_values=8)
    inbox.open()
    over = threading.Event()
    waiting = threading.Thread(target=lambda: (inbox.wait(60), over.set()))
    waiting.start()
    inbox.put(event([1.0] * 4, a=[1] * 4))

    assert over.wait(10)
    waiting.join(10)


def numbered(number, values):
    return Item(Kind.POSITION, b"", None, ("observatory.a", "1"), number), values


def test_what_can_be_had_again_is_never_dropped_but_there_is_no_room_for_more():
    inbox = Inbox(max_values=10)
    inbox.open()
    for number in range(4):
        inbox.add(*numbered(number, 4))
    inbox.put(event([1.0], a=[1]))
    inbox.put(event([2.0], a=[2]))

    assert not inbox.room
    items, lost = inbox.take()
    assert [item.next for item in items if item.stream] == [0, 1, 2, 3]
    assert lost == 1
    assert inbox.room


def test_a_closed_inbox_has_no_room_and_leaves_what_can_be_had_again_to_the_next_time():
    inbox = Inbox()
    inbox.add(*numbered(1, 1))

    assert not inbox.room
    assert inbox.take() == ([], 0)
