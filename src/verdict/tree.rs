//! A tree of words: finds every phrase of a set in a text, in time that grows with the text alone.
//!
//! A step of a phrase is a word, or a group: any of the words, or runs of words, that stand in it.
//! A phrase with gaps has several pieces: one of them counts only where another one stands, too.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::sentences::{Break, Words, may_be_name};

/// Most steps of a phrase.
const DEPTH_MAX: usize = 32;

/// One step of a phrase.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// This word.
    Word(String),
    /// A word that begins so; always the last step.
    Open(String),
    /// Words of the group of this number.
    Group(u32),
    /// The end of a sentence.
    End,
}

/// The phrases, by their steps.
#[derive(Default)]
pub(super) struct Tree {
    /// The number of each word that stands in any phrase or group.
    numbers: Numbers,
    phrases: Trie,
    /// The words of the groups: what ends there is a group's number.
    groups: Trie,
    /// The groups of names, by number: what describes a name stands before it without a pause.
    names: Vec<u32>,
    /// The group of every word that may be somebody's name, by number.
    any: Option<u32>,
}

/// The numbers of words, most of which are short, and are then compared at once.
#[derive(Default)]
struct Numbers {
    short: HashMap<u128, u32, BuildHasherDefault<Spread>>,
    long: HashMap<Box<str>, u32, BuildHasherDefault<Spread>>,
}

impl Numbers {
    fn get(&self, word: &str) -> Option<u32> {
        let number = packed(word).map_or_else(|| self.long.get(word), |key| self.short.get(&key));
        number.copied()
    }

    /// The number of a word, which gets one if it has none.
    fn add(&mut self, word: &str) -> u32 {
        let fresh = (self.short.len() + self.long.len()) as u32;
        match packed(word) {
            Some(key) => *self.short.entry(key).or_insert(fresh),
            None => *self.long.entry(word.into()).or_insert(fresh),
        }
    }
}

/// A word of at most 16 bytes as a number. No word has a byte that is 0.
fn packed(word: &str) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    Some(u128::from_be_bytes(bytes))
}

/// The first eight bytes of a word as a number.
fn head(word: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = word.len().min(8);
    bytes[..length].copy_from_slice(&word.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

/// How words begin that end a phrase: `greylist*`.
struct Stem {
    head: u64,
    stem: Box<str>,
    ends: u32,
}

impl Stem {
    fn begins(&self, word: &str, word_head: u64) -> bool {
        let behind = 64 - 8 * self.stem.len().min(8);
        (word_head ^ self.head) >> behind == 0
            && (self.stem.len() <= 8 || word.starts_with(&*self.stem))
    }
}

#[derive(Default)]
struct Trie {
    /// From a node by a word, or by a group, to a node; the root is 0.
    edges: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    /// From the root by a word, or by a group, by its number: each word of a text is looked for
    /// there. 0: no phrase begins so.
    first_words: Vec<u32>,
    first_groups: Vec<u32>,
    nodes: Vec<Node>,
    ends: Vec<Ends>,
    /// The stems that may follow a node, sorted.
    stems: Vec<Vec<Stem>>,
}

/// What ends at a node, or with an open word.
#[derive(Default)]
struct Ends {
    /// Phrases of one piece; or groups.
    whole: Vec<usize>,
    /// Pieces of longer phrases, each with the ends of the piece beside it.
    pieces: Vec<(usize, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Edge {
    Word(u32),
    Group(u32),
    End,
}

impl Edge {
    /// The key of the edge that leaves a node. There are far fewer than 2^31 words.
    fn from(self, node: u32) -> u64 {
        let (kind, number) = match self {
            Edge::Word(word) => (0, word),
            Edge::Group(group) => (1 << 31, group),
            Edge::End => (1 << 31, (1 << 31) - 1),
        };
        u64::from(node) << 32 | u64::from(kind | number)
    }
}

/// Spreads the keys of words and edges, which no text chooses: all are made as the rules are read.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }

    fn write_u8(&mut self, _: u8) {
        // What ends a text: words are kept apart by their bytes.
    }

    fn write_u64(&mut self, key: u64) {
        // By the golden ratio, as Knuth has it; the upper half is the better one.
        self.0 = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// There are many, and most are looked at once in a text: they are small.
#[derive(Default)]
struct Node {
    /// The numbers of the words and groups that lead on, modulo 64: most are none of them.
    words: u64,
    groups: u64,
    /// What ends here.
    ends: Option<u32>,
    /// The number of the stems of which one may follow.
    stems: Option<u32>,
}

/// Where a phrase was found: its number, its first word, and the word behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) piece: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it ends in a name that a pause parts from the words before it: in "signature
    /// invalid, recipient requires one" no recipient is invalid.
    pub(super) parted: bool,
}

/// Where something ends.
#[derive(Clone, Copy)]
struct Place {
    ends: u32,
    start: usize,
    end: usize,
    parted: bool,
}

/// Which ends a text has, by their numbers modulo 256: few texts have most of them.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    fn add(&mut self, ends: u32) {
        self.0[(ends / 64 % 4) as usize] |= bit(ends);
    }

    /// Whether the text may have them.
    fn may_have(&self, ends: u32) -> bool {
        self.0[(ends / 64 % 4) as usize] & bit(ends) != 0
    }
}

/// Where a phrase may go on.
#[derive(Clone, Copy)]
struct Way {
    node: u32,
    at: usize,
    parted: bool,
    /// Whether the end of a sentence that stands here belongs to the phrase.
    over: bool,
}

/// The words of a text, and the groups that stand there.
struct Text<'t> {
    words: &'t [&'t str],
    breaks: &'t [Break],
    /// The number of each word that stands in any phrase or group.
    numbers: Vec<Option<u32>>,
    /// The groups with their ends, by where they start.
    groups: Vec<(u32, usize)>,
    /// Of each word, how many groups start before it.
    before: Vec<usize>,
    /// The group of every word that may be somebody's name.
    any: Option<u32>,
}

