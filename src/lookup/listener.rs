//! The sockets of live lookups: reads queries as they come, and writes their answers in order.
//!
//! A client may send many queries before it reads an answer, or close its side after the last. It
//! may not be slow with a query that it has begun. Knows neither protocols nor verdicts.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Garbage, Judge, Query, answer_all};
use crate::accept::{Door, Limits, Place, accept_all, linger};
use crate::current::Current;
use crate::listen::Connection;
use crate::stop::stopped;
use crate::telemetry;

/// Bytes that one read takes: some tens of queries, so that of hundreds of clients that ask as fast
/// as they can, none waits long for its turn.
const READ_BYTES: usize = 1 << 10;
/// Longest wait for the rest of a query.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for a client to take its answers.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait at the stop for queries that are on their way.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// How a conversation ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By the client, by a time limit, or by the stop.
    Done,
    /// What came was no query.
    Garbage,
}

/// Serves until `stop` turns true, then answers what is on its way, for `drain` at most. Says how
/// many connections had to be cut off.
pub async fn serve(
    door: impl Into<Door>,
    judge: Arc<Current<Judge>>,
    stop: watch::Receiver<bool>,
    drain: Duration,
) -> usize {
    let (name, present) = (judge.get().listen.clone(), Arc::clone(&judge));
    let limits = move || {
        let most = present.get().settings.connections_max;
        // Few MTAs ask, with many connections each.
        Arc::new(Limits { most, each: most.div_ceil(2), exempt: Vec::new() })
    };
    let stopping = stop.clone();
    let serve = |connection, place: Arc<Place>| {
        let (judge, stop) = (Arc::clone(&judge), stopping.clone());
        async move {
            tokio::select! {
                biased;
                () = connected(connection, judge, &place, stop) => {}
                () = place.wanted() => {}
            }
        }
    };
    // No protocol has a word for it; a client whose connection is closed tries again.
    accept_all(&name, door, limits, || [].into(), stop, drain, serve).await
}

