//! Looks whether a server that runs already is fit to be shared, by trying as a visitor what visitors must not do.

use std::net::SocketAddr;

use signalbox_proto::v1::{
    Join, ListRoomsRequest, SubscribeRequest, rooms_client::RoomsClient, signal_client::SignalClient,
    subscribe_request::Open,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::look::Places;

/// To whom Rooms is served where the tunnel leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rooms {
    /// To nobody.
    Nobody,
    /// To tokens that say so.
    Tokens,
}

/// Says what is missing, with the flag that helps. `admin` is another port where the share finds Rooms.
pub(super) async fn check(places: &Places, port: Option<u16>, admin: Option<SocketAddr>) -> Result<Rooms, String> {
    let local = places.local;
    places.look_here().await.map_err(|error| {
        let tls = if places.tls {
            "start it with --tls-self-signed, or say --http"
        } else {
            "say nothing of --http if it has TLS"
        };
        format!("the server at {local} cannot be used: {error}; if it speaks another protocol, {tls}")
    })?;
    let unfit = |what: &str, flag: &str| {
        Err(format!("the server at {local} is not fit to be shared: {what}; start it with {flag}"))
    };

    // The port of the tunnel is not known yet, unless it was asked for.
    let host = format!("{}:{}", places.host, port.unwrap_or(1));
    let name = format!("--public-name '{}:{}'", places.host, port.map_or("*".to_owned(), |port| port.to_string()));
    let channel = places.channel_as_visitor(&host).await?;
    let health = |service: &str| HealthCheckRequest { service: service.to_owned() };
    if HealthClient::new(channel.clone()).check(health("")).await.is_err() {
        return unfit("it does not know its public name", &name);
    }
    let join = Join { room: "signalbox-share-check".to_owned(), ..Join::default() };
    let subscribe = SubscribeRequest { open: Some(Open::Join(join)) };
    let joined = match SignalClient::new(channel.clone()).subscribe(subscribe).await {
        Ok(answer) => answer.into_inner().message().await.map(|_| ()),
        Err(status) => Err(status),
    };
    if joined.map_or_else(|status| status.code(), |()| Code::Ok) != Code::Unauthenticated {
        return unfit("everybody could join every room", "--auth jwt and a key");
    }
    let list = RoomsClient::new(channel.clone()).list_rooms(ListRoomsRequest::default()).await;
    let rooms = match list.map_or_else(|status| status.code(), |_| Code::Ok) {
        Code::Ok => return unfit("everybody could close its rooms", "--rooms false --admin-listen 127.0.0.1:50052"),
        Code::PermissionDenied if admin.is_none() => {
            return Err(format!(
                "the server at {local} does not serve Rooms there: say with --admin ADDR where it does"
            ));
        }
        Code::PermissionDenied => Rooms::Nobody,
        _ => Rooms::Tokens,
    };
    if HealthClient::new(channel.clone()).check(health("signalbox.v1.Rooms")).await.is_ok() {
        return unfit("everybody would see its health in detail", "--detailed-health false");
    }
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let reflection = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(question)).await;
    if reflection.is_ok() {
        return unfit("everybody could ask for its services", "--reflection false");
    }
    Ok(rooms)
}
