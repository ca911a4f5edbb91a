//! What holds where a key is not set, if that depends on what else is.

use serde_json::Value as Json;
use toml::de::DeTable;

use super::environment::Environment;
use super::section::json_of;
use super::{VARIABLE, export, listeners};
use crate::export as exports;
use crate::model::Reason;
use crate::provider;
use crate::units;

/// What stands around a key.
pub(super) struct Around<'a> {
    /// The table that it is in.
    pub(super) beside: &'a DeTable<'a>,
    /// The provider of the source that it is of.
    pub(super) provider: Option<&'a str>,
    /// Outside of the file.
    pub(super) environment: &'a Environment,
}

impl Around<'_> {
    /// What a key would be, if it was not set.
    pub(super) fn default_of(&self, key: &str) -> Option<Json> {
        match key {
            "http.memory" => {
                let body_max = self.beside("body_max").and_then(|it| units::size(it.as_str()?));
                let body_max = body_max.and_then(|it| usize::try_from(it).ok());
                let memory =
                    listeners::usual_memory(body_max.unwrap_or(listeners::BODY_MAX_DEFAULT));
                Some(units::show_size(memory as u64).into())
            }
            "http.connections_per_address" => {
                let all = self.beside("connections_max").and_then(|it| it.as_u64());
                let all = all.and_then(|it| usize::try_from(it).ok());
                let all = all.unwrap_or(listeners::CONNECTIONS_MAX_DEFAULT);
                Some(listeners::usual_connections_per_address(all).into())
            }
            "log.level" => {
                let level = self.environment.text(VARIABLE).filter(|level| !level.is_empty())?;
                Some(level.into())
            }
            "export.min_interval" => {
                let format = self.format()?;
                let table = self.beside("table").and_then(|it| Some(it.as_str()?.to_owned()));
                let table = table.unwrap_or_else(|| format.tables()[0].as_str().to_owned());
                let table = format.tables().iter().find(|known| known.as_str() == table)?;
                Some(units::show_duration(export::usual_interval(*table)).into())
            }
            "export.reasons" => {
                let only = self.format()?.reasons();
                let reasons = if only.is_empty() { &Reason::ALL[..] } else { only };
                Some(reasons.iter().map(|reason| Json::from(reason.as_str())).collect())
            }
            "source.poll.feeds" => {
                let feeds = provider::by_name(self.provider?)?.feeds();
                let names: Json = feeds.iter().map(|feed| Json::from(&*feed.name)).collect();
                (!feeds.is_empty()).then_some(names)
            }
            "source.poll.overlap" => {
                let feeds = provider::by_name(self.provider?)?.feeds();
                let mut all: Vec<_> = feeds.iter().map(|feed| feed.overlap).collect();
                all.sort_unstable();
                all.dedup();
                let all: Vec<String> = all.into_iter().map(units::show_duration).collect();
                // Each feed has its own.
                (!all.is_empty()).then(|| all.join(", ").into())
            }
            _ => None,
        }
    }

    fn beside(&self, key: &str) -> Option<Json> {
        self.beside.get(key).map(|value| json_of(value.get_ref()))
    }

    fn format(&self) -> Option<&'static dyn exports::Format> {
        let name = self.beside("format")?;
        exports::ALL.iter().copied().find(|format| Some(format.name()) == name.as_str())
    }
}
