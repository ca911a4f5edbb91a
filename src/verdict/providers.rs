//! What each provider's own words for a failure are worth, read from `rules/providers.toml`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Told;
use super::rulebook::RuleError;
use crate::model::Class;

const FILE: &str = include_str!("rules/providers.toml");

/// Every word of every provider.
#[derive(Debug, Default)]
pub(super) struct Providers(BTreeMap<String, HashMap<String, Told>>);

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
    own: Bins,
    #[serde(default)]
    sorts: Bins,
    #[serde(default)]
    alone: Bins,
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
            let mut words: HashMap<String, Told> =
                table.mirrors.into_iter().map(|word| (word, Told::Mirrors)).collect();
            let bins: [(Bins, ToldOf); 4] = [
                (table.own, Told::Own),
                (table.sorts, Told::Sorts),
                (table.alone, Told::Alone),
                (table.within, Told::Within),
            ];
            for (bins, told) in bins {
                for (class, own) in bins {
                    let class = Class::parse(&class)
                        .ok_or_else(|| wrong(format!("{name}: no class {class:?}")))?;
                    for word in own {
                        if words.insert(word.clone(), told(class)).is_some() {
                            return Err(wrong(format!("{name}: {word:?} stands twice")));
                        }
                    }
                }
            }
            providers.insert(name, words);
        }
        Ok(Providers(providers))
    }

    /// The providers, by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a word of a provider is worth. `None`: the provider documents no such word.
    pub(super) fn told(&self, provider: &str, word: &str) -> Option<Told> {
        self.0.get(provider)?.get(&word.trim().to_lowercase()).copied()
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
