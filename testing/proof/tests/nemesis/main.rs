//! A short run of the proof with a real server; `scripts/prove.sh` does a long one. And the rosters of clients with
//! stalled connections.

mod lost_leave;
mod rosters;

use std::{path::PathBuf, time::Duration};

use signalbox_proof::run::{Options, run};
use signalbox_testkit::{
    require,
    skip::{Missing, program},
};

/// The program of the server. Cargo does not build it for the tests of this package.
fn server() -> Result<PathBuf, Missing> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/signalbox");
    program("SIGNALBOX_BIN", built).map_err(|Missing(missing)| {
        Missing(format!("{missing}, or build it: cargo build --release -p signalbox-server"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guarantee_holds_under_faults() {
    let server = require!(server());
    let options = Options {
        signals: 20_000,
        faults: 60,
        seed: 1,
        server,
        history: None,
        rooms: 6,
        rate: 45.0,
        at_once: 8,
        server_faults: Duration::from_secs(4),
        rss_limit: 96,
        deadline: Duration::from_secs(60),
        stop_at_first: false,
    };
    let summary = run(&options).await.expect("the run completes");
    eprintln!("{summary}replay: {}", options.command());
    assert!(summary.passed(), "the guarantee did not hold, or the run is void: see the report above");
}
