//! Seeds that found a bug once, in the product or in the simulation itself, with what it was. They are run always.

/// The seeds.
pub const SEEDS: [(u64, &str); 10] = [
    (5, "the simulation: what a broker saw after its last commit is not known to the next one"),
    (
        8,
        "the simulation: what is gone from the history may be forgotten, and a repeat of it is a new request",
    ),
    (9, "the simulation: a doubled request of a reused id comes late"),
    (16, "the simulation: a broker stayed paused for ever"),
    (18, "the simulation: locks of one grant share a token, and each protects what it covers"),
    (38, "the simulation: shared locks of two peers may be granted at one revision"),
    (203, "a late copy of a call from a session that is over counted as another request"),
    (216, "the simulation: of a commit whose confirmation is lost no read must show anything yet"),
    (
        483,
        "calls that an ending broker refused were no signs of life, and leases ran out before its last commit",
    ),
    (746, "the simulation: what was read of a broker that is gone, the next one does not know"),
];
