//! A tree of words: finds every phrase of a set in a text, in time that grows with the text alone.

use std::collections::HashMap;

/// Most words of a phrase.
const DEPTH_MAX: usize = 32;

/// The phrases, by their words.
#[derive(Default)]
pub(super) struct Tree {
    /// The number of each word that stands in any phrase.
    words: HashMap<Box<str>, u32>,
    /// From a node by a word to a node; the root is 0.
    edges: HashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// The phrases that end here.
    ends: Vec<usize>,
    /// The phrases whose last word begins so: `greylist*`.
    open: Vec<(Box<str>, usize)>,
}

/// Where a phrase was found: its number, its first word, and the word behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) piece: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Tree {
    /// Adds a phrase: words with a space between, the last of them open if it ends in `*`.
    pub(super) fn add(&mut self, phrase: &str, number: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for word in phrase.split(' ').take(DEPTH_MAX) {
            if let Some(stem) = word.strip_suffix('*') {
                self.nodes[node as usize].open.push((stem.into(), number));
                return;
            }
            let fresh = self.words.len() as u32;
            let word = *self.words.entry(word.into()).or_insert(fresh);
            let next = self.nodes.len() as u32;
            let step = *self.edges.entry((node, word)).or_insert(next);
            if step == next {
                self.nodes.push(Node::default());
            }
            node = step;
        }
        self.nodes[node as usize].ends.push(number);
    }

    /// Every phrase in a text of such words, ordered by where it ends.
    pub(super) fn hits(&self, text: &str) -> Vec<Hit> {
        let words: Vec<(&str, Option<u32>)> = text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| (word, self.words.get(word).copied()))
            .collect();
        let mut hits = Vec::new();
        for start in 0..words.len() {
            let mut node = 0;
            for (end, (word, number)) in words.iter().enumerate().skip(start) {
                let Some(here) = self.nodes.get(node as usize) else { break };
                let begins = here.open.iter().filter(|(stem, _)| word.starts_with(&**stem));
                hits.extend(begins.map(|(_, piece)| Hit { piece: *piece, start, end: end + 1 }));
                let next = number.and_then(|number| self.edges.get(&(node, number)));
                let Some(next) = next else { break };
                node = *next;
                let ends = &self.nodes[node as usize].ends;
                hits.extend(ends.iter().map(|piece| Hit { piece: *piece, start, end: end + 1 }));
            }
        }
        hits.sort_by_key(|hit| hit.end);
        hits
    }
}
