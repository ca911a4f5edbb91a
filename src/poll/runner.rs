//! One task per source, which alone runs it: so no source ever runs twice at once.
//!
//! A tick makes a task look whether its run is due; an operator's order makes it run at once. A
//! source's failure is its own, and only the number of runs at once is shared.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::budget::{Allowances, Budget};
use super::caller::Caller;
use super::outbox::Outbox;
use super::outside::{Daemon, Outside};
use super::problem::RunError;
use super::run::{Report, Run};
use super::schedule::{self, History};
use super::shown::{Sheet, open};
use super::{Every, PollError, Progress, Settings, Status, Summary, TriggerError, trigger};
use crate::clock;
use crate::fetch::Fetcher;
use crate::ingest::Running;
use crate::model::{SourceName, Submission, Time};
use crate::provider::Feed;
use crate::rules::Rules;
use crate::stop::{Part, stopped};
use crate::telemetry;
use crate::turns::Turns;

/// Most sources that run at once.
const RUNS_MAX: usize = 4;

/// Most orders that wait for one source.
const ORDERS_MAX: usize = 16;

/// The operator's handle on polling. Cheap to clone.
#[derive(Clone, Default)]
pub struct Polls {
    sources: Arc<[Contact]>,
}

/// How a source's task is spoken to, and what it shows of itself.
struct Contact {
    source: SourceName,
    has_lists: bool,
    orders: mpsc::Sender<Order>,
    sheet: Arc<Mutex<Sheet>>,
    interval: Duration,
    pushes: bool,
}

struct Order {
    wish: Wish,
    caller: Caller,
}

/// What an operator wants of a source.
enum Wish {
    /// A run: by the cursors, or from a time on.
    Run(Option<Time>),
    /// Its provider's own lists in whole, page by page, with nothing committed.
    Lists(mpsc::Sender<Submission>),
}

/// One source's task.
struct Task<O> {
    settings: Settings,
    outside: O,
    outbox: Option<Outbox>,
    sheet: Arc<Mutex<Sheet>>,
    history: History,
    budget: Budget,
    due: Option<Instant>,
    permits: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// Where a task's ticks and orders come from.
struct Inbox {
    beats: mpsc::Receiver<()>,
    calls: mpsc::Receiver<()>,
    orders: mpsc::Receiver<Order>,
}

/// Starts polling: a part per source, and the clockwork. A run that is stopped ends in the middle
/// of its page, which is read again when the source is next polled. A source that was polled
/// `before` goes on as it was planned then.
///
/// # Errors
/// When a cron expression is not one.
pub fn start(
    settings: Vec<Settings>,
    fetcher: Fetcher,
    running: &Running,
    rules: Arc<Rules>,
    before: &Polls,
    turns: Turns,
) -> Result<(Polls, Vec<Part>), TriggerError> {
    let (ingest, reader) = (running.ingest.clone(), running.reader.clone());
    let daemon = Daemon { fetcher, ingest, reader, rules, turns };
    start_with(settings, daemon, &running.changes.follow(), before)
}

fn start_with<O: Outside>(
    settings: Vec<Settings>,
    outside: O,
    changes: &watch::Receiver<u64>,
    before: &Polls,
) -> Result<(Polls, Vec<Part>), TriggerError> {
    let permits = Arc::new(Semaphore::new(RUNS_MAX));
    let (mut contacts, mut parts) = (Vec::new(), Vec::new());
    let (mut beats, mut calls) = (Vec::new(), Vec::new());
    let (mut ready, mut allowances) = (Vec::new(), Allowances::default());
    for settings in settings {
        // One tick says as much as many, and a call must not be lost to a heartbeat.
        let (beat, beat_inbox) = mpsc::channel(1);
        let (call, call_inbox) = mpsc::channel(1);
        let (order, order_inbox) = mpsc::channel(ORDERS_MAX);
        beats.push(beat);
        if let Every::Cron(expression) = &settings.every {
            calls.push((expression.clone(), call));
        }
        let source = settings.source.clone();
        let inbox = Inbox { beats: beat_inbox, calls: call_inbox, orders: order_inbox };
        let outbox = Outbox::new(&settings, changes.clone());
        let budget = allowances.budget(&settings);
        let (outside, permits, sheet) = (outside.clone(), permits.clone(), before.sheet(&source));
        let has_lists = settings.lists().next().is_some();
        let (interval, pushes) = (trigger::longest_wait(&settings.every)?, settings.push.is_some());
        let contact =
            Contact { source, has_lists, orders: order, sheet: sheet.clone(), interval, pushes };
        contacts.push(contact);
        ready.push((settings, outside, outbox, budget, permits, sheet, inbox));
    }
    if !ready.is_empty() {
        parts.push(trigger::start(beats, calls)?);
    }
    // Only now, when nothing can fail any more, does anything run.
    for (settings, outside, outbox, budget, permits, sheet, inbox) in ready {
        parts.push(Part::start(format!("poll {}", settings.source), |stop| {
            Task::new(settings, outside, outbox, budget, permits, stop, sheet).work(inbox)
        }));
    }
    Ok((Polls { sources: contacts.into() }, parts))
}

impl Polls {
    /// What is shown of a source, and known of its past.
    fn sheet(&self, source: &SourceName) -> Arc<Mutex<Sheet>> {
        let known = self.sources.iter().find(|contact| contact.source == *source);
        known.map_or_else(Arc::default, |contact| Arc::clone(&contact.sheet))
    }