impl Text<'_> {
    /// The groups that start at a word, each with its end.
    fn groups_at(&self, at: usize) -> &[(u32, usize)] {
        let end = self.before.get(at + 1).copied().unwrap_or(self.groups.len());
        &self.groups[self.before[at]..end]
    }
}

/// Whether a number may be among those of a node.
fn bit(number: u32) -> u64 {
    1 << (number % 64)
}

impl Tree {
    /// Adds words to a group.
    pub(super) fn add_to_group(&mut self, group: u32, words: &str) {
        let steps: Vec<Step> = words.split(' ').map(|word| Step::Word(word.to_owned())).collect();
        let ends = self.groups.add(&steps, &mut self.numbers);
        self.groups.ends[ends as usize].whole.push(group as usize);
    }

    /// Has a group be one of names.
    pub(super) fn name(&mut self, group: u32) {
        self.names.push(group);
    }

    /// Has a group be that of every word that may be somebody's name.
    pub(super) fn any(&mut self, group: u32) {
        self.any = Some(group);
    }

    /// Adds a phrase in its pieces, the first of that number.
    pub(super) fn add(&mut self, pieces: &[Vec<Step>], number: usize) {
        let add = |steps: &Vec<Step>| self.phrases.add(steps, &mut self.numbers);
        let all: Vec<u32> = pieces.iter().map(add).collect();
        for (place, ends) in all.iter().enumerate() {
            let beside = all.get(if place == 0 { 1 } else { place - 1 });
            let ends = &mut self.phrases.ends[*ends as usize];
            match beside {
                Some(beside) => ends.pieces.push((number + place, *beside)),
                None => ends.whole.push(number),
            }
        }
    }

