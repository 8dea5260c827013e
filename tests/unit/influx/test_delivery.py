"""What a delivery makes of a server's answers: every one that InfluxDB 1 and 2 give."""

import gzip
import json

import pytest

from ocs.errors import DatabaseAwayError
from ocs.influx.delivery import Delivery, pause
from ocs.influx.mending import Mending, mend
from ocs.influx.server import Conflict, Reply, What, judge, server_v1, server_v2

V1 = server_v1("influx", 8086, "feeds")
V2 = server_v2("influx", 8086, "feeds", token="secret", org="so")


def reply(status, error="", **headers):
    return Reply(status, headers, json.dumps({"error": error}).encode() if error else b"")


class Answers:
    """Answers the requests with what it was given, in order; the last one for ever."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    def ask(self, request):
        self.requests.append(request)
        found = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(found, Exception):
            raise found
        return found


class Limited:
    """Takes no body above a length."""

    def __init__(self, most):
        self.most = most
        self.taken = []

    def ask(self, request):
        if len(request.body) > self.most:
            return reply(413, "Request Entity Too Large")
        self.taken.append(request.body)
        return reply(204)


CONFLICT = (
    'partial write: field type conflict: input field "f" on measurement "m" is type {}, '
    "already exists as type {} dropped=1"
)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (reply(204), What.WRITTEN),
        (reply(200), What.WRITTEN),
        (reply(400, CONFLICT.format("integer", "float")), What.PARTLY),
        (reply(422, CONFLICT.format("integer", "float")), What.PARTLY),
        (reply(400, "partial write: points beyond retention policy dropped=3"), What.PARTLY),
        (reply(400, "unable to parse 'x': missing fields"), What.UNREADABLE),
        (reply(401, "authorization failed"), What.DENIED),
        (reply(403, "forbidden"), What.DENIED),
        (reply(404, 'database not found: "feeds"'), What.MISSING),
        (reply(413), What.TOO_LONG),
        (reply(429), What.LATER),
        (reply(500, "timeout"), What.LATER),
        (reply(503), What.LATER),
    ],
)
def test_every_answer_is_understood(answer, what):
    assert judge(answer).what is what


def test_a_server_may_say_when_it_wants_to_be_asked_again():
    assert judge(reply(503, **{"retry-after": "17"})).retry_after == 17
    assert judge(reply(429, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})).retry_after == 0
    outcome = Delivery(V1, Answers(reply(429, **{"retry-after": "9"}))).deliver(b"m f=1 1", 1)
    assert (outcome.done, outcome.retry_after) == (False, 9)


def test_a_server_that_is_away_is_trouble_and_no_error():
    outcome = Delivery(V1, Answers(DatabaseAwayError("influx", 8086, "no answer"))).deliver(b"m f=1 1", 1)
    assert outcome == (False, "the database at influx:8086 cannot be reached: no answer", 0.0)


def test_pauses_grow_to_a_minute():
    assert [pause(n) for n in (1, 2, 3, 6, 7, 8, 1000)] == [1, 2, 4, 32, 60, 60, 60]


def test_a_missing_database_is_made_once_and_written_to():
    missing = reply(404, 'database not found: "feeds"')
    link = Answers(missing, Reply(200, {}, b'{"results":[{"statement_id":0}]}'), reply(204))
    assert Delivery(V1, link).deliver(b"m f=1 1", 1).done
    assert [request.path.partition("?")[0] for request in link.requests] == ["/write", "/query", "/write"]
    assert link.requests[1].body == b"q=CREATE+DATABASE+%22feeds%22"


def test_a_database_that_cannot_be_made_is_told_and_not_tried_again():
    told = []
    link = Answers(
        reply(404, 'database not found: "feeds"'), reply(403, "not allowed"), reply(404, "database not found")
    )
    delivery = Delivery(V1, link, tell=lambda text, about: told.append(text))
    assert not delivery.deliver(b"m f=1 1", 1).done
    for _ in range(5):
        assert not delivery.deliver(b"m f=1 1", 1).done
    assert sum(request.path == "/query" for request in link.requests) == 1
    assert told == ["database feeds at influx:8086 is not there and cannot be made by us: 403 not allowed"]


def test_a_bucket_is_made_in_its_organisation():
    link = Answers(
        reply(404, "bucket not found"), Reply(200, {}, b'{"orgs":[{"id":"0a"}]}'), Reply(201, {}, b"{}"), reply(204)
    )
    assert Delivery(V2, link).deliver(b"m f=1 1", 1).done
    paths = [request.path for request in link.requests]
    assert paths[1:3] == ["/api/v2/orgs?org=so", "/api/v2/buckets"]
    assert json.loads(link.requests[2].body) == {"orgID": "0a", "name": "feeds", "retentionRules": []}
    assert all(request.headers["Authorization"] == "Token secret" for request in link.requests)


def test_a_body_that_is_too_long_goes_in_halves_and_later_ones_are_shorter():
    link = Limited(100)
    delivery = Delivery(V1, link)
    rows = [f"m,feed=f n={n}i {n}" for n in range(50)]
    assert delivery.deliver("\n".join(rows).encode(), 50).done
    assert b"\n".join(link.taken).decode().split("\n") == rows
    assert delivery.most_bytes < 1 << 20
    assert delivery.dropped == {}


def test_a_line_that_is_too_long_alone_is_dropped_and_counted():
    delivery = Delivery(V1, Limited(100))
    assert delivery.deliver(f'm,feed=f s="{"x" * 200}" 1\nm,feed=f n=1i 2'.encode(), 2).done
    assert delivery.dropped == {"too_long": 1}


def test_a_line_that_is_refused_takes_no_other_with_it():
    class Picky:
        def __init__(self):
            self.taken = []

        def ask(self, request):
            if b"bad" in request.body:
                return reply(400, "unable to parse 'bad'")
            self.taken += request.body.split(b"\n")
            return reply(204)

    link = Picky()
    delivery = Delivery(V1, link)
    rows = [b"m,feed=f n=1i %d" % n for n in range(7)]
    assert delivery.deliver(b"\n".join([*rows[:3], b"bad", *rows[3:]]), 8).done
    assert link.taken == rows
    assert delivery.dropped == {"unreadable": 1}


def test_points_out_of_retention_are_counted_and_not_sent_again():
    link = Answers(reply(400, "partial write: points beyond retention policy dropped=3"))
    delivery = Delivery(V1, link)
    assert delivery.deliver(b"m f=1 1", 5).done
    assert delivery.dropped == {"retention": 3}
    assert len(link.requests) == 1


def test_a_conflict_is_mended_at_once_and_remembered():
    link = Answers(reply(400, CONFLICT.format("integer", "float")), reply(204))
    delivery = Delivery(V1, link)
    assert delivery.deliver(b"m,feed=f f=1i 1", 1).done
    assert delivery.deliver(b"m,feed=f f=2i 2", 1).done
    assert [request.body for request in link.requests] == [b"m,feed=f f=1i 1", b"m,feed=f f=1 1", b"m,feed=f f=2 2"]
    assert (delivery.dropped, delivery.left_out) == ({}, {})


def test_a_conflict_that_stays_costs_its_points_and_ends():
    link = Answers(reply(400, CONFLICT.format("string", "float")))
    delivery = Delivery(V1, link)
    assert delivery.deliver(b'm,feed=f f="a",g=1i 1', 1).done
    assert delivery.dropped == {"conflict": 1}
    assert len(link.requests) == 2


def test_what_is_sent_is_gzipped_if_that_is_wanted():
    link = Answers(reply(204))
    Delivery(V1, link, compress=True).deliver(b"m f=1 1", 1)
    assert gzip.decompress(link.requests[0].body) == b"m f=1 1"
    assert link.requests[0].headers["Content-Encoding"] == "gzip"


def test_secrets_are_not_shown():
    assert "secret" not in repr(V2)
    assert "pass" not in repr(server_v1("h", 1, "d", username="u", password="pass"))


@pytest.mark.parametrize(
    ("given", "existing", "line", "mended", "lost"),
    [
        ("integer", "float", "m,feed=f f=1i,g=2i 1", "m,feed=f f=1,g=2i 1", 0),
        ("float", "integer", "m,feed=f f=1.5,g=2i 1", "m,feed=f g=2i 1", 1),
        ("string", "float", 'm,feed=f g="a, f=1",f="b c\n" 1', 'm,feed=f g="a, f=1" 1', 1),
        ("boolean", "float", "m,feed=f f=True 1\nm,feed=f f=1.5 2", "m,feed=f f=1.5 2", 1),
        ("integer", "string", "m,feed=f f=1i 1", "", 1),
        ("integer", "float", "other,feed=f f=1i 1", "other,feed=f f=1i 1", 0),
        ("integer", "float", "m,feed=f f=1.5 1", "m,feed=f f=1.5 1", 0),
    ],
)
def test_only_what_is_in_conflict_is_changed(given, existing, line, mended, lost):
    assert mend(line, Conflict("m", "f", given, existing)) == (mended, lost)


def test_a_conflict_is_forgotten_after_a_minute():
    now = [0.0]
    mending = Mending(lambda: now[0])
    mending.add(Conflict("m", "f", "float", "integer"))
    assert mending.apply(b"m,feed=f f=1.5 1") == (b"", 1)
    now[0] = 61.0
    assert mending.apply(b"m,feed=f f=1.5 1") == (b"m,feed=f f=1.5 1", 0)
