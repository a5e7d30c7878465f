//! What the tests share: a server on a free port, and clients of its transports.

pub(crate) mod internals;
pub(crate) mod jwt;
pub(crate) mod messages;
pub(crate) mod mongo;
pub(crate) mod native;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod web;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use signalbox_proto::{
    ERROR_DOMAIN,
    v1::{rooms_client::RoomsClient, signal_client::SignalClient},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use self::internals::{Cli, Config, Parts, Random, Server, Store, Tcp};

/// How long anything that must come may take. Only a failing test waits that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits something that must come.
pub(crate) async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    timeout(limit, what).await.unwrap_or_else(|_| panic!("nothing came within {limit:?}"))
}

/// The body of a message, which must be of that kind: `body!(message, Offer)`.
macro_rules! body {
    ($message:expr, $kind:ident) => {{
        let message = $message;
        match message.body {
            Some(signalbox_proto::v1::server_message::Body::$kind(body)) => body,
            other => panic!("expected {}, got {other:?}", stringify!($kind)),
        }
    }};
}
pub(crate) use body;

/// A server in this process.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    /// Of the admin listener, if there is one.
    pub(crate) admin_addr: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _folder: Option<TempDir>,
}

impl TestServer {
    /// Starts a server with these flags and a store in a temporary folder.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Self::start_in(folder.path(), flags).await;
        Self { _folder: Some(folder), ..server }
    }

    /// Starts a server with its store in that folder.
    pub(crate) async fn start_in(folder: &Path, flags: &[&str]) -> Self {
        Self::start_on(&format!("redb:{}", folder.display()), flags).await
    }

    /// Starts a server with the store of that URL.
    pub(crate) async fn start_on(store: &str, flags: &[&str]) -> Self {
        let config = configuration(&[&["--store", store], flags].concat());
        Self::run(Server::bind(config).await.expect("a server"))
    }

    /// Starts a server with that store.
    pub(crate) async fn start_with(store: Arc<dyn Store>, flags: &[&str]) -> Self {
        let config = configuration(flags);
        let listener = Tcp::bind(config.listen).await.expect("a port");
        let authenticator = config.auth.authenticator().expect("usable keys");
        Self::run(Server::from_parts(config, Parts::new(store, authenticator, Random::system(), listener)).await)
    }

    fn run(server: Server) -> Self {
        let mut addr = server.local_addr().expect("an address");
        if addr.ip().is_unspecified() {
            addr.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let admin_addr = server.admin_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move {
            // A test that ends without stopping its server drops the runtime.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { addr, admin_addr, stop, task, _folder: None }
    }

    /// Stops the server and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        within(DEADLINE, self.task).await.expect("the server ends without a panic");
    }

    /// A client of `Signal` on a connection of its own.
    pub(crate) async fn signal(&self) -> SignalClient<Channel> {
        SignalClient::new(connect(self.addr).await)
    }

    /// A client of `Rooms`.
    pub(crate) async fn rooms(&self) -> RoomsClient<Channel> {
        RoomsClient::new(connect(self.addr).await)
    }
}

/// The configuration of these flags, on a free port.
fn configuration(flags: &[&str]) -> Config {
    let mut args = vec!["signalbox"];
    if !flags.contains(&"--listen") {
        args.extend(["--listen", "127.0.0.1:0"]);
    }
    let config = Cli::try_parse_from(args.iter().chain(flags)).expect("valid flags").serve;
    config.check().expect("flags that fit together");
    config
}

/// An HTTP/2 connection.
pub(crate) async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address is part of a valid URI");
    within(DEADLINE, endpoint.connect()).await.expect("the server accepts connections")
}

/// A request with a token, if there is one.
pub(crate) fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a header value");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Checks an error's code and the reason that clients branch on.
#[track_caller]
pub(crate) fn assert_error(status: &Status, code: Code, reason: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert_eq!(info.domain, ERROR_DOMAIN);
}

/// Checks an error about one field.
#[track_caller]
pub(crate) fn assert_field_error(status: &Status, reason: &str, field: &str) {
    assert_error(status, Code::InvalidArgument, reason);
    let violations = status.get_details_bad_request().expect("field violations").field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, [field]);
    assert!(!violations[0].description.is_empty(), "the violation says what is wrong");
}