    /// Every phrase in a text of such words, ordered by where it ends, and of those with gaps the
    /// pieces that may be of one. None goes over the end of a sentence that is not its own.
    pub(super) fn hits(&self, Words { words, breaks, .. }: &Words<'_>) -> Vec<Hit> {
        let numbers = words.iter().map(|word| self.numbers.get(word)).collect();
        let room = words.len();
        let (groups, before) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let any = self.any;
        let mut text = Text { words, breaks, numbers, groups, before, any };
        let (mut open, mut places) = (Vec::with_capacity(room), Vec::with_capacity(2 * room));
        for start in 0..words.len() {
            text.before.push(text.groups.len());
            self.groups.walk(&text, &[], start, &mut open, &mut places);
            for Place { ends, end, .. } in places.drain(..) {
                let whole = &self.groups.ends[ends as usize].whole;
                text.groups.extend(whole.iter().map(|group| (*group as u32, end)));
            }
        }
        for start in 0..words.len() {
            self.phrases.walk(&text, &self.names, start, &mut open, &mut places);
        }
        let mut seen = Seen::default();
        places.iter().for_each(|place| seen.add(place.ends));
        let mut hits = Vec::with_capacity(places.len());
        for Place { ends, start, end, parted } in places {
            let Ends { whole, pieces } = &self.phrases.ends[ends as usize];
            let hit = |piece: &usize| Hit { piece: *piece, start, end, parted };
            hits.extend(whole.iter().map(hit));
            let may_be = pieces.iter().filter(|(_, beside)| seen.may_have(*beside));
            hits.extend(may_be.map(|(piece, _)| hit(piece)));
        }
        hits.sort_by_key(|hit| hit.end);
        hits
    }
}

impl Trie {
    /// Adds a phrase, or a piece of one, and returns the number of what ends there.
    fn add(&mut self, phrase: &[Step], numbers: &mut Numbers) -> u32 {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for step in phrase.iter().take(DEPTH_MAX) {
            let here = &mut self.nodes[node as usize];
            let edge = match step {
                Step::Open(stem) => return self.open(node, stem),
                Step::Word(word) => {
                    let word = numbers.add(word);
                    here.words |= bit(word);
                    Edge::Word(word)
                }
                Step::Group(group) => {
                    here.groups |= bit(*group);
                    Edge::Group(*group)
                }
                Step::End => Edge::End,
            };
            node = self.follow(node, edge);
        }
        let fresh = self.ends.len() as u32;
        let ends = *self.nodes[node as usize].ends.get_or_insert(fresh);
        if ends == fresh {
            self.ends.push(Ends::default());
        }
        ends
    }

    /// Has a word that begins so end something behind a node, and returns the number of that.
    fn open(&mut self, node: u32, stem: &str) -> u32 {
        let number = self.stems.len() as u32;
        let number = *self.nodes[node as usize].stems.get_or_insert(number);
        if number as usize == self.stems.len() {
            self.stems.push(Vec::new());
        }
        let stems = &mut self.stems[number as usize];
        match stems.binary_search_by(|other| (*other.stem).cmp(stem)) {
            Ok(at) => stems[at].ends,
            Err(at) => {
                let ends = self.ends.len() as u32;
                stems.insert(at, Stem { head: head(stem), stem: stem.into(), ends });
                self.ends.push(Ends::default());
                ends
            }
        }
    }

    /// The node to which an edge leads, which is made if it is not there.
    fn follow(&mut self, node: u32, edge: Edge) -> u32 {
        let fresh = self.nodes.len() as u32;
        let next = *self.edges.entry(edge.from(node)).or_insert(fresh);
        if next == fresh {
            self.nodes.push(Node::default());
        }
        let (firsts, number) = match edge {
            Edge::Word(word) => (&mut self.first_words, word as usize),
            Edge::Group(group) => (&mut self.first_groups, group as usize),
            Edge::End => return next,
        };
        if node == 0 {
            firsts.resize(firsts.len().max(number + 1), 0);
            firsts[number] = next;
        }
        next
    }

