//! One network stream of a session.

use std::time::Duration;

use signalbox_proto::v1::{ClientMessage, ServerMessage, client_message::Body as Said, signal_client::SignalClient};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::{Client, Error, token::Credentials};

/// Messages on their way into the connection.
const OUTGOING: usize = 64;
/// How long opening a stream may take, from getting a token to the first message.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// One network stream.
pub(crate) struct Stream {
    /// For calls beside it.
    pub(crate) channel: Channel,
    pub(crate) outgoing: mpsc::Sender<ClientMessage>,
    pub(crate) incoming: Streaming<ServerMessage>,
}

impl Stream {
    /// Opens one with a join or resume, shows the token, and waits for the first message.
    pub(crate) async fn open(
        client: &Client,
        credentials: &mut Credentials,
        body: Said,
    ) -> Result<(Self, ServerMessage), Error> {
        let open = async {
            credentials.ready().await?;
            let channel = (client.dial)();
            let (outgoing, messages) = mpsc::channel(OUTGOING);
            let first = ClientMessage { body: Some(body), ..ClientMessage::default() };
            outgoing.try_send(first).map_err(|_| Error::Protocol("a new channel has no room"))?;
            let request = credentials.request(ReceiverStream::new(messages))?;
            let mut incoming = SignalClient::new(channel.clone()).exchange(request).await?.into_inner();
            let first =
                incoming.message().await?.ok_or(Error::Protocol("the stream ended before its first message"))?;
            Ok((Self { channel, outgoing, incoming }, first))
        };
        timeout(OPEN_TIMEOUT, open)
            .await
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("the server did not answer in time").into()))
    }
}
