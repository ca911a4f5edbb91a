//! What each provider's own words for a failure are worth, read from `rules/providers.toml`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Told;
use super::class::Class;
use super::rulebook::RuleError;

const FILE: &str = include_str!("rules/providers.toml");

/// Every word of every provider.
#[derive(Debug, Default)]
pub(super) struct Providers(BTreeMap<String, HashMap<String, Told>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Where the provider documents its words.
    #[serde(rename = "source")]
    _source: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    own: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    sorts: BTreeMap<String, Vec<String>>,
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
            let bins =
                table.own.into_iter().map(|(class, words)| (class, words, Told::Own as fn(_) -> _));
            let sorted = table
                .sorts
                .into_iter()
                .map(|(class, words)| (class, words, Told::Sorts as fn(_) -> _));
            for (class, own, told) in bins.chain(sorted) {
                let class = Class::parse(&class)
                    .ok_or_else(|| wrong(format!("{name}: no class {class:?}")))?;
                for word in own {
                    if words.insert(word.clone(), told(class)).is_some() {
                        return Err(wrong(format!("{name}: {word:?} stands twice")));
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
