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
/// Most peers known to a mesh, live or not.
pub const PEERS: usize = 100_000;
/// How long an offline peer stays known.
pub const PEER_RETENTION: Millis = Millis::days(30);

/// Longest target path, in bytes.
pub const PATH_BYTES: usize = 1024;
/// Most targets of one request.
pub const TARGETS: usize = 100;
/// Most locks of one peer.
pub const LOCKS_PER_PEER: usize = 10_000;
/// Most locks of a mesh.
pub const LOCKS: usize = 200_000;
/// Most locks that end together in one transaction; the rest follow in the next.
pub const UNLOCKS_PER_TRANSACTION: usize = 100;
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

/// Longest message body, in bytes.
pub const BODY_BYTES: usize = 65_536;
/// Most named recipients of a message.
pub const RECIPIENTS: usize = 32;
/// Most unread direct messages of a peer.
pub const INBOX: usize = 1_000;
/// Most broadcasts kept in a scope; the oldest gives way to the newest.
pub const BROADCASTS_PER_SCOPE: usize = 1_000;
/// Most messages of a mesh.
pub const MESSAGES: usize = 200_000;
/// How long an unread message is kept.
pub const MESSAGE_RETENTION: Millis = Millis::days(7);
/// Most messages deleted by one acknowledgement, and most bytes of them; the rest go when they expire.
pub const DELETES_PER_ACKNOWLEDGEMENT: (usize, usize) = (50, 262_144);
/// Most recipients named in the answer to a broadcast.
pub const DELIVERIES_SHOWN: usize = 100;

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

/// Requests whose first answer is remembered.
pub const REMEMBERED_REQUESTS: usize = 10_000;
/// Slots of the event history in the store: revision modulo this is the slot.
pub const HISTORY_SLOTS: u64 = 131_072;
