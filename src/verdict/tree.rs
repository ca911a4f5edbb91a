//! A tree of words: finds every phrase of a set in a text, in time that grows with the text alone.
//!
//! A step of a phrase is a word, or a group: any of the words, or runs of words, that stand in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
}

/// The phrases, by their steps.
#[derive(Default)]
pub(super) struct Tree {
    /// The number of each word that stands in any phrase or group.
    words: Words,
    phrases: Trie,
    /// The words of the groups: what ends there is a group's number.
    groups: Trie,
}

type Words = HashMap<Box<str>, u32, BuildHasherDefault<Spread>>;

#[derive(Default)]
struct Trie {
    /// From a node by a word, or by a group, to a node; the root is 0.
    edges: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
enum Edge {
    Word(u32),
    Group(u32),
}

impl Edge {
    /// The key of the edge that leaves a node. There are far fewer than 2^31 words.
    fn from(self, node: u32) -> u64 {
        let (kind, number) = match self {
            Edge::Word(word) => (0, word),
            Edge::Group(group) => (1 << 31, group),
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

#[derive(Default)]
struct Node {
    /// The phrases that end here.
    ends: Vec<usize>,
    /// The phrases whose last word begins so: `greylist*`.
    open: Vec<(Box<str>, usize)>,
    /// Whether any edge by a group leads on.
    grouped: bool,
}

/// Where a phrase was found: its number, its first word, and the word behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) piece: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The words of a text, and the groups that stand there: by where they start, each with its end.
struct Text<'t> {
    words: &'t [&'t str],
    groups: Vec<Vec<(u32, usize)>>,
}

impl Tree {
    /// Adds words to a group.
    pub(super) fn add_to_group(&mut self, group: u32, words: &str) {
        let steps: Vec<Step> = words.split(' ').map(|word| Step::Word(word.to_owned())).collect();
        self.groups.add(&steps, group as usize, &mut self.words);
    }

    /// Adds a phrase.
    pub(super) fn add(&mut self, phrase: &[Step], number: usize) {
        self.phrases.add(phrase, number, &mut self.words);
    }

    /// Every phrase in a text of such words, ordered by where it ends.
    pub(super) fn hits(&self, words: &[&str]) -> Vec<Hit> {
        let mut text = Text { words, groups: vec![Vec::new(); words.len()] };
        let (mut found, mut open) = (Vec::new(), Vec::new());
        let number = |word: &&str| self.words.get(*word).map(|word| Edge::Word(*word));
        let numbers: Vec<Option<Edge>> = words.iter().map(number).collect();
        for start in 0..words.len() {
            self.groups.walk(&text, &numbers, start, &mut open, &mut found);
        }
        for Hit { piece, start, end } in found {
            text.groups[start].push((piece as u32, end));
        }
        let mut hits = Vec::new();
        for start in 0..words.len() {
            self.phrases.walk(&text, &numbers, start, &mut open, &mut hits);
        }
        hits.sort_by_key(|hit| hit.end);
        hits
    }
}

impl Trie {
    fn add(&mut self, phrase: &[Step], number: usize, words: &mut Words) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for step in phrase.iter().take(DEPTH_MAX) {
            let edge = match step {
                Step::Open(stem) => {
                    self.nodes[node as usize].open.push((stem.as_str().into(), number));
                    return;
                }
                Step::Word(word) => {
                    let fresh = words.len() as u32;
                    Edge::Word(*words.entry(word.as_str().into()).or_insert(fresh))
                }
                Step::Group(group) => {
                    self.nodes[node as usize].grouped = true;
                    Edge::Group(*group)
                }
            };
            let next = self.nodes.len() as u32;
            let step = *self.edges.entry(edge.from(node)).or_insert(next);
            if step == next {
                self.nodes.push(Node::default());
            }
            node = step;
        }
        self.nodes[node as usize].ends.push(number);
    }

    /// Adds every phrase that starts at a word. `open` is room for what is still to be followed.
    fn walk(
        &self,
        text: &Text<'_>,
        numbers: &[Option<Edge>],
        start: usize,
        open: &mut Vec<(u32, usize)>,
        hits: &mut Vec<Hit>,
    ) {
        open.push((0, start));
        while let Some((node, at)) = open.pop() {
            let Some(here) = self.nodes.get(node as usize) else { continue };
            hits.extend(here.ends.iter().map(|piece| Hit { piece: *piece, start, end: at }));
            let Some(word) = text.words.get(at) else { continue };
            // Most differ in the first byte, which is quicker to see.
            let first = word.as_bytes().first();
            let begins = here
                .open
                .iter()
                .filter(|(stem, _)| stem.as_bytes().first() == first && word.starts_with(&**stem));
            hits.extend(begins.map(|(_, piece)| Hit { piece: *piece, start, end: at + 1 }));
            let next = numbers[at].and_then(|edge| self.edges.get(&edge.from(node)));
            open.extend(next.map(|next| (*next, at + 1)));
            let groups = text.groups[at].iter().filter(|_| here.grouped);
            open.extend(groups.filter_map(|(group, end)| {
                let next = self.edges.get(&Edge::Group(*group).from(node));
                next.map(|next| (*next, *end))
            }));
        }
    }
}
