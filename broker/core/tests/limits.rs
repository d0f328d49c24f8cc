//! Every limit is told to users as it is, and has a test that meets it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mesh_core::limits::*;
use mesh_core::time::Millis;

/// A limit as the page shows it.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Shown for $number {
            fn shown(&self) -> String {
                let digits = self.to_string();
                let mut groups: Vec<_> = digits.as_bytes().rchunks(3).map(String::from_utf8_lossy).collect();
                groups.reverse();
                groups.join(",")
            }
        }
    )*};
}

numbers!(usize, u64, u32);

impl Shown for Millis {
    fn shown(&self) -> String {
        let units = [(86_400_000, "d"), (60_000, "min"), (1_000, "s"), (1, "ms")];
        let (unit, name) =
            units.into_iter().find(|(unit, _)| self.0.is_multiple_of(*unit)).expect("one fits");
        format!("{} {name}", (self.0 / unit).shown())
    }
}

impl<T: Shown> Shown for (T, T) {
    fn shown(&self) -> String {
        format!("{}, {}", self.0.shown(), self.1.shown())
    }
}

/// Every limit as it is shown, and the test that meets it.
macro_rules! limits {
    ($($name:ident: $test:ident,)*) => {
        [$((stringify!($name), $name.shown(), stringify!($test))),*]
    };
}

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, String, &'static str)> {
    limits![
        SCOPE_BYTES: a_join_is_bounded,
        PEER_NAME_BYTES: a_join_is_bounded,
        RESUME_KEY_BYTES: a_join_is_bounded,
        REQUEST_ID_BYTES: a_join_is_bounded,
        SHORT_TEXT_BYTES: a_join_is_bounded,
        NAME_TEXT_BYTES: a_join_is_bounded,
        WORKTREE_BYTES: a_join_is_bounded,
        SENTENCE_BYTES: a_join_is_bounded,
        PEER_FILES: a_join_is_bounded,
        WAKE_BYTES: a_join_is_bounded,
        CHILDREN: a_join_is_bounded,
        CHILD_ID_BYTES: a_join_is_bounded,
        PEERS: a_scope_and_a_mesh_know_only_so_many_peers,
        PEERS_PER_SCOPE: a_scope_and_a_mesh_know_only_so_many_peers,
        PEER_RETENTION: a_peer_is_forgotten_when_it_has_been_offline_long_enough,
        PATH_BYTES: a_join_is_bounded,
        TARGETS: a_lock_a_message_and_a_read_are_bounded,
        LOCKS_PER_PEER: a_peer_may_hold_only_so_many_locks,
        LOCKS: a_scope_and_a_mesh_hold_only_so_many_locks,
        LOCKS_PER_SCOPE: a_scope_and_a_mesh_hold_only_so_many_locks,
        UNLOCKS_PER_TRANSACTION: releasing_all_releases_a_hundred_a_call,
        GLOBS: a_request_may_name_only_so_many_globs,
        GLOBS_PER_SCOPE: a_scope_names_only_so_many_globs,
        WAITING_GLOBS_PER_SCOPE: only_so_many_globs_of_a_scope_are_waited_for,
        GLOB_ALTERNATIVES: a_request_may_name_only_so_many_globs,
        LOCK_WAIT: a_call_that_hangs_is_answered,
        WAIT_TARGETS: a_waiting_request_may_name_only_so_much,
        WAITERS_PER_PEER: a_peer_and_a_scope_have_only_so_many_requests_that_wait,
        WAITERS_PER_SCOPE: a_peer_and_a_scope_have_only_so_many_requests_that_wait,
        HANDOVERS_PER_TRANSACTION: what_does_not_fit_into_a_transaction_follows_in_the_next_ones,
        RELEASE_REQUESTS_PER_PEER: a_holder_has_only_so_many_requests,
        RELEASE_REQUEST_RETENTION: a_request_stays_open_for_an_hour,
        CONTRACT_BYTES: a_contract_and_what_a_message_names_are_bounded,
        LOCK_DELAY: a_lingering_lock_waits_a_whole_delay_again,
        KEY_BYTES: a_write_is_bounded,
        VALUE_BYTES: a_write_is_bounded,
        ENTRY_PATHS: a_write_is_bounded,
        ENTRY_TAGS: a_write_is_bounded,
        TAG_BYTES: a_write_is_bounded,
        ENTRIES: a_scope_and_a_mesh_hold_only_so_many_entries,
        ENTRIES_PER_SCOPE: a_scope_and_a_mesh_hold_only_so_many_entries,
        VERSIONS_KEPT: the_last_ten_former_versions_are_kept,
        DELETED_KEYS: the_longest_deleted_key_gives_way_where_too_many_are,
        DELETED_RETENTION: versions_go_on_after_a_deletion_while_they_are_kept,
        OPERATIONS: a_transaction_names_a_key_once_and_checks_something,
        POLICIES_PER_SCOPE: policies_are_of_the_own_scope_or_of_global_and_only_so_many,
        READS_PER_SESSION: a_session_forgets_what_it_read_longest_ago,
        FIELDS_SHOWN: a_conflict_names_only_so_many_fields_and_none_at_length,
        QUERY_BYTES: a_search_is_filtered_and_bounded,
        HITS: a_search_is_filtered_and_bounded,
        TOUCHES: a_report_of_touches_is_bounded,
        TOUCHES_PER_PEER: the_oldest_touches_of_a_peer_give_way,
        TOUCHES_PER_MESH: a_mesh_holds_only_so_many_touches,
        FORGOTTEN_PER_TRANSACTION: long_touches_are_forgotten_as_many_as_a_transaction_takes,
        TOUCH_RETENTION: touches_are_forgotten_after_a_day_those_of_a_peer_together,
        READ_INTERVAL: a_read_that_repeats_a_recent_one_is_no_news,
        ABOUT: lists_are_cut_at_the_limit_and_named,
        ABOUT_BYTES: what_is_shown_whole_counts_as_read,
        BODY_BYTES: a_lock_a_message_and_a_read_are_bounded,
        RECIPIENTS: a_lock_a_message_and_a_read_are_bounded,
        INBOX: a_full_inbox_takes_no_more_direct_mail_until_some_is_read,
        BROADCASTS_PER_SCOPE: a_scope_keeps_its_newest_broadcasts,
        TOPIC_BYTES: names_and_globs_are_bounded,
        MESSAGES_PER_TOPIC: a_topic_keeps_its_newest_messages,
        TOPICS_PER_SCOPE: a_scope_has_only_so_many_topics_and_always_a_place_for_notes,
        TOPICS_PER_PEER: what_cannot_be_followed_is_refused,
        MENTIONS: a_contract_and_what_a_message_names_are_bounded,
        MESSAGE_BYTES: room_is_made_for_a_message_within_one_transaction_only,
        MESSAGES: a_mesh_holds_only_so_many_messages,
        MESSAGE_BYTES_PER_SCOPE: a_full_scope_gives_up_what_is_read_for_what_is_new,
        MESSAGES_PER_SCOPE: one_scope_cannot_fill_the_mesh_with_messages,
        MESSAGE_RETENTION: unread_mail_expires_after_its_retention_and_not_before,
        TOPIC_RETENTION: broadcasts_and_topics_do_not_go_because_they_were_read,
        READ_RETENTION: a_message_stays_for_a_day_once_all_recipients_have_read_it,
        DELETES_PER_TRANSACTION: room_is_made_for_a_message_within_one_transaction_only,
        DELIVERIES_SHOWN: receipts_of_a_broadcast_name_only_so_many_peers,
        WAKE_NOTE_BYTES: a_report_is_bounded_and_needs_a_session,
        WAKES_PER_PEER: only_so_many_reports_are_remembered,
        PREVIEW_BYTES: what_is_not_said_has_its_default,
        LEASE_TTL: a_join_is_bounded,
        LEASE_TTL_DEFAULT: what_is_not_said_has_its_default,
        LOCK_TTL: a_lock_a_message_and_a_read_are_bounded,
        LOCK_TTL_DEFAULT: what_is_not_said_has_its_default,
        ENTRY_TTL: a_write_is_bounded,
        WAIT: a_lock_a_message_and_a_read_are_bounded,
        WAIT_CONDITION: an_ask_is_bounded,
        CONDITIONS: a_malformed_condition_is_refused_by_its_place,
        WAITING_CALLS: there_are_only_so_many_waiting_calls,
        PAGE_DEFAULT: what_is_not_said_has_its_default,
        PAGE: a_lock_a_message_and_a_read_are_bounded,
        PAGE_BYTES: an_answer_holds_about_a_mebibyte_of_values,
        FILTER_ITEMS: a_watch_is_bounded,
        WAITING_CALLS_PER_CALLER: there_are_only_so_many_waiting_calls,
        WAITING_CALLS_PER_TOKEN: there_are_only_so_many_waiting_calls,
        WATCHES_PER_CALLER: a_caller_and_a_token_have_only_so_many_streams,
        WATCHES_PER_TOKEN: a_caller_and_a_token_have_only_so_many_streams,
        INITIAL_STATE: a_subscriber_that_stalls_in_the_initial_state_keeps_it_for_a_while_only,
        WATCHES: there_are_only_so_many_streams,
        REMEMBERED_REQUESTS: the_oldest_answers_are_forgotten,
        HISTORY_SLOTS: a_reader_at_the_edge_of_the_ring_reads_on_or_learns_that_it_is_too_late,
        QUEUE: a_lane_is_full_before_the_queue_is,
        QUEUE_PER_CALLER: a_lane_is_full_before_the_queue_is,
        QUEUE_BYTES: what_waits_is_bounded_in_bytes,
        CALL: a_call_that_hangs_is_answered,
        REQUEST_BYTES: a_request_over_four_mebibytes_is_not_taken_apart,
        HEADER_BYTES: a_connection_has_only_so_many_streams_and_short_headers,
        STREAMS_PER_CONNECTION: a_connection_has_only_so_many_streams_and_short_headers,
        CONNECTIONS: there_are_only_so_many_places,
        CONNECTIONS_PER_REMOTE: places_are_counted_in_all_and_of_each_remote,
        NEW_CONNECTIONS_PER_REMOTE: who_connects_too_often_is_closed_and_nobody_else,
        NEW_CONNECTIONS: beyond_the_rate_of_all_a_new_connection_waits_for_its_turn,
        GREETING: a_connection_that_drips_is_closed_and_one_that_has_greeted_is_not,
        RATE_PER_SECOND: a_burst_goes_through_then_calls_are_paced_then_refused,
        RATE_AT_ONCE: a_burst_goes_through_then_calls_are_paced_then_refused,
        TOKEN_RATE_PER_SECOND: one_token_has_one_rate_whatever_number_of_sessions_it_has,
        TOKEN_RATE_AT_ONCE: one_token_has_one_rate_whatever_number_of_sessions_it_has,
        RATE_HOLD: a_burst_goes_through_then_calls_are_paced_then_refused,
        FILTER_TYPES: a_watch_is_bounded,
        PROGRESS: a_watch_is_bounded,
        PROGRESS_DEFAULT: silence_is_broken_by_progress_up_to_what_was_looked_at,
        READS: the_quietest_sessions_give_way_when_all_together_read_too_much,
        INDICES: indices_are_bounded_in_number_and_in_bytes,
        INDEX_BYTES: indices_are_bounded_in_number_and_in_bytes,
        PLACE_KEPT: a_place_that_is_not_claimed_after_a_restart_is_given_up,
        GLOB_BYTES: names_and_globs_are_bounded,
        GLOB_RUN: globs_are_cheap_to_compare,
        GLOB_RUN_SEGMENTS: globs_are_cheap_to_compare,
        GLOB_RANGES: globs_are_cheap_to_compare,
        POINTER_BYTES: a_conflict_names_only_so_many_fields_and_none_at_length,
        PATTERN_BYTES: patterns_have_a_grammar,
        TOKENS: there_are_only_so_many_tokens,
        TOKEN_SCOPES: a_token_is_as_long_as_it_may_be_and_no_longer,
        TOKEN_NOTE_BYTES: a_token_is_as_long_as_it_may_be_and_no_longer,
        // Kept by the transport, which holds back or ends what is beyond.
        RESET_STREAMS: nothing_is_refused,
        STREAM_WINDOW: nothing_is_refused,
        CONNECTION_WINDOW: nothing_is_refused,
        // How much is taken or shown at a time: the rest follows, and nothing is refused.
        WAITS_FOR_SHOWN: nothing_is_refused,
        DEPENDENTS_SHOWN: nothing_is_refused,
        INPUTS_PER_TURN: nothing_is_refused,
        EVENTS_LOOKED_AT: nothing_is_refused,
        RING_BYTES: nothing_is_refused,
        CHUNK: nothing_is_refused,
        CHUNK_BYTES: nothing_is_refused,
    ].into()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_limit_is_in_the_table() {
    let source = read("broker/core/src/limits.rs");
    let names = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let mut names: Vec<_> = names.collect();
    let mut listed: Vec<_> = table().into_iter().map(|(name, ..)| name).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, names, "docs/limits.md and this table tell of every limit");
}

