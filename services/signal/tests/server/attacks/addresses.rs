//! Connections that all come from one place.

use std::{io, net::SocketAddr, time::Duration};

use axum::serve::Listener;
use clap::Parser;
use signalbox_server::{
    Parts, Server,
    cli::Cli,
    random::Random,
    transport::{Network, Tcp},
};
use tokio::net::TcpStream;

use super::wire::{H2, ends_within};
use crate::common::{DEADLINE, within};

/// Real sockets that seem to come from elsewhere: each time from the next of these addresses.
struct From {
    tcp: Tcp,
    addresses: Vec<SocketAddr>,
}

impl Listener for From {
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

impl Network for From {}

/// How many of a number of connections from those addresses are served, where each may have three.
async fn served(addresses: &[&str], connections: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let flags = ["signalbox", "--store", &store, "--max-connections-per-address", "3"];
    let config = Cli::try_parse_from(flags).unwrap().serve;
    let addresses = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1024)).collect();
    let listener = From { tcp: Tcp::bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), addresses };
    let addr = listener.local_addr().unwrap();
    let store = config.store.open().await.unwrap();
    let authority = config.auth.authenticator().unwrap();
    let server = Server::from_parts(config, Parts::new(store, authority, Random::system(), listener)).await;
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
    // Their places are given again.
    let again = async { while !H2::connect(addr).await.is_alive().await {} };
    within(DEADLINE, again).await;
    task.abort();
    served
}

#[tokio::test]
async fn an_address_may_have_so_many_connections() {
    assert_eq!(served(&["198.51.100.1"], 10).await, 3);
    assert_eq!(served(&["198.51.100.1", "198.51.100.2"], 10).await, 6);
    assert_eq!(served(&["2001:db8::1", "2001:db8::2"], 10).await, 3);
    assert_eq!(served(&["127.0.0.1"], 10).await, 10);
}
