//! gRPC-Web calls over HTTP/1.1 as browsers make them, and the streams of both transports.

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

/// Size of the receive buffer of sockets.
const RECEIVE_BUFFER: u32 = 32 * 1024;
/// How long a connection or call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// How a call or stream failed.
#[derive(Debug)]
pub enum CallFailure {
    /// The connection is lost, or silent.
    Lost,
    /// The server refused it, for this reason; empty if it gave none.
    Refused(Code, String),
}

impl From<Status> for CallFailure {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        match status.code() {
            // The codes of a broken native stream, without a reason.
            Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable if reason.is_empty() => Self::Lost,
            code => Self::Refused(code, reason),
        }
    }
}

impl From<CallError> for CallFailure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status(status) => status.into(),
            CallError::Connection(_) | CallError::Malformed(_) => Self::Lost,
        }
    }
}

/// An HTTP/1.1 connection, for one call at a time.
pub struct Connection(SendRequest<Full<Bytes>>, String);

impl Connection {
    async fn open(addr: SocketAddr) -> Result<Self, CallFailure> {
        let socket = timeout(CALL_TIMEOUT, connect(addr))
            .await
            .map_err(|_| CallFailure::Lost)?
            .map_err(|_| CallFailure::Lost)?;
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

/// A socket with a small receive buffer, so that the server soon notices a client that stops reading.
pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// Calls `Send`, on a connection that is kept from call to call.
pub async fn send(
    addr: SocketAddr,
    kept: Option<Connection>,
    batch: Batch,
) -> Result<(Connection, SendResponse), CallFailure> {
    let call = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(addr).await?,
        };
        let mut reply = connection.call("Send", &batch).await?;
        let response = reply.next().await?.ok_or(CallFailure::Lost)?;
        let end: Option<SendResponse> = reply.next().await?;
        end.map_or(Ok((connection, response)), |_| Err(CallFailure::Lost))
    };
    timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(CallFailure::Lost))
}

/// The transport of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// gRPC-Web.
    Subscribe,
    /// Native gRPC.
    Exchange,
}

/// Opens a stream and forwards its messages, until it ends or the receiver is dropped. A stream that is silent for
/// `silence` counts as lost.
pub async fn read_stream(
    addr: SocketAddr,
    transport: Transport,
    open: Open,
    silence: Duration,
    messages: mpsc::Sender<Result<ServerMessage, CallFailure>>,
) {
    let work = async {
        match transport {
            Transport::Subscribe => {
                let request = SubscribeRequest { open: Some(open) };
                let mut connection = Connection::open(addr).await?;
                let opening = timeout(CALL_TIMEOUT, connection.call("Subscribe", &request));
                let mut reply = opening.await.map_err(|_| CallFailure::Lost)??;
                loop {
                    let message = timeout(silence, reply.next()).await.map_err(|_| CallFailure::Lost)??;
                    if forward(&messages, message).await.is_none() {
                        return Err(CallFailure::Lost);
                    }
                }
            }
            Transport::Exchange => {
                let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| CallFailure::Lost)?;
                let channel =
                    timeout(CALL_TIMEOUT, endpoint.tcp_nodelay(true).initial_stream_window_size(64 * 1024).connect())
                        .await;
                let channel = channel.map_err(|_| CallFailure::Lost)?.map_err(|_| CallFailure::Lost)?;
                let body = match open {
                    Open::Join(join) => client_message::Body::Join(join),
                    Open::Resume(resume) => client_message::Body::Resume(resume),
                };
                let (outgoing, requests) = mpsc::channel(1);
                let first = ClientMessage { body: Some(body), ..ClientMessage::default() };
                outgoing.try_send(first).map_err(|_| CallFailure::Lost)?;
                let mut client = SignalClient::new(channel);
                let opening = timeout(CALL_TIMEOUT, client.exchange(ReceiverStream::new(requests)));
                let mut stream = opening.await.map_err(|_| CallFailure::Lost)??.into_inner();
                loop {
                    let message = timeout(silence, stream.message()).await.map_err(|_| CallFailure::Lost)??;
                    if forward(&messages, message).await.is_none() {
                        return Err(CallFailure::Lost);
                    }
                }
            }
        }
    };
    let end: Result<(), CallFailure> = work.await;
    if let Err(fail) = end {
        // The receiver may have been dropped.
        drop(messages.send(Err(fail)).await);
    }
}

async fn forward(
    messages: &mpsc::Sender<Result<ServerMessage, CallFailure>>,
    message: Option<ServerMessage>,
) -> Option<()> {
    messages.send(Ok(message?)).await.ok()
}
