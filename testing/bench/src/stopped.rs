//! A member that stops reading.

use std::{fmt, time::Duration};

use signalbox_proto::v1::{
    ClientMessage, Join, LeaveReason, MemberLeft, client_message::Body as ClientBody, server_message::Body,
    signal_client::SignalClient,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic_types::StatusExt;

use crate::{Result, stallable_connection::StallableConnection};

/// How long reading the rest of the socket may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A stalled reader whose session the server has ended.
pub(crate) struct Stopped {
    /// The reason in the leave that the others received.
    pub(crate) reason: LeaveReason,
    /// The status of its own stream, when it was read again.
    pub(crate) status: String,
    /// The time from the stall to the end.
    after: Duration,
    /// The number and size of messages in its socket.
    messages: usize,
    bytes: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, after, messages, bytes, .. } = self;
        let kib = bytes / 1024;
        write!(f, "{status} after {:.1} s, was sent {messages} messages, {kib} KiB", after.as_secs_f64())
    }
}

/// The task of a stalled reader, or of one more member.
pub(crate) struct Slow {
    pub(crate) task: JoinHandle<Result<Vec<Stopped>>>,
    pub(crate) stop: oneshot::Sender<()>,
}

impl Slow {
    /// Repeatedly joins and stops reading, until `end`. Without a window only the socket limits the server.
    pub(crate) fn stop_reading(
        url: String,
        room: String,
        window: Option<u32>,
        id: watch::Sender<String>,
        mut left: mpsc::UnboundedReceiver<MemberLeft>,
    ) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                tokio::select! {
                    one = stop_once(&url, &room, window, &id, &mut left) => all.push(one?),
                    _ = &mut stopped => return Ok(all),
                }
            }
        });
        Self { task, stop }
    }

    /// Ends the task; returns the sessions that the server has ended.
    pub(crate) async fn end(self) -> Result<Vec<Stopped>> {
        drop(self.stop);
        self.task.await?
    }
}

async fn stop_once(
    url: &str,
    room: &str,
    window: Option<u32>,
    id: &watch::Sender<String>,
    left: &mut mpsc::UnboundedReceiver<MemberLeft>,
) -> Result<Stopped> {
    let connection = StallableConnection::default();
    // Its sending side stays open.
    let (sender, outgoing) = mpsc::channel(1);
    let join = ClientBody::Join(Join { room: room.to_owned(), ..Join::default() });
    sender.send(ClientMessage { body: Some(join), ..ClientMessage::default() }).await?;
    let channel = match window {
        Some(window) => connection.connect_with(url, window).await?,
        None => connection.connect(url).await?,
    };
    let mut client = SignalClient::new(channel);
    let mut stream = client.exchange(ReceiverStream::new(outgoing)).await?.into_inner();
    let Some(Body::Welcome(welcome)) = stream.message().await?.and_then(|first| first.body) else {
        return Err("the first message was not welcome".into());
    };
    let me = welcome.you.ok_or("the welcome does not name its receiver")?.member_id;
    connection.stall();
    let since = Instant::now();
    id.send_replace(me.clone());
    let reason = loop {
        let left = left.recv().await.ok_or("the readers have ended")?;
        if left.member_id == me {
            break left.reason();
        }
    };
    let after = since.elapsed();
    id.send_replace(String::new());
    connection.resume();
    let (mut messages, mut bytes) = (0, 0);
    let status = loop {
        match timeout(READ_TIMEOUT, stream.message()).await? {
            Ok(Some(message)) => {
                messages += 1;
                bytes += prost::Message::encoded_len(&message);
            }
            Ok(None) => break "OK".to_owned(),
            Err(status) => {
                break status.get_details_error_info().map_or_else(|| status.to_string(), |info| info.reason);
            }
        }
    };
    Ok(Stopped { reason, status, after, messages, bytes })
}
