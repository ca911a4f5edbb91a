//! What each provider's own words for a failure are worth, read from `rules/providers.toml`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Told;
use super::rulebook::RuleError;
use crate::model::Class;

const FILE: &str = include_str!("rules/providers.toml");

/// Every word of every provider.
#[derive(Debug, Default)]
pub(super) struct Providers(BTreeMap<String, HashMap<String, Word>>);

/// What a word says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// What it is worth.
    pub(super) told: Told,
    /// The provider calls the failure passing by it.
    pub(super) is_soft: bool,
    /// It failed at the provider, or by what the sender did there: no receiver has refused it.
    pub(super) is_failed: bool,
}

/// What words of a class are worth.
type ToldOf = fn(Class) -> Told;

/// Words by the class that they are of.
type Bins = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Where the provider documents its words.
    #[serde(rename = "source")]
    _source: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    soft: Vec<String>,
    #[serde(default)]
    failed: Vec<String>,
    #[serde(default)]
    own: Bins,
    #[serde(default)]
    sorts: Bins,
    #[serde(default)]
    alone: Bins,
    #[serde(default)]
    otherwise: Bins,
    #[serde(default)]
    within: Bins,
}

impl Providers {
    /// Those of the program.
    pub(super) fn built_in() -> Result<Providers, RuleError> {
        let wrong = |problem: String| RuleError { file: "providers".to_owned(), problem };
        let tables: BTreeMap<String, Table> =
            toml::from_str(FILE).map_err(|error| wrong(error.to_string()))?;
        let mut providers = BTreeMap::new();
        for (name, table) in tables {
            let mut words: HashMap<String, Word> =
                table.mirrors.into_iter().map(|word| (word, Word::default())).collect();
            let bins: [(Bins, ToldOf); 5] = [
                (table.own, Told::Own),
                (table.sorts, Told::Sorts),
                (table.alone, Told::Alone),
                (table.otherwise, Told::Otherwise),
                (table.within, Told::Within),
            ];
            for (bins, told) in bins {
                for (class, own) in bins {
                    let class = Class::parse(&class)
                        .ok_or_else(|| wrong(format!("{name}: no class {class:?}")))?;
                    for word in own {
                        let told = Word { told: told(class), ..Word::default() };
                        if words.insert(word.clone(), told).is_some() {
                            return Err(wrong(format!("{name}: {word:?} stands twice")));
                        }
                    }
                }
            }
            let unknown = |word: &str| wrong(format!("{name}: {word:?} is in no other list"));
            for word in table.soft {
                words.get_mut(&word).ok_or_else(|| unknown(&word))?.is_soft = true;
            }
            for word in table.failed {
                words.get_mut(&word).ok_or_else(|| unknown(&word))?.is_failed = true;
            }
            providers.insert(name, words);
        }
        Ok(Providers(providers))
    }

    /// The providers, by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a word of a provider says. `None`: the provider documents no such word.
    pub(super) fn word(&self, provider: &str, word: &str) -> Option<Word> {
        let word = word.trim().trim_end_matches('/').to_lowercase();
        self.0.get(provider)?.get(&word).copied()
    }
}

/// The words that may be meant in what an event shows as the provider's kind: all of it, then what
/// stands between its marks, of several parts before of one, and the last, which is the most exact,
/// before the first.
pub(super) fn words_in(kind: &str) -> Vec<String> {
    let parts: Vec<&str> = kind.split(['/', ':', '.']).map(str::trim).collect();
    let runs = |length: usize| parts.windows(length).rev().map(|run| run.join("/"));
    [kind.to_owned()].into_iter().chain((1..=parts.len()).rev().flat_map(runs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_words_come_first() {
        let words = ["a:b/c d", "a/b/c d", "b/c d", "a/b", "c d", "b", "a"];
        assert_eq!(words_in("a:b/c d"), words);
        assert_eq!(words_in("bounce"), ["bounce", "bounce"]);
    }
}
