//! Everything that can go wrong shows its state, and is mended without anybody's help once the cause is gone.

use std::fs;

use rustix::process::{Signal, kill_process};
use tokio::{net::TcpListener, process::Command};

use super::{
    parts::{BACK, Bore, SHOWN, Share, binaries, share_command},
    talk::Talk,
};

#[tokio::test]
async fn a_tunnel_server_that_is_killed() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.1";
    let bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let mut talk = Talk::start(&link).await;
    bore.kill().await;
    share.says(SHOWN, "lost  ").await;
    let _bore = Bore::start(ip, None).await;
    share.says(BACK, "back  ").await;
    talk.hears_more().await;
    assert!(talk.resumed() > 0);
    talk.end_with_nothing_lost().await;
}

#[tokio::test]
async fn a_tunnel_server_that_is_frozen() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.2";
    let bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let mut talk = Talk::start(&link).await;
    bore.signal(Signal::STOP);
    share.says(SHOWN, "not seen from outside").await;
    // The tunnel is opened anew, in vain.
    share.says(BACK, "does not answer").await;
    bore.signal(Signal::CONT);
    share.says(BACK, "back  ").await;
    talk.hears_more().await;
    talk.end_with_nothing_lost().await;
}

#[tokio::test]
async fn a_public_port_that_somebody_else_has_taken() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.3";
    let bore = Bore::start(ip, None).await;
    let mut any = Share::start(ip, &["--http"]).await;
    let first = any.link().await;
    bore.kill().await;
    any.says(SHOWN, "lost  ").await;
    let squatter = TcpListener::bind(&first.authority).await.unwrap();
    let _bore = Bore::start(ip, None).await;
    any.says(SHOWN, "is taken").await;
    // It is waited for, and then another is taken.
    any.says(BACK, "back  ").await;
    any.says(SHOWN, "visitors need the new link").await;
    let second = any.link().await;
    assert_ne!(first.authority, second.authority);
    assert_eq!((first.room, first.token), (second.room.clone(), second.token.clone()));
    Talk::start(&second).await.end_with_nothing_lost().await;
    drop(squatter);
}

#[tokio::test]
async fn a_public_port_that_was_asked_for_and_is_taken() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.4";
    let _bore = Bore::start(ip, None).await;
    let squatter = TcpListener::bind((ip, 20001)).await.unwrap();
    let mut share = Share::start(ip, &["--http", "--port", "20001"]).await;
    share.says(SHOWN, "connecting   public port 20001 is taken").await;
    drop(squatter);
    let link = share.link().await;
    assert_eq!(link.authority, format!("{ip}:20001"));
}

#[tokio::test]
async fn a_wrong_secret() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.5";
    let bore = Bore::start(ip, Some("the right one")).await;
    let mut none = Share::start(ip, &["--http"]).await;
    none.says(SHOWN, "asks for a secret: set BORE_SECRET").await;
    let mut wrong = Share::start_with(ip, &["--http"], Some("the wrong one")).await;
    let said = wrong.says(SHOWN, "connecting   ").await;
    assert!(said.contains("takes another secret: set BORE_SECRET"), "{said}");
    bore.kill().await;
    let _bore = Bore::start(ip, Some("the wrong one")).await;
    wrong.link().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_resolved() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.6";
    let _bore = Bore::start(ip, None).await;
    let folder = tempfile::tempdir().unwrap();
    // With a file of host names of its own, which needs root.
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let bind = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let allowed = Command::new("unshare").args(["--mount", "true"]).status().await;
    if !allowed.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "mount namespaces are not allowed here");
        eprintln!("skipped: mount namespaces are not allowed here");
        return;
    }
    let flags = ["--mount", "sh", "-c", &bind, "sh"];
    let mut command = share_command("unshare".as_ref(), folder.path(), "share.invalid", &flags);
    command.args(["--http", "--public-name", ip]);
    let mut share = Share::spawn(command, folder);
    share.says(SHOWN, "connecting   could not connect to share.invalid:7835").await;
    // The file itself: it is this one that is mounted.
    fs::write(&hosts, format!("{ip} share.invalid\n")).unwrap();
    let link = share.link().await;
    Talk::start(&link).await.end_with_nothing_lost().await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_one_that_is_frozen() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.7";
    let _bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let server = share.server();
    kill_process(server, Signal::STOP).unwrap();
    share.says(SHOWN, "lost         the server on this machine does not answer").await;
    kill_process(server, Signal::CONT).unwrap();
    share.says(BACK, "back  ").await;
    // No session was lost by that.
    let talk = Talk::start(&link).await;
    talk.end_with_nothing_lost().await;
    // By this all are, and members come back by themselves as new ones.
    kill_process(server, Signal::KILL).unwrap();
    share.says(SHOWN, "the server on this machine has ended; starting it again").await;
    share.says(BACK, "the server runs again").await;
    assert_ne!(share.server(), server);
    let mut talk = Talk::start(&link).await;
    talk.hears_more().await;
    talk.end_with_nothing_lost().await;
}
