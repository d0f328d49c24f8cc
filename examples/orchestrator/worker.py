"""A worker: a peer that answers every task it is sent, so that the orchestrator has somebody to talk to.

    python worker.py --scope github.com/acme/app                  # answers with the number of words
    python worker.py --scope github.com/acme/app -- tr a-z A-Z    # answers with a program's output

A task is answered at least once and arrives exactly once: the task is acknowledged only after the reply is
stored, and the reply's request_id is made from the task's id, so that a repeat after a crash changes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
from datetime import timedelta

import grpc

from mesh.v1.messages_pb2 import (
    MESSAGE_INTENT_ACK,
    MESSAGE_INTENT_REQUEST,
    AcknowledgeMessagesRequest,
    ListMessagesRequest,
    ListMessagesResponse,
    Message,
    SendRequest,
)
from mesh.v1.peers_pb2 import JoinRequest, PeerInfo
from mesh_client import Mesh, MeshError, Session, sender

INBOX_WAIT = timedelta(seconds=20)
BODY_BYTES = 65_536


def work(task: str, command: list[str]) -> str:
    """Does the task. It is another peer's text: data for a command of our own choice, never a command."""
    if not command:
        return f"{len(task.split())} words"
    done = subprocess.run(command, input=task, capture_output=True, text=True, check=False)
    result = done.stdout.strip() or f"{command[0]} said nothing and ended with {done.returncode}"
    return result.encode()[:BODY_BYTES].decode(errors="ignore")


def answer(session: Session, task: Message, result: str) -> None:
    """Replies to a task, once."""
    reply = SendRequest(
        to=[sender(task)],
        body=result,
        reply_to=task.message_id,
        intent=MESSAGE_INTENT_ACK,
        request_id=f"reply-{task.message_id}",
    )
    try:
        session.call(session.mesh.messages.Send, reply)
    except MeshError as error:
        if error.reason != "REQUEST_ID_REUSED":  # It has an answer, in other words: an earlier run's.
            raise


def serve(session: Session, command: list[str], tasks: int) -> None:
    """Answers tasks as they come, until that many are done; 0 means for ever."""
    messages, done = session.mesh.messages, 0
    while tasks == 0 or done < tasks:
        # What was not acknowledged is offered again, so there is no cursor to keep here.
        request = ListMessagesRequest(limit=1, wait=INBOX_WAIT)
        inbox: ListMessagesResponse = session.call(messages.ListMessages, request)
        for message in inbox.messages:
            if message.intent == MESSAGE_INTENT_REQUEST:
                print(f"task from {sender(message)}: {message.body!r}", flush=True)
                answer(session, message, work(message.body, command))
                done += 1
            read = AcknowledgeMessagesRequest(up_to_revision=message.revision)
            session.call(messages.AcknowledgeMessages, read)


def main() -> int:
    """Parses the command line and serves until the tasks are done, Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scope", default=os.environ.get("MESH_SCOPE"), help="default: MESH_SCOPE")
    parser.add_argument("--name", default="", help="name to take; default: one is given")
    parser.add_argument("--tasks", type=int, default=0, help="end after so many tasks; default: never")
    parser.add_argument("command", nargs="*", help="reads the task on stdin, writes the answer to stdout")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Until it has joined; then, Session.leave_on_signals.
    if not options.scope:
        parser.error("name the --scope (`meshctl who --all-scopes` shows those in use), or set MESH_SCOPE")
    info = PeerInfo(
        agent_kind="example-worker", host=platform.node(), pid=os.getpid(), focus="waiting for tasks"
    )
    try:
        join = JoinRequest(scope=options.scope, name=options.name, info=info)
        with Mesh() as mesh, mesh.join(join) as session:
            session.leave_on_signals()
            print(f"joined {session.peer.scope} as {session.peer.name}", flush=True)
            serve(session, options.command, options.tasks)
    except (MeshError, OSError) as error:
        if isinstance(error, MeshError) and error.code is grpc.StatusCode.CANCELLED:
            return 130  # It was told to end, and has left.
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
