//! Several feeds as one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

use crate::record::MessageRecord;
use crate::revision::Revision;

type Range<'a> = btree_map::Range<'a, Revision, Arc<MessageRecord>>;

/// Feeds that share no message, merged by revision, as far as somebody asks for the next.
#[derive(Debug)]
pub(super) struct Merged<'a> {
    feeds: Vec<Peekable<Range<'a>>>,
    /// The next revision of each feed that has one, the oldest on top.
    heads: BinaryHeap<Reverse<(Revision, usize)>>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(feeds: impl Iterator<Item = Range<'a>>) -> Self {
        let mut feeds: Vec<_> = feeds.map(Iterator::peekable).collect();
        let next = |(at, feed): (usize, &mut Peekable<Range<'a>>)| Some(Reverse((*feed.peek()?.0, at)));
        let heads = feeds.iter_mut().enumerate().filter_map(next).collect();
        Self { feeds, heads }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = &'a Arc<MessageRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((_, at)) = self.heads.pop()?;
        let feed = self.feeds.get_mut(at)?;
        let (_, message) = feed.next()?;
        if let Some((next, _)) = feed.peek() {
            self.heads.push(Reverse((**next, at)));
        }
        Some(message)
    }
}
