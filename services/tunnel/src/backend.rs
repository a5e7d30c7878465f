//! The shared server: one that this process starts and restarts, or one that is already running.

mod preflight;
mod server_process;
mod tokens;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use signalbox_proto::v1::{
    ClientMessage, CreateRoomRequest, Data, DeleteRoomRequest, DuplicateIdentity, Join, Leave, Room,
    client_message::Body, rooms_client::RoomsClient, signal_client::SignalClient,
};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};

pub use self::tokens::Role;
use self::{
    server_process::{ServerCommand, ServerProcess},
    tokens::TokenIssuer,
};
use crate::{
    config::ShareConfig,
    jitter::jitter,
    probe::{ProbeTarget, admin_channel},
    screen::Screen,
};

/// Topic of the data message that announces a new public address.
pub const ADDRESS_TOPIC: &str = "signalbox.address";
/// Deadline for announcing a new public address.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Deadline for deleting the room.
const DELETE_ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// Deadline for the server to exit. Longer than the watchdog's shutdown timeout, after which the watchdog kills the
/// server.
const EXIT_TIMEOUT: Duration = Duration::from_secs(7);

/// The shared server, its token issuer and its supervisor.
pub struct Backend {
    /// The addresses at which the share connects to the server.
    pub target: ProbeTarget,
    /// Loopback address of the server's admin listener.
    pub admin: Option<SocketAddr>,
    tokens: TokenIssuer,
    /// Stop signal and supervisor of a server that this process started.
    own_server: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Backend {
    /// Starts a server, or checks that the server at `--server` is safe to publish.
    pub async fn start(config: &ShareConfig, screen: &Arc<Screen>) -> Result<Self, String> {
        let target = |local| ProbeTarget {
            local,
            tls: !config.http,
            tunnel_server: config.to.clone(),
            public_host: config.public_host().to_owned(),
        };
        if let Some(local) = config.server {
            let tokens = TokenIssuer::for_running_server(config)?;
            let target = target(local);
            let rooms = preflight::check(&target, config.port, config.admin).await?;
            if rooms == preflight::RoomsAccess::AdminTokens {
                screen.print_note(
                    "Rooms is reachable through the tunnel with admin tokens (can_admin). To prevent that, start the \
                     server with --rooms false and --admin-listen, and share it with --admin",
                );
            }
            return Ok(Self { target, admin: config.admin, tokens, own_server: None });
        }
        let command = ServerCommand::new(config)?;
        let tokens = command.token_issuer();
        let process = command.start(None).await?;
        let (local, admin) = process.addresses;
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(command, process, stop.clone(), Arc::clone(screen)));
        Ok(Self { target: target(local), admin: Some(admin), tokens, own_server: Some((stop, supervisor)) })
    }

    /// Creates a room with a random name and returns the name.
    pub async fn create_room(&self, ttl: Duration) -> Result<String, String> {
        let lifetime = prost_types::Duration::try_from(ttl).expect("a share lasts for a week at most");
        let room = Room {
            display_name: "Shared".to_owned(),
            // All visitors share one link, and therefore one identity.
            duplicate_identity: DuplicateIdentity::Allow.into(),
            empty_timeout: Some(lifetime),
            ..Room::default()
        };
        let request = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
        let created = self.rooms().await?.create_room(self.admin_request("*", request).await?).await;
        created
            .map(|room| room.into_inner().name)
            .map_err(|status| format!("cannot create the room: {}", status.message()))
    }

    /// Issues a token for the room.
    pub async fn token(&self, room: &str, role: Role, ttl: Duration) -> Result<String, String> {
        self.tokens.issue(room, role, ttl).await
    }