async fn connected(
    connection: Connection,
    judge: Arc<Current<Judge>>,
    place: &Place,
    stop: watch::Receiver<bool>,
) {
    let first = judge.get();
    let (_counted, idle) = (first.connected(), first.settings.idle_timeout);
    // What is asked next may have another judge.
    let answer = |asked: &[u8], to: &mut Vec<u8>| {
        let judge = judge.get();
        answer_all(judge.settings.protocol, asked, to, |query: &Query<'_>| judge.answer(query))
    };
    let doing = |owed: bool| if owed { place.owed() } else { place.idle() };
    let ended = match connection {
        Connection::Tcp(stream, _) => {
            // Answers are small and whole: waiting to fill packets would only delay them.
            let _ = stream.set_nodelay(true);
            converse(stream, idle, answer, doing, stop).await
        }
        Connection::Unix(stream) => converse(stream, idle, answer, doing, stop).await,
    };
    match ended {
        Ok(End::Done) => {}
        Ok(End::Garbage) => first.malformed(),
        Err(error) => telemetry::lookup::connection_failed(&first.listen, error),
    }
}

/// Answers one client until it has gone, sends garbage, or is too slow, or until the stop. `answer`
/// takes whole queries off what has come, as [`answer_all`] does. `doing` is told whether the
/// client owes us something from now on.
async fn converse<C>(
    mut stream: C,
    idle: Duration,
    answer: impl Fn(&[u8], &mut Vec<u8>) -> Result<(usize, bool), Garbage>,
    doing: impl Fn(bool),
    mut stop: watch::Receiver<bool>,
) -> io::Result<End>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (mut inbox, mut outbox, mut stopping) = (Vec::new(), Vec::new(), pin!(stopped(&mut stop)));
    // From the stop on: when the conversation ends, whatever else comes.
    let mut last: Option<Instant> = None;
    let (mut held, mut asked, mut deadline) = (false, false, Instant::now() + idle);
    // Set again only where it would ring too late, or has rung too early: not for each query.
    let mut alarm = pin!(sleep_until(deadline));
    loop {
        let judged = answer(&inbox, &mut outbox);
        if !outbox.is_empty() {
            doing(true);
            timeout(WRITE_WAIT, stream.write_all(&outbox)).await??;
            outbox.clear();
        }
        let Ok((used, more)) = judged else {
            linger(stream).await?;
            return Ok(End::Garbage);
        };
        inbox.drain(..used);
        asked |= used > 0;
        if last.is_some_and(|last| last <= Instant::now()) {
            linger(stream).await?;
            return Ok(End::Done);
        }
        if used >= READ_BYTES / 2 {
            // Its client asks much at once: others come in between.
            tokio::task::yield_now().await;
        }
        if more {
            continue;
        }
        if used > 0 || held == inbox.is_empty() {
            held = !inbox.is_empty();
            doing(held);
            deadline = Instant::now() + if held { REQUEST_WAIT } else { idle };
        }
        deadline = last.map_or(deadline, |last| last.min(deadline));
        if deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        inbox.reserve(READ_BYTES);
        let ended = tokio::select! {
            biased;
            read = stream.read_buf(&mut inbox) => read? == 0,
            () = stopping.as_mut(), if last.is_none() => {
                last = Some(Instant::now() + LAST_WAIT);
                false
            }
            // Nothing has come, and no query is begun. A new client is about to ask.
            () = std::future::ready(()), if last.is_some() && asked && !held => true,
            () = alarm.as_mut() => {
                alarm.as_mut().reset(deadline);
                deadline <= Instant::now()
            }
        };
        if ended {
            return stream.shutdown().await.map(|()| End::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::super::{ALL, Answer, Protocol};
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    /// Answers that every key is suppressed.
    fn suppressed(
        protocol: &'static dyn Protocol,
    ) -> impl Fn(&[u8], &mut Vec<u8>) -> Result<(usize, bool), Garbage> {
        move |asked, to| answer_all(protocol, asked, to, |_| Answer::Suppressed("no"))
    }

    /// A conversation over `tcp-table`, in which every key is suppressed.
    fn talk() -> (DuplexStream, watch::Sender<bool>, JoinHandle<io::Result<End>>) {
        let (client, server) = duplex(1 << 20);
        let stop = watch::Sender::new(false);
        let protocol = ALL.iter().find(|protocol| protocol.name() == "tcp-table").unwrap();
        let answer = suppressed(*protocol);
        let conversation = converse(server, IDLE, answer, |_| {}, stop.subscribe());
        (client, stop, tokio::spawn(conversation))
    }

    async fn send(client: &mut DuplexStream, text: &str) {
        client.write_all(text.as_bytes()).await.unwrap();
    }

    async fn expect(client: &mut DuplexStream, text: &str) {
        let mut got = vec![0; text.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), text);
    }

    async fn ends(client: &mut DuplexStream, conversation: JoinHandle<io::Result<End>>, end: End) {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        assert_eq!(conversation.await.unwrap().unwrap(), end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_idle_between_queries_but_not_for_ever() {
        let (mut client, _stop, conversation) = talk();
        for _ in 0..3 {
            send(&mut client, "get a\n").await;
            expect(&mut client, "200 no\n").await;
            tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        }
        let started = Instant::now();
        ends(&mut client, conversation, End::Done).await;
        assert!(started.elapsed() <= Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_that_was_begun_must_end_in_time_however_it_trickles() {
        let (mut client, _stop, conversation) = talk();
        send(&mut client, "get a\nge").await;
        expect(&mut client, "200 no\n").await;
        let started = Instant::now();
        for byte in ["t", " ", "a", "b", "c"] {
            tokio::time::sleep(Duration::from_millis(1900)).await;
            send(&mut client, byte).await;
        }
        ends(&mut client, conversation, End::Done).await;
        assert_eq!(started.elapsed().as_secs(), REQUEST_WAIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_closes_its_side_gets_its_answers() {
        let (mut client, _stop, conversation) = talk();
        send(&mut client, "get a\nget b\nget c").await;
        client.shutdown().await.unwrap();
        expect(&mut client, "200 no\n200 no\n").await;
        ends(&mut client, conversation, End::Done).await;
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_ends_the_connection_after_the_answers_before_it() {
        let (mut client, _stop, conversation) = talk();
        send(&mut client, "get a\nput b c\nget d\n").await;
        expect(&mut client, "200 no\n").await;
        ends(&mut client, conversation, End::Garbage).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_what_has_come_be_answered() {
        let (mut client, stop, conversation) = talk();
        send(&mut client, "get a\nget b\nge").await;
        stop.send_replace(true);
        expect(&mut client, "200 no\n200 no\n").await;
        send(&mut client, "t c\n").await;
        expect(&mut client, "200 no\n").await;
        ends(&mut client, conversation, End::Done).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_an_idle_connection_at_once_and_a_busy_one_soon() {
        let (mut client, stop, conversation) = talk();
        send(&mut client, "get a\n").await;
        expect(&mut client, "200 no\n").await;
        let started = Instant::now();
        stop.send_replace(true);
        ends(&mut client, conversation, End::Done).await;
        assert_eq!(started.elapsed(), Duration::ZERO);

        let (mut client, stop, conversation) = talk();
        send(&mut client, "get ").await;
        stop.send_replace(true);
        ends(&mut client, conversation, End::Done).await;
        assert_eq!(started.elapsed().as_secs(), LAST_WAIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_a_new_client_ask() {
        let (mut client, stop, conversation) = talk();
        stop.send_replace(true);
        tokio::time::sleep(LAST_WAIT / 2).await;
        send(&mut client, "get a\n").await;
        expect(&mut client, "200 no\n").await;
        ends(&mut client, conversation, End::Done).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_left() {
        let (client, server) = duplex(16);
        let stop = watch::Sender::new(false);
        let (answer, receiver) = (suppressed(ALL[1]), stop.subscribe());
        let (mut reader, mut writer) = tokio::io::split(client);
        let conversation = tokio::spawn(converse(server, IDLE, answer, |_| {}, receiver));
        let sent = tokio::spawn(async move { writer.write_all(&b"get a\n".repeat(99)).await });
        let ended = conversation.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(sent.await.unwrap().is_err());
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), 16);
    }
}
