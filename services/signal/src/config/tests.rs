//! Tests of the settings, alone and in combination, and of their documentation.

use clap::Parser;

use super::*;
use crate::cli::Cli;

fn parse(args: &[&str]) -> Config {
    let cli = Cli::try_parse_from([&["signalbox"], args].concat()).expect("valid arguments");
    cli.serve
}

#[test]
fn defaults_are_valid_and_match_the_contract() {
    let config = parse(&[]);
    assert_eq!(config.check(), Ok(()));
    let (ours, contract) = (format!("{:?}", config.limits()), format!("{:?}", Limits::default()));
    assert_eq!(ours, contract);
}

#[test]
fn invalid_combinations_are_rejected_with_the_flag_to_change() {
    for (args, flag) in [
        (&["--turn-url", "turn:t.example"][..], "--turn-secret"),
        (&["--admin-listen", "0.0.0.0:1"], "--admin-listen"),
        (&["--admin-listen", "[::]:0"], "--admin-listen"),
        (&["--admin-listen", "192.0.2.1:1"], "--admin-listen"),
        (&["--admin-listen", "127.0.0.1:50051"], "--listen"),
        (&["--listen", "0.0.0.0:1"], "--allow-anonymous"),
        (&["--public-name", "signal.example.org"], "--allow-anonymous"),
        (&["--listen", "192.0.2.1:1"], "--auth jwt"),
        (&["--rooms", "true", "--allow-anonymous", "--listen", "0.0.0.0:1"], "--auth jwt"),
        (&["--rooms", "true", "--allow-anonymous", "--public-name", "signal.example.org"], "--admin-listen"),
        (&["--auth", "jwt"], "--jwks"),
        (&["--jwks", "keys.json"], "--auth jwt"),
        (&["--auth", "jwt", "--jwt-secret", "0123456789012345678901234567890"], "--jwt-secret"),
        (&["--jwt-max-ttl", "59s"], "--jwt-max-ttl"),
        (&["--jwt-grace", "2h"], "--jwt-grace"),
        (&["--max-bad-joins", "0"], "--max-bad-joins"),
        (&["--bad-join-window", "25h"], "--bad-join-window"),
        (&["--turn-secret", "s"], "--turn-url"),
        (&["--turn-url", "turn:t.example", "--turn-secret", "s", "--turn-ttl", "25h"], "--turn-ttl"),
        (&["--max-members", "0"], "--max-members"),
        (&["--max-members", "1001"], "--max-room-members"),
        (&["--heartbeat", "10ms"], "--heartbeat"),
        (&["--idle-timeout", "10ms"], "--idle-timeout"),
        (&["--first-request-timeout", "0s"], "--first-request-timeout"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--max-memory-mib", "63"], "--max-memory-mib"),
        (&["--tls-client-ca", "ca.pem"], "--tls-self-signed"),
        (&["--max-sdp-bytes", "200000"], "--max-message-bytes"),
        (&["--max-message-bytes", "300000"], "--mailbox-bytes"),
    ] {
        let error = parse(args).check().expect_err("an invalid combination");
        assert!(error.contains(flag), "{args:?}: {error}");
    }
}

#[test]
fn rooms_are_served_by_default_on_loopback_only_and_on_one_listener() {
    for (args, served) in [
        (&[][..], true),
        (&["--listen", "127.0.0.1:0"], true),
        (&["--listen", "[::1]:0"], true),
        (&["--allow-anonymous", "--listen", "0.0.0.0:0"], false),
        (&["--allow-anonymous", "--listen", "[::]:0"], false),
        (&["--auth", "jwt", "--jwks", "keys.json", "--listen", "10.0.0.1:1"], false),
        (&["--public-name", "localhost:8080,127.0.0.1:*"], true),
        (&["--allow-anonymous", "--public-name", "localhost,signal.example.org"], false),
        (&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], false),
        (&["--allow-anonymous", "--listen", "192.0.2.1:1", "--admin-listen", "10.0.0.1:1"], false),
    ] {
        let config = parse(args);
        assert_eq!(config.check(), Ok(()), "{args:?}");
        assert_eq!(config.serves_rooms(), served, "{args:?}");
    }
}

#[test]
fn malformed_values_are_rejected() {
    for args in [
        ["--ice-server", "http://x"],
        ["--ice-server", "stun:"],
        ["--turn-url", "turn://x"],
        ["--cors-origin", "*"],
        ["--cors-origin", "https://a.example/"],
        ["--cors-origin", "https://*.example"],
        ["--cors-origin", "https://A.example"],
        ["--cors-origin", "https://A.example:*"],
        ["--cors-origin", "https://a.example:443:*"],
        ["--cors-origin", "https://a.example:*/"],
        ["--cors-origin", "https://a.example:4*"],
        ["--cors-origin", "https://*:*"],
        ["--cors-origin", "https://:*"],
        ["--cors-origin", "a.example:*"],
        ["--cors-origin", "https://a.example;script-src:*"],
        ["--cors-origin", "https://ada@a.example:*"],
        ["--store", "mysql://x"],
        ["--resume-window", "30"],
        ["--admin-listen", "127.0.0.1"],
        ["--public-name", "https://signal.example.org"],
        ["--public-name", "*.example.org"],
        ["--public-name", ""],
        ["--tls-cert", "without-a-key.pem"],
        ["--tls-key", "without-a-certificate.pem"],
        ["--admin-ready-file", "without-an-admin-listener"],
    ] {
        assert!(Cli::try_parse_from([&["signalbox"][..], &args].concat()).is_err(), "{args:?}");
    }
}

#[test]
fn the_documentation_lists_every_setting_with_its_default_and_help() {
    use clap::{Arg, CommandFactory};

    let command = Cli::command();
    let row = |arg: &Arg| {
        let env = arg.get_env()?.to_string_lossy().into_owned();
        let default = arg.get_default_values().first().map(|value| format!("`{}`", value.to_string_lossy()));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(format!("| `--{}` | `{env}` | {} | {help} |\n", arg.get_long()?, default.unwrap_or_default()))
    };
    let table: String = command.get_arguments().filter_map(row).collect();
    let page = include_str!("../../../../docs/configuration.md");
    assert!(table.lines().count() > 20);
    assert!(page.contains(&table), "docs/configuration.md must contain this table:\n{table}");
}

#[test]
fn secrets_are_never_printed() {
    let config = parse(&["--turn-url", "turn:t.example", "--turn-secret", "hunter2"]);
    assert!(!format!("{config:?}").contains("hunter2"));
    let config = parse(&["--store", "mongodb://ada:hunter2@a.example/rooms"]);
    let printed = format!("{config:?}");
    assert!(printed.contains("mongodb://a.example:27017/rooms") && !printed.contains("hunter2"), "{printed}");
    for wrong in ["mongo://ada:hunter2@a.example", "mongodb://ada:hunter2@a.example:port"] {
        let error = Cli::try_parse_from(["signalbox", "--store", wrong]).expect_err(wrong);
        let text = error.to_string();
        assert!(text.contains("--store") && !text.contains("hunter2"), "{text}");
        assert_eq!(error.exit_code(), 2);
    }
}
