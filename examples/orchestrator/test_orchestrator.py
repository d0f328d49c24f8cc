"""The example, run for real: a broker, the orchestrator and the worker as processes of their own.

    MESHCTL=/path/to/meshctl python -m pytest examples/orchestrator

Without `MESHCTL` the development build is used. Each test has a mesh of its own in a temporary directory.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

import orchestrator
from mesh.v1.admin_pb2 import GetStatusRequest
from mesh.v1.common_pb2 import ResponseHeader
from mesh.v1.events_pb2 import (
    LEAVE_CAUSE_DISCONNECTED,
    Event,
    EventBatch,
    ListEventsRequest,
    WatchCreated,
    WatchRequest,
    WatchResponse,
)
from mesh.v1.events_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from mesh.v1.locks_pb2 import AcquireLocksRequest, ReleaseLocksRequest
from mesh.v1.messages_pb2 import MESSAGE_INTENT_REQUEST, ListMessagesRequest, SendRequest
from mesh.v1.peers_pb2 import HeartbeatRequest, JoinRequest, LeaveRequest, PeerInfo
from mesh.v1.state_pb2 import GetRequest, Precondition, PutRequest
from mesh_client import Mesh, MeshError, Session, Watch

HERE = Path(__file__).resolve().parent
SCOPE = "example.org/acme/app"
# Generous: the machine may be busy. Nothing here waits for a time to pass, only for things to happen.
SOON = 60.0


class Broker:
    """A broker in a home of its own, and the environment that leads programs to it."""

    def __init__(self, home: Path, program: Path) -> None:
        self.home = home
        self.program = program
        self._serving: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """Its endpoint on the Unix socket."""
        return f"unix://{self.home}/mesh.sock"

    def meshctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the command line."""
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)

    def serve(self, *arguments: str) -> None:
        """Starts it by hand; it is there once a call is answered."""
        log = (self.home / "serve.log").open("ab")
        self._serving = subprocess.Popen([self.program, "serve", *arguments], stdout=log, stderr=log)
        log.close()

    def kill(self, mesh: Mesh) -> None:
        """Kills it, whoever started it."""
        os.kill(mesh.call(mesh.admin.GetStatus, GetStatusRequest()).pid, signal.SIGKILL)
        if self._serving:
            self._serving.wait(SOON)

    def stop(self) -> None:
        """Ends it, if it runs."""
        self.meshctl("stop")
        if self._serving:
            self._serving.kill()
            self._serving.wait(SOON)


class Program:
    """A program of the example, whose output is read as it comes."""

    def __init__(self, directory: Path, script: str, *arguments: str) -> None:
        command = [sys.executable, str(HERE / script), "--scope", SCOPE, *arguments]
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def expect(self, pattern: str) -> re.Match[str]:
        """Waits for a line that holds the pattern."""
        while (line := self._queue.get(timeout=SOON)) is not None:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern!r}:\n" + "\n".join(self.lines))

    def ends_well(self) -> None:
        """Waits for its end."""
        while (line := self._queue.get(timeout=SOON)) is not None:
            self.lines.append(line)
        assert self._process.wait(SOON) == 0, "\n".join(self.lines)

    def interrupt(self) -> int:
        """Ends it as Ctrl-C does, and returns its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(SOON)

    def kill(self) -> None:
        """Makes sure that it is gone."""
        self._process.kill()
        self._process.wait(SOON)


class Observer:
    """Somebody who watches the scope from its first revision on."""

    def __init__(self, mesh: Mesh) -> None:
        self.batches: list[EventBatch] = []
        self._watch = Watch(mesh, WatchRequest(scopes=[SCOPE], start_revision=1))
        self._queue: queue.Queue[EventBatch | Exception] = queue.Queue()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for item in self._watch:
                if item.HasField("events"):
                    self._queue.put(item.events)
        except Exception as error:  # Told to whoever waits.
            self._queue.put(error)

    def wait_for(self, matches: Callable[[Event], object]) -> Event:
        """Waits for the next event that matches."""
        while True:
            batch = self._queue.get(timeout=SOON)
            if isinstance(batch, Exception):
                raise batch
            self.batches.append(batch)
            for event in batch.events:
                if matches(event):
                    return event

    def catch_up(self, revision: int) -> None:
        """Waits until everything up to the revision was seen."""
        while not self.batches or self.batches[-1].revision < revision:
            self.wait_for(lambda event: True)

    def close(self) -> None:
        """Stops watching."""
        self._watch.close()
        self._thread.join(SOON)

    def events(self, kind: str) -> list[Any]:
        """The events of a kind seen so far."""
        return [getattr(e, kind) for batch in self.batches for e in batch.events if e.HasField(kind)]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A mesh of the test's own; nothing runs in it yet."""
    program = Path(os.environ.get("MESHCTL") or HERE.parent.parent / "target/debug/meshctl").absolute()
    assert program.exists(), f"{program} is missing: `cargo build --package meshctl`, or set MESHCTL"
    # Not pytest's directory: the path of a Unix socket has to be short.
    home = Path(tempfile.mkdtemp(prefix="mesh-"))
    monkeypatch.setenv("MESHCTL", str(program))
    monkeypatch.setenv("MESH_HOME", str(home))
    for name in ("MESH_ENDPOINT", "MESH_TOKEN", "MESH_SCOPE", "MESH_CA"):
        monkeypatch.delenv(name, raising=False)
    broker = Broker(home, program)
    yield broker
    broker.stop()
    shutil.rmtree(home)


