//! One gRPC stream of a session.

use std::time::Duration;

use signalbox_proto::v1::{
    ClientMessage, ServerMessage, client_message::Body as ClientBody, signal_client::SignalClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Streaming;

use crate::{Client, Error, connection::Connection, token::Credentials};

/// Capacity of the queue between the driver and the connection.
const OUTGOING_CAPACITY: usize = 64;
/// Deadline for opening a stream, from getting a token to the first message.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// An open `Exchange` call.
pub(crate) struct Stream {
    pub(crate) outgoing: mpsc::Sender<ClientMessage>,
    pub(crate) incoming: Streaming<ServerMessage>,
    /// Connection for unary calls. Declared last, so that it is dropped after the stream.
    pub(crate) connection: Connection,
}

impl Stream {
    /// Opens a stream with a join or resume and waits for the first message.
    pub(crate) async fn open(
        client: &Client,
        credentials: &mut Credentials,
        body: ClientBody,
    ) -> Result<(Self, ServerMessage), Error> {
        let open = async {
            credentials.ensure_token().await?;
            let connection = (client.dial)();
            let (outgoing, messages) = mpsc::channel(OUTGOING_CAPACITY);
            let first = ClientMessage { body: Some(body), ..ClientMessage::default() };
            let request = credentials.request(tokio_stream::once(first).chain(ReceiverStream::new(messages)))?;
            let mut incoming = SignalClient::new(connection.channel.clone()).exchange(request).await?.into_inner();
            let first =
                incoming.message().await?.ok_or(Error::Protocol("the stream ended before its first message"))?;
            Ok((Self { outgoing, incoming, connection }, first))
        };
        timeout(OPEN_TIMEOUT, open).await.unwrap_or_else(|_| {
            let message = format!("no response from the server within {} s", OPEN_TIMEOUT.as_secs());
            Err(tonic::Status::deadline_exceeded(message).into())
        })
    }
}
