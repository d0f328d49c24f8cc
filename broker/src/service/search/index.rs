//! An inverted index of one scope's entries, ranked by Okapi BM25.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_core::id::EntryKey;
use mesh_core::record::EntryRecord;
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::state::entries::EntryFilter;

use super::words::words;
use crate::service::convert::entries::entry_size;

/// How soon a word that occurs often in an entry adds nothing more.
const K1: f64 = 1.2;
/// How much a long entry must hold more of a word to count as much.
const B: f64 = 0.75;

/// An entry that was found, and how well it matches.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) entry: Arc<EntryRecord>,
    pub(crate) score: f32,
}

/// The words of a scope's entries.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The revision that it shows; none before anything was taken in.
    shows: Option<Revision>,
    /// The entries, by a number that is used again once its entry is gone.
    documents: Vec<Option<Document>>,
    free: Vec<usize>,
    by_key: HashMap<EntryKey, usize>,
    /// Which documents hold a word, and how often.
    postings: HashMap<Arc<str>, BTreeMap<usize, u32>>,
    /// Words of all documents together.
    length: u64,
    /// Words of each document that differ, together.
    pairs: usize,
}

/// An entry with its words.
#[derive(Debug)]
struct Document {
    entry: Arc<EntryRecord>,
    words: Vec<Arc<str>>,
    length: u32,
}

impl Index {
    /// An index of these entries.
    pub(super) fn of(entries: Vec<Arc<EntryRecord>>) -> Self {
        let mut index = Self::default();
        for entry in entries {
            index.add(entry);
        }
        index
    }

    /// The revision that it shows.
    pub(super) fn shows(&self) -> Option<Revision> {
        self.shows
    }

    /// About how many bytes it takes, without the entries: those are the state's.
    pub(super) fn weight_in_memory(&self) -> usize {
        const PAIR: usize = 64;
        const WORD: usize = 128;
        const DOCUMENT: usize = 256;
        self.pairs * PAIR + self.postings.len() * WORD + self.documents.len() * DOCUMENT
    }

    /// Everything up to this revision was taken in.
    pub(super) fn set_shows(&mut self, revision: Revision) {
        self.shows = Some(revision);
    }

    /// Takes in what is under a key.
    pub(super) fn put(&mut self, key: &EntryKey, entry: Option<Arc<EntryRecord>>) {
        self.remove(key);
        if let Some(entry) = entry {
            self.add(entry);
        }
    }

    /// The entries that hold some of the words and pass the filter, the best match first, ties by key.
    pub(super) fn rank(&self, words: Vec<String>, filter: &EntryFilter, page: PageSize) -> Vec<Hit> {
        let mut scores: HashMap<usize, f64> = HashMap::new();
        // In order, so that the same words always add up to the same score.
        for word in BTreeSet::from_iter(words) {
            let Some(postings) = self.postings.get(word.as_str()) else { continue };
            let rarity = self.rarity(postings.len());
            for (number, frequency) in postings {
                let Some(document) = &self.documents[*number] else { continue };
                *scores.entry(*number).or_default() += rarity * self.weight(document, *frequency);
            }
        }
        let mut found: Vec<(f64, &Arc<EntryRecord>)> = scores
            .into_iter()
            .filter_map(|(number, score)| Some((score, &self.documents[number].as_ref()?.entry)))
            .filter(|(_, entry)| entry.key.as_str().starts_with(&filter.prefix))
            .collect();
        found.sort_unstable_by(|(left, a), (right, b)| right.total_cmp(left).then_with(|| a.key.cmp(&b.key)));
        let found = found.into_iter().filter(|(_, entry)| filter.matches(entry));
        // Scores are small, and shown to be compared by eye.
        let hits = found.map(|(score, entry)| Hit { entry: entry.clone(), score: score as f32 });
        page.fill(hits, |hit| entry_size(&hit.entry)).0
    }

    /// What a word that so many documents hold tells: more, the fewer they are, and always something.
    fn rarity(&self, holders: usize) -> f64 {
        let (all, holders) = (self.by_key.len() as f64, holders as f64);
        (1.0 + (all - holders + 0.5) / (holders + 0.5)).ln()
    }

    /// What it tells of a document that holds it so often.
    fn weight(&self, document: &Document, frequency: u32) -> f64 {
        let average = self.length as f64 / self.by_key.len() as f64;
        let frequency = f64::from(frequency);
        let relative = f64::from(document.length) / average;
        frequency * (K1 + 1.0) / (frequency + K1 * (1.0 - B + B * relative))
    }

    fn add(&mut self, entry: Arc<EntryRecord>) {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut length = 0;
        let texts =
            [entry.key.as_str(), &entry.value].into_iter().chain(entry.tags.iter().map(String::as_str));
        for word in texts.flat_map(words) {
            *counts.entry(word).or_default() += 1;
            length += 1;
        }
        let number = self.free.pop().unwrap_or(self.documents.len());
        let mut held = Vec::with_capacity(counts.len());
        for (word, count) in counts {
            let known = self.postings.get_key_value(word.as_str()).map(|(word, _)| word.clone());
            let word = known.unwrap_or_else(|| word.into());
            self.postings.entry(word.clone()).or_default().insert(number, count);
            held.push(word);
        }
        self.length += u64::from(length);
        self.pairs += held.len();
        self.by_key.insert(entry.key.clone(), number);
        let document = Document { entry, words: held, length };
        if number == self.documents.len() {
            self.documents.push(Some(document));
        } else {
            self.documents[number] = Some(document);
        }
    }

