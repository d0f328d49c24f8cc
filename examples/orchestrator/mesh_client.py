"""A small client of `mesh.v1`: copy it, and adapt it to your program.

It adds to the generated stubs what every client needs: finding or starting the broker, credentials, errors
as exceptions, safe retries, a session that stays alive, and a stream of events that survives a restart of the
broker. Any RPC of the contract goes through `call`: `mesh.call(mesh.locks.ListLocks, ListLocksRequest())`.

The module `mesh` is the package of the generated stubs, which is why this one has another name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from mesh.v1.admin_pb2 import GetStatusRequest
from mesh.v1.admin_pb2_grpc import AdminServiceStub
from mesh.v1.events_pb2 import (
    EVENT_TYPE_MESSAGE_SENT,
    EventBatch,
    EventFilter,
    MessageSent,
    WatchRequest,
    WatchResponse,
)
from mesh.v1.events_pb2_grpc import EventServiceStub
from mesh.v1.locks_pb2_grpc import LockServiceStub
from mesh.v1.messages_pb2 import Message
from mesh.v1.messages_pb2_grpc import MessageServiceStub
from mesh.v1.peers_pb2 import JoinRequest, JoinResponse, LeaveRequest, Peer
from mesh.v1.peers_pb2_grpc import PeerServiceStub
from mesh.v1.state_pb2_grpc import StateServiceStub

# How long the broker may take to answer, on top of the time that the request itself asks it to wait.
ANSWER_WITHIN = 15.0
# Names of this machine: what is in the own home goes to no other.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# How long one try waits for a connection: the broker just found may be gone, and need another start.
CONNECT_WITHIN = 0.5
# How long a program that was told to end waits for a broker that is away.
LEAVE_WITHIN = 2.0
# The least time between two tries while the broker is away.
RETRY_PAUSE = 0.05

# Over a Unix socket grpcio would send the socket's path as :authority, which HTTP/2 servers refuse.
SOCKET_AUTHORITY = ("grpc.default_authority", "localhost")
CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    # A restarted broker is found at once; grpcio's own delays grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    # The broker takes the end of a connection for the end of its program, so each client has its own.
    ("grpc.use_local_subchannel_pool", 1),
    # A peer whose machine is gone closes no connection: ask whether it is there.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


class MeshError(Exception):
    """A call was refused, or the broker cannot be reached.

    `reason` is a value of `mesh.v1.ErrorReason` without its prefix, empty when the broker did not answer;
    `metadata` is what a program needs to go on, described at each reason.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.retry_after = 0.0

    @classmethod
    def of(cls, error: grpc.RpcError) -> MeshError:
        """Reads the rich error details of a failed call."""
        decoded = cls(error.code(), error.details() or "")
        call: Any = error  # What grpcio raises is a call as well.
        status = rpc_status.from_call(call)
        for detail in status.details if status else ():
            if detail.Is(ErrorInfo.DESCRIPTOR):
                info = ErrorInfo.FromString(detail.value)
                decoded.reason, decoded.metadata = info.reason, dict(info.metadata)
            elif detail.Is(RetryInfo.DESCRIPTOR):
                delay = RetryInfo.FromString(detail.value).retry_delay
                decoded.retry_after = delay.ToTimedelta().total_seconds()
        return decoded

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {super().__str__()}"


def closed() -> MeshError:
    """The error of whoever waits on a connection that this program itself has closed."""
    return MeshError(grpc.StatusCode.CANCELLED, "the connection was closed")


def sender(message: Message | MessageSent) -> str:
    """The name of the peer that sent a message; the field is called `from`, which is a keyword of Python."""
    return str(getattr(message, "from"))


