"""A model of publishers with numbered messages, a network that fails, and recorders that decide by `Streams`.

It keeps the books: what was published, what every recorder has on its disk, and what nobody can have any more.
"""

import itertools
from collections import deque

from ocs.agents.aggregator.streams import Fetched, Lost, Streams

ROOT = "observatory"
BATCH = 3  # messages in an answer
LISTED = 2  # losses of a run that an agent lists
KEPT = 12  # messages that an agent keeps, before it gives up the oldest


class Publisher:
    """An agent: numbers its messages, and keeps them until every recorder that it knows has them."""

    def __init__(self, world, name):
        self.world = world
        self.address = f"{ROOT}.{name}"
        self.runs = itertools.count(1)
        self.kept = {}  # run → {number: (when, payload)}, what is on the disk of earlier runs too
        self.saved = {}  # run → the number after the last that is on the disk
        self.lost = []
        self.recorders = {}  # recorder → {run: number}
        self.vanished = set()  # (run, number): died with the agent
        self.given_up = set()
        self.published = {}  # (run, number) → when
        self.dropped = []  # (run, number), and which recorders were known when all of them had it
        self.linked = True
        self.start()

    def start(self):
        self.run = f"{next(self.runs)}"
        self.next = 1
        self.handed = 0
        self.kept[self.run] = {}
        self.outbox = deque()

    def publish(self):
        number, self.next = self.next, self.next + 1
        self.published[self.run, number] = self.world.now
        self.kept[self.run][number] = self.world.now, f"{self.address} {self.run} {number}".encode()
        self.outbox.append(number)
        self.drop_known()
        self.bound()

    def bound(self):
        while sum(map(len, self.kept.values())) > KEPT:
            run = next(run for run, messages in self.kept.items() if messages)
            number = min(self.kept[run])
            when, _ = self.kept[run].pop(number)
            self.given_up.add((run, number))
            last = self.lost[-1] if self.lost else None
            if last and last[0] == run and last[2] == number:
                last[2], last[4] = number + 1, when
                last[5]["feed"] += 10
            else:
                self.lost.append([run, number, number + 1, when, when, {"feed": 10}])
                self.merge(run)

    def merge(self, run):
        """Have few entries of a run; one may then span numbers that are not lost."""
        entries = [entry for entry in self.lost if entry[0] == run]
        if len(entries) > LISTED:
            first, second = entries[:2]
            self.lost.remove(second)
            first[2], first[4] = second[2], second[4]
            first[5]["feed"] += second[5]["feed"]

    def flush(self):
        """Hand what waits to the connection."""
        while self.linked and self.outbox:
            self.handed = self.outbox.popleft()
            self.world.send(self, "event", self.envelope() | {"seq": self.handed})

    def envelope(self):
        return {"agent_address": self.address, "session_id": self.run}

    def beat(self):
        if self.linked:
            self.world.send(self, "heartbeat", self.envelope() | {"last_seq": self.handed})

    def save(self):
        self.saved[self.run] = self.next

    def restart(self, *, kill):
        if kill:
            for number in [n for n in self.kept[self.run] if n >= self.saved.get(self.run, 1)]:
                del self.kept[self.run][number]
                self.vanished.add((self.run, number))
        self.linked = False
        self.world.drop_calls(self)
        self.start()
        self.linked = True

    def drop_known(self):
        for run, messages in list(self.kept.items()):
            if not self.recorders:
                continue
            everybody_has = min(have.get(run, 1) for have in self.recorders.values())
            for number in [n for n in messages if n < everybody_has]:
                del messages[number]
                self.drop(run, number)
            if not messages and run != self.run:
                del self.kept[run]

    def drop(self, run, number):
        self.dropped.append(((run, number), frozenset(self.recorders)))

    def dropped_unmet(self, recorder):
        """Return what was dropped before a recorder was met."""
        return {message for message, known in self.dropped if recorder not in known}

    def drop_known_losses(self):
        for entry in list(self.lost):
            run, first, end = entry[:3]
            if all(have.get(run, 1) >= end for have in self.recorders.values()):
                self.lost.remove(entry)
                for number in range(first, end):
                    self.drop(run, number)

    def replay(self, body):
        have = self.recorders.setdefault(body["recorder"], {})
        if "run" not in body:
            have.update({run: max(number, have.get(run, 1)) for run, number in body["have"].items()})
            self.drop_known()
            self.drop_known_losses()
            return {"session_id": self.run, "runs": self.offers(), "lost": self.losses(body["have"])}
        run, start = body["run"], body["from"]
        if run not in self.offers():
            return {"run": run, "messages": [], "next": start, "unknown": True}
        rest = [[n, *m] for n, m in sorted(self.kept.get(run, {}).items()) if n >= start and m[0] >= body["since"]]
        end = rest[BATCH][0] if len(rest) > BATCH else max(self.offers()[run][1], start)
        return {"run": run, "messages": rest[:BATCH], "next": end}

    def losses(self, have):
        return [[*entry[:5], dict(entry[5])] for entry in self.lost if entry[2] > have.get(entry[0], 0)]

    def offers(self):
        """Return what is kept of each run, those included of which there are but losses to tell some recorder."""
        offers = {run: [min(messages, default=self.end(run)), self.end(run)] for run, messages in self.kept.items()}
        return {entry[0]: [entry[2], entry[2]] for entry in self.lost} | offers

    def end(self, run):
        return self.next if run == self.run else max(self.kept[run], default=0) + 1


