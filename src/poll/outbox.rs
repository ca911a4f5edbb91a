//! Pushing: what a provider's own list should have of ours is put there, and taken off again.
//!
//! Each step is noted in the journal before it is asked for and after it was answered, so that a
//! kill at any point repeats a request and forgets none. Never decides what is suppressed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::budget::Budget;
use super::outside::Outside;
use super::plan::{Aim, Job, Plan};
use super::problem::RunError;
use super::run::Run;
use super::{PushSettings, PushStatus, Settings, schedule};
use crate::clock;
use crate::model::{PushStage, PushVerb, Pushed, SourceName, Submission};
use crate::provider::{OWN, Outlet, PageRequest, Places, Push, Pushing, outlet, push_element};
use crate::store::StoreError;
use crate::telemetry;

/// Everything is looked through at least this often: terms end without a change.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// A look is not repeated before so many times what it took.
const LOOK_PART: u32 = 10;

/// Longest time in a row that is spent on pushing, while polls and operators wait.
const SLICE: Duration = Duration::from_secs(10);

/// Jobs that are noted as begun in one record.
const BEGUN_AT_ONCE: usize = 50;

/// Most tries of one job in a row. Then it is put off.
const TRIES_MAX: u32 = 5;

/// How long a job is put off, and how long nothing is asked where credentials are refused.
const PUT_OFF: Duration = Duration::from_secs(3_600);

/// Most requests for one job.
const REQUESTS_MAX: usize = 500;

/// One source's pushing.
pub(super) struct Outbox {
    outlet: &'static Outlet,
    push: PushSettings,
    /// The number of the last change of a verdict.
    changes: watch::Receiver<u64>,
    /// The change that the last look has seen.
    seen: Option<u64>,
    look_from: Instant,
    look_by: Instant,
    /// The places of the list, and when they are found out anew.
    places: Option<Vec<String>>,
    places_by: Instant,
    jobs: VecDeque<Job>,
    /// How many of the jobs are noted as begun.
    begun: usize,
    tries: u32,
    not_before: Instant,
    put_off: HashMap<String, Instant>,
    /// Whether the store has said yet what there is to do.
    has_looked: bool,
    status: PushStatus,
}

impl Outbox {
    /// For a source that pushes; `None` for others.
    pub(super) fn new(settings: &Settings, changes: watch::Receiver<u64>) -> Option<Outbox> {
        let push = settings.push.clone()?;
        let now = Instant::now();
        Some(Outbox {
            outlet: outlet(settings.provider.name())?,
            push,
            changes,
            seen: None,
            look_from: now,
            look_by: now,
            places: None,
            places_by: now,
            jobs: VecDeque::new(),
            begun: 0,
            tries: 0,
            not_before: now,
            put_off: HashMap::new(),
            has_looked: false,
            status: PushStatus::default(),
        })
    }

    /// How it stands, once that is known.
    pub(super) fn status(&self) -> Option<PushStatus> {
        self.has_looked.then(|| self.status.clone())
    }

    /// Looks if there is cause to, and pushes for a while.
    pub(super) async fn work<O: Outside>(
        &mut self,
        settings: &Settings,
        outside: &O,
        budget: &mut Budget,
        stop: &watch::Receiver<bool>,
    ) {
        if self.jobs.is_empty() && self.is_to_look() {
            let mut run = Run::new(settings, outside, budget, None, stop.clone());
            self.find_places(settings, &mut run).await;
            self.look(&settings.source, &mut run).await;
        }
        let end = Instant::now() + SLICE;
        while !self.jobs.is_empty() && (self.not_before..end).contains(&Instant::now()) {
            let mut run = Run::new(settings, outside, budget, None, stop.clone());
            let done = self.next(settings, &mut run).await;
            match done {
                Ok(()) => self.settled(&settings.source),
                Err(RunError::Stopping) => return,
                Err(error) => self.failed(&settings.source, &error),
            }
        }
        let Some(PushStatus { waiting, pushed, refused, .. }) = self.status() else { return };
        telemetry::push::stands(&settings.source, waiting, pushed, refused);
    }

    /// Has everything looked through soon, whether it has changed or not.
    pub(super) fn look_again(&mut self) {
        let now = Instant::now();
        (self.look_by, self.places_by) = (now, now);
    }

    /// Whether something may have changed.
    fn is_to_look(&self) -> bool {
        let now = Instant::now();
        let quiet = self.seen == Some(*self.changes.borrow()) && now < self.look_by;
        !quiet && now >= self.look_from
    }

