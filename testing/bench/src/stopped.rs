//! The member who stops reading.

use std::{fmt, time::Duration};

use signalbox_proto::v1::{
    ClientMessage, Join, LeaveReason, MemberLeft, client_message::Body as Said, server_message::Body,
    signal_client::SignalClient,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic_types::StatusExt;

use crate::{Result, gate::Gate};

/// How long it may take to read what was left in the socket.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// One who stopped reading, and was ended.
pub(crate) struct Stopped {
    /// What the others were told.
    pub(crate) reason: LeaveReason,
    /// With what its own stream ended, when it was read again.
    pub(crate) status: String,
    /// How long after it had stopped.
    after: Duration,
    /// Messages that were in its socket, and their size.
    found: usize,
    bytes: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, after, found, bytes, .. } = self;
        let kib = bytes / 1024;
        write!(f, "{status} after {:.1} s, was sent {found} messages, {kib} KiB", after.as_secs_f64())
    }
}

/// The member beside the readers.
pub(crate) struct Slow {
    pub(crate) task: JoinHandle<Result<Vec<Stopped>>>,
    pub(crate) stop: oneshot::Sender<()>,
}

impl Slow {
    /// Joins and stops reading, again and again, until it is told to end. Without a window the server may say anything
    /// meanwhile.
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

    /// Ends it. Those who were ended before.
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
    let gate = Gate::default();
    // Its sending side stays open.
    let (say, said) = mpsc::channel(1);
    let join = Said::Join(Join { room: room.to_owned(), ..Join::default() });
    say.send(ClientMessage { body: Some(join), ..ClientMessage::default() }).await?;
    let channel = match window {
        Some(window) => gate.connect_with(url, window).await?,
        None => gate.connect(url).await?,
    };
    let mut client = SignalClient::new(channel);
    let mut stream = client.exchange(ReceiverStream::new(said)).await?.into_inner();
    let Some(Body::Welcome(welcome)) = stream.message().await?.and_then(|first| first.body) else {
        return Err("the first message was not welcome".into());
    };
    let me = welcome.you.ok_or("the welcome does not say who one is")?.member_id;
    gate.shut();
    let since = Instant::now();
    id.send_replace(me.clone());
    let reason = loop {
        let left = left.recv().await.ok_or("the readers are gone")?;
        if left.member_id == me {
            break left.reason();
        }
    };
    let after = since.elapsed();
    id.send_replace(String::new());
    gate.open();
    let (mut found, mut bytes) = (0, 0);
    let status = loop {
        match timeout(READ_TIMEOUT, stream.message()).await? {
            Ok(Some(message)) => {
                found += 1;
                bytes += prost::Message::encoded_len(&message);
            }
            Ok(None) => break "OK".to_owned(),
            Err(status) => {
                break status.get_details_error_info().map_or_else(|| status.to_string(), |info| info.reason);
            }
        }
    };
    Ok(Stopped { reason, status, after, found, bytes })
}
