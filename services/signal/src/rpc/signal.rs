//! The Signal service: what clients say goes to their room, what their room has for them goes to clients.

use std::{convert::Infallible, sync::Arc, time::Duration};

use prost::Message;
use signalbox_proto::v1::{ClientMessage, SendRequest, SendResponse, SubscribeRequest};
use tokio::{sync::oneshot, time};
use tonic::{Request, Response, Status, Streaming};

use super::{
    admission::{self, Credentials},
    join::{Opening, Reception},
    outbound::Outbound,
    stub::signal_server::Signal,
};
use crate::{
    error::Error,
    hub::{Hub, LiveRoom, now},
    ice::IceConfig,
    room::{Frame, RETRY, Via, id::MemberId},
    token::SessionToken,
};

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
        let who = Credentials::of(&request, self.reception.hub.authority());
        tokio::spawn(self.clone().read(who, request.into_inner(), opened, gone));
        Ok(Response::new(Outbound::new(opening, Some(alive), self.reception.clone())))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Outbound>, Status> {
        let (opened, opening) = oneshot::channel();
        let reception = self.reception.clone();
        let who = Credentials::of(&request, reception.hub.authority());
        tokio::spawn(async move {
            answer(opened, reception.subscribe(&who, request.into_inner().open)).await;
        });
        Ok(Response::new(Outbound::new(opening, None, self.reception.clone())))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<Frame>, Status> {
        let who = Credentials::of(&request, self.reception.hub.authority());
        let SendRequest { session_token, messages } = request.into_inner();
        // Outcomes are remembered for this many, for a client that has to send them again.
        let max_unacked = self.reception.hub.limits().max_unacked as usize;
        if messages.iter().filter(|message| message.seq != 0).count() > max_unacked {
            return Err(Error::invalid("messages", format!("must hold at most {max_unacked} numbered messages")).into());
        }
        let token = SessionToken::decode(&session_token).ok_or(Error::SessionGone)?;
        let room = self.reception.hub.find(&token.room).ok_or(Error::SessionGone)?;
        let permit = admission::renewal(self.reception.hub.authority(), &who, &token, &room)?;
        let response = room.with(|room| {
            room.authenticate(token.member, &token.secret)?;
            if let Some(permit) = permit {
                room.renew(token.member, &token.secret, permit)?;
            }
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
        who: Credentials,
        mut inbound: Streaming<ClientMessage>,
        opened: oneshot::Sender<Result<Opening, Status>>,
        mut gone: oneshot::Receiver<Infallible>,
    ) {
        let hub = self.reception.hub.clone();
        // On the heap while it lasts: it is much larger than what is needed for the rest of the session.
        let opening = Box::pin(async {
            let first = tokio::select! {
                biased;
                first = time::timeout(self.join_timeout, inbound.message()) => first,
                () = hub.drained() => return Err(Error::Draining(RETRY).into()),
            };
            match first {
                Ok(Ok(Some(first))) => self.reception.exchange(&who, first.body).await,
                Ok(Ok(None)) => Err(Error::invalid("body", "the stream ended before join or resume").into()),
                Ok(Err(status)) => Err(unreadable(&status).into()),
                Err(_) => Err(Error::JoinTimeout(self.join_timeout).into()),
            }
        });
        let Some((room, id, generation)) = answer(opened, opening).await else { return };
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut gone => return,
                message = inbound.message() => message,
            };
            let handled = match message {
                Ok(Some(message)) => room.with(|r| r.handle(now(), id, Via::Stream(generation), message)),
                // Half-closed: it stays a member for as long as it listens.
                Ok(None) => return,
                Err(status) => Err(unreadable(&status)),
            };
            match handled {
                Ok(handled) if handled.left => return,
                // While the server stops nothing is handled, but what waits for the client is still on its way.
                Ok(_) | Err(Error::Draining(_)) => {}
                Err(error) => return room.with(|r| r.break_stream(now(), id, generation, error)),
            }
        }
    }
}

/// Hands a stream what it opens with, unless the client is gone by then: nothing more is done for it.
async fn answer(
    mut opened: oneshot::Sender<Result<Opening, Status>>,
    opening: impl Future<Output = Result<Opening, Status>>,
) -> Option<(Arc<LiveRoom>, MemberId, u64)> {
    let opening = tokio::select! {
        biased;
        opening = opening => opening,
        () = opened.closed() => return None,
    };
    let session = opening.as_ref().ok().map(|o| (o.seat.room.clone(), o.seat.id, o.seat.generation));
    // A client that went just now takes the seat with it.
    opened.send(opening).is_ok().then_some(session).flatten()
}

/// A message could not be read: it was malformed or too large, or the connection is gone and nobody will see this.
fn unreadable(status: &Status) -> Error {
    Error::Unreadable { code: status.code(), problem: status.message().to_owned() }
}
