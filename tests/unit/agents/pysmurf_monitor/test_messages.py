"""What a datagram says, and what is refused."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.messages import DEEPEST, LONGEST, REASONS, Announcement, FeedMessage, parse
from ocs.agents.pysmurf_monitor.simulation import Plan, day
from ocs.errors import RefusedError

FOLDER = "/data/smurf_data/20261123/crate1slot2/1795392000/outputs"
PAYLOAD = {
    "path": f"{FOLDER}/1795392001_noise.txt",
    "type": "noise",
    "format": "txt",
    "timestamp": 1795392002.5,
    "action": "take_noise",
    "action_ts": 1795392000,
    "plot": False,
}
WHOLE = {"host": "smurf-srv1", "id": "crate1slot2", "script": "x", "time": 1795392003.25, "type": "data_file"}
TIMESTREAM = {"path": "/data/timestreams/17953/crate1slot2/1795392000_000.g3", "archive_name": "timestreams"}


def datagram(*without, whole=None, **payload):
    made = {**WHOLE, "payload": {**PAYLOAD, **payload}, **(whole or {})}
    for key in without:
        (made if key in made else made["payload"]).pop(key)
    return json.dumps(made).encode()


def metadata(pub_id="STREAMER:crate1slot2", **payload):
    contents = {"path": "AMCc.Filter[3].Gain", "value": 1.5, "type": "float", **payload}
    return datagram(whole={"type": "metadata", "id": pub_id, "payload": contents})


def refusal(data):
    with pytest.raises(RefusedError) as caught:
        parse(data)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value.reason


# Files


def test_a_file():
    assert parse(datagram()) == Announcement(
        path=PAYLOAD["path"],
        pub_id="crate1slot2",
        archive_name="smurf",
        remote_path="17953/crate1slot2/1795392000_take_noise/outputs/1795392001_noise.txt",
        deletable=True,
        time=1795392003.25,
    )


def test_a_plot():
    assert "/plots/" in parse(datagram(plot=True)).remote_path


@pytest.mark.parametrize("kind", ["data_file", "g3_file"])
def test_a_timestream_goes_by_its_path(kind):
    found = parse(datagram(whole={"type": kind, "id": "STREAMER:crate1slot2", "payload": TIMESTREAM}))
    assert (found.archive_name, found.remote_path) == ("timestreams", "17953/crate1slot2/1795392000_000.g3")
    assert (found.pub_id, found.deletable) == ("STREAMER:crate1slot2", True)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a", "npy", "a.npy"),
        ("a.npy", "npy", "a.npy"),
        ("a.dat", "npy", "a.dat.npy"),
        ("a", "NPY", "a"),
        ("a", "txt", "a"),
        ("a", "", "a"),
        ("a", None, "a"),
    ],
)
def test_numpys_suffix_is_added_where_it_is_missing(name, kind, expected):
    found = parse(datagram(path=f"{FOLDER}/{name}", format=kind))
    assert found.path == f"{FOLDER}/{expected}"
    assert found.remote_path.endswith(f"/outputs/{expected}")


def test_a_file_needs_no_format():
    assert parse(datagram("format")).path == PAYLOAD["path"]


@pytest.mark.parametrize("begun", [1795392000, 1795392000.25, "1795392000", "1795392000.25"])
def test_the_actions_time_stays_as_it_was_sent(begun):
    assert f"/{begun}_take_noise/" in parse(datagram(action_ts=begun)).remote_path


def test_a_file_outside_of_an_action_has_neither_action_nor_time():
    assert "/None_None/" in parse(datagram(action=None, action_ts=None)).remote_path


@pytest.mark.parametrize("name", ["with space.txt", "größe.txt", "a+b=c,d:e@f%g#h^i.txt", ".hidden", "_x", "0"])
def test_unusual_names_are_names(name):
    assert parse(datagram(path=f"{FOLDER}/{name}")).path == f"{FOLDER}/{name}"


@pytest.mark.parametrize("path", ["/data//smurf_data/20261123/x", "/data/./smurf_data/20261123/x"])
def test_a_file_has_one_path(path):
    assert parse(datagram(path=path)).path == "/data/smurf_data/20261123/x"


def test_the_longest_name_is_a_name():
    assert parse(datagram(path=f"/data/{'a' * 255}")).path
    assert parse(datagram(path=f"/data/{'ä' * 127}")).path


def test_white_space_around_is_nothing():
    assert parse(datagram() + b" \r\n") == parse(datagram())


# Feeds


@pytest.mark.parametrize("kind", ["session_data", "session_log"])
@pytest.mark.parametrize("payload", [{"a": [1, {"b": None}]}, "text", None, [], 3])
def test_a_session_is_passed_on_whole(kind, payload):
    data = datagram(whole={"type": kind, "payload": payload})
    assert parse(data) == FeedMessage("session", "crate1slot2", payload, WHOLE["time"], json.loads(data))


@pytest.mark.parametrize("pub_id", ["STREAMER:crate1slot2", "crate1slot2"])
@pytest.mark.parametrize("value", [1, 2.5, "x", True, None, [1]])
def test_metadata_has_its_stream(pub_id, value):
    found = parse(metadata(pub_id, value=value))
    assert (found.kind, found.pub_id, found.time) == ("metadata", pub_id, WHOLE["time"])
    assert found.payload == {"stream_id": "crate1slot2", "path": "AMCc.Filter[3].Gain", "value": value}


def test_no_number_is_a_value_too():
    assert math.isnan(parse(metadata(value=float("nan"))).payload["value"])


@pytest.mark.parametrize("pub_id", ["STREAMER:", "STREAMER::x", ":", "STREAMER:.x", "STREAMER:a/b"])
def test_metadata_without_a_stream_is_refused(pub_id):
    assert refusal(metadata(pub_id)) == "bad_publisher_id"


@pytest.mark.parametrize("path", ["", "a\nb", "a\0b", "x" * 1001, "\u202etxt"])
def test_registers_have_names(path):
    assert refusal(metadata(path=path)) == "bad_path"


# Refusals: not even JSON


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b" ", "not_json"),
        (b"hello", "not_json"),
        (b"{", "not_json"),
        (b'{"a": 1} {"b": 2}', "not_json"),
        (b"{'a': 1}", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"\xff\xfe{\x00}\x00", "bad_text"),
        (b'{"a": "\xff"}', "bad_text"),
        (b'{"a": "\xed\xa0\x80"}', "bad_text"),
        (bytes(range(256)) * 255, "bad_text"),
        (b"\0" * 65_000, "not_json"),
        (b"a" * (LONGEST + 1), "too_long"),
        (b"[]", "not_an_object"),
        (b'"x"', "not_an_object"),
        (b"1", "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "missing_key"),
        (b"[" * 60_000, "too_deep"),
        (b'{"a":' * 10_000, "too_deep"),
        (b'{"type": "data_file", "type": "data_file"}', "duplicate_key"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_too_large"),
        (b'{"a": 18446744073709551616}', "number_too_large"),
        (b'{"a": -9223372036854775809}', "number_too_large"),
    ],
)
def test_garbage(data, reason):
    assert refusal(data) == reason


def test_a_key_twice_is_refused_inside_too():
    data = datagram().replace(b'"payload": {', b'"payload": {"path": "/data/other",')
    assert refusal(data) == "duplicate_key"


@pytest.mark.parametrize("number", [18446744073709551615, -9223372036854775808])
def test_all_integers_of_64_bits_are_numbers(number):
    assert parse(metadata(value=number)).payload["value"] == number


@pytest.mark.parametrize(("depth", "is_fine"), [(DEEPEST - 1, True), (DEEPEST, False), (900, False)])
def test_what_is_deep_is_refused(depth, is_fine):
    data = datagram(whole={"type": "session_data"}).replace(b'"noise"', b"[" * (depth - 1) + b"]" * (depth - 1))
    assert is_fine == isinstance(parse(data) if is_fine else refusal(data), FeedMessage)


def test_many_that_are_not_deep_are_fine():
    assert parse(datagram(whole={"type": "session_data", "payload": [{}] * 1000})).payload == [{}] * 1000


@pytest.mark.parametrize("place", ["path", "action", "type"])
def test_half_a_character_is_refused(place):
    assert refusal(datagram(**{place: "/data/\ud800x"})) == "bad_text"


def test_half_a_character_deep_down_is_refused():
    nested = "\udcff"
    for _ in range(900):
        nested = [nested]
    assert refusal(datagram(whole={"type": "session_data", "payload": nested})) in {"bad_text", "too_deep"}


def test_a_whole_pair_is_a_character():
    assert parse(datagram(whole={"type": "session_log", "payload": "😀"})).payload == "😀"


# Refusals: keys and types


@pytest.mark.parametrize("key", ["id", "time", "type", "payload", "path", "timestamp", "action", "action_ts", "plot"])
def test_nothing_may_be_missing(key):
    data = (
        datagram(key) if key != "type" else datagram(whole={"kind": "data_file"}).replace(b'"type": "data', b'"t": "d')
    )
    assert refusal(data) == "missing_key"


@pytest.mark.parametrize("value", [None, True, 1, 1.5, [], {}])
@pytest.mark.parametrize("key", ["id", "type"])
def test_texts_of_the_message_are_texts(key, value):
    assert refusal(datagram(whole={key: value})) == "wrong_type"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("path", [None, True, 1, ["/data/x"], {}]),
        ("timestamp", [None, True, "1795392000", [], {}]),
        ("action", [True, 1, [], {}]),
        ("action_ts", [True, "x", "", "1e9", "-1795392000", "1795392000\n", [], {}]),
        ("plot", [None, "no", 2, [], {}]),
        ("format", [1, True, [], {}]),
        ("archive_name", [None, 1, [], {}]),
    ],
)
def test_what_is_said_of_a_file_has_its_type(key, values):
    for value in values:
        assert refusal(datagram(**{key: value})) == "wrong_type"


@pytest.mark.parametrize("payload", [None, "x", 1, [], ["path"]])
@pytest.mark.parametrize("kind", ["data_file", "g3_file", "metadata"])
def test_what_is_said_of_a_file_is_an_object(kind, payload):
    assert refusal(datagram(whole={"type": kind, "payload": payload})) == "wrong_type"


@pytest.mark.parametrize("value", [None, True, "1795392000", [], {}])
def test_the_time_is_a_number(value):
    assert refusal(datagram(whole={"time": value})) == "wrong_type"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0, -1.5, 9999, 1e11, 2**63])
def test_the_time_is_one(value):
    assert refusal(datagram(whole={"time": value})) == "bad_time"
    assert refusal(datagram(timestamp=value)) == "bad_time"
    assert refusal(datagram(action_ts=value)) == "bad_time"


def test_the_time_is_not_beyond_all_bounds():
    assert refusal(datagram().replace(b"1795392003.25", b"1e999")) == "bad_time"


@pytest.mark.parametrize("kind", ["", "other", "DATA_FILE", "__class__", "data_file "])
def test_unknown_types(kind):
    assert refusal(datagram(whole={"type": kind})) == "unknown_type"


@pytest.mark.parametrize("kind", ["start", "stop", "log", "general", "backend_error"])
def test_what_is_for_others_is_no_mistake(kind):
    assert parse(datagram(whole={"type": kind, "payload": "whatever"})) is None


@pytest.mark.parametrize("name", ["", "other", "Smurf", "../smurf"])
def test_unknown_archives(name):
    assert refusal(datagram(archive_name=name)) == "unknown_archive"


# Refusals: who wants to leave his folder

ESCAPES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/x",
    ".x",
    "a b",
    "a\nb",
    "a\n",
    "a\0",
    "a;b",
    "$(x)",
    "`x`",
    "a|b",
    "a&b",
    "*",
    "a'b",
    'a"b',
    "a\\b",
    "~",
    "ä",
    "\u202ea",
    "x" * 101,
]


@pytest.mark.parametrize("text", ESCAPES)
def test_publishers_have_plain_names(text):
    assert refusal(datagram(whole={"id": text})) == "bad_publisher_id"


@pytest.mark.parametrize("text", ESCAPES)
def test_actions_have_plain_names(text):
    assert refusal(datagram(action=text)) == "bad_action"


@pytest.mark.parametrize("text", ["crate1slot2", "smurf-srv20", "a.b", "STREAMER:x", "a+b_c", "X" * 100])
def test_all_plain_names_are_allowed(text):
    assert f"/{text}/" in parse(datagram(whole={"id": text})).remote_path
    assert f"_{text}/" in parse(datagram(action=text)).remote_path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "data/x",
        "./x",
        "~/x",
        "/",
        "//",
        "/data/",
        "/data/x/",
        "/data/x/.",
        "/data/..",
        "/data/../etc/passwd",
        "/../etc/passwd",
        "/data/smurf_data/../../etc/passwd",
        "/data/x\0.txt",
        "/data/x\n.txt",
        "/data/x\r",
        "/data/\x1bx",
        "/data/x\x7f",
        "/data/\u202etxt.exe",
        "/data/\u200bx",
        "/data/a\u2028b",
        "/data/$(reboot)",
        "/data/`reboot`",
        "/data/a;b",
        "/data/a|b",
        "/data/a&b",
        "/data/a>b",
        "/data/a<b",
        "/data/a'b",
        '/data/a"b',
        "/data/a\\b",
        "/data/*",
        "/data/a?b",
        "/data/[ab]",
        "/data/{a,b}",
        "/data/(a)",
        "/data/a!b",
        "/data/-rf",
        "/data/~root/x",
        "/data/a -e sh",
        "/data/a ~b",
        f"/data/{'a' * 256}",
        f"/data/{'ä' * 128}",
        "/a" * 2048,
        "/ä" * 1366,
        "file:///data/x",
    ],
)
def test_a_path_is_no_more_than_one(path):
    assert refusal(datagram(path=path)) == "bad_path"
    assert refusal(datagram(whole={"payload": {**TIMESTREAM, "path": path}})) == "bad_path"


def test_the_suffix_does_not_make_a_name_too_long():
    assert refusal(datagram(path=f"/data/{'a' * 254}", format="npy")) == "bad_path"


def test_looking_at_a_path_is_quick_whatever_it_is():
    # A pattern that tries all ways to divide it would take longer than the test may.
    assert refusal(datagram(path="/a" * 20_000 + "\n")) == "bad_path"
    assert refusal(datagram(action="a" * 40_000 + "!")) == "bad_action"


# Whatever comes

texts = st.text() | st.sampled_from([*ESCAPES, PAYLOAD["path"], "smurf", "timestreams", "npy", "a" * 300])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8)
kinds = st.sampled_from(["data_file", "g3_file", "session_data", "session_log", "metadata"])


def assert_parsed_or_refused(data):
    try:
        found = parse(data)
    except RefusedError as refused:
        reason = refused.reason
    else:
        json.dumps(found.whole if isinstance(found, FeedMessage) else found.path, ensure_ascii=False).encode()
        return found
    assert reason in REASONS
    return None


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'{"type": []}')
def test_any_bytes_are_parsed_or_refused(data):
    assert_parsed_or_refused(data)


@given(values)
def test_any_json_is_parsed_or_refused(value):
    assert_parsed_or_refused(json.dumps(value).encode())


@given(
    st.dictionaries(st.sampled_from(sorted(PAYLOAD)), values),
    st.dictionaries(st.sampled_from(sorted(WHOLE)), values),
    kinds,
)
def test_any_message_is_parsed_or_refused(payload, whole, kind):
    found = assert_parsed_or_refused(datagram(whole={"type": kind, **whole}, **payload))
    if isinstance(found, Announcement):
        assert ".." not in found.path.split("/")
        assert not set(found.remote_path) & set("\0\n;$`'\"|&*")


@given(st.binary(min_size=1, max_size=4), st.integers(0, 300))
def test_a_damaged_message_is_parsed_or_refused(bits, where):
    data = bytearray(datagram())
    data[where : where + len(bits)] = bits
    assert_parsed_or_refused(bytes(data))


def test_a_simulated_day_is_understood(tmp_path):
    plan = Plan(folder="/data", start=1_795_392_000.0, streams=("crate1slot2",))
    found = [parse(message.datagram(plan.start, number)) for number, message in enumerate(day(plan))]
    assert {type(each) for each in found} == {Announcement, FeedMessage}
