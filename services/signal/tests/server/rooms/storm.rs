//! Many joins of one room at the same time.

use signalbox_proto::v1::{
    ClientMessage, GetRoomRequest, Leave, SendRequest, ServerMessage, client_message::Body as ClientBody,
    server_message::Body as ServerBody, signal_client::SignalClient,
};
use tokio_stream::once;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::common::{DEADLINE, TestServer, assert_error, connect, messages, within};

const STORM: usize = 2000;
const MAX_MEMBERS: usize = 50;
/// Streams on one connection.
const STREAMS: usize = 250;

/// A member that only receives.
struct Listener {
    token: String,
    stream: Streaming<ServerMessage>,
}

async fn open(
    mut signal: SignalClient<Channel>,
    first: ClientBody,
) -> Result<(ServerBody, Streaming<ServerMessage>), Status> {
    let first = ClientMessage { body: Some(first), ..ClientMessage::default() };
    let mut stream =
        within(6 * DEADLINE, signal.exchange(once(first))).await.expect("headers come at once").into_inner();
    let first = within(6 * DEADLINE, stream.message()).await?.expect("a message comes before the end");
    Ok((first.body.expect("not just an ack"), stream))
}

async fn join(signal: SignalClient<Channel>) -> Result<Listener, Status> {
    match open(signal, ClientBody::Join(messages::join("demo"))).await? {
        (ServerBody::Welcome(welcome), stream) => {
            assert!(welcome.members.len() < MAX_MEMBERS, "no welcome shows a room beyond its limit");
            Ok(Listener { token: welcome.session_token, stream })
        }
        (other, _) => panic!("no welcome but {other:?}"),
    }
}

/// Joins all at once; returns the members. All other joins must have found the room full.
async fn storm(connections: &[SignalClient<Channel>]) -> Vec<Listener> {
    let joins: Vec<_> = (0..STORM).map(|n| tokio::spawn(join(connections[n % connections.len()].clone()))).collect();
    let mut members = Vec::new();
    for join in joins {
        match join.await.unwrap() {
            Ok(member) => members.push(member),
            Err(status) => assert_error(&status, Code::ResourceExhausted, "ROOM_FULL"),
        }
    }
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_joins_never_exceeds_max_members() {
    let (max_members, streams) = (MAX_MEMBERS.to_string(), STREAMS.to_string());
    let server = TestServer::start(&["--max-members", &max_members, "--max-streams", &streams]).await;
    let mut connections = Vec::new();
    for _ in 0..STORM / STREAMS {
        connections.push(SignalClient::new(connect(server.addr).await));
    }
    let mut rooms = server.rooms().await;
    let mut count =
        async || rooms.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap().into_inner().member_count;

    let mut members = storm(&connections).await;
    assert_eq!((members.len(), count().await), (MAX_MEMBERS, MAX_MEMBERS as u32));

    // Some members resume during the next storm. Their places were never free.
    let lost: Vec<_> = members.drain(..20).map(|member| member.token).collect();
    let resumes: Vec<_> = lost
        .iter()
        .enumerate()
        .map(|(n, token)| {
            let resume = ClientBody::Resume(messages::resume(token, 0));
            tokio::spawn(open(connections[n % connections.len()].clone(), resume))
        })
        .collect();
    let newcomers = storm(&connections).await;
    assert_eq!(newcomers.len(), 0);
    for (resume, token) in resumes.into_iter().zip(lost) {
        let (first, stream) = resume.await.unwrap().expect("it is still a member");
        assert!(matches!(first, ServerBody::Resumed(_)), "{first:?}");
        members.push(Listener { token, stream });
    }
    assert_eq!(count().await, MAX_MEMBERS as u32);

    // As many as leave can join.
    for member in members.drain(..7) {
        let leave = ClientMessage { body: Some(ClientBody::Leave(Leave::default())), ..ClientMessage::default() };
        let send = SendRequest { session_token: member.token, messages: vec![leave] };
        connections[0].clone().send(send).await.expect("it is there");
        drop(member.stream);
    }
    let newcomers = storm(&connections).await;
    assert_eq!((newcomers.len(), count().await), (7, MAX_MEMBERS as u32));
}
