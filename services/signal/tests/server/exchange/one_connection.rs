//! Many sessions on one connection.

use signalbox_proto::v1::{
    ClientMessage, GetRoomRequest, SendRequest, SubscribeRequest, client_message::Body as ClientBody,
    rooms_client::RoomsClient, server_message::Body as ServerBody, signal_client::SignalClient,
    subscribe_request::Open,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

use crate::common::{DEADLINE, TestServer, assert_error, connect, messages, within};

/// An open session: its request stream, if it has one, its responses and its token.
struct Session {
    _out: Option<mpsc::Sender<ClientMessage>>,
    _stream: Streaming<signalbox_proto::v1::ServerMessage>,
    token: String,
}

async fn opened(
    out: Option<mpsc::Sender<ClientMessage>>,
    response: Result<tonic::Response<Streaming<signalbox_proto::v1::ServerMessage>>, Status>,
) -> Result<Session, Status> {
    let mut stream = response?.into_inner();
    match within(DEADLINE, stream.message()).await?.and_then(|message| message.body) {
        Some(ServerBody::Welcome(welcome)) => Ok(Session { _out: out, _stream: stream, token: welcome.session_token }),
        other => panic!("no welcome but {other:?}"),
    }
}

async fn exchange(mut client: SignalClient<Channel>, room: &str) -> Result<Session, Status> {
    let (out, outgoing) = mpsc::channel(1);
    out.send(messages::unnumbered("", ClientBody::Join(messages::join(room)))).await.unwrap();
    let response = within(DEADLINE, client.exchange(ReceiverStream::new(outgoing))).await;
    opened(Some(out), response).await
}

async fn subscribe(mut client: SignalClient<Channel>, room: &str) -> Result<Session, Status> {
    let request = SubscribeRequest { open: Some(Open::Join(messages::join(room))) };
    let response = within(DEADLINE, client.subscribe(request)).await;
    opened(None, response).await
}

#[tokio::test]
async fn sessions_do_not_block_short_calls() {
    let server = TestServer::start(&[]).await;
    let channel = connect(server.addr).await;
    let client = SignalClient::new(channel.clone());
    let mut sessions = Vec::new();
    for n in 0..40 {
        sessions.push(exchange(client.clone(), &format!("exchange-{n}")).await.unwrap());
        sessions.push(subscribe(client.clone(), &format!("subscribe-{n}")).await.unwrap());
    }
    for session in sessions.iter().skip(1).step_by(2) {
        let messages = vec![messages::numbered(1, "", messages::data("x"))];
        let request = SendRequest { session_token: session.token.clone(), messages };
        let response = within(DEADLINE, client.clone().send(request)).await.unwrap();
        assert_eq!(response.into_inner().ack, 1);
    }
    let request = GetRoomRequest { name: "exchange-0".to_owned() };
    within(DEADLINE, RoomsClient::new(channel).get_room(request)).await.unwrap();
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_with_the_number() {
    let server = TestServer::start(&["--max-sessions-per-connection", "20"]).await;
    let channel = connect(server.addr).await;
    let client = SignalClient::new(channel.clone());
    let mut sessions = Vec::new();
    for n in 0..10 {
        sessions.push(exchange(client.clone(), &format!("exchange-{n}")).await.unwrap());
        sessions.push(subscribe(client.clone(), &format!("subscribe-{n}")).await.unwrap());
    }
    for refused in [exchange(client.clone(), "more").await, subscribe(client.clone(), "more").await] {
        let status = refused.err().expect("the connection has as many sessions as it may have");
        assert_error(&status, Code::ResourceExhausted, "TOO_MANY_STREAMS");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata.get("limit").map(String::as_str), Some("20"));
        assert!(status.message().contains("20 sessions") && status.message().contains("another connection"));
    }
    // The limit affects neither short calls nor other connections.
    let request = GetRoomRequest { name: "exchange-0".to_owned() };
    within(DEADLINE, RoomsClient::new(channel).get_room(request)).await.unwrap();
    exchange(SignalClient::new(connect(server.addr).await), "more").await.unwrap();
    // A session that ends frees its capacity for another one.
    let left = sessions.pop().unwrap();
    let leave = SendRequest { session_token: left.token, messages: vec![messages::unnumbered("", messages::leave())] };
    client.clone().send(leave).await.unwrap();
    let joined = async {
        while exchange(client.clone(), "more").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(DEADLINE, joined).await;
}