    /// Polls one source, or all, after any run that is in flight: by the cursor, or the window
    /// from `since` to now. Progress that is not taken in time is dropped. A run that failed is a
    /// summary with its error. Dropping the future ends the runs after their present page.
    ///
    /// # Errors
    /// When there is no such source that is polled, or the daemon stops.
    pub async fn run_now(
        &self,
        source: Option<&str>,
        since: Option<Time>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Vec<Summary>, PollError> {
        let named = |contact: &&Contact| source.is_none_or(|name| contact.source.as_str() == name);
        let chosen: Vec<&Contact> = self.sources.iter().filter(named).collect();
        if chosen.is_empty() {
            return Err(source
                .map_or(PollError::NothingPolled, |name| PollError::NotPolled(name.to_owned())));
        }
        let mut replies = Vec::new();
        for contact in chosen {
            let (reply, answer) = oneshot::channel();
            let caller = Caller { progress: progress.clone(), reply };
            let sent = contact.orders.send(Order { wish: Wish::Run(since), caller }).await;
            sent.map_err(|_| PollError::Stopping)?;
            replies.push(answer);
        }
        let mut summaries = Vec::new();
        for answer in replies {
            summaries.push(answer.await.map_err(|_| PollError::Stopping)?);
        }
        Ok(summaries)
    }

    /// Reads a source's own suppression lists in whole into `pages`, after any run that is in
    /// flight. Commits nothing. A list that could not be read to its end is a summary with its
    /// error. Dropping the future, or the receiver, ends the reading after its present page.
    ///
    /// # Errors
    /// When there is no such source that is polled, or none of its feeds is a list.
    pub async fn lists(
        &self,
        source: &str,
        pages: mpsc::Sender<Submission>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Summary, PollError> {
        let contact = self.sources.iter().find(|contact| contact.source.as_str() == source);
        let contact = contact.ok_or_else(|| PollError::NotPolled(source.to_owned()))?;
        if !contact.has_lists {
            return Err(PollError::NoList(source.to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        let order = Order { wish: Wish::Lists(pages), caller: Caller { progress, reply } };
        contact.orders.send(order).await.map_err(|_| PollError::Stopping)?;
        answer.await.map_err(|_| PollError::Stopping)
    }

    /// How every polled source stands, in the configuration's order.
    pub fn statuses(&self) -> Vec<Status> {
        let now = clock::now();
        let status = |contact: &Contact| {
            let Contact { source, interval, pushes, sheet, .. } = contact;
            let (interval, pushes) = (*interval, *pushes);
            Status { interval, pushes, ..open(sheet).status(source, now) }
        };
        self.sources.iter().map(status).collect()
    }
}

impl<O: Outside> Task<O> {
    fn new(
        settings: Settings,
        outside: O,
        outbox: Option<Outbox>,
        budget: Budget,
        permits: Arc<Semaphore>,
        stop: watch::Receiver<bool>,
        sheet: Arc<Mutex<Sheet>>,
    ) -> Task<O> {
        let by_time = settings.feeds.iter().filter(|feed| feed.by_time);
        let history = {
            let mut sheet = open(&sheet);
            let known = std::mem::take(&mut sheet.complete);
            let complete = |feed: &Feed| known.get(&*feed.name).copied().flatten();
            sheet.complete = by_time.map(|feed| (feed.name.to_string(), complete(feed))).collect();
            sheet.running = false;
            // There may be other credentials now.
            if sheet.history.refused { History::default() } else { sheet.history }
        };
        let due = None;
        Task { settings, outside, outbox, sheet, history, budget, due, permits, stop }
    }

    async fn work(mut self, mut inbox: Inbox) {
        let mut stop = self.stop.clone();
        self.plan();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(order) = inbox.orders.recv() => self.obey(order).await,
                Some(()) = inbox.calls.recv() => self.called(),
                Some(()) = inbox.beats.recv() => self.beat().await,
                else => break,
            }
        }
    }

    /// Runs if it is due, and this host's turn. What it has begun it leaves when that ends.
    async fn beat(&mut self) {
        let (turns, source) = (self.outside.turns(), self.settings.source.clone());
        let is_ours = turns.is_ours(&source);
        open(&self.sheet).elsewhere = !is_ours;
        if !is_ours {
            return;
        }
        tokio::select! {
            biased;
            () = turns.ended(&source) => {
                open(&self.sheet).running = false;
                self.plan();
            }
            () = self.work_on_it() => {}
        }
    }

    async fn work_on_it(&mut self) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.run(None, None).await;
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.work(&self.settings, &self.outside, &mut self.budget, &self.stop).await;
            open(&self.sheet).push = outbox.status();
        }
    }

    fn called(&mut self) {
        self.history.called = Some(Instant::now().into_std());
        // A call does not cut a wait after a failure short, nor is it needed while one is due.
        if self.due.is_none() {
            self.plan();
        }
    }

    /// Runs because an operator says so, whatever the schedule thinks.
    async fn obey(&mut self, order: Order) {
        if order.caller.reply.is_closed() {
            return;
        }
        let name = |feed: &Feed| feed.name.to_string();
        let (feeds, report) = match order.wish {
            Wish::Run(since) => {
                let report = self.run(since, Some(&order.caller)).await;
                (self.settings.feeds.iter().map(name).collect(), report)
            }
            Wish::Lists(pages) => {
                let report = self.read_lists(&pages, &order.caller).await;
                (self.settings.lists().map(name).collect(), report)
            }
        };
        let Some(report) = report else { return };
        if let Some(outbox) = &mut self.outbox {
            outbox.look_again();
        }
        let summary = Summary {
            source: self.settings.source.to_string(),
            feeds,
            pages: report.pages,
            rows: report.rows,
            new: report.new,
            took: report.took.as_secs_f64(),
            error: report.failure.map(|(feed, error)| format!("{feed}: {error}")),
        };
        // The operator may have gone meanwhile.
        let _ = order.caller.reply.send(summary);
    }

    /// Waits for a place among those that run; `None` when the daemon stops before.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => None,
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
        }
    }

