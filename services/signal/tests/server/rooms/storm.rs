//! Many at the same door at the same time.

use signalbox_proto::v1::{
    ClientMessage, GetRoomRequest, Leave, SendRequest, ServerMessage, client_message::Body as Said,
    server_message::Body, signal_client::SignalClient,
};
use tokio_stream::once;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::common::{DEADLINE, TestServer, assert_error, connect, say, within};

const STORM: usize = 2000;
const SEATS: usize = 50;
/// Streams on one connection.
const STREAMS: usize = 250;

/// A member who listens only.
struct Seated {
    token: String,
    stream: Streaming<ServerMessage>,
}

async fn open(mut signal: SignalClient<Channel>, first: Said) -> Result<(Body, Streaming<ServerMessage>), Status> {
    let first = ClientMessage { body: Some(first), ..ClientMessage::default() };
    let mut stream =
        within(6 * DEADLINE, signal.exchange(once(first))).await.expect("headers come at once").into_inner();
    let answer = within(6 * DEADLINE, stream.message()).await?.expect("a message comes before the end");
    Ok((answer.body.expect("not just an ack"), stream))
}

async fn join(signal: SignalClient<Channel>) -> Result<Seated, Status> {
    match open(signal, Said::Join(say::join("demo"))).await? {
        (Body::Welcome(welcome), stream) => {
            assert!(welcome.members.len() < SEATS, "nobody ever sees more than there are seats");
            Ok(Seated { token: welcome.session_token, stream })
        }
        (other, _) => panic!("no welcome but {other:?}"),
    }
}

/// All at once; says who got in, while all others must have found the room full.
async fn storm(connections: &[SignalClient<Channel>]) -> Vec<Seated> {
    let joins: Vec<_> = (0..STORM).map(|n| tokio::spawn(join(connections[n % connections.len()].clone()))).collect();
    let mut seated = Vec::new();
    for join in joins {
        match join.await.unwrap() {
            Ok(member) => seated.push(member),
            Err(status) => assert_error(&status, Code::ResourceExhausted, "ROOM_FULL"),
        }
    }
    seated
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_joins_never_overfills_a_room() {
    let (seats, streams) = (SEATS.to_string(), STREAMS.to_string());
    let server = TestServer::start(&["--max-members", &seats, "--max-streams", &streams]).await;
    let mut connections = Vec::new();
    for _ in 0..STORM / STREAMS {
        connections.push(SignalClient::new(connect(server.addr).await));
    }
    let mut rooms = server.rooms().await;
    let mut count =
        async || rooms.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap().into_inner().member_count;

    let mut seated = storm(&connections).await;
    assert_eq!((seated.len(), count().await), (SEATS, SEATS as u32));

    // Some lose their streams and come back in the midst of the next storm: their seats were never free.
    let lost: Vec<_> = seated.drain(..20).map(|member| member.token).collect();
    let resumes: Vec<_> = lost
        .iter()
        .enumerate()
        .map(|(n, token)| {
            let resume = Said::Resume(say::resume(token, 0));
            tokio::spawn(open(connections[n % connections.len()].clone(), resume))
        })
        .collect();
    let newcomers = storm(&connections).await;
    assert_eq!(newcomers.len(), 0);
    for (resume, token) in resumes.into_iter().zip(lost) {
        let (answer, stream) = resume.await.unwrap().expect("it keeps its seat");
        assert!(matches!(answer, Body::Resumed(_)), "{answer:?}");
        seated.push(Seated { token, stream });
    }
    assert_eq!(count().await, SEATS as u32);

    // As many as leave may come.
    for member in seated.drain(..7) {
        let leave = ClientMessage { body: Some(Said::Leave(Leave::default())), ..ClientMessage::default() };
        let send = SendRequest { session_token: member.token, messages: vec![leave] };
        connections[0].clone().send(send).await.expect("it is there");
        drop(member.stream);
    }
    let newcomers = storm(&connections).await;
    assert_eq!((newcomers.len(), count().await), (7, SEATS as u32));
}