class Recorder:
    """A recorder: `Streams`, a journal of what has been taken, and a disk that has a part of it."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.since = world.now
        self.disk = []  # what the journal has durably: (key, number after), message or Lost
        self.seen = set()  # (address, run, number) that were given out, as this life knows
        self.saw = set()  # events that came in this life, whether taken or not
        self.linked = False
        self.begin()

    def begin(self):
        positions = {}
        for key, end, _ in self.disk:
            positions[key] = max(end, positions.get(key, 1))
        self.positions = positions
        self.streams = Streams(self.name, root=ROOT, since=self.since, positions=positions)
        self.journal = []
        self.in_flight = {}
        self.inbound = {}  # publisher's address → deliveries, in order
        self.seen.clear()
        self.wanted = {}
        self.saw.clear()
        self.link(up=True)

    def crash(self):
        self.link(up=False)
        self.begin()

    def link(self, *, up):
        if up == self.linked:
            return
        self.linked = up
        if up:
            self.streams.link_up()
        else:
            self.streams.link_down()
            self.inbound = {}
            self.in_flight = {}

    def turn(self):
        if not self.linked:
            assert not self.streams.requests(self.world.now, room=self.world.room)
            return
        self.streams.tick(self.world.now)
        for request in self.streams.requests(self.world.now, room=self.world.room):
            self.check_request(request)
            self.in_flight[request.agent] = [request, False]

    def check_request(self, request):
        assert request.agent not in self.in_flight, "two calls of one agent"
        assert self.world.room or "run" not in request.body, "a fetch without room"
        for run, number in request.body.get("have", {}).items():
            assert number <= self.positions.get((request.agent, run), 1), "more acknowledged than is on the disk"
        fetches = [r for r, _ in self.in_flight.values() if "run" in r.body]
        assert len(fetches) + ("run" in request.body) <= 4

    def serve(self, publisher):
        """Have the publisher answer, if it was asked; the answer is on its way then."""
        call = self.in_flight.get(publisher.address)
        if call and not call[1]:
            if not publisher.linked:
                self.fail(publisher)
            else:
                call[1] = True
                reply = publisher.replay(call[0].body)
                self.inbound.setdefault(publisher.address, deque()).append(("reply", (call[0], reply)))

    def fail(self, publisher):
        if publisher.address in self.in_flight:
            request, _ = self.in_flight.pop(publisher.address)
            self.take(self.streams.failed(request, "timeout"))

    def deliver(self, publisher):
        queue = self.inbound.get(publisher.address)
        if self.linked and queue:
            kind, content = queue.popleft()
            getattr(self, f"on_{kind}")(content)

    def on_event(self, feed):
        key, number = (feed["agent_address"], feed["session_id"]), feed["seq"]
        self.saw.add((*key, number))
        self.know(key, number, number)
        if self.streams.accept(feed, room=self.world.room):
            assert self.world.room
            self.journal.append((key, number + 1, f"{feed['agent_address']} {feed['session_id']} {number}".encode()))

    def know(self, key, top, wanted):
        """Note that numbers were given out, but not of a first meeting, when nobody can tell how old they are."""
        is_known = any(address == key[0] for address, _ in [*self.positions, *self.wanted])
        first = self.wanted.setdefault(key, self.positions.get(key, 1 if is_known else wanted))
        self.seen.update((*key, number) for number in range(first, top + 1))

    def on_heartbeat(self, feed):
        self.know((feed["agent_address"], feed["session_id"]), feed["last_seq"], feed["last_seq"] + 1)
        self.streams.heartbeat(feed, self.world.now)

    def on_reply(self, content):
        request, reply = content
        call = self.in_flight.get(request.agent)
        if call and call[0] is request:
            del self.in_flight[request.agent]
        self.take(self.streams.answered(request, reply))

    def take(self, results):
        for result in results:
            if isinstance(result, Fetched):
                self.journal.append((result.key, result.seq + 1, result.payload))
            else:
                assert isinstance(result, Lost)
                # The note; it moves no position by itself, `moved` does.
                self.journal.append(((result.agent, result.session_id), 1, result))
        self.journal += [(key, number, None) for key, number in self.streams.moved()]

    def sync(self, part=1.0):
        """Bring the older part of what was taken to the disk."""
        count = round(len(self.journal) * part)
        while 0 < count < len(self.journal) and isinstance(self.journal[count - 1][2], Lost):
            count += 1  # what follows moves the stream on: where they are torn apart, the loss is noted once more
        done, self.journal = self.journal[:count], self.journal[count:]
        self.disk += done
        news = {}
        for key, end, _ in done:
            news[key] = max(end, news.get(key, 1))
        for key, end in news.items():
            self.positions[key] = max(end, self.positions.get(key, 1))
        self.streams.durable(news)

    # The books

    def recorded(self):
        """Return the numbers on the disk by stream, and the losses on it."""
        numbers, losses = {}, {}
        for key, end, what in self.disk:
            if isinstance(what, Lost):
                losses.setdefault(key, []).extend(range(what.first, what.end))
            elif what is not None:
                assert what == f"{key[0]} {key[1]} {end - 1}".encode()
                numbers.setdefault(key, []).append(end - 1)
        return numbers, losses

    def balance(self, publisher):
        """Compare what was published with what is recorded or known to be lost."""
        numbers, losses = self.recorded()
        for run in {run for run, _ in publisher.published}:
            key = publisher.address, run
            taken, lost = numbers.get(key, []), losses.get(key, [])
            assert taken == sorted(set(taken)), f"{key}: out of order or twice: {taken}"
            assert lost == sorted(set(lost)), f"{key}: lost twice: {lost}"
            assert not set(taken) & set(lost), f"{key}: recorded and lost"
            everything = {n: when for (r, n), when in publisher.published.items() if r == run}
            assert set(taken) | set(lost) <= set(everything)
            for number in set(everything) - set(taken) - set(lost):
                self.excuse(publisher, run, number, everything[number])
            for number in lost:
                assert self.is_gone(publisher, run, number), f"{key}: {number} is there, but was called lost"

    def excuse(self, publisher, run, number, when):
        message = publisher.address, run, number
        unmet = publisher.dropped_unmet(self.name)
        is_old = when < self.since and message not in self.saw
        is_unmet = (run, number) in unmet and message not in self.saw
        died = (run, number) in publisher.vanished and message not in self.seen
        assert is_old or is_unmet or died, f"{self.name}: {message} is neither recorded nor known to be lost"

    def is_gone(self, publisher, run, number):
        return (run, number) in publisher.vanished | publisher.given_up | publisher.dropped_unmet(self.name)


class World:
    """Publishers and recorders, and everything that can happen to them."""

    def __init__(self, publishers=3, recorders=1):
        self.now = 1000.0
        self.room = True
        self.recorders = []
        self.publishers = [Publisher(self, f"agent-{number}") for number in range(publishers)]
        for _ in range(recorders):
            self.add_recorder()

    def add_recorder(self):
        self.recorders.append(Recorder(self, f"recorder-{len(self.recorders)}"))

    def send(self, publisher, kind, content):
        for recorder in self.recorders:
            if recorder.linked:
                recorder.inbound.setdefault(publisher.address, deque()).append((kind, content))

    def cut(self, publisher):
        """What was on its way from a publisher is gone, and so are calls."""
        self.drop_calls(publisher)
        for recorder in self.recorders:
            recorder.inbound.pop(publisher.address, None)

    def drop_calls(self, publisher):
        for recorder in self.recorders:
            queue = recorder.inbound.get(publisher.address, deque())
            recorder.inbound[publisher.address] = deque(d for d in queue if d[0] != "reply")
            recorder.fail(publisher)

    def pass_time(self, seconds):
        self.now += seconds
        for recorder in self.recorders:
            recorder.turn()

    def settle(self, seconds=60.0):
        """Let everything work; then compare the books."""
        self.room = True
        for publisher in self.publishers:
            publisher.linked = True
        for recorder in self.recorders:
            recorder.link(up=True)
        for _ in range(int(seconds / 0.25)):
            for publisher in self.publishers:
                publisher.flush()
                publisher.beat()
            self.move_everything()
            self.pass_time(0.25)
        for recorder in self.recorders:
            assert recorder.streams.behind == 0, "somebody starves"
            for publisher in self.publishers:
                recorder.balance(publisher)
        for publisher in self.publishers:
            assert not any(publisher.kept.values()), "kept for nobody"

    def move_everything(self):
        for recorder in self.recorders:
            for publisher in self.publishers:
                recorder.serve(publisher)
                while recorder.inbound.get(publisher.address):
                    recorder.deliver(publisher)
            recorder.sync()