class Mesh:
    """One connection to a broker, shared by any number of threads, and its services.

    Without an endpoint (argument or `MESH_ENDPOINT`) it is the user's own broker, which is started when it is
    away. `patience` is for how many seconds calls and streams wait for a broker that went away.
    """

    def __init__(self, endpoint: str = "", token: str = "", patience: float = 30.0) -> None:
        endpoint = endpoint or os.environ.get("MESH_ENDPOINT", "")
        self._home = Path(os.environ.get("MESH_HOME") or Path.home() / ".mesh")
        self._autostart = not endpoint
        self.patience = patience
        self._closed = threading.Event()
        self.endpoint = endpoint or f"unix://{self._home}/mesh.sock"
        target, self._credentials = self._resolve(token)
        if self.endpoint.startswith("https:"):
            trusted = grpc.ssl_channel_credentials(self._authorities())
            self._channel = grpc.secure_channel(target, trusted, options=CHANNEL_OPTIONS)
        elif self.endpoint.startswith("http:"):
            self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, options=[*CHANNEL_OPTIONS, SOCKET_AUTHORITY])
        self.admin = AdminServiceStub(self._channel)
        self.events = EventServiceStub(self._channel)
        self.locks = LockServiceStub(self._channel)
        self.messages = MessageServiceStub(self._channel)
        self.peers = PeerServiceStub(self._channel)
        self.state = StateServiceStub(self._channel)

    def _resolve(self, token: str) -> tuple[str, list[tuple[str, str]]]:
        """The endpoint in grpcio's words, and the metadata that proves who calls."""
        url = urlsplit(self.endpoint)
        if url.scheme == "unix":
            return f"unix:{url.path}", []  # The kernel tells the broker which user calls.
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ValueError(f"{self.endpoint} is neither unix:///path nor http(s)://host:port")
        token = token or os.environ.get("MESH_TOKEN", "")
        if not token and url.hostname in LOOPBACK:
            token = (self._home / "token").read_text()
        return url.netloc, [("authorization", f"Bearer {token.strip()}")]

    def _authorities(self) -> bytes | None:
        """What a certificate of the broker's is trusted by; none for what grpcio trusts."""
        own = self._home / "tls" / "cert.pem"  # Made by a broker on this machine.
        if named := os.environ.get("MESH_CA"):
            return Path(named).read_bytes()
        if urlsplit(self.endpoint).hostname in LOOPBACK and own.exists():
            return own.read_bytes()
        return None

    def call(self, method: Callable[..., Any], request: Any, session_token: str = "") -> Any:
        """Makes one call and returns its response; repeats it while the broker is away.

        Gives the request a request_id if it takes one and has none, so that a repeat changes nothing twice.
        Raises MeshError.
        """
        fields = request.DESCRIPTOR.fields_by_name
        if "request_id" in fields and not request.request_id:
            request.request_id = str(uuid.uuid4())
        timeout = ANSWER_WITHIN
        if "wait" in fields:
            timeout += request.wait.ToTimedelta().total_seconds()
        deadline = time.monotonic() + self.patience + timeout - ANSWER_WITHIN
        while True:
            try:
                return self.begin(method, request, session_token, timeout)
            except grpc.RpcError as error:
                self.wait_for_broker(MeshError.of(error), deadline)

    def begin(
        self, method: Callable[..., Any], request: Any, session_token: str, timeout: float | None = None
    ) -> Any:
        """Makes one try of a call, or opens a stream. Raises grpc.RpcError; MeshError once closed."""
        try:
            return method(request, timeout=timeout, metadata=self._metadata(session_token))
        except ValueError:  # What grpcio says of a closed channel.
            raise closed() from None

    def _metadata(self, session_token: str = "") -> list[tuple[str, str]]:
        return self._credentials + ([("mesh-session", session_token)] if session_token else [])

    def wait_for_broker(self, refusal: MeshError, deadline: float) -> None:
        """Waits until a call that was refused so may be repeated; raises the refusal if it may not be."""
        transient = refusal.code is grpc.StatusCode.UNAVAILABLE
        pause = max(refusal.retry_after, RETRY_PAUSE)
        if self.closed or not transient or time.monotonic() + pause > deadline:
            raise closed() if self.closed else refusal
        if self._closed.wait(pause):
            raise closed()
        if self._autostart:
            self._start_broker()
        try:
            left = min(CONNECT_WITHIN, max(0.0, deadline - time.monotonic()))
            metadata = self._metadata()
            self.admin.GetStatus(GetStatusRequest(), timeout=left, metadata=metadata, wait_for_ready=True)
        except grpc.RpcError:
            if time.monotonic() > deadline:
                raise refusal from None

    def _start_broker(self) -> None:
        """Any command of meshctl finds or starts the broker, one broker however many ask at the same time."""
        program = os.environ.get("MESHCTL", "meshctl")
        unavailable = grpc.StatusCode.UNAVAILABLE
        command = [program, "--home", str(self._home), "--scope", "global", "who", "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MeshError(unavailable, f"cannot run {program} to start the broker: {error}") from error
        if done.returncode != 0:
            raise MeshError(unavailable, f"{program} cannot start the broker: {done.stderr.strip()}")

    def join(self, request: JoinRequest) -> Session:
        """Becomes a peer."""
        return Session(self, request)

    @property
    def closed(self) -> bool:
        """True once it was closed."""
        return self._closed.is_set()

    def close(self) -> None:
        """Ends the connection, and whatever waits on it."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session:
    """A peer's session: calls on its behalf, and a stream in the background that keeps it alive.

    When the broker says that the session has ended (its lease ran out, say), the next call joins again as the
    same peer. Locks may have been lost meanwhile. Use it with `with`: leaving frees the peer's locks at once.
    """

    def __init__(self, mesh: Mesh, request: JoinRequest) -> None:
        self.mesh = mesh
        self._request = request
        # Whoever joins with the same key is the same peer: a secret of this session, unless you keep one.
        request.resume_key = request.resume_key or str(uuid.uuid4())
        self._joining = threading.Lock()
        self._leaving = threading.Lock()
        self.joined: JoinResponse = mesh.call(mesh.peers.Join, request)
        self._left = threading.Event()
        self._kept = threading.Event()
        self._keeper_watch = self._watch_own_mail()
        self._keeper = threading.Thread(target=self._keep, name="mesh-session", daemon=True)
        self._keeper.start()
        # Only from here on does the broker notice the end of this process.
        self._kept.wait(ANSWER_WITHIN)

    @property
    def peer(self) -> Peer:
        """The peer this session is of, as of joining."""
        return self.joined.peer

    def call(self, method: Callable[..., Any], request: Any) -> Any:
        """Makes a call on behalf of the peer, as `Mesh.call`."""
        joined = self.joined
        try:
            return self.mesh.call(method, request, joined.session_token)
        except MeshError as error:
            self.join_again(joined, error)
        return self.mesh.call(method, request, self.joined.session_token)

    def join_again(self, ended: JoinResponse, error: MeshError) -> None:
        """Replaces a session that has ended, whichever thread noticed first; raises the error if it has not.

        A session that was replaced stays ended: two programs that replace each other would never stop.
        """
        if error.reason != "SESSION_EXPIRED" or error.metadata.get("cause") == "REPLACED":
            raise error
        if self._left.is_set():
            raise closed()
        with self._joining:
            if self.joined is ended:
                self._request.request_id = ""
                self.joined = self.mesh.call(self.mesh.peers.Join, self._request)

    def leave(self) -> None:
        """Ends the session, unless it was left before; the peer stays known, and its mail waits for it."""
        with self._leaving:
            if not self._left.is_set():
                self._left.set()
                self._keeper_watch.close()
                try:
                    self.mesh.call(self.mesh.peers.Leave, LeaveRequest(), self.joined.session_token)
                finally:
                    self._keeper.join(self.mesh.patience)

    def leave_on_signals(self) -> None:
        """Makes SIGINT (Ctrl-C) and SIGTERM leave, and then close the connection.

        Whatever waits for the broker then ends with MeshError CANCELLED. KeyboardInterrupt would be wrong:
        raised in the middle of a call, it may leave a lock of grpcio's taken, and every later call hangs.
        """
        told = False

        def end() -> None:
            self.mesh.patience = LEAVE_WITHIN
            with contextlib.suppress(MeshError):
                self.leave()
            self.mesh.close()

        def handle(_number: int, _frame: FrameType | None) -> None:
            nonlocal told
            if not told:  # Wrappers like to send the same signal twice.
                told = True
                # Not here: a handler runs in the midst of whatever the main thread does.
                threading.Thread(target=end, name="mesh-leave").start()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)

    def _keep(self) -> None:
        """Holds a stream open: it keeps the lease, and its end tells the others when this process dies."""
        while not self._left.is_set():
            try:
                for _ in self._keeper_watch:
                    self._kept.set()
            except MeshError as error:
                if error.code is not grpc.StatusCode.UNAVAILABLE:
                    return  # The next call learns why.
                self._left.wait(RETRY_PAUSE)
                self._keeper_watch = self._watch_own_mail()

    def _watch_own_mail(self) -> Watch:
        own = EventFilter(types=[EVENT_TYPE_MESSAGE_SENT], peers=[self.peer.name])
        return Watch(self.mesh, WatchRequest(scopes=[self.peer.scope], filter=own), self)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.leave()
        except MeshError:
            if error is None:  # Otherwise what went wrong before is the news.
                raise


class Watch:
    """The items of a watch, each exactly once and in order, across restarts of the broker.

    Iterate over it, in a thread of its own if need be; `close` ends the iteration from any thread. It goes on
    at `cursor + 1` by itself. Without a filter it proves, by each scope's sequence, that nothing is missing
    or repeated. It raises MeshError when the history asked for is no longer kept (REVISION_COMPACTED), or
    when the broker stays away. A `created` item means that the state, if it was asked for, begins (anew).
    """

    def __init__(self, mesh: Mesh, request: WatchRequest, session: Session | None = None) -> None:
        self._mesh = mesh
        self._session = session
        self._request = WatchRequest()
        self._request.CopyFrom(request)  # Always the request that would go on from here.
        self._floor = request.start_revision
        self._sequences: dict[str, int] = {}
        self._stream: Any = None
        self._closed = False

    @property
    def cursor(self) -> int:
        """The last revision up to which everything was delivered; 0 while that is not known."""
        return max(0, self._request.start_revision - 1)

    def __iter__(self) -> Iterator[WatchResponse]:
        deadline = 0.0  # Of the present outage.
        while True:
            joined = self._session.joined if self._session else None
            token = joined.session_token if joined else ""
            stream = self._stream = self._mesh.begin(self._mesh.events.Watch, self._request, token)
            try:
                for item in () if self._closed else stream:
                    deadline = 0.0
                    self._advance(item)
                    yield item
                error = MeshError(grpc.StatusCode.UNAVAILABLE, "the stream ended")
            except grpc.RpcError as broken:
                error = MeshError.of(broken)
            finally:
                stream.cancel()
            if self._closed:
                return
            if self._session and joined and error.reason == "SESSION_EXPIRED":
                self._session.join_again(joined, error)
                continue
            deadline = deadline or time.monotonic() + self._mesh.patience
            self._mesh.wait_for_broker(error, deadline)

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def _advance(self, item: WatchResponse) -> None:
        """Checks that an item follows what came before, and moves on past it."""
        kind, request = item.WhichOneof("payload"), self._request
        if kind == "created":
            request.incarnation = item.header.incarnation if not request.send_initial_state else ""
            if not request.start_revision and not request.send_initial_state:
                request.start_revision = self._floor = item.created.start_revision
        elif kind == "initial_state_end":
            request.send_initial_state = False
            request.incarnation = item.header.incarnation
            request.start_revision = self._floor = item.header.revision + 1
        elif kind == "events":
            if not self._request.HasField("filter"):
                self._check(item.events)
            request.start_revision = item.events.revision + 1
        elif kind == "progress":
            request.start_revision = max(request.start_revision, item.header.revision + 1)

    def _check(self, batch: EventBatch) -> None:
        last = self._sequences.get(batch.scope)
        follows = batch.prev_revision < self._floor if last is None else batch.sequence == last + 1
        if not follows or batch.revision < self._request.start_revision:
            where = f"{batch.scope}: revision {batch.revision} has sequence {batch.sequence} after {last}"
            raise MeshError(grpc.StatusCode.DATA_LOSS, f"the stream has a gap or a repeat in {where}")
        self._sequences[batch.scope] = batch.sequence
