//! Many connections from one address.

use std::{io, net::SocketAddr, time::Duration};

use axum::serve::Listener;
use clap::Parser;
use signalbox_testkit::eventually;
use tokio::net::TcpStream;

use super::wire::{H2, ends_within};
use crate::common::{
    DEADLINE,
    internals::{Cli, Network, Parts, Random, Server, Tcp},
};

/// Real sockets whose remote addresses are these, in turn.
struct SpoofedListener {
    tcp: Tcp,
    addresses: Vec<SocketAddr>,
}

impl Listener for SpoofedListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (socket, _) = self.tcp.accept().await;
        self.addresses.rotate_left(1);
        (socket, self.addresses[self.addresses.len() - 1])
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Network for SpoofedListener {}

/// How many connections from those addresses are served, with a limit of three for each.
async fn served(addresses: &[&str], connections: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let flags = ["signalbox", "--store", &store, "--max-connections-per-address", "3"];
    let config = Cli::try_parse_from(flags).unwrap().serve;
    let addresses = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1024)).collect();
    let listener = SpoofedListener { tcp: Tcp::bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), addresses };
    let addr = listener.local_addr().unwrap();
    let store = config.store.open().await.unwrap();
    let authenticator = config.auth.authenticator().unwrap();
    let server = Server::from_parts(config, Parts::new(store, authenticator, Random::system(), listener)).await;
    let task = tokio::spawn(server.run(std::future::pending()));
    let mut held = Vec::new();
    for _ in 0..connections {
        held.push(TcpStream::connect(addr).await.unwrap());
    }
    let mut served = 0;
    for socket in &mut held {
        served += usize::from(ends_within(socket, Duration::from_millis(100)).await.is_none());
    }
    drop(held);
    // New connections take their place.
    eventually(DEADLINE, "another is served", async || H2::connect(addr).await.is_alive().await.then_some(())).await;
    task.abort();
    served
}

#[tokio::test]
async fn connections_per_address_are_limited() {
    assert_eq!(served(&["198.51.100.1"], 10).await, 3);
    assert_eq!(served(&["198.51.100.1", "198.51.100.2"], 10).await, 6);
    assert_eq!(served(&["2001:db8::1", "2001:db8::2"], 10).await, 3);
    assert_eq!(served(&["127.0.0.1"], 10).await, 10);
}
