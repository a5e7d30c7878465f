//! A running server is shared only if it is safe to publish.

use std::{fs, path::Path, process::Stdio};

use rustix::process::{Signal, kill_process};
use signalbox_proto::v1::{ListRoomsRequest, rooms_client::RoomsClient};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use super::{
    exposure::rooms_are_not_served,
    harness::{Bore, DEADLINE, SHOWN, Share, admin_token, binaries, share_command, until, within},
    traffic::Traffic,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Starts a server in a folder. Returns the process and its address.
async fn serve(folder: &Path, flags: &[&str]) -> (Child, String) {
    let (_, signalbox) = binaries().unwrap();
    let ready = folder.join("address");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new(signalbox);
    command.args(["serve", "--listen", "127.0.0.1:0", "--ready-file", "address", "--log", "error"]).args(flags);
    command.env("SIGNALBOX_JWT_SECRET", SECRET).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    if !flags.contains(&"jwt") {
        command.env_remove("SIGNALBOX_JWT_SECRET");
    }
    let child = command.spawn().unwrap();
    until("the server to listen", async || ready.is_file()).await;
    (child, fs::read_to_string(ready).unwrap().trim().to_owned())
}

#[tokio::test]
async fn unsafe_server_is_rejected() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.3.1";
    let folder = tempfile::tempdir().unwrap();
    let name = "127.11.3.1:*";
    for (flags, missing) in [
        (&[][..], "--public-name '127.11.3.1:*'"),
        (&["--public-name", name, "--allow-anonymous"], "--auth jwt"),
        (&["--auth", "jwt", "--public-name", name, "--detailed-health", "true"], "--detailed-health false"),
        (&["--auth", "jwt", "--public-name", name, "--reflection", "true"], "--reflection false"),
        (&["--auth", "jwt", "--public-name", name, "--rooms", "false"], "--admin ADDR"),
    ] {
        let (mut server, address) = serve(folder.path(), flags).await;
        let flags = ["--http", "--server", &address];
        let mut command = share_command(env!("CARGO_BIN_EXE_signalbox-tunnel").as_ref(), folder.path(), ip, &flags);
        command.env("SIGNALBOX_JWT_SECRET", SECRET).stderr(Stdio::piped());
        let output = within(DEADLINE, command.output()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(missing), "{flags:?}: {error}");
        server.kill().await.unwrap();
    }
}

#[tokio::test]
async fn safe_server_is_shared() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.3.2";
    let _bore = Bore::start(ip, None).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--auth", "jwt", "--admin-listen", "127.0.0.1:0", "--public-name", "127.11.3.2:*"];
    let (_server, address) = serve(folder.path(), &flags).await;
    let flags = ["--http", "--server", &address];
    let mut command = share_command(env!("CARGO_BIN_EXE_signalbox-tunnel").as_ref(), folder.path(), ip, &flags);
    command.env("SIGNALBOX_JWT_SECRET", SECRET);
    let mut share = Share::spawn(command, folder);
    share.wait_for(SHOWN, "Rooms is reachable through the tunnel").await;
    let link = share.link().await;
    assert_eq!(share.processes().len(), 1, "the share starts no server");
    Traffic::start(&link).await.finish_without_loss().await;
}

#[tokio::test]
async fn server_with_rooms_at_its_admin_listener_is_shared() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.3.3";
    let _bore = Bore::start(ip, None).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--auth", "jwt", "--rooms", "false", "--admin-listen", "127.0.0.1:0", "--public-name", "127.11.3.3:*"];
    let flags = [&flags[..], &["--admin-ready-file", "admin-address"]].concat();
    let (_server, address) = serve(folder.path(), &flags).await;
    let admin = fs::read_to_string(folder.path().join("admin-address")).unwrap();
    let flags = ["--http", "--server", &address, "--admin", admin.trim()];
    let mut command = share_command(env!("CARGO_BIN_EXE_signalbox-tunnel").as_ref(), folder.path(), ip, &flags);
    command.env("SIGNALBOX_JWT_SECRET", SECRET);
    let mut share = Share::spawn(command, folder);
    let link = share.link().await;
    assert!(!share.has_printed("Rooms is reachable"));
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    rooms_are_not_served(&channel, &link.room, Some(&admin_token(SECRET).await)).await;
    Traffic::start(&link).await.finish_without_loss().await;
    // The share deletes its room.
    kill_process(share.pid(), Signal::INT).unwrap();
    assert!(share.exit_status().await.success());
    let channel = Channel::from_shared(format!("http://{}", admin.trim())).unwrap().connect().await.unwrap();
    let rooms = RoomsClient::new(channel).list_rooms(ListRoomsRequest::default()).await.unwrap().into_inner().rooms;
    assert!(rooms.is_empty(), "{rooms:?}");
}
