//! A server that runs already is shared only if it is fit to be.

use std::{fs, path::Path, process::Stdio};

use rustix::process::{Signal, kill_process};
use signalbox_proto::v1::{ListRoomsRequest, rooms_client::RoomsClient};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use super::{
    outside::rooms_are_not_served,
    parts::{Bore, DEADLINE, SHOWN, Share, admin_token, binaries, share_command, until, within},
    talk::Talk,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Starts a server in a folder. Returns it and its address.
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
async fn a_server_that_is_open_is_not_shared() {
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
        let ended = within(DEADLINE, command.output()).await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains(missing), "{flags:?}: {said}");
        server.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_fit_is_shared() {
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
    share.says(SHOWN, "Rooms answers through the tunnel").await;
    let link = share.link().await;
    assert_eq!(share.processes().len(), 1, "it has started no server");
    Talk::start(&link).await.end_with_nothing_lost().await;
}

#[tokio::test]
async fn a_server_whose_rooms_are_elsewhere_is_shared() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.3.3";
    let _bore = Bore::start(ip, None).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--auth", "jwt", "--rooms", "false", "--admin-listen", "127.0.0.1:0", "--public-name", "127.11.3.3:*"];
    let flags = [&flags[..], &["--admin-ready-file", "operators"]].concat();
    let (_server, address) = serve(folder.path(), &flags).await;
    let operators = fs::read_to_string(folder.path().join("operators")).unwrap();
    let flags = ["--http", "--server", &address, "--admin", operators.trim()];
    let mut command = share_command(env!("CARGO_BIN_EXE_signalbox-tunnel").as_ref(), folder.path(), ip, &flags);
    command.env("SIGNALBOX_JWT_SECRET", SECRET);
    let mut share = Share::spawn(command, folder);
    let link = share.link().await;
    assert!(!share.has_said("Rooms answers"));
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    rooms_are_not_served(&channel, &link.room, Some(&admin_token(SECRET).await)).await;
    Talk::start(&link).await.end_with_nothing_lost().await;
    // Its room goes with it.
    kill_process(share.pid(), Signal::INT).unwrap();
    assert!(share.ended().await.success());
    let channel = Channel::from_shared(format!("http://{}", operators.trim())).unwrap().connect().await.unwrap();
    let rooms = RoomsClient::new(channel).list_rooms(ListRoomsRequest::default()).await.unwrap().into_inner().rooms;
    assert!(rooms.is_empty(), "{rooms:?}");
}
