//! A tree of words: finds every phrase of a set in a text, in time that grows with the text alone.
//!
//! A step of a phrase is a word, or a group: any of the words, or runs of words, that stand in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::sentences::{Break, Words};

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
}

type Numbers = HashMap<Box<str>, u32, BuildHasherDefault<Spread>>;

#[derive(Default)]
struct Trie {
    /// From a node by a word, or by a group, to a node; the root is 0.
    edges: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    /// From the root by a word, by the word's number: each word of a text is looked for there. 0:
    /// no phrase begins so.
    firsts: Vec<u32>,
    nodes: Vec<Node>,
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
    last: Option<Box<Last>>,
}

/// Where phrases end.
#[derive(Default)]
struct Last {
    /// The phrases that end here.
    ends: Vec<usize>,
    /// The phrases whose last word begins so, by its first byte: `greylist*`.
    open: Vec<(u8, Box<str>, usize)>,
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
    /// The groups, by where they start.
    groups: Vec<Hit>,
    /// The first of the groups that start at each word or behind it.
    firsts: Vec<usize>,
}

impl Text<'_> {
    /// The groups that start at a word, each with its end.
    fn groups_at(&self, at: usize) -> impl Iterator<Item = (u32, usize)> {
        let first = self.firsts.get(at).copied().unwrap_or(self.groups.len());
        let here = self.groups[first..].iter().take_while(move |hit| hit.start == at);
        here.map(|hit| (hit.piece as u32, hit.end))
    }
}

fn first_byte(word: &str) -> u8 {
    word.as_bytes().first().copied().unwrap_or_default()
}

/// Whether a number may be among those of a node.
fn bit(number: u32) -> u64 {
    1 << (number % 64)
}

impl Tree {
    /// Adds words to a group.
    pub(super) fn add_to_group(&mut self, group: u32, words: &str) {
        let steps: Vec<Step> = words.split(' ').map(|word| Step::Word(word.to_owned())).collect();
        self.groups.add(&steps, group as usize, &mut self.numbers);
    }

    /// Has a group be one of names.
    pub(super) fn name(&mut self, group: u32) {
        self.names.push(group);
    }

    /// Adds a phrase.
    pub(super) fn add(&mut self, phrase: &[Step], number: usize) {
        self.phrases.add(phrase, number, &mut self.numbers);
    }

    /// Every phrase in a text of such words, ordered by where it ends. None goes over the end of a
    /// sentence that is not its own.
    pub(super) fn hits(&self, Words { words, breaks, .. }: &Words<'_>) -> Vec<Hit> {
        let numbers = words.iter().map(|word| self.numbers.get(*word).copied()).collect();
        let mut text = Text { words, breaks, numbers, groups: Vec::new(), firsts: Vec::new() };
        let room = words.len();
        let (mut groups, mut firsts) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut open = Vec::with_capacity(room);
        for start in 0..words.len() {
            firsts.push(groups.len());
            self.groups.walk(&text, &[], start, &mut open, &mut groups);
        }
        text.groups = groups;
        text.firsts = firsts;
        let mut hits = Vec::with_capacity(4 * room);
        for start in 0..words.len() {
            self.phrases.walk(&text, &self.names, start, &mut open, &mut hits);
        }
        hits.sort_by_key(|hit| hit.end);
        hits
    }
}

impl Trie {
    fn add(&mut self, phrase: &[Step], number: usize, numbers: &mut Numbers) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for step in phrase.iter().take(DEPTH_MAX) {
            let edge = match step {
                Step::Open(stem) => {
                    let open = &mut self.nodes[node as usize].last.get_or_insert_default().open;
                    let first = first_byte(stem);
                    let at = open.partition_point(|(other, ..)| *other <= first);
                    open.insert(at, (first, stem.as_str().into(), number));
                    return;
                }
                Step::Word(word) => {
                    let fresh = numbers.len() as u32;
                    let word = *numbers.entry(word.as_str().into()).or_insert(fresh);
                    self.nodes[node as usize].words |= bit(word);
                    Edge::Word(word)
                }
                Step::Group(group) => {
                    self.nodes[node as usize].groups |= bit(*group);
                    Edge::Group(*group)
                }
                Step::End => Edge::End,
            };
            let next = self.nodes.len() as u32;
            let step = *self.edges.entry(edge.from(node)).or_insert(next);
            if step == next {
                self.nodes.push(Node::default());
            }
            if let (0, Edge::Word(word)) = (node, edge) {
                let word = word as usize;
                self.firsts.resize(self.firsts.len().max(word + 1), 0);
                self.firsts[word] = step;
            }
            node = step;
        }
        self.nodes[node as usize].last.get_or_insert_default().ends.push(number);
    }

    /// Adds every phrase that starts at a word. `open` is room for what is still to be followed.
    fn walk(
        &self,
        text: &Text<'_>,
        names: &[u32],
        start: usize,
        open: &mut Vec<Way>,
        hits: &mut Vec<Hit>,
    ) {
        open.push(Way { node: 0, at: start, parted: false, over: true });
        while let Some(Way { node, at, parted, over }) = open.pop() {
            let Some(here) = self.nodes.get(node as usize) else { continue };
            let hit = |piece: &usize, end| Hit { piece: *piece, start, end, parted };
            let ends = here.last.iter().flat_map(|last| &last.ends);
            hits.extend(ends.map(|piece| hit(piece, at)));
            let Some(word) = text.words.get(at) else { continue };
            if text.breaks[at].cut && at > start {
                continue;
            }
            if text.breaks[at].ends && !over {
                let next = self.edges.get(&Edge::End.from(node));
                open.extend(next.map(|next| Way { node: *next, at, parted: false, over: true }));
                continue;
            }
            if let Some(last) = &here.last {
                let first = first_byte(word);
                let from = last.open.partition_point(|(other, ..)| *other < first);
                let stems = last.open[from..].iter().take_while(|(other, ..)| *other == first);
                let begins = stems.filter(|(_, stem, _)| word.starts_with(&**stem));
                hits.extend(begins.map(|(.., piece)| hit(piece, at + 1)));
            }
            let next = text.numbers[at].and_then(|word| self.next(node, here, word));
            let way = |node, at, parted| Way { node, at, parted, over: false };
            open.extend(next.map(|next| way(next, at + 1, false)));
            if here.groups == 0 {
                continue;
            }
            let groups = text.groups_at(at).filter(|(group, _)| here.groups & bit(*group) != 0);
            open.extend(groups.filter_map(|(group, end)| {
                let next = self.edges.get(&Edge::Group(group).from(node))?;
                let parted = at > start && text.breaks[at].pauses && names.contains(&group);
                Some(way(*next, end, parted))
            }));
        }
    }

    /// Where a word leads from a node.
    fn next(&self, node: u32, here: &Node, word: u32) -> Option<u32> {
        if node == 0 {
            return self.firsts.get(word as usize).copied().filter(|next| *next != 0);
        }
        let may = here.words & bit(word) != 0;
        may.then(|| self.edges.get(&Edge::Word(word).from(node)).copied()).flatten()
    }
}
