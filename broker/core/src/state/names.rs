//! Generated peer names: an adjective and an animal, easy to say and to type.

const ADJECTIVES: [&str; 64] = [
    "amber", "ashen", "azure", "bold", "brave", "brisk", "bright", "calm", "clear", "clever", "coral",
    "cosmic", "crisp", "daring", "deft", "eager", "early", "fair", "fleet", "fresh", "gentle", "gilded",
    "glad", "golden", "grand", "green", "hardy", "hazel", "indigo", "ivory", "jade", "jolly", "keen", "kind",
    "lively", "lucid", "lunar", "maple", "mellow", "merry", "mild", "misty", "neat", "nimble", "noble",
    "opal", "pearl", "plucky", "polar", "proud", "quick", "quiet", "rapid", "ruby", "rustic", "sage",
    "silver", "solar", "spry", "steady", "sunny", "swift", "tidy", "vivid",
];

const ANIMALS: [&str; 64] = [
    "badger", "bear", "beaver", "bison", "bobcat", "condor", "crane", "crow", "deer", "dingo", "dolphin",
    "eagle", "egret", "elk", "falcon", "ferret", "finch", "fox", "gazelle", "gecko", "goose", "hare", "hawk",
    "heron", "ibis", "jackal", "jay", "kestrel", "kiwi", "koala", "lark", "lemur", "lion", "llama", "lynx",
    "magpie", "marten", "mole", "moose", "newt", "ocelot", "orca", "osprey", "otter", "owl", "panda",
    "pelican", "pika", "puffin", "puma", "quail", "raven", "robin", "salmon", "seal", "shrew", "sparrow",
    "stoat", "swan", "tapir", "tern", "toucan", "walrus", "wren",
];

/// Names to try, in order, from a seed, in a scope that knows so many peers; it never ends.
///
/// Plain names first; where half of them may be taken, names with a number, so that the search stays short.
pub(super) fn candidates(seed: u64, known: usize) -> impl Iterator<Item = String> {
    let total = (ADJECTIVES.len() * ANIMALS.len()) as u64;
    let first = known as u64 * 2 / total * total;
    (first..).map(move |round| {
        // An odd step visits each of the 4,096 pairs once before it repeats.
        let at = seed.wrapping_add(round.wrapping_mul(2_741)) % total;
        let adjective = ADJECTIVES[(at / 64) as usize % 64];
        let animal = ANIMALS[(at % 64) as usize];
        match round / total {
            0 => format!("{adjective}-{animal}"),
            n => format!("{adjective}-{animal}-{}", n + 1),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::id::PeerName;

    #[test]
    fn names_do_not_repeat_and_have_the_form() {
        let names: Vec<String> = super::candidates(77, 0).take(9_000).collect();
        assert!(names.iter().all(|name| PeerName::parse(name).is_ok()));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_crowded_scope_needs_few_tries() {
        let mut taken = BTreeSet::new();
        for seed in 0..10_000_u64 {
            let known = taken.len();
            let tries = super::candidates(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), known).take(100);
            let free = tries.into_iter().find(|name| !taken.contains(name));
            taken.insert(free.expect("a free name within 100 tries"));
        }
    }
}
