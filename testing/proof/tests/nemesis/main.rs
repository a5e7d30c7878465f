//! A short run of the whole proof: a real server, real connections, faults; scripts/prove.sh does a long one. And the
//! rosters of clients whose connections stall.

mod lost_leave;
mod rosters;

use std::{env, path::PathBuf, time::Duration};

use signalbox_proof::run::{Options, run};

/// The server's program; a build of it that cargo does not tell a test of another package.
fn server() -> Option<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/signalbox");
    let path = env::var_os("SIGNALBOX_BIN").map_or_else(|| PathBuf::from(built), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none(), "in CI nothing is skipped: build the release server, or set SIGNALBOX_BIN");
    eprintln!("skipped: there is no release server; cargo build --release -p signalbox-server, or set SIGNALBOX_BIN");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guarantee_holds_under_faults() {
    let Some(server) = server() else { return };
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
    let summary = run(&options).await.expect("the run itself works");
    eprintln!("{summary}replay: {}", options.command());
    assert!(summary.passed(), "the guarantee does not hold, or nothing was shown; the report is above");
}