    /// Announces a new public address to the members on this machine, whose pages forward it to the other members.
    pub async fn announce(&self, room: &str, address: &str) -> Result<(), String> {
        let token = self.tokens.issue(room, Role::Announcer, Duration::from_secs(60)).await?;
        let join = Join {
            room: room.to_owned(),
            display_name: "Share".to_owned(),
            // The demo page opens no peer connection to a member whose `media` is `none`.
            attributes: [("media".to_owned(), "none".to_owned())].into(),
            ..Join::default()
        };
        let data = Data { topic: ADDRESS_TOPIC.to_owned(), text: address.to_owned(), ..Data::default() };
        let bodies = [Body::Join(join), Body::Data(data), Body::Leave(Leave::default())];
        let messages = bodies.map(|body| ClientMessage { body: Some(body), ..ClientMessage::default() });
        let mut signal = SignalClient::new(self.target.local_channel().await?);
        let announcing = async {
            let mut responses = signal
                .exchange(with_token(&token, tokio_stream::iter(messages))?)
                .await
                .map_err(|status| describe(&status))?;
            while responses.get_mut().message().await.map_err(|status| describe(&status))?.is_some() {}
            Ok(())
        };
        let no_response = || Err(format!("no response within {} s", ANNOUNCE_TIMEOUT.as_secs()));
        time::timeout(ANNOUNCE_TIMEOUT, announcing).await.unwrap_or_else(|_| no_response())
    }

    /// Deletes the room, and stops the server if this process started it.
    pub async fn end(self, room: &str) {
        let delete = async {
            let request = DeleteRoomRequest { name: room.to_owned() };
            let deleted = self.rooms().await?.delete_room(self.admin_request(room, request).await?).await;
            deleted.map_err(|status| status.to_string())
        };
        // Ignore errors: if the server is down, there is no room to delete.
        let _ = time::timeout(DELETE_ROOM_TIMEOUT, delete).await;
        if let Some((stop, supervisor)) = self.own_server {
            stop.cancel();
            let _ = supervisor.await;
        }
    }

    /// Connects to Rooms at the admin listener, or at the public listener if there is no admin listener.
    async fn rooms(&self) -> Result<RoomsClient<Channel>, String> {
        let channel = match self.admin {
            Some(admin) => admin_channel(admin).await?,
            None => self.target.local_channel().await?,
        };
        Ok(RoomsClient::new(channel))
    }

    /// Creates a request to Rooms. It has an admin token if it goes to the public listener.
    async fn admin_request<T>(&self, room: &str, message: T) -> Result<Request<T>, String> {
        if self.admin.is_some() {
            return Ok(Request::new(message));
        }
        let token = self.tokens.issue(room, Role::Admin, Duration::from_secs(60)).await?;
        with_token(&token, message)
    }
}

/// Creates a request with a token in its metadata.
fn with_token<T>(token: &str, message: T) -> Result<Request<T>, String> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}")
        .parse()
        .map_err(|_| "the token contains characters that are invalid in metadata".to_owned())?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

fn describe(status: &Status) -> String {
    status.message().to_owned()
}

/// Restarts the server at the same addresses whenever it exits, until `stop` is cancelled.
async fn supervise(command: ServerCommand, mut process: ServerProcess, stop: CancellationToken, screen: Arc<Screen>) {
    loop {
        tokio::select! {
            _ = process.watchdog.wait() => {}
            () = stop.cancelled() => {
                // The watchdog ends the server when its standard input closes.
                drop(process.stdin.take());
                let _ = time::timeout(EXIT_TIMEOUT, process.watchdog.wait()).await;
                return;
            }
        }
        screen.print_note("the server on this machine has exited; starting it again");
        process = loop {
            tokio::select! {
                () = time::sleep(jitter(Duration::from_millis(300), Duration::from_secs(1))) => {}
                () = stop.cancelled() => return,
            }
            match command.start(Some(process.addresses)).await {
                Ok(process) => {
                    screen.print_note("the server is running again; members rejoin by themselves");
                    break process;
                }
                Err(error) => screen.print_note(&error),
            }
        };
    }
}