#[test]
fn the_page_tells_every_limit_as_it_is() {
    let page = read("docs/limits.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let told: Vec<(&str, &str)> =
        rows.map(|(name, rest)| (name, rest.split_once(" | ").expect("a row has three columns").0)).collect();
    let told_once: BTreeMap<_, _> = told.iter().copied().collect();
    assert_eq!(told_once.len(), told.len(), "each limit has one row");
    let limits = table();
    let limits: BTreeMap<_, _> = limits.iter().map(|(name, shown, _)| (*name, shown.as_str())).collect();
    assert_eq!(told_once, limits);
}

/// All Rust sources of a directory, one after the other.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_limit_has_a_test_that_exists() {
    let mut text = String::new();
    sources(&root().join("broker"), &mut text);
    sources(&root().join("tests"), &mut text);
    let refusing = table().into_iter().filter(|(_, _, test)| *test != "nothing_is_refused");
    let missing: Vec<_> = refusing.filter(|(_, _, test)| !text.contains(&format!("fn {test}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn names_and_globs_are_bounded() {
    use mesh_core::id::TopicName;
    use mesh_core::target::Target;

    let topic = |bytes: usize| TopicName::parse(&format!("#{}", "a".repeat(bytes)));
    assert!(topic(TOPIC_BYTES - 1).is_ok() && topic(TOPIC_BYTES).is_ok());
    assert!(topic(TOPIC_BYTES + 1).is_err());
    // Sixteen alternatives of so many bytes each.
    let each = ('a'..='p').map(String::from).collect::<Vec<_>>().join(",");
    let glob = |bytes: usize| Target::parse("path", &format!("{{{each}}}{}*", "a".repeat(bytes - 2)));
    let fits = GLOB_BYTES / 16;
    assert!(glob(fits - 1).is_ok() && glob(fits).is_ok());
    assert!(glob(fits + 1).is_err());
}

#[test]
fn globs_are_cheap_to_compare() {
    use mesh_core::target::Target;

    let taken = |text: String| Target::parse("path", &text).is_ok();
    let run = |n: usize| taken(format!("*{}*", "a".repeat(n)));
    assert!(run(GLOB_RUN - 1) && run(GLOB_RUN) && !run(GLOB_RUN + 1));
    let segments = |n: usize| taken(format!("**/{}**/x", "a/".repeat(n)));
    assert!(segments(GLOB_RUN_SEGMENTS - 1) && segments(GLOB_RUN_SEGMENTS));
    assert!(!segments(GLOB_RUN_SEGMENTS + 1));
    let ranges = |n: usize| {
        let each = (0..n).map(|n| char::from_u32(0x1000 + 2 * u32::try_from(n).unwrap()).unwrap());
        taken(format!("[{}]x", each.collect::<String>()))
    };
    assert!(ranges(GLOB_RANGES - 1) && ranges(GLOB_RANGES) && !ranges(GLOB_RANGES + 1));
    // What begins and ends a name is compared once, however long it is.
    assert!(taken(format!("{0}*{0}", "a".repeat(500))));
}
