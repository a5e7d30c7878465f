//! A native client goes away while its request body is blocked, since the server's window updates are lost.

use std::{net::SocketAddr, time::Duration};

use signalbox_client::{
    Client, Event, Session, Signal,
    v1::{Data, Join, MemberState},
};
use signalbox_proof::{
    checker::Bounds,
    proxy::{Mode, Proxy, Way},
    recorder::Writer,
    server::Server,
};
use signalbox_testkit::require;
use tokio::time::timeout;
use tonic::transport::Endpoint;

/// The settings that keep a dropped connection open for longest, without the mend: 15 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How soon the others must learn of the lost connection, with the 2 s that `leave` waits for its acknowledgement.
const NOTICED_WITHIN: Duration = Duration::from_secs(8);

async fn join(addr: SocketAddr, room: &str) -> Session {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_while_idle(true);
    let join = Join { room: room.to_owned(), ..Join::default() };
    Client::with_endpoint(endpoint).join(join).await.expect("joined")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_with_a_blocked_connection_is_suspended_at_once() {
    let binary = require!(super::server());
    let writer = Writer::start(None, Bounds::default()).expect("a writer");
    let server = Server::start(&binary, writer.recorder()).await.expect("the server starts");
    for leaves in [true, false] {
        let room = format!("leaves-{leaves}");
        let proxy = Proxy::start(server.addr()).await.expect("a proxy");
        let mut observer = join(server.addr(), &room).await;
        let leaver = join(proxy.addr(), &room).await;
        let id = leaver.member_id();
        let swallow = proxy.apply(Way::Down, Mode::Swallow, Duration::from_secs(60));
        tokio::pin!(swallow);
        // Polled once, which starts it.
        assert!(timeout(Duration::ZERO, &mut swallow).await.is_err());

        // Far more than the server's window, which its lost updates no longer open.
        let sender = leaver.sender();
        let data = Data { text: "x".repeat(16 * 1024), ..Data::default() };
        for _ in 0..60 {
            drop(sender.send(Signal::data(observer.member_id(), data.clone())).await);
        }
        drop(sender);
        if leaves {
            leaver.leave().await;
        } else {
            drop(leaver);
        }
        let suspended = async {
            loop {
                match observer.next().await.expect("the observer stays") {
                    Event::MemberUpdated(member) if member.member_id == id => {
                        assert_eq!(member.state(), MemberState::Suspended);
                        break;
                    }
                    _ => {}
                }
            }
        };
        timeout(NOTICED_WITHIN, suspended).await.expect("the server notices that the connection is closed");
    }
    server.stop().await.expect("the server stops");
}
