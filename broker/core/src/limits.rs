//! Every bound of the broker, on one screen. The proto comments state the same numbers to callers.

use crate::time::Millis;

/// Longest scope slug, in bytes.
pub const SCOPE_BYTES: usize = 256;
/// Longest peer name, in bytes.
pub const PEER_NAME_BYTES: usize = 64;
/// Longest resume key, in bytes.
pub const RESUME_KEY_BYTES: usize = 256;
/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES: usize = 128;
/// Longest agent kind, agent version and commit of a peer, in bytes.
pub const SHORT_TEXT_BYTES: usize = 64;
/// Longest host and branch of a peer, in bytes.
pub const NAME_TEXT_BYTES: usize = 256;
/// Longest worktree path of a peer, in bytes.
pub const WORKTREE_BYTES: usize = 4096;
/// Longest focus of a peer and reason of a lock, in bytes.
pub const SENTENCE_BYTES: usize = 512;
/// Most files a peer names.
pub const PEER_FILES: usize = 100;
/// Longest word for the way by which an idle agent is woken, in bytes.
pub const WAKE_BYTES: usize = 32;
/// Most sub-agents of a peer.
pub const CHILDREN: usize = 32;
/// Longest id of a sub-agent, in bytes.
pub const CHILD_ID_BYTES: usize = 128;
/// Most peers known to a mesh, live or not.
pub const PEERS: usize = 100_000;
/// Most peers known in one scope, so that none fills the mesh.
pub const PEERS_PER_SCOPE: usize = 50_000;
/// How long an offline peer stays known.
pub const PEER_RETENTION: Millis = Millis::days(30);

/// Longest pattern of scopes or peer names, in bytes.
pub const PATTERN_BYTES: usize = 256;
/// Most scope patterns of a token.
pub const TOKEN_SCOPES: usize = 32;
/// Longest note of a token, in bytes.
pub const TOKEN_NOTE_BYTES: usize = 256;
/// Most tokens of a mesh, those that have ended among them until they are revoked.
pub const TOKENS: usize = 1_000;

/// Longest target path, in bytes.
pub const PATH_BYTES: usize = 1024;
/// Most targets of one request.
pub const TARGETS: usize = 100;
/// Most locks of one peer.
pub const LOCKS_PER_PEER: usize = 10_000;
/// Most locks of a mesh.
pub const LOCKS: usize = 200_000;
/// Most locks of one scope.
pub const LOCKS_PER_SCOPE: usize = 100_000;
/// Most locks that end together in one transaction; the rest follow in the next.
pub const UNLOCKS_PER_TRANSACTION: usize = 100;
/// Most globs of one request: each is compared with every lock below its directory.
pub const GLOBS: usize = 16;
/// Most globs that the locks and waiting requests of one scope name, their braces multiplied out: each lock taken there
/// is compared with them.
pub const GLOBS_PER_SCOPE: usize = 1_000;
/// Most globs that the waiting requests of one scope name, their braces multiplied out: each is compared with the locks
/// of all who wait.
pub const WAITING_GLOBS_PER_SCOPE: usize = 100;
/// Most ways of reading the globs of one request, their braces multiplied out.
pub const GLOB_ALTERNATIVES: usize = 64;
/// Longest wait for a lock.
pub const LOCK_WAIT: Millis = Millis::minutes(60);
/// Most targets of a waiting request, of a request to make way, and of those kept in place of others.
pub const WAIT_TARGETS: usize = 32;
/// Most waiting requests of one peer.
pub const WAITERS_PER_PEER: usize = 16;
/// Most waiting requests of a scope.
pub const WAITERS_PER_SCOPE: usize = 1_000;
/// Most locks that are handed over in one transaction; the rest follow in the next.
pub const HANDOVERS_PER_TRANSACTION: usize = 64;
/// Most names of peers in the way that a waiting request tells.
pub const WAITS_FOR_SHOWN: usize = 16;
/// Most open requests to make way that one holder has.
pub const RELEASE_REQUESTS_PER_PEER: usize = 100;
/// How long a request to make way stays open.
pub const RELEASE_REQUEST_RETENTION: Millis = Millis::minutes(60);
/// Longest contract, in bytes.
pub const CONTRACT_BYTES: usize = 16_384;
/// Most dependents named when a contract changes.
pub const DEPENDENTS_SHOWN: usize = 100;
/// How long a lock outlives a session that did not say goodbye.
pub const LOCK_DELAY: Millis = Millis::seconds(10);

