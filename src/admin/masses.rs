//! Masses of new suppressions that are held back: shown, let go, or ended.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::lift::last_instant;
use super::{Admin, Failure, Replies, row};
use crate::clock;
use crate::current::Current;
use crate::model::bounds::check_note;
use crate::model::{Element, Filter, Lifts, MassId, Scope, Standing, Time};
use crate::provider::{Instruction, MassStep, instruction_element, mass_element};
use crate::stop::stopped;
use crate::store::{HeldRow, Mass};
use crate::telemetry;

/// Addresses of one submission.
const AT_ONCE: usize = 1_000;
/// Addresses that are shown of each mass.
const EXAMPLES: usize = 5;

/// Between two tries to go on with a release.
const AGAIN: Duration = Duration::from_secs(60);

/// Finishes what was being let go when a former process ended; then waits until it is told to stop.
pub async fn keep_letting_go(admin: Arc<Current<Admin>>, mut stop: watch::Receiver<bool>) {
    let finish = async {
        admin.get().ingest.ready().await;
        while let Err(failure) = admin.get().finish_releases().await {
            telemetry::ingest::mass_not_released(failure.error);
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = finish => stopped(&mut stop).await,
        () = stopped(&mut stop) => {}
    }
}

impl Admin {
    pub(super) async fn masses(&self, to: &Replies) -> Result<(), Failure> {
        for answer in self.mass_rows()? {
            row(to, answer).await?;
        }
        Ok(())
    }

    /// A row for each mass.
    pub(super) fn mass_rows(&self) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        for (id, mass) in self.reader.masses()? {
            let examples = self.reader.held_by(id, EXAMPLES)?;
            let examples: Vec<String> = examples.into_iter().map(|(address, _)| address).collect();
            let mut answer = mass_row(id, &mass);
            answer["count"] = mass.count.into();
            answer["since"] = mass.since.to_string().into();
            answer["last"] = mass.last.to_string().into();
            answer["state"] = if mass.released { "releasing" } else { "held" }.into();
            answer["examples"] = examples.into();
            rows.push(answer);
        }
        Ok(rows)
    }

    /// Lets a mass go: from now on it suppresses, and so does what still comes of it.
    pub(super) async fn release(self: &Arc<Self>, id: u64, to: &Replies) -> Result<(), Failure> {
        let (id, mass) = self.mass(id)?;
        let released = self.let_go(id).await?;
        let mut answer = mass_row(id, &mass);
        answer["released"] = released.into();
        row(to, answer).await
    }

    /// Goes on with each mass that a process had begun to let go before it died.
    async fn finish_releases(self: &Arc<Self>) -> Result<(), Failure> {
        let begun = self.reader.masses()?.into_iter().filter(|(_, mass)| mass.released);
        for (id, _) in begun {
            let released = self.let_go(id).await?;
            telemetry::ingest::mass_released(id, released);
        }
        Ok(())
    }

    /// Lets a mass go. The first step decides it; the others can be repeated.
    async fn let_go(self: &Arc<Self>, id: MassId) -> Result<u64, Failure> {
        self.instruct(vec![mass_element(&MassStep::Pass(id))], Vec::new()).await?;
        let mut released = 0_u64;
        loop {
            let rows = self.reader.held_by(id, AT_ONCE)?;
            for row in &rows {
                released += u64::from(self.suppresses_without(id, row)?);
            }
            let Some(elements) = some(rows.into_iter().map(|row| free(id, row)).collect()) else {
                break;
            };
            self.instruct(elements, Vec::new()).await?;
        }
        self.instruct(vec![mass_element(&MassStep::End(id))], Vec::new()).await?;
        Ok(released)
    }

    /// Ends a mass: what it has held is lifted, and never suppressed anybody.
    pub(super) async fn lift_held(
        self: &Arc<Self>,
        id: u64,
        note: Option<String>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let (id, _) = self.mass(id)?;
        let most = if dry_run { usize::MAX } else { AT_ONCE };
        loop {
            let rows = self.reader.held_by(id, most)?;
            let (mut elements, mut answers) = (Vec::new(), Vec::new());
            for held in rows {
                let lifts = self.lifts_of(id, &held, note.as_deref())?;
                answers.push(lifted(&held, &lifts, note.as_deref(), dry_run));
                elements.extend(lifts.iter().map(instruction_element));
                elements.push(free(id, held));
            }
            if !dry_run && !elements.is_empty() {
                self.instruct(elements, Vec::new()).await?;
            }
            let is_last = dry_run || answers.is_empty();
            for answer in answers {
                row(to, answer).await?;
            }
            if is_last {
                break;
            }
        }
        if !dry_run {
            self.instruct(vec![mass_element(&MassStep::End(id))], Vec::new()).await?;
        }
        Ok(())
    }

    /// Whether an address will be suppressed once the mass is gone, and not lifted or over by now.
    fn suppresses_without(&self, id: MassId, (address, scope): &HeldRow) -> Result<bool, Failure> {
        let standings = self.reader.standings_under(address)?;
        let standing = standings.into_iter().find(|(known, _)| known == scope);
        let Some((_, mut standing)) = standing else { return Ok(false) };
        standing.free(id);
        let filter = Filter::default();
        Ok(self.rules.judge(address, &standing, scope, &filter, clock::now()).is_some())
    }

    fn mass(&self, id: u64) -> Result<(MassId, Mass), Failure> {
        let masses = self.reader.masses()?;
        let found = masses.into_iter().find(|(known, _)| *known == MassId(id));
        found.ok_or_else(|| Failure::usage(format!("no mass {id} is held; see `suppressd held`")))
    }

    /// What lifts all that a mass holds of an address, and nothing else.
    fn lifts_of(
        &self,
        id: MassId,
        (address, scope): &HeldRow,
        note: Option<&str>,
    ) -> Result<Vec<Instruction>, Failure> {
        let standings = self.reader.standings_under(address)?;
        let standing = standings.into_iter().find(|(known, _)| known == scope);
        let standing = standing.map_or_else(Standing::default, |(_, standing)| standing);
        let at = last_instant(&standing, clock::receipt());
        let held = standing.held().iter().filter(|held| held.mass == id);
        let spelling = standing.spelled(address);
        let lift = |lifts: Lifts| instruction(spelling, scope, at, note, lifts);
        Ok(held
            .map(|held| Lifts { reason: Some(held.reason), source: Some(held.source.clone()) })
            .map(lift)
            .collect())
    }
}