    /// Reads the provider's lists for an operator. What it shows of the credentials and of the
    /// provider's patience is learned, and no more.
    async fn read_lists(
        &mut self,
        pages: &mpsc::Sender<Submission>,
        caller: &Caller,
    ) -> Option<Report> {
        let _permit = self.place().await?;
        let stop = self.stop.clone();
        let run = Run::new(&self.settings, &self.outside, &mut self.budget, Some(caller), stop);
        let report = run.lists(pages).await;
        self.learn(&report, false);
        self.plan();
        Some(report)
    }

    /// Runs once a place is free; `None` when the daemon stops before.
    async fn run(&mut self, since: Option<Time>, caller: Option<&Caller>) -> Option<Report> {
        let _permit = self.place().await?;
        let stop = self.stop.clone();
        telemetry::poll::run_started(&self.settings.source);
        {
            let mut sheet = open(&self.sheet);
            sheet.running = true;
            sheet.last_start = Some(clock::now());
        }
        let after_gap = self.history.last_start.is_none() || self.history.failures > 0;
        if since.is_none() {
            self.history.last_start = Some(Instant::now().into_std());
            self.history.called = None;
        }
        let run = Run::new(&self.settings, &self.outside, &mut self.budget, caller, stop);
        let report = run.go(since).await;
        self.learn(&report, since.is_none());
        self.adapt(&report, after_gap);
        self.plan();
        self.show(&report);
        Some(report)
    }

