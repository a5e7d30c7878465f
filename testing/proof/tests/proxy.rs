//! Each fault of the proxy does what it says, and the proxy says what it did.

use std::{io::ErrorKind, time::Duration};

use signalbox_proof::proxy::{Mode, Proxy, Way};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const DEADLINE: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

struct Line {
    proxy: Proxy,
    listener: TcpListener,
}

impl Line {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it works");
        Self { proxy: Proxy::start(listener.local_addr().expect("an address")).await.expect("it works"), listener }
    }

    /// A connection through the proxy, both ends of it, over which a byte has passed each way.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(self.proxy.addr()).await.expect("it works");
        let (mut server, _) = timeout(DEADLINE, self.listener.accept()).await.expect("in time").expect("it works");
        pass(&mut client, &mut server, b"?").await;
        pass(&mut server, &mut client, b"!").await;
        (client, server)
    }
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.expect("it works");
    let mut read = vec![0; bytes.len()];
    timeout(DEADLINE, to.read_exact(&mut read)).await.expect("in time").expect("it works");
    assert_eq!(read, bytes);
}

async fn read(socket: &mut TcpStream) -> Result<usize, ErrorKind> {
    timeout(DEADLINE, socket.read(&mut [0; 64])).await.expect("an end").map_err(|error| error.kind())
}

#[tokio::test]
async fn what_is_delayed_held_or_cut_up_arrives_whole_and_is_counted() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    for mode in [Mode::Delay(SHORT), Mode::Hold, Mode::Slice] {
        let fault = line.proxy.apply(Way::Up, mode, 2 * SHORT);
        let ((), effect) = tokio::join!(
            async {
                // The fault takes effect first: join polls in turn.
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
async fn what_is_swallowed_never_arrives_and_the_far_end_learns_of_the_end_late() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let (sent, effect) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            client.write_all(b"lost").await
        },
        line.proxy.apply(Way::Up, Mode::Swallow, SHORT)
    );
    sent.unwrap();
    assert_eq!(effect, 4);
    // The other direction goes on, this one stays dead.
    pass(&mut server, &mut client, b"heard").await;
    client.write_all(b"lost too").await.unwrap();
    drop(client);
    let began = Instant::now();
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn a_reset_ends_both_sides() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    assert_eq!(line.proxy.reset(), 1);
    assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(line.proxy.reset(), 0, "nothing is left to hit");
}

#[tokio::test]
async fn a_reset_after_bytes_lets_just_these_pass() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let talk = async {
        tokio::task::yield_now().await;
        server.write_all(b"123456789").await.unwrap();
        let mut bytes = Vec::new();
        let end = timeout(DEADLINE, client.read_to_end(&mut bytes)).await.unwrap();
        // The reset may overtake what had passed; nothing more than that ever comes.
        assert!(end.is_err() && b"1234".starts_with(&bytes), "{end:?} {bytes:?}");
    };
    let ((), effect) = tokio::join!(talk, line.proxy.apply(Way::Down, Mode::ResetAfter(4), SHORT));
    assert_eq!(effect, 1);
    assert_eq!(read(&mut server).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_fin_ends_one_direction_only() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    assert_eq!(line.proxy.apply(Way::Up, Mode::Fin, SHORT).await, 1);
    assert_eq!(read(&mut server).await, Ok(0));
    pass(&mut server, &mut client, b"still here").await;
}

#[tokio::test]
async fn refusal_lasts_as_long_as_it_was_told_and_counts() {
    let line = Line::new().await;
    let attempt = async {
        tokio::task::yield_now().await;
        let mut client = TcpStream::connect(line.proxy.addr()).await.unwrap();
        assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
    };
    let ((), refused) = tokio::join!(attempt, line.proxy.refuse(2 * SHORT));
    assert_eq!(refused, 1);
    line.connect().await;
}

#[tokio::test]
async fn healing_resets_what_cannot_be_made_whole_and_nothing_else() {
    let line = Line::new().await;
    let (mut broken, _far) = line.connect().await;
    line.proxy.apply(Way::Both, Mode::Swallow, Duration::ZERO).await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.heal();
    assert_eq!(read(&mut broken).await, Err(ErrorKind::ConnectionReset));
    pass(&mut client, &mut server, b"whole").await;
}