fn instruction(
    address: &str,
    scope: &Scope,
    at: Time,
    note: Option<&str>,
    lifts: Lifts,
) -> Instruction {
    Instruction {
        add: false,
        address: address.to_owned(),
        scope: scope.clone(),
        at,
        until: None,
        note: note.map(str::to_owned),
        lifts,
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn free(id: MassId, (address, scope): HeldRow) -> Element {
    mass_element(&MassStep::Free(id, address, scope))
}

fn mass_row(id: MassId, mass: &Mass) -> Value {
    let part = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    json!({
        "id": id.0,
        "source": part(&mass.kin.source),
        "domain": part(&mass.kin.domain),
        "class": part(&mass.kin.class),
    })
}

/// A row as `lift` gives it.
fn lifted(
    (address, scope): &HeldRow,
    lifts: &[Instruction],
    note: Option<&str>,
    dry_run: bool,
) -> Value {
    let through = lifts.iter().map(|lift| lift.at).max();
    let reason = lifts.iter().filter_map(|lift| lift.lifts.reason).min();
    json!({
        "address": lifts.first().map_or(address, |lift| &lift.address),
        "scope": scope.to_string(),
        "reason": reason.map(|reason| reason.as_str()),
        "through": through.map(|at| at.to_string()),
        "done": !dry_run,
        "note": note,
        "problem": null,
    })
}