    /// Finds out the places of the list now and then. A failure leaves them as they were known:
    /// what is pushed meets it too, and tells of it.
    async fn find_places<O: Outside>(&mut self, settings: &Settings, run: &mut Run<'_, O>) {
        if Instant::now() < self.places_by.max(self.not_before) {
            return;
        }
        self.places_by = Instant::now() + LOOK_EVERY;
        let keyed = self.push.settings.with_secret_set(run.asking.budget.current());
        let push = Push {
            provider: &*settings.provider,
            settings: &keyed,
            verb: PushVerb::Add,
            address: "",
            reason: None,
            now: clock::now(),
        };
        let found = match self.outlet.places(&push) {
            Ok(Places::Named(places)) => Some(places),
            Ok(Places::Asked(request)) => match run.asking.fetch(&request).await {
                Ok(told) if told.status == 200 => self.outlet.places_told(&told.body),
                _ => None,
            },
            Err(_) => None,
        };
        self.places = found.or(self.places.take());
    }

    /// Finds out what there is to do.
    async fn look<O: Outside>(&mut self, source: &SourceName, run: &mut Run<'_, O>) {
        let (started, changes) = (Instant::now(), *self.changes.borrow());
        self.put_off.retain(|_, until| *until > started);
        let except: HashSet<String> = self.put_off.keys().cloned().collect();
        let (outside, of) = (run.asking.outside.clone(), source.clone());
        let (reasons, places) = (self.push.reasons.clone(), self.places.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let (now, reasons, except) = (clock::now(), &reasons[..], &except);
            outside.plan(&Aim { source: &of, reasons, now, except, places: places.as_deref() })
        });
        let gave_up = |_| Err(StoreError::Damaged("the look gave up".to_owned()));
        self.look_from = Instant::now() + started.elapsed() * LOOK_PART;
        // A store that does not answer now is asked again with the next beat.
        let Ok(plan) = looked.await.unwrap_or_else(gave_up) else { return };
        let Plan { jobs, waiting, pushed, refused, places } = plan;
        if !places.is_empty() {
            let steps = places.iter().map(|(place, step)| (place.as_str(), *step));
            // What is not noted is found again.
            if run.keeping.submit(&note(source, steps)).await.is_err() {
                return;
            }
            run.keeping.settle().await;
        }
        let whole = jobs.len() as u64 == waiting;
        self.seen = Some(changes).filter(|_| whole || jobs.is_empty());
        self.look_by = started + LOOK_EVERY;
        self.look_from = Instant::now() + started.elapsed() * LOOK_PART;
        self.jobs = jobs.into();
        self.begun = 0;
        self.has_looked = true;
        self.status = PushStatus { waiting, pushed, refused, error: self.status.error.take() };
    }

    /// Does the first of the jobs.
    async fn next<O: Outside>(
        &mut self,
        settings: &Settings,
        run: &mut Run<'_, O>,
    ) -> Result<(), RunError> {
        if self.begun == 0 {
            self.begun = self.jobs.len().min(BEGUN_AT_ONCE);
            let begun = self.jobs.iter_mut().take(BEGUN_AT_ONCE).map(|job| {
                let step = step(job, PushStage::Begun);
                job.step = Some(step);
                (job.address.as_str(), step)
            });
            let note = note(&settings.source, begun);
            if let Err(error) = run.keeping.submit(&note).await {
                self.begun = 0;
                return Err(error);
            }
            // What comes back from the list must find the note.
            run.keeping.settle().await;
        }
        let Some(job) = self.jobs.front() else { return Ok(()) };
        let stage = match self.ask(settings, job, run).await? {
            // It stays where it is.
            PushStage::Refused if job.again => PushStage::Done,
            stage => stage,
        };
        let step = step(job, stage);
        run.keeping
            .submit(&note(&settings.source, std::iter::once((job.address.as_str(), step))))
            .await?;
        self.status.waiting = self.status.waiting.saturating_sub(1);
        match (stage, job.verb) {
            (_, PushVerb::Add) if job.again => {}
            (PushStage::Refused, verb) => {
                self.status.refused += 1;
                telemetry::push::refused(&settings.source, verb == PushVerb::Add);
            }
            (_, PushVerb::Add) => self.status.pushed += 1,
            (_, PushVerb::Remove) => self.status.pushed = self.status.pushed.saturating_sub(1),
        }
        telemetry::push::done(&settings.source, job.verb == PushVerb::Add);
        Ok(())
    }

    /// Asks the provider for all that a job needs.
    async fn ask<O: Outside>(
        &self,
        settings: &Settings,
        job: &Job,
        run: &mut Run<'_, O>,
    ) -> Result<PushStage, RunError> {
        'keys: loop {
            let set = run.asking.budget.current();
            let keyed = self.push.settings.with_secret_set(set);
            let push = Push {
                provider: &*settings.provider,
                settings: &keyed,
                verb: job.verb,
                address: &job.address,
                reason: job.reason,
                now: clock::now(),
            };
            let requests = self.outlet.requests(&push).map_err(RunError::Request)?;
            let mut requests: VecDeque<PageRequest> = requests.into();
            for _ in 0..REQUESTS_MAX {
                let Some(request) = requests.pop_front() else { return Ok(PushStage::Done) };
                run.check()?;
                let fetched = run.asking.fetch(&request).await?;
                let status = fetched.status;
                let answer = self.outlet.answer(&push, &request, status, &fetched.body);
                match answer {
                    // All that was asked for with the other key is asked for again.
                    Pushing::Denied if run.asking.next_key() => continue 'keys,
                    Pushing::Denied => return Err(RunError::Authentication { status }),
                    _ => run.asking.accepted(),
                }
                match answer {
                    Pushing::Next(more) => {
                        more.into_iter().rev().for_each(|next| requests.push_front(next));
                    }
                    Pushing::Refused => return Ok(PushStage::Refused),
                    Pushing::Later => {
                        RunError::check(&fetched)?;
                        return Err(RunError::Odd { status });
                    }
                    Pushing::Done | Pushing::Denied => {}
                }
            }
            return Ok(PushStage::Refused);
        }
    }

    fn settled(&mut self, source: &SourceName) {
        self.jobs.pop_front();
        self.begun = self.begun.saturating_sub(1);
        self.tries = 0;
        if self.status.error.take().is_some() {
            telemetry::push::recovered(source);
        }
    }

    /// After a failure everything waits: it is the provider's far more often than the job's.
    fn failed(&mut self, source: &SourceName, error: &RunError) {
        let now = Instant::now();
        self.tries += 1;
        let wait = match error {
            RunError::Authentication { .. } | RunError::Request(_) => PUT_OFF,
            RunError::Throttled { retry_after: Some(wait), .. } => *wait,
            _ => schedule::backoff(self.tries, super::runner::chance()),
        };
        self.not_before = now + wait;
        let is_of_the_job = matches!(error, RunError::Faulty { .. } | RunError::Odd { .. });
        if self.tries >= TRIES_MAX && is_of_the_job {
            if let Some(job) = self.jobs.pop_front() {
                self.put_off.insert(job.address, now + PUT_OFF);
            }
            self.begun = self.begun.saturating_sub(1);
            self.tries = 0;
            // It is still to be done, and found again by a look.
            self.seen = None;
        }
        let text = error.to_string();
        if self.status.error.as_ref() != Some(&text) {
            telemetry::push::failed(source, &text);
            self.status.error = Some(text);
        }
    }
}

/// The step that a job takes now.
fn step(job: &Job, stage: PushStage) -> Pushed {
    let now = clock::now();
    let known = job.step;
    let (began, added) = match (job.verb, known) {
        // The same adding goes on, or one in a further place.
        (
            PushVerb::Add,
            Some(Pushed {
                verb: PushVerb::Add,
                stage: PushStage::Begun | PushStage::Done,
                began,
                ..
            }),
        ) => (began, None),
        (PushVerb::Add, _) => (now, None),
        (PushVerb::Remove, Some(known)) => (known.began, known.added.or(Some(known.at))),
        (PushVerb::Remove, None) => (now, Some(now)),
    };
    let added = match (job.verb, stage) {
        (PushVerb::Add, PushStage::Done) => Some(now),
        _ => added,
    };
    Pushed { verb: job.verb, stage, began, added, at: now }
}

/// What notes steps in the journal.
fn note<'a>(source: &SourceName, steps: impl Iterator<Item = (&'a str, Pushed)>) -> Submission {
    let elements = steps.map(|(address, step)| push_element(address, &step)).collect();
    Submission::ours(source.clone(), OWN, elements, clock::receipt())
}
