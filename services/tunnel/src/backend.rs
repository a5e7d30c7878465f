//! The server that is shared: one that this process starts and starts again when it ends, or one that runs already.

mod minter;
mod program;
mod running;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use signalbox_proto::v1::{
    ClientMessage, CreateRoomRequest, Data, DeleteRoomRequest, DuplicateIdentity, Join, Leave, Room,
    client_message::Body, rooms_client::RoomsClient, signal_client::SignalClient,
};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};

pub use self::minter::Member;
use self::{
    minter::Minter,
    program::{Program, Running},
};
use crate::{
    config::ShareConfig,
    link::jitter,
    look::{Places, channel_of_operators},
    screen::Screen,
};

/// Topic of the data that tells of another address.
pub const ADDRESS_TOPIC: &str = "signalbox.address";
/// How long telling of it may take.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a room may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server may take to end: more than its guard lets it.
const END_TIMEOUT: Duration = Duration::from_secs(7);

/// A server to share.
pub struct Backend {
    /// Where it is.
    pub places: Places,
    /// Where operators reach it, on this machine only.
    pub admin: Option<SocketAddr>,
    minter: Minter,
    own: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Backend {
    /// Starts a server, or takes the running one if it is fit to be shared.
    pub async fn start(config: &ShareConfig, screen: &Arc<Screen>) -> Result<Self, String> {
        let places = |local| Places { local, tls: !config.http, to: config.to.clone(), host: config.host().to_owned() };
        if let Some(local) = config.server {
            let minter = Minter::of_running(config)?;
            let places = places(local);
            if running::check(&places, config.port, config.admin).await? == running::Rooms::Tokens {
                screen.note(
                    "Rooms answers through the tunnel, to tokens that say can_admin: start the server with --rooms false \
                     and --admin-listen, and say --admin, where that should not be",
                );
            }
            return Ok(Self { places, admin: config.admin, minter, own: None });
        }
        let program = Program::new(config)?;
        let minter = program.minter();
        let running = program.start(None).await?;
        let (local, admin) = running.ports;
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep(program, running, stop.clone(), Arc::clone(screen)));
        Ok(Self { places: places(local), admin: Some(admin), minter, own: Some((stop, keeping)) })
    }

    /// Makes a room that only holders of its tokens can join. Returns its name, which nobody can guess.
    pub async fn make_room(&self, ttl: Duration) -> Result<String, String> {
        let lifetime = prost_types::Duration::try_from(ttl).expect("a share lasts for a week at most");
        let room = Room {
            display_name: "Shared".to_owned(),
            // All visitors have the same link, and so the same identity.
            duplicate_identity: DuplicateIdentity::Allow.into(),
            empty_timeout: Some(lifetime),
            ..Room::default()
        };
        let request = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
        let made = self.rooms().await?.create_room(self.authorized("*", request).await?).await;
        made.map(|room| room.into_inner().name).map_err(|status| format!("the room was not made: {}", status.message()))
    }

    /// A token for that room.
    pub async fn token(&self, room: &str, member: Member, ttl: Duration) -> Result<String, String> {
        self.minter.mint(room, member, ttl).await
    }

    /// Tells members of another address, as far as they can be reached: those who are there on this machine. Their pages
    /// tell others directly.
    pub async fn announce(&self, room: &str, address: &str) -> Result<(), String> {
        let token = self.minter.mint(room, Member::Share, Duration::from_secs(60)).await?;
        let join = Join {
            room: room.to_owned(),
            display_name: "Share".to_owned(),
            // Nobody needs to connect to it.
            attributes: [("media".to_owned(), "none".to_owned())].into(),
            ..Join::default()
        };
        let data = Data { topic: ADDRESS_TOPIC.to_owned(), text: address.to_owned(), ..Data::default() };
        let bodies = [Body::Join(join), Body::Data(data), Body::Leave(Leave::default())];
        let messages = bodies.map(|body| ClientMessage { body: Some(body), ..ClientMessage::default() });
        let mut signal = SignalClient::new(self.places.channel_here().await?);
        let said = async {
            let mut answers = signal
                .exchange(bearing(&token, tokio_stream::iter(messages))?)
                .await
                .map_err(|status| in_words(&status))?;
            while answers.get_mut().message().await.map_err(|status| in_words(&status))?.is_some() {}
            Ok(())
        };
        time::timeout(ANNOUNCE_TIMEOUT, said).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }

    /// Closes the room, and ends the server if it was started here.
    pub async fn end(self, room: &str) {
        let close = async {
            let request = DeleteRoomRequest { name: room.to_owned() };
            let closed = self.rooms().await?.delete_room(self.authorized(room, request).await?).await;
            closed.map_err(|status| status.to_string())
        };
        // A server that is gone has no room to close.
        let _ = time::timeout(CLOSE_TIMEOUT, close).await;
        if let Some((stop, keeping)) = self.own {
            stop.cancel();
            let _ = keeping.await;
        }
    }

    /// Where there is a port of operators it is called there: the tunnel does not lead to it.
    async fn rooms(&self) -> Result<RoomsClient<Channel>, String> {
        let channel = match self.admin {
            Some(admin) => channel_of_operators(admin).await?,
            None => self.places.channel_here().await?,
        };
        Ok(RoomsClient::new(channel))
    }

    /// A call of Rooms; with a token where it is called at the port of members.
    async fn authorized<T>(&self, room: &str, message: T) -> Result<Request<T>, String> {
        if self.admin.is_some() {
            return Ok(Request::new(message));
        }
        let token = self.minter.mint(room, Member::Operator, Duration::from_secs(60)).await?;
        bearing(&token, message)
    }
}

/// A request that shows a token.
fn bearing<T>(token: &str, message: T) -> Result<Request<T>, String> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().map_err(|_| "the token is no text for a header".to_owned())?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

fn in_words(status: &Status) -> String {
    status.message().to_owned()
}

/// Starts the server again, at the same ports, whenever it ends.
async fn keep(program: Program, mut running: Running, stop: CancellationToken, screen: Arc<Screen>) {
    loop {
        tokio::select! {
            _ = running.child.wait() => {}
            () = stop.cancelled() => {
                // The guard sees its standard input end.
                drop(running.leash.take());
                let _ = time::timeout(END_TIMEOUT, running.child.wait()).await;
                return;
            }
        }
        screen.note("the server on this machine has ended; starting it again");
        running = loop {
            tokio::select! {
                () = time::sleep(jitter(Duration::from_millis(300), Duration::from_secs(1))) => {}
                () = stop.cancelled() => return,
            }
            match program.start(Some(running.ports)).await {
                Ok(running) => {
                    screen.note("the server runs again; members join it by themselves");
                    break running;
                }
                Err(error) => screen.note(&error),
            }
        };
    }
}
