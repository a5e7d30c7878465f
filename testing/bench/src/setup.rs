//! Call setups: an offer, an answer and ten candidates each way, as two browsers with a few addresses exchange them.

use std::{path::Path, time::Instant};

use clap::Args;
use signalbox_client::{Client, Event, Session, Signal};
use signalbox_proto::v1::{IceCandidate, client_message::Body};
use tokio::task::JoinSet;

use crate::{
    Result,
    members::{Shared, join},
    server::Server,
    table::{self, Times, ms},
};

/// Parameters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Call setups of each kind
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Concurrent call setups
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
}

const CANDIDATES: usize = 10;
const CANDIDATE: &str = "candidate:842163049 1 udp 1677729535 198.51.100.23 54321 typ srflx raddr 192.0.2.7 rport 54321 generation 0 ufrag EsAw";
const SDP_BYTES: usize = 2_500;

/// The kinds of call setups.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The members have joined before, on shared connections.
    Joined,
    /// The members connect, join, and leave afterwards.
    WithJoin,
}

/// Runs the benchmark and prints the results.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::print_line(&format!(
        "setup: offer, answer and {CANDIDATES} candidates each way; {} calls, {} at a time",
        options.calls, options.at_once
    ));
    let mut rows =
        vec!["members|server CPU per call|took p50|p99|calls per second".split('|').map(str::to_owned).collect()];
    for (kind, text) in [(Kind::Joined, "joined, on shared connections"), (Kind::WithJoin, "connect, join and leave")] {
        rows.push(measure(binary, options, kind, text).await?);
    }
    table::print(&rows);
    Ok(())
}

async fn measure(binary: &Path, options: &Options, kind: Kind, text: &str) -> Result<Vec<String>> {
    let server = Server::start(binary).await?;
    let url = server.url();
    let pairs = options.at_once;
    let shared = Shared::new(&url, pairs.div_ceil(50) as usize)?;
    let mut waiting = Vec::new();
    for pair in 0..pairs {
        let client = shared.client(pair as usize).clone();
        let joined = match kind {
            Kind::Joined => Some(meet(&client, &format!("room-{pair}")).await?),
            Kind::WithJoin => None,
        };
        waiting.push((pair, joined));
    }
    let (began, cpu) = (Instant::now(), server.cpu()?);
    let mut tasks = JoinSet::new();
    for (pair, mut joined) in waiting {
        let calls = options.calls / pairs + u32::from(pair < options.calls % pairs);
        let client = Client::new(&url)?;
        tasks.spawn(async move {
            let mut times = Times::default();
            for call in 0..calls {
                let started = Instant::now();
                if let Some((first, second)) = &mut joined {
                    set_up(first, second).await?;
                    times.add(started.elapsed());
                } else {
                    let (mut first, mut second) = meet(&client, &format!("room-{pair}-{call}")).await?;
                    set_up(&mut first, &mut second).await?;
                    times.add(started.elapsed());
                    tokio::join!(first.leave(), second.leave());
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
        });
    }
    let mut times = Times::default();
    while let Some(done) = tasks.join_next().await {
        times.append(done??);
    }
    let took = began.elapsed();
    let cpu = (server.cpu()? - cpu) / options.calls;
    server.stop().await?;
    let rate = f64::from(options.calls) / took.as_secs_f64();
    let (p50, p99) = (times.quantile(0.5), times.quantile(0.99));
    let cpu = format!("{:.3} ms", cpu.as_secs_f64() * 1e3);
    Ok(vec![text.to_owned(), cpu, ms(p50), ms(p99), format!("{rate:.0}")])
}

/// Joins a room with two members, the first of which will offer.
pub(crate) async fn meet(client: &Client, room: &str) -> Result<(Session, Session)> {
    let mut first = join(client, room).await?;
    let second = join(client, room).await?;
    while !matches!(first.next().await.ok_or("a session ended")?, Event::MemberJoined(_)) {}
    Ok((first, second))
}

/// Exchanges the signals of a call setup.
pub(crate) async fn set_up(first: &mut Session, second: &mut Session) -> Result<()> {
    let (to_second, to_first) = (second.member_id(), first.member_id());
    let sdp = "x".repeat(SDP_BYTES);
    let offering = async {
        drop(first.send(Signal::offer(&to_second, &sdp)).await);
        candidates(first, &to_second).await;
        receive(first, 1 + CANDIDATES).await
    };
    let answering = async {
        // The offer comes first.
        receive(second, 1).await?;
        drop(second.send(Signal::answer(&to_first, &sdp)).await);
        candidates(second, &to_first).await;
        receive(second, CANDIDATES).await
    };
    tokio::try_join!(offering, answering)?;
    Ok(())
}

async fn candidates(session: &Session, to: &str) {
    for _ in 0..CANDIDATES {
        let candidate =
            IceCandidate { candidate: CANDIDATE.to_owned(), sdp_mid: Some("0".to_owned()), ..IceCandidate::default() };
        drop(session.send(Signal::candidate(to, candidate)).await);
    }
}

/// Receives `count` signals.
async fn receive(session: &mut Session, count: usize) -> Result<()> {
    let mut received = 0;
    while received < count {
        match session.next().await {
            Some(Event::Signal(signal)) => {
                let expected = matches!(signal.body, Body::Offer(_) | Body::Answer(_) | Body::Candidate(_));
                received += usize::from(expected);
            }
            Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                return Err("a session was lost".into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}
