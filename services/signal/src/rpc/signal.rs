//! The Signal service: passes client messages to their room, and streams the room's messages to the client.

use std::{convert::Infallible, sync::Arc};

use signalbox_core::{Via, id::MemberId};
use signalbox_proto::v1::{ClientMessage, SendRequest, SendResponse, SubscribeRequest};
use tokio::{sync::oneshot, time};
use tonic::{Request, Response, Status, Streaming};

use super::{
    admission::{self, Credentials},
    join::{OpenStream, SessionOpener},
    outbound::Outbound,
    status::unreadable,
    stub::signal_server::Signal,
};
use crate::{
    clock::now,
    context::Context,
    error::{Error, RoomError},
    rooms::LiveRoom,
    session_token::SessionToken,
};

/// Implements `signalbox.v1.Signal`.
#[derive(Clone)]
pub struct SignalService {
    context: Arc<Context>,
    opener: Arc<SessionOpener>,
}

impl SignalService {
    /// Creates the service for the rooms of `context`.
    pub fn new(context: Arc<Context>) -> Self {
        Self { opener: Arc::new(SessionOpener { context: context.clone() }), context }
    }
}

#[tonic::async_trait]
impl Signal for SignalService {
    type ExchangeStream = Outbound;
    type SubscribeStream = Outbound;

    async fn exchange(&self, request: Request<Streaming<ClientMessage>>) -> Result<Response<Outbound>, Status> {
        let (opened, opening) = oneshot::channel();
        let (alive, closed) = oneshot::channel();
        let credentials = Credentials::of(&request, &self.context.auth);
        // Return the response headers at once, while a task reads the first message.
        tokio::spawn(self.clone().read(credentials, request.into_inner(), opened, closed));
        Ok(Response::new(Outbound::new(opening, Some(alive), self.opener.clone())))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Outbound>, Status> {
        let (opened, opening) = oneshot::channel();
        let opener = self.opener.clone();
        let credentials = Credentials::of(&request, &self.context.auth);
        tokio::spawn(async move {
            deliver_opening(opened, opener.subscribe(&credentials, request.into_inner().open)).await;
        });
        Ok(Response::new(Outbound::new(opening, None, self.opener.clone())))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let credentials = Credentials::of(&request, &self.context.auth);
        let SendRequest { session_token, messages } = request.into_inner();
        // The room remembers the outcomes of this many messages, in case the client repeats them.
        let max_unacked = self.context.rooms.limits().max_unacked as usize;
        if messages.iter().filter(|message| message.seq != 0).count() > max_unacked {
            return Err(Error::invalid("messages", format!("must hold at most {max_unacked} numbered messages")).into());
        }
        let token = SessionToken::decode(&session_token).ok_or(Error::Room(RoomError::SessionGone))?;
        let room = self.context.rooms.find(&token.room).ok_or(Error::Room(RoomError::SessionGone))?;
        let permit = admission::renewal(&self.context.auth, &credentials, &token, &room)?;
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
            Ok::<_, RoomError>(response)
        });
        Ok(Response::new(response.map_err(Error::Room)?))
    }
}

impl SignalService {
    /// Reads the messages of an `Exchange`, without backpressure: the room rejects messages above its rate limit
    /// instead.
    async fn read(
        self,
        credentials: Credentials,
        mut inbound: Streaming<ClientMessage>,
        opened: oneshot::Sender<Result<OpenStream, Status>>,
        mut closed: oneshot::Receiver<Infallible>,
    ) {
        let Context { rooms, join_timeout, .. } = &*self.context;
        // Boxed, because the opening needs far more state than the rest of the session.
        let opening = Box::pin(async {
            let first = tokio::select! {
                biased;
                first = time::timeout(*join_timeout, inbound.message()) => first,
                () = rooms.draining() => return Err(Error::from(RoomError::Draining).into()),
            };
            match first {
                Ok(Ok(Some(first))) => self.opener.exchange(&credentials, first.body).await,
                Ok(Ok(None)) => Err(Error::invalid("body", "the stream ended before join or resume").into()),
                Ok(Err(status)) => Err(Error::from(unreadable(&status)).into()),
                Err(_) => Err(Error::JoinTimeout(*join_timeout).into()),
            }
        });
        let Some((room, id, generation)) = deliver_opening(opened, opening).await else { return };
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut closed => return,
                message = inbound.message() => message,
            };
            let handled = match message {
                Ok(Some(message)) => room.with(|r| r.handle(now(), id, Via::Stream(generation), message)),
                // Half-closed: the member stays as long as its response stream is open.
                Ok(None) => return,
                Err(status) => Err(unreadable(&status)),
            };
            match handled {
                Ok(handled) if handled.left => return,
                // A draining room handles no messages, but the stream still delivers waiting entries.
                Ok(_) | Err(RoomError::Draining) => {}
                Err(error) => return room.with(|r| r.break_stream(now(), id, generation, error)),
            }
        }
    }
}

/// Runs `opening` and passes the session to its stream. Drops the opening if the client disconnects first.
async fn deliver_opening(
    mut opened: oneshot::Sender<Result<OpenStream, Status>>,
    opening: impl Future<Output = Result<OpenStream, Status>>,
) -> Option<(Arc<LiveRoom>, MemberId, u64)> {
    let opening = tokio::select! {
        biased;
        opening = opening => opening,
        () = opened.closed() => return None,
    };
    let session = opening.as_ref().ok().map(|o| (o.stream.room.clone(), o.stream.id, o.stream.generation));
    // If the client has just disconnected, `send` fails and drops the guard.
    opened.send(opening).is_ok().then_some(session).flatten()
}
