use super::*;

fn hosts(bound: &str, names: &[&str]) -> Hosts {
    let names = names.iter().map(|name| name.parse().expect("a name")).collect();
    Hosts::new(bound.parse().expect("an address"), names)
}

fn is_accepted(hosts: &Hosts, local: Option<&str>, host: &str) -> bool {
    let request = Request::post("/").header("host", host).body(()).expect("a valid request");
    hosts.accept(&request, local.map(|address| address.parse().expect("an address"))).is_some()
}

#[test]
fn loopback_names_are_accepted_by_a_loopback_listener() {
    for bound in ["127.0.0.1:50051", "[::1]:50051", "[::ffff:127.0.0.1]:50051"] {
        let hosts = hosts(bound, &[]);
        for host in ["127.0.0.1:50051", "localhost:50051", "LOCALHOST:50051", "LocalHost:50051", "[::1]:50051"] {
            assert!(is_accepted(&hosts, None, host), "{host} at {bound}");
        }
        assert!(is_accepted(&hosts, None, "[0:0:0:0:0:0:0:1]:50051"));
    }
}

#[test]
fn other_names_are_rejected() {
    let hosts = hosts("127.0.0.1:50051", &[]);
    for host in [
        "",
        "evil.example",
        "evil.example:50051",
        "localhost",
        "127.0.0.1",
        "localhost:50052",
        "127.0.0.1:80",
        "localhost.:50051",
        "127.0.0.1.:50051",
        "localhost.evil.example:50051",
        "evil-localhost:50051",
        "user@localhost:50051",
        "localhost:50051@evil.example",
        "user:pw@127.0.0.1:50051",
        "0.0.0.0:50051",
        "[::]:50051",
        "[::ffff:127.0.0.1]:50051",
        "127.1:50051",
        "2130706433:50051",
        "0x7f000001:50051",
        "0177.0.0.1:50051",
        "127.0.0.2:50051",
        "localhost:050051x",
        "localhost:+50051",
        "localhost:",
        "localhost:0",
        "localhost:115587",
        ":50051",
        "[::1]",
        "[::1:50051",
        "::1:50051",
        "localhost:50051, evil.example",
        "localhost:50051 ",
        "localhost:50051/",
        "*:50051",
        "localhost:*",
    ] {
        assert!(!is_accepted(&hosts, None, host), "{host:?}");
    }
}

#[test]
fn the_address_that_the_client_connected_to_is_accepted() {
    let every = hosts("0.0.0.0:50051", &[]);
    assert!(is_accepted(&every, Some("192.168.1.5:50051"), "192.168.1.5:50051"));
    assert!(is_accepted(&every, Some("127.0.0.1:50051"), "localhost:50051"));
    for host in ["192.168.1.6:50051", "192.168.1.5:80", "192.168.1.5", "0.0.0.0:50051"] {
        assert!(!is_accepted(&every, Some("192.168.1.5:50051"), host), "{host}");
    }
    let every = hosts("[::]:50051", &[]);
    assert!(is_accepted(&every, Some("[::ffff:192.168.1.5]:50051"), "192.168.1.5:50051"));
    assert!(is_accepted(&every, Some("[fd00::5]:50051"), "[fd00::5]:50051"));

    let one = hosts("192.168.1.5:50051", &[]);
    assert!(is_accepted(&one, None, "192.168.1.5:50051"));
    assert!(!is_accepted(&one, None, "localhost:50051"));
    assert!(is_accepted(&hosts("192.168.1.5:443", &[]), None, "192.168.1.5"));
    assert!(is_accepted(&hosts("127.0.0.1:80", &[]), None, "localhost"));
}

#[test]
fn public_names_match_their_given_port_or_a_default_port() {
    let named = hosts("127.0.0.1:50051", &["signal.example.org", "other.example.org:8443", "127.0.0.1:*"]);
    for host in [
        "signal.example.org",
        "Signal.Example.ORG",
        "signal.example.org:443",
        "signal.example.org:80",
        "signal.example.org:50051",
        "other.example.org:8443",
        "127.0.0.1:1",
        "127.0.0.1",
    ] {
        assert!(is_accepted(&named, None, host), "{host}");
    }
    for host in [
        "signal.example.org:8443",
        "signal.example.org.",
        "signal.example.org.evil.example",
        "evil.signal.example.org",
        "other.example.org",
        "other.example.org:443",
        "localhost:1",
        "example.org",
    ] {
        assert!(!is_accepted(&named, None, host), "{host}");
    }
    for (name, is_named) in [("signal.example.org", true), ("127.0.0.1:1", false), ("localhost:50051", false)] {
        assert_eq!(named.is_named(&name.parse().expect("an authority")), is_named, "{name}");
    }
    // A host with the default https port matches with and without the port.
    let named = hosts("127.0.0.1:1", &["signal.example.org:443"]);
    assert!(is_accepted(&named, None, "signal.example.org"));
}

#[test]
fn invalid_public_names_are_rejected() {
    for name in ["", "*", "*.example.org", "https://x.example", "x.example/", "u@x.example", "x:y", "x:1:*", "x."] {
        assert!(name.parse::<PublicName>().is_err(), "{name:?}");
    }
}

#[test]
fn host_and_authority_must_agree() {
    let hosts = hosts("127.0.0.1:50051", &[]);
    let (ours, foreign) = ("localhost:50051", "evil.example:50051");
    let accepts = |uri: &str, host_headers: &[&str]| {
        let mut request = Request::post(uri);
        for host in host_headers {
            request = request.header("host", *host);
        }
        hosts.accept(&request.body(()).expect("a valid request"), None).is_some()
    };
    let absolute = |host: &str| format!("http://{host}/a");
    assert!(accepts("/a", &[ours]));
    assert!(accepts(&absolute(ours), &[]));
    assert!(accepts(&absolute(ours), &["LOCALHOST:50051"]));
    assert!(!accepts("/a", &[]));
    assert!(!accepts("/a", &[ours, ours]));
    assert!(!accepts("/a", &[ours, foreign]));
    assert!(!accepts(&absolute(ours), &[foreign]));
    assert!(!accepts(&absolute(foreign), &[ours]));
    assert!(!accepts(&absolute(ours), &["127.0.0.1:50051"]));
    assert!(!accepts(&absolute("user@localhost:50051"), &[]));
}
