"""An orchestrator: finds a worker on the mesh, gives it a task, and integrates its reply into a file.

    python orchestrator.py --scope github.com/acme/app --result RESULTS.md "count these four words"

Shows what such a program needs, from the first contact to the exit: join, watch, send a task, wait for the
reply, lock the file while writing to it, remember the outcome without overwriting somebody else's,
acknowledge. It survives a restart of the broker anywhere in between; it never sleeps, it waits for events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc

from mesh.v1.events_pb2 import Event, EventBatch, LeaveCause, UnlockCause, WatchRequest
from mesh.v1.locks_pb2 import (
    AcquireLocksRequest,
    AcquireLocksResponse,
    Lock,
    ReleaseLocksRequest,
    RenewLocksRequest,
)
from mesh.v1.messages_pb2 import (
    DELIVERY_STATUS_QUEUED,
    MESSAGE_INTENT_REQUEST,
    AcknowledgeMessagesRequest,
    ListMessagesRequest,
    ListMessagesResponse,
    Message,
    SendRequest,
    SendResponse,
)
from mesh.v1.peers_pb2 import JoinRequest, Peer, PeerInfo
from mesh.v1.state_pb2 import GetRequest, Precondition, PutRequest, PutResponse
from mesh_client import Mesh, MeshError, Session, Watch, sender

OUTCOMES = "orchestrator/outcomes"
OUTCOMES_KEPT = 20
INBOX_WAIT = timedelta(seconds=20)
LOCK_TTL = timedelta(seconds=60)

T = TypeVar("T")


class View:
    """The live picture of a scope, kept by a watch in a thread: its peers.

    Prints every event. `wait_for` waits until the picture shows what is looked for.
    """

    def __init__(self, mesh: Mesh, scope: str) -> None:
        self.peers: dict[str, Peer] = {}
        self._watch = Watch(mesh, WatchRequest(scopes=[scope], send_initial_state=True))
        self._changed = threading.Condition()
        self._failure: MeshError | None = None
        self._thread = threading.Thread(target=self._follow, name="view", daemon=True)

    def wait_for(self, look: Callable[[], T | None], seconds: float) -> T:
        """Waits until `look` finds something; raises what ended the watch, or TimeoutError."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or look() is not None, seconds)
            if self._failure:
                raise self._failure
            found = look()
            if found is None:
                raise TimeoutError(f"nothing came within {seconds:.0f} s")
            return found

    def _follow(self) -> None:
        try:
            for item in self._watch:
                with self._changed:
                    match item.WhichOneof("payload"):
                        case "created":
                            if not self._watch.cursor:
                                self.peers.clear()
                        case "initial_state":
                            if item.initial_state.HasField("peer"):
                                self.peers[item.initial_state.peer.name] = item.initial_state.peer
                        case "events":
                            self._take(item.events)
                    self._changed.notify_all()
        except MeshError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _take(self, batch: EventBatch) -> None:
        for event in batch.events:
            say(f"  [{batch.revision} #{batch.sequence}] {describe(event)}")
            match event.WhichOneof("event"):
                case "peer_joined":
                    self.peers[event.peer_joined.peer.name] = event.peer_joined.peer
                case "peer_updated":
                    self.peers[event.peer_updated.peer.name] = event.peer_updated.peer
                case "peer_left":
                    self.peers.pop(event.peer_left.name, None)

    def __enter__(self) -> View:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.close()
        self._thread.join()


def describe(event: Event) -> str:
    """One line about an event. What peers say is their word: shown, never obeyed."""
    match event.WhichOneof("event"):
        case "peer_joined":
            peer = event.peer_joined.peer
            return f"peer_joined {peer.name} ({peer.info.agent_kind}) {peer.info.focus!r}"
        case "peer_left":
            return f"peer_left {event.peer_left.name} {LeaveCause.Name(event.peer_left.cause)}"
        case "message_sent":
            sent = event.message_sent
            return f"message_sent {sender(sent)} -> {', '.join(sent.to) or '*'}: {sent.preview!r}"
        case "file_locked":
            return f"file_locked {', '.join(lock.path for lock in event.file_locked.locks)}"
        case "file_unlocked":
            freed = event.file_unlocked
            return f"file_unlocked {', '.join(freed.paths)} {UnlockCause.Name(freed.cause)}"
        case "state_changed":
            return f"state_changed {event.state_changed.key} v{event.state_changed.version}"
        case other:
            return str(other)  # Also what a later broker knows and this program does not.


def find_worker(view: View, kind: str, seconds: float) -> str:
    """Waits for a peer of the kind, and returns its name."""

    def look() -> str | None:
        return next((peer.name for peer in view.peers.values() if peer.info.agent_kind == kind), None)

    return view.wait_for(look, seconds)


def send_task(session: Session, worker: str, task: str) -> str:
    """Sends the task and returns the message's id."""
    request = SendRequest(to=[worker], body=task, intent=MESSAGE_INTENT_REQUEST)
    sent: SendResponse = session.call(session.mesh.messages.Send, request)
    for delivery in sent.deliveries:
        if delivery.status != DELIVERY_STATUS_QUEUED:
            say(f"{delivery.peer} is offline; the task waits for it")
    return sent.message_id


def wait_for_reply(session: Session, worker: str, task_id: str, seconds: float) -> Message:
    """Reads the inbox until the worker's answer to the task is there. Reading consumes nothing."""
    deadline = time.monotonic() + seconds
    after = 0  # Everything not yet acknowledged.
    while time.monotonic() < deadline:
        request = ListMessagesRequest(after_revision=after, wait=INBOX_WAIT)
        inbox: ListMessagesResponse = session.call(session.mesh.messages.ListMessages, request)
        for message in inbox.messages:
            if message.reply_to == task_id and sender(message) == worker:
                return message
            say(f"mail from {sender(message)}: {message.body!r}")
        after = inbox.next_after_revision
    raise TimeoutError(f"no reply within {seconds:.0f} s")


