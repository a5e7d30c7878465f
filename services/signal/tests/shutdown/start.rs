//! Starting: the ready file, and what is said when it cannot be.

use std::fs;

use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::program::{Program, run};

#[tokio::test]
async fn the_ready_file_holds_the_bound_address() {
    let program = Program::start(&[]).await;
    assert_ne!(program.addr.port(), 0);
    let ready = fs::read_to_string(program.folder().join("ready")).unwrap();
    assert_eq!(ready, format!("{}\n", program.addr));
    program.signal(Signal::TERM);
    assert_eq!(program.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn serve_may_be_said_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let help = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let bare = help(run(folder.path(), &["--help"]).await);
    let serve = help(run(folder.path(), &["serve", "--help"]).await);
    for flag in ["--listen", "--store", "--ready-file", "--drain-timeout", "--turn-secret", "--cors-origin"] {
        assert!(bare.contains(flag) && serve.contains(flag), "{flag}");
    }
    let version = help(run(folder.path(), &["--version"]).await);
    assert_eq!(version, format!("signalbox {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_before_anything_is_done() {
    let turn = ["--turn-url", "turn:turn.example.org"];
    for (flags, named) in [
        (&["--heartbeat", "10ms"][..], "--heartbeat"),
        (&["--heartbeat", "soon"], "--heartbeat"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--store", "mysql://db"], "--store"),
        (&["--log", "a=b=c"], "--log"),
        (&["--log-format", "xml"], "--log-format"),
        (&["--max-members", "0"], "--max-members"),
        (&["--max-members", "many"], "--max-members"),
        (&["--cors-origin", "*"], "--cors-origin"),
        (&["--ice-server", "http://stun.example.org"], "--ice-server"),
        (&["--auto-create", "maybe"], "--auto-create"),
        (&["--mailbox-bytes", "1000"], "--mailbox-bytes"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&turn, "--turn-secret"),
        (&[&turn[..], &["--turn-secret", "s", "--turn-ttl", "48h"]].concat(), "--turn-ttl"),
        (&["serve", "--heartbeat", "10ms"], "--heartbeat"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut flags = flags.to_vec();
        if !flags.contains(&"--listen") {
            flags.extend(["--listen", "127.0.0.1:0"]);
        }
        flags.extend(["--ready-file", "ready"]);
        let output = run(folder.path(), &flags).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {errors}");
        assert!(errors.contains(named), "{flags:?}: {errors}");
        assert!(!errors.contains("listening"), "{flags:?}: {errors}");
        // No store, no ready file.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{flags:?} left something behind");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--listen", &addr, "--ready-file", "ready"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.contains(&addr) && last.contains("--listen"), "{errors}");
    assert!(!folder.path().join("ready").exists());
}

#[tokio::test]
async fn a_store_that_another_server_has_open_is_named() {
    let program = Program::start(&["--store", "redb:rooms"]).await;
    let output = run(program.folder(), &["--listen", "127.0.0.1:0", "--store", "redb:rooms"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.lines().last().unwrap().contains("store in rooms"), "{errors}");
}