@pytest.fixture
def mesh(broker: Broker) -> Iterator[Mesh]:
    """A connection to the test's mesh, whose broker is started when it is needed."""
    with Mesh() as mesh:
        yield mesh


def join(mesh: Mesh, name: str, focus: str = "") -> Session:
    """Joins the test's scope under a name."""
    return mesh.join(JoinRequest(scope=SCOPE, name=name, info=PeerInfo(agent_kind="test", focus=focus)))


@pytest.mark.parametrize("by_hand", [True, False], ids=["restarted-by-hand", "restarted-by-its-clients"])
def test_a_task_and_its_reply_survive_the_death_of_the_broker(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """The broker is killed while the worker works, and again while the orchestrator waits for a lock."""
    if by_hand:
        monkeypatch.setenv("MESH_ENDPOINT", broker.socket)  # Nobody starts a broker that was named.
        broker.serve()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    mesh = Mesh()
    rival = join(mesh, "rival", "rebasing the results")
    observer = Observer(mesh)
    lock = AcquireLocksRequest(paths=["RESULTS.md"], ttl=timedelta(minutes=5), reason="rebasing")
    assert rival.call(mesh.locks.AcquireLocks, lock).locks
    # The worker works until the gate opens: `read` waits for somebody to write into the pipe.
    slow = ("sh", "-c", 'read -r go < "$0"; wc -w', str(gate))
    worker = Program(tmp_path, "worker.py", "--name", "wendy", "--tasks", "1", "--", *slow)
    boss = Program(tmp_path, "orchestrator.py", "--name", "boss", "count these four words")
    try:
        worker.expect("task from boss: 'count these four words'")
        broker.kill(mesh)
        gate.write_text("go\n")  # The worker has an answer, and nobody to give it to.
        if by_hand:
            broker.serve()
        boss.expect("wendy replied: '4'")
        left = boss.expect(r"RESULTS.md is locked by rival \('rebasing'\), (\d+) s left; waiting")
        assert 0 < int(left[1]) <= 300
        broker.kill(mesh)
        if by_hand:
            broker.serve()
        rival.call(mesh.locks.ReleaseLocks, ReleaseLocksRequest(paths=["RESULTS.md"]))
        boss.expect("^done$")
        boss.ends_well()
        worker.ends_well()
    finally:
        boss.kill()
        worker.kill()

    check_history(mesh, observer)
    check_own_stream(boss)
    assert (tmp_path / "RESULTS.md").read_text() == "* wendy: 4\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["RESULTS.md", "gate"]
    entry = rival.call(mesh.state.Get, GetRequest(key=orchestrator.OUTCOMES)).entry
    [outcome] = json.loads(entry.value)
    assert (entry.writer, outcome["reply"], outcome["worker"]) == ("boss", "4", "wendy")
    for name in ("boss", "wendy"):
        with join(mesh, name) as again:
            assert again.joined.resumed
            assert again.joined.unread == 0, "everything was acknowledged"
    observer.close()
    rival.leave()
    mesh.close()


def check_history(mesh: Mesh, observer: Observer) -> None:
    """What the observer saw through two deaths of the broker is what happened, once each."""
    every = ListEventsRequest(scopes=[SCOPE], start_revision=1, limit=1000)
    happened = list(mesh.call(mesh.events.ListEvents, every).batches)
    observer.catch_up(happened[-1].revision)
    assert observer.batches == happened
    assert [batch.sequence for batch in happened] == list(range(1, len(happened) + 1))
    task, reply = observer.events("message_sent")
    assert (task.preview, list(task.to), task.intent) == (
        "count these four words",
        ["wendy"],
        MESSAGE_INTENT_REQUEST,
    )
    assert (reply.preview, list(reply.to), reply.reply_to) == ("4", ["boss"], task.message_id)
    # Nobody lost its session: a restart is a non-event.
    assert sorted(joined.peer.name for joined in observer.events("peer_joined")) == ["boss", "rival", "wendy"]
    assert sorted(left.name for left in observer.events("peer_left")) == ["boss", "wendy"]
    first, second = (locked.locks[0] for locked in observer.events("file_locked"))
    assert (first.holder, second.holder) == ("rival", "boss")
    assert first.fencing_token < second.fencing_token


def check_own_stream(boss: Program) -> None:
    """The orchestrator's own watch, begun at its start, had neither gap nor repeat."""
    seen = [int(found[1]) for line in boss.lines if (found := re.match(r"  \[\d+ #(\d+)\]", line))]
    batches = [seen[0]] + [new for last, new in itertools.pairwise(seen) if new != last]
    assert batches == list(range(seen[0], seen[0] + len(batches)))
    assert len([line for line in boss.lines if "message_sent" in line]) == 2


def test_a_worker_that_is_interrupted_leaves(mesh: Mesh, tmp_path: Path) -> None:
    """Ctrl-C while it waits for mail ends it, and the others learn that it left."""
    worker = Program(tmp_path, "worker.py", "--name", "wendy")
    worker.expect("joined example.org/acme/app as wendy")
    assert worker.interrupt() == 130
    observer = Observer(mesh)
    observer.wait_for(lambda event: event.peer_left.name == "wendy")
    observer.close()


def test_a_lock_is_refused_to_a_second_peer_with_its_holder(mesh: Mesh) -> None:
    """The refusal is an ordinary answer that says who, why and how long; later grants have larger tokens."""
    with join(mesh, "amber-fox", "migrating logins") as holder, join(mesh, "blue-owl") as other:
        ask = AcquireLocksRequest(paths=["src/auth/"], ttl=timedelta(seconds=90), reason="moving files")
        [lock] = holder.call(mesh.locks.AcquireLocks, ask).locks
        wants = AcquireLocksRequest(paths=["src/auth/login.rs", "README.md"])
        refused = other.call(mesh.locks.AcquireLocks, wants)
        assert not refused.locks, "all or nothing"
        [conflict] = refused.conflicts
        assert (conflict.path, conflict.lock.path) == ("src/auth/login.rs", "src/auth/")
        assert (conflict.lock.holder, conflict.lock.reason) == ("amber-fox", "moving files")
        assert conflict.holder_focus == "migrating logins"
        assert timedelta() < conflict.lock.remaining.ToTimedelta() <= timedelta(seconds=90)

        with pytest.raises(MeshError) as error:
            other.call(mesh.locks.ReleaseLocks, ReleaseLocksRequest(paths=["src/auth/"]))
        assert (error.value.reason, error.value.metadata["path"]) == ("LOCK_NOT_HELD", "src/auth/")

        holder.call(mesh.locks.ReleaseLocks, ReleaseLocksRequest())
        granted = other.call(mesh.locks.AcquireLocks, AcquireLocksRequest(paths=["src/auth/login.rs"]))
        assert granted.locks[0].fencing_token > lock.fencing_token


def test_refusals_carry_reason_and_metadata(mesh: Mesh) -> None:
    """What a program needs to go on is in the exception."""
    with join(mesh, "amber-fox") as session:
        with pytest.raises(MeshError) as error:
            session.call(mesh.messages.Send, SendRequest(to=["nobody"], body="hello"))
        assert error.value.code is grpc.StatusCode.NOT_FOUND
        assert (error.value.reason, error.value.metadata) == ("PEER_NOT_FOUND", {"name": "nobody"})
        with pytest.raises(MeshError, match=r"^INVALID_FIELD: .*body"):
            session.call(mesh.messages.Send, SendRequest(to=["nobody"]))
    with pytest.raises(MeshError) as error:
        mesh.call(mesh.messages.ListMessages, ListMessagesRequest())
    assert error.value.reason == "SESSION_REQUIRED"


def test_a_repeated_request_gets_the_first_answer(mesh: Mesh) -> None:
    """The request_id makes a repeat harmless, also from a later session of the same peer."""
    observer = Observer(mesh)
    with join(mesh, "blue-owl") as reader:
        request = SendRequest(to=["blue-owl"], body="once")
        with join(mesh, "amber-fox") as session:
            first = session.call(mesh.messages.Send, request)
            assert session.call(mesh.messages.Send, request) == first
        with join(mesh, "amber-fox") as session:
            assert session.call(mesh.messages.Send, request) == first
            request.body = "twice"
            with pytest.raises(MeshError) as error:
                session.call(mesh.messages.Send, request)
            assert error.value.reason == "REQUEST_ID_REUSED"
        inbox = reader.call(mesh.messages.ListMessages, ListMessagesRequest())
        assert [message.body for message in inbox.messages] == ["once"]
    observer.wait_for(lambda event: event.peer_left.name == "blue-owl")
    assert len(observer.events("message_sent")) == 1
    observer.close()


def test_every_write_happens_once_while_brokers_come_and_go(broker: Broker, mesh: Mesh) -> None:
    """Brokers are killed, and stopped as soon as they are there; calls and streams find the next one."""
    rounds, each = 6, 5
    observer = Observer(mesh)
    written: queue.Queue[int] = queue.Queue()
    with join(mesh, "amber-fox") as session:

        def write() -> None:
            new = Precondition(must_not_exist=True)  # A repeat that is not recognised would be refused.
            for number in range(rounds * each):
                session.call(mesh.state.Put, PutRequest(key=str(number), value="x", precondition=new))
                written.put(number)

        with futures.ThreadPoolExecutor() as pool:
            writing = pool.submit(write)
            for number in range(rounds):
                for _ in range(each):
                    written.get(timeout=SOON)
                if number % 2:
                    broker.kill(mesh)
                else:
                    assert broker.meshctl("stop").returncode == 0
            writing.result(SOON)
    observer.wait_for(lambda event: event.peer_left.name == "amber-fox")
    keys = [changed.key for changed in observer.events("state_changed")]
    assert keys == [str(number) for number in range(rounds * each)]
    observer.close()


def test_outcomes_of_many_orchestrators_are_all_remembered(mesh: Mesh) -> None:
    """Compare-and-swap: writers at the same time do not overwrite each other."""
    each, names = 4, ("amber-fox", "blue-owl", "calm-elk")
    sessions = [join(mesh, name) for name in names]
    with futures.ThreadPoolExecutor() as pool:
        outcomes = [
            (session, {"id": f"{n}-{session.peer.name}"}) for session in sessions for n in range(each)
        ]
        versions = list(pool.map(lambda outcome: orchestrator.remember(*outcome), outcomes))
    assert sorted(versions) == list(range(1, each * len(names) + 1))
    entry = sessions[0].call(mesh.state.Get, GetRequest(key=orchestrator.OUTCOMES)).entry
    assert sorted(o["id"] for o in json.loads(entry.value)) == sorted(o["id"] for _, o in outcomes)
    for session in sessions:
        session.leave()


def test_an_ended_session_joins_again_and_a_replaced_one_does_not(mesh: Mesh) -> None:
    """The peer stays the same; but two programs that are one peer must not replace each other for ever."""
    request = JoinRequest(scope=SCOPE, name="amber-fox", resume_key="one conversation")
    session = mesh.join(request)
    token = session.joined.session_token
    mesh.call(mesh.peers.Leave, LeaveRequest(), token)
    assert session.call(mesh.peers.Heartbeat, HeartbeatRequest()).peer.name == "amber-fox"
    assert session.joined.session_token != token

    request.request_id = ""
    with mesh.join(request) as successor:
        with pytest.raises(MeshError) as error:
            session.call(mesh.peers.Heartbeat, HeartbeatRequest())
        assert (error.value.reason, error.value.metadata["cause"]) == ("SESSION_EXPIRED", "REPLACED")
        successor.call(mesh.peers.Heartbeat, HeartbeatRequest())


def test_a_program_that_dies_is_noticed(mesh: Mesh) -> None:
    """Its stream ends with its connection, and the broker tells the others why it is gone."""
    observer = Observer(mesh)
    doomed = Mesh()
    join(doomed, "amber-fox")
    observer.wait_for(lambda event: event.peer_joined.peer.name == "amber-fox")
    doomed.close()
    left = observer.wait_for(lambda event: event.HasField("peer_left"))
    assert left.peer_left.cause == LEAVE_CAUSE_DISCONNECTED
    observer.close()


def test_tcp_needs_the_token(broker: Broker) -> None:
    """On this machine the token of the home is found by itself; a wrong one is refused."""
    broker.serve("--listen", "127.0.0.1:0")
    with Mesh(broker.socket) as mesh:
        endpoints = mesh.call(mesh.admin.GetStatus, GetStatusRequest()).endpoints
    [tcp] = [endpoint for endpoint in endpoints if endpoint.startswith("http://")]
    with Mesh(tcp) as mesh, join(mesh, "amber-fox") as session:
        assert session.peer.scope == SCOPE
    with Mesh(tcp, token="0" * 64) as mesh, pytest.raises(MeshError) as error:
        join(mesh, "blue-owl")
    assert error.value.reason == "UNAUTHENTICATED"


def test_tls_is_trusted_by_the_certificate_in_the_home(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine by itself, elsewhere by MESH_CA."""
    broker.serve("--listen", "127.0.0.1:0", "--tls-self-signed")
    with Mesh(broker.socket) as mesh:
        endpoints = mesh.call(mesh.admin.GetStatus, GetStatusRequest()).endpoints
    [tls] = [endpoint for endpoint in endpoints if endpoint.startswith("https://")]
    with Mesh(tls) as mesh, join(mesh, "amber-fox") as session:
        assert session.peer.scope == SCOPE
    home = Path(os.environ["MESH_HOME"])
    monkeypatch.setenv("MESH_TOKEN", (home / "token").read_text())
    monkeypatch.setenv("MESH_CA", str(home / "tls" / "cert.pem"))
    monkeypatch.setenv("MESH_HOME", str(home / "elsewhere"))
    with Mesh(tls) as mesh, join(mesh, "blue-owl") as session:
        assert session.peer.scope == SCOPE


def test_a_missing_meshctl_is_named(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no broker and no way to start one learns what to do."""
    monkeypatch.setenv("MESHCTL", "no-such-meshctl")
    with Mesh() as mesh, pytest.raises(MeshError, match="cannot run no-such-meshctl to start the broker"):
        mesh.call(mesh.admin.GetStatus, GetStatusRequest())


class ScriptedEvents(EventServiceServicer):
    """A broker's event service that says what it was told to, one list per stream, then goes away."""

    def __init__(self, *streams: list[WatchResponse]) -> None:
        self.requests: list[WatchRequest] = []
        self._streams = iter(streams)

    def Watch(self, request: WatchRequest, context: grpc.ServicerContext) -> Iterator[WatchResponse]:
        """Plays the next stream."""
        self.requests.append(request)
        yield from next(self._streams)
        context.abort(grpc.StatusCode.UNAVAILABLE, "draining")


def item(revision: int, **payload: Any) -> WatchResponse:
    """One item of a stream."""
    return WatchResponse(header=ResponseHeader(incarnation="one", revision=revision), **payload)


def batch(revision: int, sequence: int, before: int) -> WatchResponse:
    """One batch of events."""
    return item(
        revision,
        events=EventBatch(scope=SCOPE, revision=revision, sequence=sequence, prev_revision=before),
    )


@contextlib.contextmanager
def play(*streams: list[WatchResponse]) -> Iterator[tuple[Watch, ScriptedEvents]]:
    """A watch, from revision 5 on, of a scripted broker."""
    scripted = ScriptedEvents(*streams)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_EventServiceServicer_to_server(scripted, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Mesh(f"http://127.0.0.1:{port}", token="any") as mesh:
        yield Watch(mesh, WatchRequest(scopes=[SCOPE], start_revision=5)), scripted
    server.stop(None)


def test_a_watch_resumes_after_the_last_revision_it_saw() -> None:
    """Progress counts, also when it shows nothing."""
    created = item(4, created=WatchCreated(start_revision=5, oldest_revision=1))
    streams = (
        [created, batch(6, 3, 2)],
        [created, batch(9, 4, 6), item(12, progress={})],
        [created, batch(14, 5, 9)],
    )
    seen = []
    with play(*streams) as (watch, scripted):
        for found in watch:
            if found.HasField("events"):
                seen.append(found.events.revision)
            if found.header.revision == 14:
                watch.close()
        assert seen == [6, 9, 14]
        asked = [(request.start_revision, request.incarnation) for request in scripted.requests]
        assert asked == [(5, ""), (7, "one"), (13, "one")]
        assert watch.cursor == 14


@pytest.mark.parametrize(
    "batches",
    [
        [batch(6, 3, 5)],  # Revision 5 was asked for, and is missing.
        [batch(6, 3, 2), batch(9, 5, 8)],
        [batch(6, 3, 2), batch(6, 3, 2)],
    ],
    ids=["gap-at-the-start", "gap", "repeat"],
)
def test_a_watch_notices_a_gap_and_a_repeat(batches: list[WatchResponse]) -> None:
    """It ends with an error rather than pass over what was lost."""
    with play(batches) as (watch, _), pytest.raises(MeshError, match=r"DATA_LOSS: .* a gap or a repeat"):
        for _ in watch:
            pass