/// Longest entry key, in bytes.
pub const KEY_BYTES: usize = 512;
/// Longest entry value, in bytes.
pub const VALUE_BYTES: usize = 65_536;
/// Most paths of an entry.
pub const ENTRY_PATHS: usize = 32;
/// Most tags of an entry.
pub const ENTRY_TAGS: usize = 16;
/// Longest tag, in bytes.
pub const TAG_BYTES: usize = 64;
/// Most entries of a mesh.
pub const ENTRIES: usize = 2_000_000;
/// Most entries of one scope.
pub const ENTRIES_PER_SCOPE: usize = 1_000_000;

/// Most former versions kept of a key, and most bytes of them, their labels included.
pub const VERSIONS_KEPT: (usize, usize) = (10, 262_144);
/// Most deleted keys of a mesh whose versions are kept, and most bytes of them; the longest deleted give way.
pub const DELETED_KEYS: (usize, usize) = (100_000, 268_435_456);
/// How long the versions of a deleted key are kept.
pub const DELETED_RETENTION: Millis = Millis::days(7);
/// Most operations of a transaction.
pub const OPERATIONS: usize = 32;
/// Most policies of a scope.
pub const POLICIES_PER_SCOPE: usize = 100;
/// Keys that one session is known to have read.
pub const READS_PER_SESSION: usize = 10_000;
/// Most fields named in a conflict of merge patches.
pub const FIELDS_SHOWN: usize = 16;
/// Longest search text, in bytes: every word of it is looked for.
pub const QUERY_BYTES: usize = 512;
/// Search results when no number is asked for, and at most.
pub const HITS: (usize, usize) = (20, 100);

/// Most touches of one report.
pub const TOUCHES: usize = 100;
/// Most files a peer is known to have touched; the oldest give way.
pub const TOUCHES_PER_PEER: usize = 1_000;
/// Most touches of a mesh.
pub const TOUCHES_PER_MESH: usize = 500_000;
/// Most touches that are forgotten in one transaction; the rest follow in the next.
pub const FORGOTTEN_PER_TRANSACTION: usize = 50;
/// How long a touch is known.
pub const TOUCH_RETENTION: Millis = Millis::days(1);
/// A read within this time of the one before is no news.
pub const READ_INTERVAL: Millis = Millis::minutes(1);
/// Items of each kind in what is known about a path when no number is asked for, and at most.
pub const ABOUT: (usize, usize) = (20, 100);
/// Longest value and body shown there, in bytes.
pub const ABOUT_BYTES: usize = 4_096;

/// Longest message body, in bytes.
pub const BODY_BYTES: usize = 65_536;
/// Most named recipients of a message.
pub const RECIPIENTS: usize = 32;
/// Most unread direct messages of a peer.
pub const INBOX: usize = 1_000;
/// Most broadcasts kept in a scope; the oldest gives way to the newest.
pub const BROADCASTS_PER_SCOPE: usize = 1_000;
/// Longest topic name after its `#`, in bytes.
pub const TOPIC_BYTES: usize = 64;
/// Most messages kept of a topic; the oldest gives way to the newest.
pub const MESSAGES_PER_TOPIC: usize = 1_000;
/// Most topics of a scope that have messages.
pub const TOPICS_PER_SCOPE: usize = 1_000;
/// Most topics a peer follows.
pub const TOPICS_PER_PEER: usize = 64;
/// Most targets that a message mentions.
pub const MENTIONS: usize = 32;
/// Most bytes of message bodies of a mesh, with the targets that they mention.
pub const MESSAGE_BYTES: usize = 268_435_456;
/// Most messages of a mesh.
pub const MESSAGES: usize = 200_000;
/// Most bytes of message bodies of one scope, with the targets that they mention.
pub const MESSAGE_BYTES_PER_SCOPE: usize = 134_217_728;
/// Most messages of one scope.
pub const MESSAGES_PER_SCOPE: usize = 100_000;
/// How long an unread message is kept.
pub const MESSAGE_RETENTION: Millis = Millis::days(7);
/// How long a message to a topic is kept.
pub const TOPIC_RETENTION: Millis = Millis::days(30);
/// How long a direct message is kept that all its recipients have read.
pub const READ_RETENTION: Millis = Millis::days(1);
/// Most messages deleted in one transaction, and most bytes of their records; the rest follow in the next.
pub const DELETES_PER_TRANSACTION: (usize, usize) = (50, 262_144);
/// Most recipients named in the answer to a broadcast.
pub const DELIVERIES_SHOWN: usize = 100;

