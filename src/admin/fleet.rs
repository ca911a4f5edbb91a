//! The verbs about the other hosts that know the same.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::health::{Health, HealthCheck};
use super::{Admin, Failure, Fleet, Replies, row};
use crate::clock;

/// How long a repair may take before the client is told that it goes on by itself.
const REPAIR: Duration = Duration::from_secs(30 * 60);
/// How often it is looked whether a repair is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Admin {
    fn fleet(&self) -> Result<&Fleet, Failure> {
        let hint = "this host has no others: add [fleet] to the configuration (docs/fleet.md)";
        self.fleet.as_ref().ok_or_else(|| Failure::failed(hint))
    }

    pub(super) async fn show_fleet(&self, to: &Replies) -> Result<(), Failure> {
        let fleet = self.fleet()?;
        let summary = serde_json::to_value(fleet.summary()).map_err(Failure::failed)?;
        row(to, json!({ "fleet": summary, "hosts": fleet.hosts() })).await
    }

    pub(super) async fn repair_fleet(&self, to: &Replies) -> Result<(), Failure> {
        let (fleet, began) = (self.fleet()?, clock::now());
        if !fleet.repair() {
            return Err(Failure::failed("a repair is under way: ask again later"));
        }
        let deadline = Instant::now() + REPAIR;
        let found = loop {
            if let Some(found) = fleet.compared_since(began) {
                break found;
            }
            if to.is_closed() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::failed("it goes on by itself: see `suppressd fleet`"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        for (host, differs) in found {
            row(to, json!({ "host": host, "differs": differs })).await?;
        }
        let problems = fleet.summary().problems;
        if problems.is_empty() { Ok(()) } else { Err(Failure::failed(problems.join("; "))) }
    }

    pub(super) fn fleet_check(&self) -> Option<HealthCheck> {
        let check = self.fleet.as_ref()?.check();
        Some(HealthCheck::new("fleet", Health::Degraded, check.problem, &check.well))
    }
}
