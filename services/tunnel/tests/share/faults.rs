//! Each fault shows its state, and the share recovers by itself once the cause is gone.

use std::fs;

use rustix::process::{Signal, kill_process};
use tokio::{net::TcpListener, process::Command};

use super::{
    harness::{BACK, Bore, SHOWN, Share, binaries, share_command},
    traffic::Traffic,
};

#[tokio::test]
async fn killed_tunnel_server_is_reconnected() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.1";
    let bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let mut traffic = Traffic::start(&link).await;
    bore.kill().await;
    share.wait_for(SHOWN, "lost  ").await;
    let _bore = Bore::start(ip, None).await;
    share.wait_for(BACK, "back  ").await;
    traffic.continues().await;
    assert!(traffic.resumes() > 0);
    traffic.finish_without_loss().await;
}

#[tokio::test]
async fn stopped_tunnel_server_is_reconnected() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.2";
    let bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let mut traffic = Traffic::start(&link).await;
    bore.signal(Signal::STOP);
    share.wait_for(SHOWN, "not reachable from outside").await;
    // The share reopens the tunnel, without success.
    share.wait_for(BACK, "does not respond").await;
    bore.signal(Signal::CONT);
    share.wait_for(BACK, "back  ").await;
    traffic.continues().await;
    traffic.finish_without_loss().await;
}

#[tokio::test]
async fn taken_public_port_is_replaced() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.3";
    let bore = Bore::start(ip, None).await;
    let mut any = Share::start(ip, &["--http"]).await;
    let first = any.link().await;
    bore.kill().await;
    any.wait_for(SHOWN, "lost  ").await;
    let squatter = TcpListener::bind(&first.authority).await.unwrap();
    let _bore = Bore::start(ip, None).await;
    any.wait_for(SHOWN, "is taken").await;
    // After a wait the share takes another port.
    any.wait_for(BACK, "back  ").await;
    any.wait_for(SHOWN, "visitors need the new link").await;
    let second = any.link().await;
    assert_ne!(first.authority, second.authority);
    assert_eq!((first.room, first.token), (second.room.clone(), second.token.clone()));
    Traffic::start(&second).await.finish_without_loss().await;
    drop(squatter);
}

#[tokio::test]
async fn taken_port_from_the_settings_is_waited_for() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.4";
    let _bore = Bore::start(ip, None).await;
    let squatter = TcpListener::bind((ip, 20001)).await.unwrap();
    let mut share = Share::start(ip, &["--http", "--port", "20001"]).await;
    share.wait_for(SHOWN, "connecting   public port 20001 is taken").await;
    drop(squatter);
    let link = share.link().await;
    assert_eq!(link.authority, format!("{ip}:20001"));
}

#[tokio::test]
async fn wrong_secret_is_reported() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.5";
    let bore = Bore::start(ip, Some("the right one")).await;
    let mut none = Share::start(ip, &["--http"]).await;
    none.wait_for(SHOWN, "requires a secret: set BORE_SECRET").await;
    let mut wrong = Share::start_with(ip, &["--http"], Some("the wrong one")).await;
    let line = wrong.wait_for(SHOWN, "connecting   ").await;
    assert!(line.contains("rejected the secret: set BORE_SECRET"), "{line}");
    bore.kill().await;
    let _bore = Bore::start(ip, Some("the wrong one")).await;
    wrong.link().await;
}

#[tokio::test]
async fn unresolvable_tunnel_server_is_retried() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.6";
    let _bore = Bore::start(ip, None).await;
    let folder = tempfile::tempdir().unwrap();
    // Its own /etc/hosts in a mount namespace, which needs root.
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
    share.wait_for(SHOWN, "connecting   could not connect to share.invalid:7835").await;
    // Written in place, because the mount follows the file and not its name.
    fs::write(&hosts, format!("{ip} share.invalid\n")).unwrap();
    let link = share.link().await;
    Traffic::start(&link).await.finish_without_loss().await;
}

#[tokio::test]
async fn killed_server_is_restarted_and_stopped_server_is_waited_for() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.0.7";
    let _bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let server = share.server();
    kill_process(server, Signal::STOP).unwrap();
    share.wait_for(SHOWN, "lost         the server on this machine does not respond").await;
    kill_process(server, Signal::CONT).unwrap();
    share.wait_for(BACK, "back  ").await;
    // The stop loses no session.
    let traffic = Traffic::start(&link).await;
    traffic.finish_without_loss().await;
    // The kill loses all sessions, and members rejoin by themselves.
    kill_process(server, Signal::KILL).unwrap();
    share.wait_for(SHOWN, "the server on this machine has exited; starting it again").await;
    share.wait_for(BACK, "the server is running again").await;
    assert_ne!(share.server(), server);
    let mut traffic = Traffic::start(&link).await;
    traffic.continues().await;
    traffic.finish_without_loss().await;
}