    /// Adds every place where a phrase ends that starts at a word. `open` is room for what is still
    /// to be followed.
    fn walk(
        &self,
        text: &Text<'_>,
        names: &[u32],
        start: usize,
        open: &mut Vec<Way>,
        places: &mut Vec<Place>,
    ) {
        open.push(Way { node: 0, at: start, parted: false, over: true });
        while let Some(Way { node, at, parted, over }) = open.pop() {
            let Some(here) = self.nodes.get(node as usize) else { continue };
            let place = |ends, end| Place { ends, start, end, parted };
            places.extend(here.ends.map(|ends| place(ends, at)));
            let Some(word) = text.words.get(at) else { continue };
            if text.breaks[at].cut && at > start {
                continue;
            }
            if text.breaks[at].ends && !over {
                let next = self.edges.get(&Edge::End.from(node));
                open.extend(next.map(|next| Way { node: *next, at, parted: false, over: true }));
                continue;
            }
            if let Some(stems) = here.stems {
                let (stems, word_head) = (&self.stems[stems as usize], head(word));
                // Those that begin with the same letter.
                let from = stems.partition_point(|stem| stem.head >> 56 < word_head >> 56);
                let stems = stems[from..].iter().take_while(|stem| stem.head <= word_head);
                let begins = stems.filter(|stem| stem.begins(word, word_head));
                places.extend(begins.map(|stem| place(stem.ends, at + 1)));
            }
            let way = |node, at, parted| Way { node, at, parted, over: false };
            if let Some(word) = text.numbers[at] {
                let next = self.next(node, here.words, Edge::Word(word));
                open.extend(next.map(|next| way(next, at + 1, false)));
            }
            if here.groups == 0 {
                continue;
            }
            if let Some(any) = text.any.filter(|_| at > start)
                && let Some(next) = self.next(node, here.groups, Edge::Group(any))
                && may_be_name(word)
            {
                open.push(way(next, at + 1, false));
            }
            for (group, end) in text.groups_at(at) {
                if let Some(next) = self.next(node, here.groups, Edge::Group(*group)) {
                    let parted = at > start && text.breaks[at].pauses && names.contains(group);
                    open.push(way(next, *end, parted));
                }
            }
        }
    }

    /// Where a word or a group leads from a node, if it may be among those that lead on.
    fn next(&self, node: u32, among: u64, edge: Edge) -> Option<u32> {
        let (firsts, number) = match edge {
            Edge::Word(word) => (&self.first_words, word),
            Edge::Group(group) => (&self.first_groups, group),
            Edge::End => return None,
        };
        if node == 0 {
            return firsts.get(number as usize).copied().filter(|next| *next != 0);
        }
        let may = among & bit(number) != 0;
        may.then(|| self.edges.get(&edge.from(node)).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str) -> Step {
        Step::Word(word.to_owned())
    }

    fn open(stem: &str) -> Step {
        Step::Open(stem.to_owned())
    }

    #[test]
    fn words_and_stems_of_any_length_are_told_apart() {
        let mut tree = Tree::default();
        let long = "empfaengeradressen";
        let phrases = [open("spf"), open("graylist"), open("distribution"), word(long), word("ok")];
        for (number, step) in phrases.into_iter().enumerate() {
            tree.add(&[vec![step]], number);
        }
        for (said, found) in [
            ("spf", vec![0]),
            ("spfs", vec![0]),
            ("sp", vec![]),
            ("spg", vec![]),
            ("graylisted", vec![1]),
            ("graylis", vec![]),
            ("distributions", vec![2]),
            ("distributive", vec![]),
            ("distributio", vec![]),
            (long, vec![3]),
            ("empfaengeradresse", vec![]),
            ("ok", vec![4]),
            ("okay", vec![]),
        ] {
            let hits = tree.hits(&Words::of(said));
            assert_eq!(hits.iter().map(|hit| hit.piece).collect::<Vec<_>>(), found, "{said}");
        }
    }

    #[test]
    fn a_piece_is_found_only_where_the_one_beside_it_is() {
        let mut tree = Tree::default();
        tree.add(&[vec![word("user")], vec![word("unknown")], vec![word("here")]], 0);
        tree.add(&[vec![word("unknown")]], 3);
        for (said, found) in [
            ("user", vec![]),
            ("user here", vec![]),
            ("unknown", vec![3]),
            ("user is unknown", vec![0, 3, 1]),
            ("user is unknown here", vec![0, 3, 1, 2]),
        ] {
            let hits = tree.hits(&Words::of(said));
            assert_eq!(hits.iter().map(|hit| hit.piece).collect::<Vec<_>>(), found, "{said}");
        }
    }
}