/// Longest note of a report of a wake-up, in bytes.
pub const WAKE_NOTE_BYTES: usize = 256;
/// Most reports of wake-ups remembered of a peer; the oldest give way.
pub const WAKES_PER_PEER: usize = 16;

/// Bytes of a value or body shown in an event.
pub const PREVIEW_BYTES: usize = 160;

/// Shortest and longest session lease.
pub const LEASE_TTL: (Millis, Millis) = (Millis::seconds(1), Millis::days(1));
/// Session lease when none is asked for.
pub const LEASE_TTL_DEFAULT: Millis = Millis::seconds(60);
/// Shortest and longest lock ttl.
pub const LOCK_TTL: (Millis, Millis) = (Millis::seconds(1), Millis::days(1));
/// Lock ttl when none is asked for.
pub const LOCK_TTL_DEFAULT: Millis = Millis::minutes(30);
/// Shortest and longest entry ttl.
pub const ENTRY_TTL: (Millis, Millis) = (Millis::seconds(1), Millis::days(365));
/// Longest wait of a long poll.
pub const WAIT: Millis = Millis::seconds(60);
/// Longest wait for a condition or a reply, and the one when none is asked for.
pub const WAIT_CONDITION: (Millis, Millis) = (Millis::minutes(60), Millis::seconds(60));
/// Most conditions of one wait.
pub const CONDITIONS: usize = 16;
/// Most calls that wait at a time: for mail, for conditions, for locks.
pub const WAITING_CALLS: usize = 10_000;
/// Most of them of one session, or of one connection without a session.
pub const WAITING_CALLS_PER_CALLER: usize = 256;
/// Most of them of all who came with one token.
pub const WAITING_CALLS_PER_TOKEN: usize = 2_500;

/// Items of a page when none is asked for.
pub const PAGE_DEFAULT: usize = 100;
/// Most items of a page.
pub const PAGE: usize = 1_000;
/// Bytes of values, bodies or events of a page, roughly.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// Most scopes, peers or paths of an event filter.
pub const FILTER_ITEMS: usize = 100;
/// Most open watch streams.
pub const WATCHES: usize = 10_000;
/// Most of them of one session, or of one connection without a session.
pub const WATCHES_PER_CALLER: usize = 256;
/// Most of them of all who came with one token.
pub const WATCHES_PER_TOKEN: usize = 2_500;
/// How long a subscriber may take to read the initial state, before its stream ends and what it kept is let go.
pub const INITIAL_STATE: Millis = Millis::minutes(5);

/// Requests whose first answer is remembered.
pub const REMEMBERED_REQUESTS: usize = 10_000;
/// Slots of the event history in the store: revision modulo this is the slot.
pub const HISTORY_SLOTS: u64 = 131_072;