    /// What the schedule is to know of a run. An operator's own window proves that the credentials
    /// are good or bad, but says nothing else about the next regular run.
    fn learn(&mut self, report: &Report, regular: bool) {
        let error = report.failure.as_ref().map(|(_, error)| error);
        match error {
            None => {
                self.history =
                    History { failures: 0, not_before: None, refused: false, ..self.history };
            }
            // What was cut is due at once, should it be the settings that are exchanged.
            Some(RunError::Stopping) if regular => self.history.last_start = None,
            Some(RunError::Stopping | RunError::Abandoned) => {}
            Some(RunError::Authentication { .. }) => {
                self.history.refused = true;
                self.history.failures = self.history.failures.saturating_add(1);
            }
            Some(error) => {
                if regular {
                    self.history.refused = false;
                    self.history.failures = self.history.failures.saturating_add(1);
                }
                if let RunError::Throttled { retry_after: Some(wait), .. } = error {
                    self.history.not_before = Some((Instant::now() + *wait).into_std());
                }
            }
        }
    }

    fn adapt(&mut self, report: &Report, after_gap: bool) {
        let Every::Adaptive(bounds) = &self.settings.every else { return };
        let last_webhook = report.counts.and_then(|counts| counts.last_webhook);
        let age = last_webhook.map_or(Duration::MAX, |at| clock::now().since(at));
        let signs = schedule::Signs {
            after_gap,
            found: report.new.is_some_and(|new| new > 0),
            webhook_age: self.settings.has_webhook.then_some(age),
        };
        self.history.interval = schedule::adapt(bounds, self.history.interval, &signs);
    }

    /// Fixes when to run next. The chance is drawn once, so that looking again moves nothing.
    fn plan(&mut self) {
        let now = Instant::now();
        let due = schedule::next_due(&self.settings.every, &self.history, now.into_std(), chance());
        self.due = due.map(Instant::from_std);
        let mut sheet = open(&self.sheet);
        sheet.history = self.history;
        sheet.next_due = self.due.map(|due| clock::now().plus(due.duration_since(now)));
    }

    /// Shows a run's outcome, to the log, the metrics and the status.
    fn show(&self, report: &Report) {
        let (source, now) = (&self.settings.source, clock::now());
        let mut sheet = open(&self.sheet);
        sheet.running = false;
        sheet.complete.extend(report.complete.iter().cloned());
        let Some((feed, error)) = &report.failure else {
            sheet.last_success = Some(now);
            sheet.last_error = None;
            telemetry::poll::run_succeeded(source);
            return;
        };
        let text = error.to_string();
        match error {
            RunError::Stopping | RunError::Abandoned => {
                telemetry::poll::run_ended_early(source, feed, &text);
                return;
            }
            RunError::Authentication { .. } => {
                telemetry::poll::authentication_failed(source, feed, &text);
            }
            _ => {
                let retry_in = self.due.map(|due| due.duration_since(Instant::now()));
                telemetry::poll::run_failed(source, feed, &text, retry_in);
            }
        }
        sheet.last_error = Some(format!("{feed}: {text}"));
    }
}

