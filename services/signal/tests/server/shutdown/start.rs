//! Start: the ready file, and errors.

use std::{fs, net::SocketAddr, path::Path};

use http::{Method, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{
    program::{Program, run, run_with},
    raw::{Version, request},
};

#[tokio::test]
async fn the_ready_file_holds_the_bound_address() {
    let program = Program::start(&[]).await;
    assert_ne!(program.addr.port(), 0);
    let ready = fs::read_to_string(program.folder().join("ready")).unwrap();
    let log = program.stop().await;
    let address = ready.strip_suffix('\n').unwrap();
    let field = format!("address={address}");
    let listening = log.lines().find(|line| line.contains("listening")).expect("the log has the address");
    assert!(listening.ends_with(&field) || listening.contains(&format!("{field} ")), "{address} is not in {listening}");
}

#[tokio::test]
async fn the_admin_listener_has_its_own_ready_file() {
    let program = Program::start(&["--admin-listen", "127.0.0.1:0", "--admin-ready-file", "admin-ready"]).await;
    let ready = fs::read_to_string(program.folder().join("admin-ready")).unwrap();
    let admin: SocketAddr = ready.trim_end().parse().unwrap();
    assert!(admin.port() != 0 && admin != program.addr, "{admin}");
    let page = request(admin, Version::Http1, Method::GET, "/", &[], "").await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let log = program.stop().await;
    assert!(log.contains(&format!("admin listening address={admin}")), "{log}");
    assert!(TcpStream::connect(admin).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_public_port_without_authentication_is_warned_of() {
    for (listen, warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let program = Program::start(&["--listen", listen, "--allow-anonymous"]).await;
        let log = program.stop().await;
        assert_eq!(log.contains("WARN") && log.contains("no authentication"), warned, "{log}");
    }
}

#[tokio::test]
async fn serve_is_the_default_command() {
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
async fn invalid_settings_are_refused_without_side_effects() {
    let turn = ["--turn-url", "turn:turn.example.org"];
    for (flags, named) in [
        (&["--heartbeat", "10ms"][..], "--heartbeat"),
        (&["--heartbeat", "soon"], "--heartbeat"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--store", "mysql://db"], "--store"),
        (&["--store", "mongodb://"], "--store"),
        (&["--store", "mongodb://db.example.org/?w=1"], "w=majority"),
        (&["--log", "a=b=c"], "--log"),
        (&["--log", "warning"], "--log"),
        (&["--log", ""], "--log"),
        (&["--log", "signalbox-server=debug"], "--log"),
        (&["--log-format", "xml"], "--log-format"),
        (&["--max-members", "0"], "--max-members"),
        (&["--max-members", "many"], "--max-members"),
        (&["--cors-origin", "*"], "--cors-origin"),
        (&["--cors-origin", "https://*.example.org"], "patterns"),
        (&["--cors-origin", "https://App.example.org"], "lower case"),
        (&["--ice-server", "http://stun.example.org"], "--ice-server"),
        (&["--ice-server", "stun:127.0.0.1:3478?transport=udp"], "--ice-server"),
        (&["--ice-server", "stun:host:99999"], "--ice-server"),
        (&["--turn-url", "turn:host?transport=sctp", "--turn-secret", "s"], "--turn-url"),
        (&["--turn-url", "turn:host,turn:user:pw@host", "--turn-secret", "s"], "--turn-url"),
        (&["--auto-create", "maybe"], "--auto-create"),
        (&["--mailbox-bytes", "1000"], "--mailbox-bytes"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&turn, "--turn-secret"),
        (&[&turn[..], &["--turn-secret", ""]].concat(), "--turn-secret"),
        (&["--auth", "jwt", "--jwt-secret", ""], "--jwt-secret"),
        (&["--jwt-issuer", ""], "--jwt-issuer"),
        (&["--jwt-audience", ""], "--jwt-audience"),
        (&[&turn[..], &["--turn-secret", "s", "--turn-ttl", "48h"]].concat(), "--turn-ttl"),
        (&["serve", "--heartbeat", "10ms"], "--heartbeat"),
        (&["--listen", "0.0.0.0:0"], "--allow-anonymous"),
        (&["--listen", "[::]:0", "--allow-anonymous", "false"], "--auth jwt"),
        (&["--auth", "jwt"], "--jwt-key"),
        (&["--auth", "jwt", "--jwt-secret", "short"], "--jwt-secret"),
        (&["--admin-listen", "0.0.0.0:0"], "--admin-listen"),
        (&["--admin-listen", "192.0.2.1:50052"], "--admin-listen"),
        (&["--admin-ready-file", "admin"], "--admin-listen"),
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
        // Neither a store nor a ready file.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{flags:?} left something behind");
    }
}

#[tokio::test]
async fn empty_variables_count_as_unset() {
    let help = run(Path::new("."), &["serve", "--help"]).await;
    let help = String::from_utf8(help.stdout).unwrap();
    let names: Vec<_> = help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap()).collect();
    assert!(names.len() > 50 && names.contains(&"SIGNALBOX_TURN_SECRET"), "{names:?}");
    let empty: Vec<_> = names.into_iter().map(|name| (name, "")).collect();
    let log = Program::start_with(&empty, &[]).await.stop().await;
    assert!(log.contains("turn_secret: None"), "{log}");
    let log =
        Program::start_with(&empty, &["serve", "--listen", "127.0.0.1:0", "--heartbeat", "16s"]).await.stop().await;
    assert!(log.contains("heartbeat: 16s"), "flags still count: {log}");
}

#[tokio::test]
async fn errors_name_the_variable_that_set_a_value() {
    for (variables, flags, note) in [
        (&[("SIGNALBOX_TLS_CERT", "cert.pem")][..], &[][..], "--tls-cert is set by SIGNALBOX_TLS_CERT"),
        (&[("SIGNALBOX_HEARTBEAT", "soon")], &[], "--heartbeat is set by SIGNALBOX_HEARTBEAT"),
        (&[("SIGNALBOX_HEARTBEAT", "10ms")], &["serve"], "--heartbeat is set by SIGNALBOX_HEARTBEAT"),
        (&[("SIGNALBOX_STORE", "mysql://db")], &[], "--store is set by SIGNALBOX_STORE"),
        (&[("SIGNALBOX_LOG", "warning")], &[], "--log is set by SIGNALBOX_LOG"),
        (
            &[("SIGNALBOX_TURN_SECRET", "")],
            &["--turn-url", "turn:t.example"],
            "SIGNALBOX_TURN_SECRET is empty, so --turn-secret is unset",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_with(folder.path(), variables, flags).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{variables:?}: {errors}");
        assert!(errors.lines().any(|line| line == format!("note: {note}")), "{variables:?}: {errors}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run_with(folder.path(), &[("SIGNALBOX_HEARTBEAT", "16s")], &["--heartbeat", "10ms"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.contains("SIGNALBOX_HEARTBEAT"), "the flag takes precedence: {errors}");
}

#[tokio::test]
async fn the_error_names_a_port_in_use() {
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
async fn the_error_names_a_store_in_use() {
    let program = Program::start(&["--store", "redb:rooms"]).await;
    let output = run(program.folder(), &["--listen", "127.0.0.1:0", "--store", "redb:rooms"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.lines().last().unwrap().contains("store in rooms"), "{errors}");
}
