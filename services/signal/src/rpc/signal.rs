//! The Signal service: what clients say goes to their room, what their room has for them goes to clients.

use std::{convert::Infallible, sync::Arc, time::Duration};

use prost::Message;
use signalbox_proto::v1::{ClientMessage, SendRequest, SendResponse, SubscribeRequest};
use tokio::{sync::oneshot, time};
use tonic::{Request, Response, Status, Streaming};

use super::{
    join::{Opening, Reception},
    outbound::Outbound,
    stub::signal_server::Signal,
};
use crate::{
    error::Error,
    hub::{Hub, LiveRoom, now},
    ice::IceConfig,
    room::{Frame, Via, id::MemberId},
    token::SessionToken,
};

/// Messages in one `Send`: the room is locked for all of them.
const MAX_BATCH: usize = 1024;

/// `signalbox.v1.Signal`.
#[derive(Clone)]
pub struct SignalService {
    reception: Arc<Reception>,
    join_timeout: Duration,
}

impl SignalService {
    /// Serves the rooms of `hub`.
    pub fn new(hub: Arc<Hub>, ice: IceConfig, join_timeout: Duration) -> Self {
        Self { reception: Arc::new(Reception { hub, ice }), join_timeout }
    }
}

#[tonic::async_trait]
impl Signal for SignalService {
    type ExchangeStream = Outbound;
    type SubscribeStream = Outbound;

    async fn exchange(&self, request: Request<Streaming<ClientMessage>>) -> Result<Response<Outbound>, Status> {
        let (opened, opening) = oneshot::channel();
        let (alive, gone) = oneshot::channel();
        // The headers go out at once; the first message is read meanwhile.
        tokio::spawn(self.clone().read(request.into_inner(), opened, gone));
        Ok(Response::new(Outbound::new(opening, Some(alive))))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Outbound>, Status> {
        let (opened, opening) = oneshot::channel();
        let reception = self.reception.clone();
        tokio::spawn(async move {
            // A client that is gone by now drops the seat here.
            drop(opened.send(reception.subscribe(request.into_inner().open).await));
        });
        Ok(Response::new(Outbound::new(opening, None)))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<Frame>, Status> {
        let SendRequest { session_token, messages } = request.into_inner();
        if messages.is_empty() || messages.len() > MAX_BATCH {
            return Err(Error::invalid("messages", format!("must be 1 to {MAX_BATCH}")).into());
        }
        let token = SessionToken::decode(&session_token).ok_or(Error::SessionGone)?;
        let room = self.reception.hub.find(&token.room).ok_or(Error::SessionGone)?;
        let response = room.with(|room| {
            room.authenticate(token.member, &token.secret)?;
            let mut response = SendResponse::default();
            for message in messages {
                let handled = room.handle(now(), token.member, Via::Unary, message)?;
                response.ack = handled.ack;
                response.undelivered.extend(handled.undelivered);
                if handled.left {
                    break;
                }
            }
            Ok::<_, Error>(response)
        })?;
        Ok(Response::new(Frame { bytes: response.encode_to_vec().into(), ack: 0 }))
    }
}

impl SignalService {
    /// Reads what an `Exchange` client says, always: a client is never pushed back by not reading it.
    async fn read(
        self,
        mut inbound: Streaming<ClientMessage>,
        opened: oneshot::Sender<Result<Opening, Status>>,
        mut gone: oneshot::Receiver<Infallible>,
    ) {
        let opening = match time::timeout(self.join_timeout, inbound.message()).await {
            Ok(Ok(Some(first))) => self.reception.exchange(first.body).await,
            Ok(Ok(None)) => Err(Error::invalid("body", "the stream ended before join or resume").into()),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Error::JoinTimeout(self.join_timeout).into()),
        };
        let session = opening.as_ref().ok().map(|o| (o.seat.room.clone(), o.seat.id, o.seat.generation));
        if opened.send(opening).is_err() {
            return;
        }
        let Some((room, id, generation)) = session else { return };
        loop {
            let message = tokio::select! {
                message = inbound.message() => message,
                _ = &mut gone => return,
            };
            let handled = match message {
                Ok(Some(message)) => room.with(|r| r.handle(now(), id, Via::Stream(generation), message)),
                // Half-closed: it stays a member for as long as it listens.
                Ok(None) => return,
                Err(status) => return break_stream(&room, id, generation, &status),
            };
            match handled {
                Ok(handled) if handled.left => return,
                Ok(_) => {}
                Err(error) => return room.with(|r| r.break_stream(now(), id, generation, error)),
            }
        }
    }
}

/// A message could not be read: it was malformed or too large, or the connection is gone and nobody will see this.
fn break_stream(room: &LiveRoom, id: MemberId, generation: u64, status: &Status) {
    let problem = status.message().to_owned();
    room.with(|r| r.break_stream(now(), id, generation, Error::Unreadable { code: status.code(), problem }));
}