/// Most requests that wait for the disk, besides one of each caller; of those as many again.
pub const QUEUE: usize = 8_192;
/// Most requests of one caller that wait for the disk; fewer when many callers' do.
pub const QUEUE_PER_CALLER: usize = 1_024;
/// About how many bytes of requests wait for the disk at most, counted in the same way.
pub const QUEUE_BYTES: usize = 67_108_864;
/// Most requests taken before what they came to is committed and answered.
pub const INPUTS_PER_TURN: usize = 256;
/// Longest time that a call takes beyond what it asks the broker to wait.
pub const CALL: Millis = Millis::seconds(30);
/// Largest request that is taken apart; every field has a bound of its own far below.
pub const REQUEST_BYTES: usize = 4_194_304;
/// Most bytes of the headers of a call.
pub const HEADER_BYTES: u32 = 16_384;
/// Most calls and streams at a time on one connection; more wait at the client.
pub const STREAMS_PER_CONNECTION: u32 = 256;
/// Most calls cancelled by a client that the broker has not looked at yet; more end the connection.
pub const RESET_STREAMS: usize = 128;
/// Bytes of one call that may be on their way before the broker has taken any of them.
pub const STREAM_WINDOW: u32 = 262_144;
/// The same of all calls on a connection.
pub const CONNECTION_WINDOW: u32 = 1_048_576;
/// Most open connections to the Unix socket, and as many over TCP; fewer when the system allows fewer open files.
pub const CONNECTIONS: usize = 16_384;
/// Most open connections from one address over TCP, and from one other user.
pub const CONNECTIONS_PER_REMOTE: usize = 1_024;
/// New connections from one address over TCP, and from one other user: so many a second in the long run, and so many
/// at once.
pub const NEW_CONNECTIONS_PER_REMOTE: (usize, usize) = (500, 2_000);
/// The same of all over TCP: those that come sooner wait for their turn.
pub const NEW_CONNECTIONS: (usize, usize) = (1_000, 4_000);
/// How long a new connection may take to say that it speaks HTTP/2.
pub const GREETING: Millis = Millis::seconds(10);

/// Calls per second of one session, or of one connection without a session, in the long run.
pub const RATE_PER_SECOND: usize = 4_000;
/// Calls that one may make at once before it is held to that rate.
pub const RATE_AT_ONCE: usize = 8_000;
/// Calls per second of all who came with one token, in the long run: one session has a quarter of it.
pub const TOKEN_RATE_PER_SECOND: usize = 16_000;
/// Calls that those may make at once before they are held to that rate.
pub const TOKEN_RATE_AT_ONCE: usize = 32_000;
/// How long a call that comes too early is held, in place of a refusal.
pub const RATE_HOLD: Millis = Millis(250);

/// Most kinds of events in a filter.
pub const FILTER_TYPES: usize = 32;
/// Transactions that one page of events looks through.
pub const EVENTS_LOOKED_AT: u64 = 16_384;
/// Shortest and longest silence of a stream before it tells its progress.
pub const PROGRESS: (Millis, Millis) = (Millis::seconds(1), Millis::seconds(300));
/// The same when none is asked for.
pub const PROGRESS_DEFAULT: Millis = Millis::seconds(10);
/// About how many bytes of recent transactions are kept in memory.
pub const RING_BYTES: usize = 33_554_432;
/// Transactions that a reader takes at a time.
pub const CHUNK: u64 = 256;
/// About how many bytes of them.
pub const CHUNK_BYTES: usize = 1_048_576;
/// Reads remembered of all sessions; beyond it the sessions that have read nothing for the longest are forgotten.
pub const READS: usize = 1_000_000;
/// Scopes whose index of words is kept; the one that was searched longest ago gives way.
pub const INDICES: usize = 16;
/// About how many bytes of indices are kept; the same gives way. An index beyond it is made for each search.
pub const INDEX_BYTES: usize = 268_435_456;
/// How long a request keeps its place in the queue of a lock after a restart, until its caller asks again.
pub const PLACE_KEPT: Millis = Millis::seconds(30);
/// Most bytes of all alternatives of a glob: what it costs to keep it and to compare it.
pub const GLOB_BYTES: usize = 8_192;
/// Most characters between two stars in one name of a glob: a longer search takes longer.
pub const GLOB_RUN: usize = 64;
/// Most names between two `**` of a glob.
pub const GLOB_RUN_SEGMENTS: usize = 16;
/// Most ranges in all brackets of one name of a glob.
pub const GLOB_RANGES: usize = 32;
/// Longest name of a field in a conflict of merge patches.
pub const POINTER_BYTES: usize = 256;
