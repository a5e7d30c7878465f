//! The faults of the proxy, and the counts of their effects.

use std::{io::ErrorKind, time::Duration};

use signalbox_proof::proxy::{Mode, Proxy, Way};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const DEADLINE: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

struct Setup {
    proxy: Proxy,
    listener: TcpListener,
}

impl Setup {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        Self { proxy: Proxy::start(listener.local_addr().expect("an address")).await.expect("a socket"), listener }
    }

    /// Both ends of a connection through the proxy, over which a byte has passed each way.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(self.proxy.addr()).await.expect("a socket");
        let (mut server, _) = timeout(DEADLINE, self.listener.accept()).await.expect("in time").expect("a socket");
        pass(&mut client, &mut server, b"?").await;
        pass(&mut server, &mut client, b"!").await;
        (client, server)
    }
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.expect("a socket");
    let mut read = vec![0; bytes.len()];
    timeout(DEADLINE, to.read_exact(&mut read)).await.expect("in time").expect("a socket");
    assert_eq!(read, bytes);
}

async fn read(socket: &mut TcpStream) -> Result<usize, ErrorKind> {
    timeout(DEADLINE, socket.read(&mut [0; 64])).await.expect("an end").map_err(|error| error.kind())
}

#[tokio::test]
async fn delayed_held_and_sliced_bytes_arrive_and_are_counted() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    for mode in [Mode::Delay(SHORT), Mode::Hold, Mode::Slice] {
        let fault = setup.proxy.apply(Way::Up, mode, 2 * SHORT);
        let ((), effect) = tokio::join!(
            async {
                // `join!` polls in turn, so the fault is applied first.
                tokio::task::yield_now().await;
                let began = Instant::now();
                pass(&mut client, &mut server, b"hello").await;
                assert!(mode == Mode::Slice || began.elapsed() >= SHORT, "{mode:?}");
            },
            fault
        );
        assert_eq!(effect, 5, "{mode:?}");
    }
    pass(&mut client, &mut server, b"healed").await;
    pass(&mut server, &mut client, b"too").await;
}

#[tokio::test]
async fn swallowed_bytes_never_arrive_and_the_far_end_is_reset_late() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let (sent, effect) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            client.write_all(b"lost").await
        },
        setup.proxy.apply(Way::Up, Mode::Swallow, SHORT)
    );
    sent.unwrap();
    assert_eq!(effect, 4);
    // The other direction works, this one stays broken.
    pass(&mut server, &mut client, b"back").await;
    client.write_all(b"lost too").await.unwrap();
    drop(client);
    let began = Instant::now();
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn a_reset_ends_both_connections() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    assert_eq!(setup.proxy.reset(), 1);
    assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(setup.proxy.reset(), 0, "there is no connection left");
}

#[tokio::test]
async fn a_reset_after_bytes_passes_no_more_than_these() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    let transfer = async {
        tokio::task::yield_now().await;
        server.write_all(b"123456789").await.unwrap();
        let mut bytes = Vec::new();
        let end = timeout(DEADLINE, client.read_to_end(&mut bytes)).await.unwrap();
        // The reset may overtake bytes that had passed.
        assert!(end.is_err() && b"1234".starts_with(&bytes), "{end:?} {bytes:?}");
    };
    let ((), effect) = tokio::join!(transfer, setup.proxy.apply(Way::Down, Mode::ResetAfter(4), SHORT));
    assert_eq!(effect, 1);
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_fin_ends_one_direction_only() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connect().await;
    assert_eq!(setup.proxy.apply(Way::Up, Mode::Fin, SHORT).await, 1);
    assert_eq!(read(&mut server).await, Ok(0));
    pass(&mut server, &mut client, b"still here").await;
}

#[tokio::test]
async fn new_connections_are_refused_for_the_given_time_and_counted() {
    let setup = Setup::new().await;
    let attempt = async {
        tokio::task::yield_now().await;
        let mut client = TcpStream::connect(setup.proxy.addr()).await.unwrap();
        assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
    };
    let ((), refused) = tokio::join!(attempt, setup.proxy.refuse(2 * SHORT));
    assert_eq!(refused, 1);
    setup.connect().await;
}

#[tokio::test]
async fn healing_resets_broken_connections_only() {
    let setup = Setup::new().await;
    let (mut broken, _far) = setup.connect().await;
    setup.proxy.apply(Way::Both, Mode::Swallow, Duration::ZERO).await;
    let (mut client, mut server) = setup.connect().await;
    setup.proxy.heal();
    assert_eq!(read(&mut broken).await, Err(ErrorKind::ConnectionReset));
    pass(&mut client, &mut server, b"whole").await;
}