/// A number in `[0, 1)`, from the seed that the standard library draws for a hash map.
pub(super) fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0_u8);
    // 53 bits are what an f64 holds exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::super::stage::{Answer, Stage, settings};
    use super::*;

    /// Nothing ever changes.
    fn still() -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// A task on the stage, with the sending ends of its inbox.
    struct Rig {
        stage: Stage,
        polls: Polls,
        beats: mpsc::Sender<()>,
        calls: mpsc::Sender<()>,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    impl Rig {
        fn new(stage: Stage, every: Every) -> Rig {
            let (beats, beat_inbox) = mpsc::channel(1);
            let (calls, call_inbox) = mpsc::channel(1);
            let (orders, order_inbox) = mpsc::channel(ORDERS_MAX);
            let (stop, stopping) = watch::channel(false);
            let settings = Settings { every, ..settings() };
            let source = settings.source.clone();
            let permits = Arc::new(Semaphore::new(RUNS_MAX));
            let budget = Budget::default();
            let sheet = Arc::default();
            let task = Task::new(settings, stage.clone(), None, budget, permits, stopping, sheet);
            let has_lists = task.settings.lists().next().is_some();
            let (sheet, interval, pushes) = (task.sheet.clone(), Duration::ZERO, false);
            let contact = Contact { source, has_lists, orders, sheet, interval, pushes };
            let inbox = Inbox { beats: beat_inbox, calls: call_inbox, orders: order_inbox };
            let polls = Polls { sources: [contact].into() };
            Rig { stage, polls, beats, calls, stop, task: tokio::spawn(task.work(inbox)) }
        }

        fn status(&self) -> Status {
            self.polls.statuses().remove(0)
        }

        /// Lets the clock run, with a heartbeat each second. The pause lets the task do its work.
        async fn seconds(&self, count: u64) {
            for _ in 0..count {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let _ = self.beats.try_send(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        async fn run_now(&self, since: Option<Time>) -> Summary {
            let (progress, _taken) = mpsc::channel(8);
            self.polls.run_now(Some("acme"), since, progress).await.unwrap().remove(0)
        }

        async fn end(self) {
            self.stop.send(true).unwrap();
            self.task.await.unwrap();
        }
    }

    fn minutes(count: u64) -> Every {
        Every::Interval(Duration::from_secs(count * 60))
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_at_the_start_and_then_by_its_interval() {
        let rig = Rig::new(Stage::default(), minutes(5));
        assert_eq!(rig.status().state, "idle");
        assert_eq!(rig.status().lag_seconds, None);
        rig.seconds(3).await;
        assert_eq!(rig.stage.asked().len(), 1);
        assert_eq!(rig.status().lag_seconds, Some(0));
        rig.seconds(290).await;
        assert_eq!(rig.stage.asked().len(), 1);
        rig.seconds(45).await;
        assert_eq!(rig.stage.asked().len(), 2);
        assert_eq!(rig.status().failures, 0);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cron_source_waits_for_its_call() {
        let rig = Rig::new(Stage::default(), Every::Cron("0 0 * * * *".to_owned()));
        rig.seconds(3).await;
        assert_eq!(rig.stage.asked().len(), 1);
        rig.seconds(4_000).await;
        assert_eq!(rig.stage.asked().len(), 1);
        assert_eq!(rig.status().next_due, None);
        rig.calls.send(()).await.unwrap();
        rig.seconds(1).await;
        assert_eq!(rig.stage.asked().len(), 2);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_backs_off_and_recovers() {
        let stage = Stage::playing([Answer::Status(500, None), Answer::Status(502, None)]);
        let rig = Rig::new(stage, minutes(60));
        while rig.stage.asked().is_empty() {
            rig.seconds(1).await;
        }
        assert_eq!((rig.status().state, rig.status().failures), ("backing off", 1));
        let error = rig.status().last_error.unwrap();
        assert!(error.contains("500"), "{error}");
        rig.seconds(20).await;
        let status = rig.status();
        assert_eq!((status.state, status.failures, status.last_error), ("idle", 0, None));
        assert_eq!(rig.stage.asked().len(), 3);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_back_before_it_was_told() {
        let rig = Rig::new(Stage::playing([Answer::Status(429, Some(600))]), minutes(1));
        rig.seconds(590).await;
        assert_eq!(rig.stage.asked().len(), 1);
        rig.seconds(20).await;
        assert_eq!(rig.stage.asked().len(), 2);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_stop_it_until_the_operator_polls() {
        let stage = Stage::playing([Answer::Status(401, None), Answer::Status(403, None)]);
        let rig = Rig::new(stage, minutes(1));
        rig.seconds(4_000).await;
        assert_eq!(rig.stage.asked().len(), 1);
        assert_eq!(rig.status().state, "stopped: authentication");
        assert!(rig.run_now(None).await.error.unwrap().contains("403"));
        rig.seconds(4_000).await;
        assert_eq!(rig.stage.asked().len(), 2);
        assert_eq!(rig.run_now(None).await.error, None);
        assert_eq!(rig.status().state, "idle");
        rig.seconds(70).await;
        assert_eq!(rig.stage.asked().len(), 4);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_run_waits_for_the_one_in_flight() {
        let stage = Stage::playing([Answer::Slow(30), Answer::page(0, None)]);
        stage.play([Answer::page(2, None)]);
        let rig = Rig::new(stage, minutes(60));
        rig.seconds(3).await;
        assert_eq!(rig.status().state, "running");
        let summary = rig.run_now(None).await;
        assert_eq!((summary.pages, summary.rows, summary.new), (1, 2, Some(2)));
        assert_eq!((rig.stage.asked().len(), rig.stage.most_at_once()), (2, 1));
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_own_window_does_not_disturb_the_schedule() {
        let stage = Stage::playing([Answer::page(1, None), Answer::Status(400, None)]);
        let rig = Rig::new(stage, minutes(60));
        rig.seconds(3).await;
        let due = rig.status().next_due;
        let summary = rig.run_now(Some(clock::now())).await;
        assert!(summary.error.unwrap().contains("400"));
        assert_eq!((rig.status().state, rig.status().failures), ("idle", 0));
        rig.seconds(30).await;
        assert_eq!(rig.stage.asked().len(), 2);
        assert!(due.is_some());
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_a_run_in_the_middle_of_its_page() {
        let stage = Stage::playing([Answer::page(1, Some("/p2")), Answer::Slow(50)]);
        let rig = Rig::new(stage.clone(), minutes(60));
        rig.seconds(3).await;
        assert_eq!(rig.status().state, "running");
        let polls = rig.polls.clone();
        rig.end().await;
        assert_eq!(stage.submitted().len(), 1);
        assert!(stage.cursor_of("events").unwrap().contains("/p2"));
        let (progress, _taken) = mpsc::channel(1);
        assert_eq!(polls.run_now(None, None, progress).await, Err(PollError::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_who_leaves_takes_the_run_along() {
        let endless = (0..100).map(|page| Answer::page(1, Some(&format!("/p{page}"))));
        let stage = Stage::playing([Answer::page(0, None), Answer::Slow(5)]);
        stage.play(endless);
        let rig = Rig::new(stage, minutes(60));
        rig.seconds(3).await;
        tokio::select! {
            biased;
            _ = rig.run_now(None) => panic!("it was too quick"),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
        rig.seconds(10).await;
        assert_eq!(rig.stage.asked().len(), 2);
        assert_eq!((rig.status().state, rig.status().failures), ("idle", 0));
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_source_is_named() {
        let rig = Rig::new(Stage::default(), minutes(60));
        let (progress, _taken) = mpsc::channel(1);
        let error = rig.polls.run_now(Some("b"), None, progress).await.unwrap_err();
        assert_eq!(error, PollError::NotPolled("b".to_owned()));
        rig.end().await;
    }

    #[tokio::test]
    async fn the_clockwork_starts_the_sources_and_a_stop_drains_them() {
        let (stage, other) = (Stage::default(), Stage::playing([Answer::Slow(3_000)]));
        let named = |name: &str| SourceName::parse(name).unwrap();
        let two = |stage: &Stage| {
            let (a, b) = (named("a"), named("b"));
            let one = Settings { source: a, ..settings() };
            let every = Every::Cron("0 0 0 1 1 *".to_owned());
            (vec![one, Settings { source: b, every, ..settings() }], stage.clone())
        };
        let (list, outside) = two(&stage);
        let (polls, mut parts) = start_with(list, outside, &still(), &Polls::default()).unwrap();
        let names: Vec<&str> = parts.iter().map(Part::name).collect();
        assert_eq!(names, ["poll trigger", "poll a", "poll b"]);
        stage.asked_at_least(2).await;
        let (progress, _taken) = mpsc::channel(8);
        let summaries = polls.run_now(None, None, progress).await.unwrap();
        assert!(summaries.iter().all(|summary| summary.error.is_none() && summary.pages == 1));

        let (list, outside) = two(&other);
        let (_, mut stuck) = start_with(list, outside, &still(), &Polls::default()).unwrap();
        other.asked_at_least(1).await;
        for part in parts.iter_mut().chain(&mut stuck) {
            part.stop();
            assert!(part.ended().await.is_ok(), "{}", part.name());
        }
    }

    #[tokio::test]
    async fn a_bad_cron_expression_starts_nothing() {
        let bad = Settings { every: Every::Cron("never".to_owned()), ..settings() };
        let started = start_with(vec![bad], Stage::default(), &still(), &Polls::default());
        assert_eq!(started.err(), Some(TriggerError::Cron("never".to_owned())));
    }

    #[test]
    fn chances_are_chances() {
        let drawn: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(drawn.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(drawn.iter().any(|chance| *chance != drawn[0]));
    }
}