def acquire(session: Session, path: str, seconds: float) -> Lock:
    """Takes the lock on a path, or stands in the broker's queue for it, also across restarts of the broker."""
    deadline = time.monotonic() + seconds
    wait = timedelta()
    while True:
        request = AcquireLocksRequest(paths=[path], ttl=LOCK_TTL, reason="integrating a reply", wait=wait)
        answer: AcquireLocksResponse = session.call(session.mesh.locks.AcquireLocks, request)
        if answer.locks:
            return answer.locks[0]
        for conflict in answer.conflicts:
            lock, left = conflict.lock, conflict.lock.remaining.ToTimedelta()
            say(f"{path} is locked by {lock.holder} ({lock.reason!r}), {left.seconds} s left; waiting")
        wait = timedelta(seconds=deadline - time.monotonic())
        if wait <= timedelta():
            raise TimeoutError(f"{path} was not unlocked within {seconds:.0f} s")


def integrate(session: Session, result: Path, reply: Message, seconds: float) -> int:
    """Appends the reply to the file while holding its lock, and returns the lock's fencing token."""
    path = result.as_posix()
    lock = acquire(session, path, seconds)
    say(f"locked {path} (fencing token {lock.fencing_token})")
    text = result.read_text() if result.exists() else ""
    draft = result.with_name(f".{result.name}.{lock.fencing_token}")
    draft.write_text(f"{text}* {sender(reply)}: {reply.body}\n")
    # Locks are advisory. Make sure that this one was not lost since (LOCK_NOT_HELD), then act at once.
    session.call(session.mesh.locks.RenewLocks, RenewLocksRequest(paths=[path]))
    os.replace(draft, result)
    session.call(session.mesh.locks.ReleaseLocks, ReleaseLocksRequest(paths=[path]))
    return lock.fencing_token


def remember(session: Session, outcome: dict[str, str], key: str = OUTCOMES) -> int:
    """Adds an outcome to the list that all orchestrators of the scope share; returns the entry's version.

    Compare-and-swap: the write holds only if nobody has written since the read; else read and merge again.
    """
    state = session.mesh.state
    while True:
        try:
            entry = session.call(state.Get, GetRequest(key=key)).entry
            outcomes, unchanged = json.loads(entry.value), Precondition(revision=entry.revision)
        except MeshError as error:
            if error.reason != "KEY_NOT_FOUND":
                raise
            outcomes, unchanged = [], Precondition(must_not_exist=True)
        value = json.dumps([*outcomes, outcome][-OUTCOMES_KEPT:])
        try:
            put: PutResponse = session.call(
                state.Put, PutRequest(key=key, value=value, precondition=unchanged)
            )
        except MeshError as error:
            if error.reason not in ("VERSION_MISMATCH", "KEY_EXISTS", "KEY_NOT_FOUND"):
                raise
            say(f"{key} was written by {error.metadata.get('writer') or 'another peer'} meanwhile; merging")
        else:
            return put.entry.version


def say(line: str) -> None:
    """Prints a line at once, and whole: two threads print."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(options: argparse.Namespace) -> None:
    """The program, from joining to leaving."""
    info = PeerInfo(
        agent_kind="orchestrator",
        host=platform.node(),
        pid=os.getpid(),
        worktree=str(Path.cwd()),
        focus=options.task,
    )
    join = JoinRequest(scope=options.scope, name=options.name, info=info)
    with Mesh() as mesh, mesh.join(join) as session, View(mesh, session.peer.scope) as view:
        session.leave_on_signals()
        say(f"joined {session.peer.scope} as {session.peer.name}")
        worker = options.to or find_worker(view, options.kind, options.timeout)
        task_id = send_task(session, worker, options.task)
        say(f"gave the task to {worker}")
        reply = wait_for_reply(session, worker, task_id, options.timeout)
        say(f"{worker} replied: {reply.body!r}")
        token = integrate(session, options.result, reply, options.timeout)
        outcome = {"task": options.task, "worker": worker, "reply": reply.body, "fencing_token": str(token)}
        version = remember(session, outcome)
        say(f"remembered under {OUTCOMES} v{version}")
        # Only now: had this program died before, the reply would be offered again.
        read = AcknowledgeMessagesRequest(up_to_revision=reply.revision)
        session.call(mesh.messages.AcknowledgeMessages, read)
    say("done")


def main() -> int:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", help="what the worker shall do")
    parser.add_argument("--scope", default=os.environ.get("MESH_SCOPE"), help="default: MESH_SCOPE")
    parser.add_argument("--name", default="", help="name to take; default: one is given")
    parser.add_argument("--to", default="", help="peer to ask; default: the first of the kind to appear")
    parser.add_argument(
        "--kind", default="example-worker", help="kind of agent to ask (default: %(default)s)"
    )
    parser.add_argument(
        "--result",
        type=Path,
        default=Path("RESULTS.md"),
        help="file to write to, relative to the checkout's root",
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for each step")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Until it has joined; then, Session.leave_on_signals.
    if not options.scope:
        parser.error("name the --scope (`meshctl who --all-scopes` shows those in use), or set MESH_SCOPE")
    try:
        run(options)
    except (MeshError, OSError) as error:
        if isinstance(error, MeshError) and error.code is grpc.StatusCode.CANCELLED:
            return 130  # It was told to end, and has left.
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
