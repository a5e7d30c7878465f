//! Memory of idle members.

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

/// Parameters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Members on shared connections
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    shared: u32,
    /// Members on each shared connection
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=4096))]
    per_connection: u32,
    /// Members with their own connection
    #[arg(long, default_value = "2000", value_parser = clap::value_parser!(u32).range(1..))]
    own: u32,
    /// Members of each room
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    room: u32,
}

/// Time from the last join to the measurement, in which the buffers of joins are freed.
const SETTLE: Duration = Duration::from_secs(3);

/// Runs the benchmark and prints the results.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::print_line(&format!(
        "idle: members in rooms of {}, {} s after the last joined",
        options.room,
        SETTLE.as_secs()
    ));
    let mut rows = vec!["members|connections|memory before|after|per member".split('|').map(str::to_owned).collect()];
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
    // The first member makes the server allocate what all members share.
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
