//! The simulated network for server and client.

use std::{io, net::SocketAddr};

use axum::serve::Listener;
use hyper_util::rt::TokioIo;
use signalbox_client::Client;
use signalbox_server::transport::Network;
use tonic::transport::{Channel, Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 50051;

/// A listener of the simulated network.
pub(crate) struct SimulatedListener(TcpListener);

impl SimulatedListener {
    pub(crate) async fn bind() -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", PORT)).await.map(Self)
    }
}

impl Listener for SimulatedListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Ok(accepted) = self.0.accept().await {
                return accepted;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Network for SimulatedListener {}

/// A client on the simulated network.
pub(crate) fn client(random: impl Fn() -> f64 + Send + Sync + 'static) -> Client {
    Client::with_dial(dial).with_random(random)
}

/// A connection to the server under a loopback name, for which it serves Rooms.
pub(crate) fn dial() -> Channel {
    let connector = tower::service_fn(|_: Uri| async { TcpStream::connect(("server", PORT)).await.map(TokioIo::new) });
    Endpoint::from_static("http://localhost:50051")
        .connect_timeout(std::time::Duration::from_secs(3))
        .connect_with_connector_lazy(connector)
}