    fn remove(&mut self, key: &EntryKey) {
        let Some(number) = self.by_key.remove(key) else { return };
        let Some(document) = self.documents[number].take() else { return };
        self.free.push(number);
        self.length -= u64::from(document.length);
        self.pairs -= document.words.len();
        for word in document.words {
            if let Some(postings) = self.postings.get_mut(&word) {
                postings.remove(&number);
                if postings.is_empty() {
                    self.postings.remove(&word);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::id::{PeerName, ScopeId};
    use mesh_core::revision::Version;
    use mesh_core::target::Target;
    use mesh_core::time::{Timestamp, WallTime};

    use super::*;

    fn entry(key: &str, value: &str, tags: &[&str]) -> Arc<EntryRecord> {
        Arc::new(EntryRecord {
            scope: ScopeId::global(),
            key: EntryKey::parse(key).unwrap(),
            value: value.into(),
            version: Version(1),
            revision: Revision(1),
            create_revision: Revision(1),
            writer: PeerName::parse("fox").unwrap(),
            at: Timestamp(0),
            written: WallTime(0),
            paths: vec![Target::parse("path", "src/").unwrap()],
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ttl: None,
        })
    }

    fn index(entries: &[(&str, &str)]) -> Index {
        Index::of(entries.iter().map(|(key, value)| entry(key, value, &[])).collect())
    }

    fn put(index: &mut Index, entry: Arc<EntryRecord>) {
        index.put(&entry.key.clone(), Some(entry));
    }

    fn keys(index: &Index, query: &str) -> Vec<String> {
        let hits = index.rank(words(query), &EntryFilter::default(), PageSize::of(0));
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score) && hits.iter().all(|hit| hit.score > 0.0));
        hits.iter().map(|hit| hit.entry.key.to_string()).collect()
    }

    #[test]
    fn more_of_the_words_and_rarer_ones_come_first() {
        let index = index(&[
            ("a", "the build uses cargo"),
            ("b", "the build fails"),
            ("c", "the build is slow"),
            ("d", "the cache is slow"),
        ]);
        assert_eq!(keys(&index, "slow build"), ["c", "d", "b", "a"]);
        assert_eq!(keys(&index, "the cargo")[0], "a");
        assert_eq!(keys(&index, "nothing"), Vec::<String>::new());
    }

    #[test]
    fn key_and_tags_count_and_short_entries_before_long_ones() {
        let mut index =
            index(&[("auth/tokens", "opaque"), ("x", "a token, and much more beside it to read")]);
        put(&mut index, entry("y", "nothing", &["token"]));
        assert_eq!(keys(&index, "tokens"), ["y", "auth/tokens", "x"]);
    }

    #[test]
    fn equal_matches_are_in_the_order_of_their_keys() {
        let names: Vec<String> = (0..50).map(|n| format!("k{n:02}")).collect();
        let mut index = Index::default();
        for name in names.iter().rev() {
            put(&mut index, entry(name, "same", &[]));
        }
        assert_eq!(keys(&index, "same"), names);
    }

    #[test]
    fn what_was_rewritten_or_deleted_leaves_nothing_behind() {
        let mut index = index(&[("a", "old words"), ("b", "other words")]);
        put(&mut index, entry("a", "new", &[]));
        assert_eq!(keys(&index, "old"), Vec::<String>::new());
        assert_eq!(keys(&index, "new"), ["a"]);
        for key in ["a", "b", "b", "c"] {
            index.put(&EntryKey::parse(key).unwrap(), None);
        }
        assert_eq!(keys(&index, "new words"), Vec::<String>::new());
        assert!(index.postings.is_empty() && index.by_key.is_empty());
        assert_eq!((index.length, index.documents.len(), index.free.len()), (0, 2, 2));
        put(&mut index, entry("c", "back", &[]));
        assert_eq!((keys(&index, "back").len(), index.documents.len()), (1, 2), "a number is used again");
    }

    #[test]
    fn a_filter_and_a_page_bound_what_is_found() {
        let index = index(&[("a/1", "word"), ("a/2", "word word"), ("b/1", "word")]);
        let found = |filter: &EntryFilter, items| {
            let hits = index.rank(words("word"), filter, PageSize::of(items));
            hits.iter().map(|hit| hit.entry.key.to_string()).collect::<Vec<_>>()
        };
        let under = EntryFilter { prefix: "a/".into(), ..EntryFilter::default() };
        assert_eq!(found(&under, 9).len(), 2);
        assert_eq!(found(&EntryFilter::default(), 1).len(), 1);
        let about =
            |path| EntryFilter { path: Some(Target::parse("path", path).unwrap()), ..EntryFilter::default() };
        assert_eq!((found(&about("src/"), 9).len(), found(&about("docs/"), 9).len()), (3, 0));
    }
}
