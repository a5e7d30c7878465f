//! Members who do nothing: what each costs the server in memory.

use std::{path::Path, time::Duration};

use clap::Args;
use signalbox_client::{Client, Session};
use tokio::time::sleep;

use crate::{
    Result,
    members::{Shared, join},
    server::Server,
    table,
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Members on shared connections
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    shared: u32,
    /// How many share one
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=4096))]
    per_connection: u32,
    /// Members on connections of their own
    #[arg(long, default_value = "2000", value_parser = clap::value_parser!(u32).range(1..))]
    own: u32,
    /// Members of a room
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    room: u32,
}

/// After the last join, until the memory is looked at: buffers of the joins are given back by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Runs it, and prints what it came to.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::say(&format!("idle: members in rooms of {}, {} s after the last joined", options.room, SETTLE.as_secs()));
    let mut rows = vec!["members|connections|memory before|after|a member".split('|').map(str::to_owned).collect()];
    for (members, connections) in
        [(options.shared, options.shared.div_ceil(options.per_connection)), (options.own, options.own)]
    {
        rows.push(measure(binary, members, connections, options.room).await?);
    }
    table::print(&rows);
    Ok(())
}

async fn measure(binary: &Path, members: u32, connections: u32, room: u32) -> Result<Vec<String>> {
    let server = Server::start(binary).await?;
    // The first member of all makes the server touch what every later one shares.
    join(&Client::new(&server.url())?, "first").await?.leave().await;
    let before = server.memory()?;
    let shared = Shared::new(&server.url(), connections as usize)?;
    let mut sessions: Vec<Session> = Vec::new();
    for index in 0..members {
        sessions.push(join(shared.client(index as usize), &format!("room-{}", index / room)).await?);
    }
    sleep(SETTLE).await;
    let after = server.memory()?;
    server.stop().await?;
    let each = (after.saturating_sub(before)) as f64 * 1.024 / f64::from(members);
    Ok(vec![
        members.to_string(),
        connections.to_string(),
        table::mib(before),
        table::mib(after),
        format!("{each:.1} kB"),
    ])
}
