//! gRPC-Web over HTTP/1.1 as a browser speaks it, and the streams that can carry a session.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message;
use signalbox_proto::v1::{
    ClientMessage, SendRequest as Batch, SendResponse, ServerMessage, SubscribeRequest, client_message,
    signal_client::SignalClient, subscribe_request::Open,
};
use signalbox_testkit::grpc_web::{CallError, Encoding, Response};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Endpoint};
use tonic_types::StatusExt;

/// Bytes that may wait in a socket to be read.
const RECEIVE_BUFFER: u32 = 32 * 1024;
/// How long a connection may take to be made, and a call to be answered.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// A call or stream did not work out.
#[derive(Debug)]
pub enum Fail {
    /// The connection is lost, or says nothing.
    Lost,
    /// The server said no, for this reason; empty when it gave none.
    Refused(Code, String),
}

impl From<Status> for Fail {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        match status.code() {
            // A native stream that was cut comes as one of these, without a reason.
            Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable if reason.is_empty() => Self::Lost,
            code => Self::Refused(code, reason),
        }
    }
}

impl From<CallError> for Fail {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status(status) => status.into(),
            CallError::Connection(_) | CallError::Malformed(_) => Self::Lost,
        }
    }
}

/// A connection for one call at a time.
pub struct Connection(SendRequest<Full<Bytes>>, String);

impl Connection {
    async fn open(addr: SocketAddr) -> Result<Self, Fail> {
        let socket = timeout(CALL_TIMEOUT, connect(addr)).await.map_err(|_| Fail::Lost)?.map_err(|_| Fail::Lost)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(CallError::from)?;
        // It ends when the sender and the response are dropped.
        tokio::spawn(connection);
        Ok(Self(sender, addr.to_string()))
    }

    async fn call(&mut self, method: &str, message: &impl Message) -> Result<Response, CallError> {
        self.0.ready().await?;
        let mut request = Request::post(format!("/signalbox.v1.Signal/{method}")).header(header::HOST, &self.1);
        for (name, value) in Encoding::Binary.headers() {
            request = request.header(name, value);
        }
        let body = Full::new(Encoding::Binary.body(&message.encode_to_vec()));
        let request = request.body(body).map_err(|error| CallError::Malformed(error.to_string()))?;
        Response::new(self.0.send_request(request).await?, Encoding::Binary)
    }
}

/// A socket that takes little beyond what is read, so that one who does not read is found out soon.
pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// Says things in a session, on a connection that is kept from call to call.
pub async fn send(
    addr: SocketAddr,
    kept: Option<Connection>,
    batch: Batch,
) -> Result<(Connection, SendResponse), Fail> {
    let call = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(addr).await?,
        };
        let mut reply = connection.call("Send", &batch).await?;
        let response = reply.next().await?.ok_or(Fail::Lost)?;
        let end: Option<SendResponse> = reply.next().await?;
        end.map_or(Ok((connection, response)), |_| Err(Fail::Lost))
    };
    timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(Fail::Lost))
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// gRPC-Web.
    Subscribe,
    /// Native gRPC.
    Exchange,
}

/// Opens a stream and hands on what it says, until it ends or nobody listens. Silence for `silence` is an end.
pub async fn listen(
    addr: SocketAddr,
    carrier: Carrier,
    open: Open,
    silence: Duration,
    heard: mpsc::Sender<Result<ServerMessage, Fail>>,
) {
    let work = async {
        match carrier {
            Carrier::Subscribe => {
                let request = SubscribeRequest { open: Some(open) };
                let mut connection = Connection::open(addr).await?;
                let opening = timeout(CALL_TIMEOUT, connection.call("Subscribe", &request));
                let mut reply = opening.await.map_err(|_| Fail::Lost)??;
                loop {
                    let message = timeout(silence, reply.next()).await.map_err(|_| Fail::Lost)??;
                    if hand_on(&heard, message).await.is_none() {
                        return Err(Fail::Lost);
                    }
                }
            }
            Carrier::Exchange => {
                let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| Fail::Lost)?;
                let channel =
                    timeout(CALL_TIMEOUT, endpoint.tcp_nodelay(true).initial_stream_window_size(64 * 1024).connect())
                        .await;
                let channel = channel.map_err(|_| Fail::Lost)?.map_err(|_| Fail::Lost)?;
                let body = match open {
                    Open::Join(join) => client_message::Body::Join(join),
                    Open::Resume(resume) => client_message::Body::Resume(resume),
                };
                let (outgoing, messages) = mpsc::channel(1);
                let first = ClientMessage { body: Some(body), ..ClientMessage::default() };
                outgoing.try_send(first).map_err(|_| Fail::Lost)?;
                let mut client = SignalClient::new(channel);
                let opening = timeout(CALL_TIMEOUT, client.exchange(ReceiverStream::new(messages)));
                let mut stream = opening.await.map_err(|_| Fail::Lost)??.into_inner();
                loop {
                    let message = timeout(silence, stream.message()).await.map_err(|_| Fail::Lost)??;
                    if hand_on(&heard, message).await.is_none() {
                        return Err(Fail::Lost);
                    }
                }
            }
        }
    };
    let end: Result<(), Fail> = work.await;
    if let Err(fail) = end {
        // Nobody listens any more: nobody to tell.
        drop(heard.send(Err(fail)).await);
    }
}

async fn hand_on(heard: &mpsc::Sender<Result<ServerMessage, Fail>>, message: Option<ServerMessage>) -> Option<()> {
    heard.send(Ok(message?)).await.ok()
}
