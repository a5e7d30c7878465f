//! Checks that a running server is safe to publish, with calls that it must reject from visitors.

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

use crate::probe::ProbeTarget;

/// Access to Rooms at the public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoomsAccess {
    /// Rooms is not served.
    None,
    /// Rooms is served to callers with an admin token.
    AdminTokens,
}

/// Checks that the server at `target` is safe to publish. The error names the flag to set.
pub(super) async fn check(
    target: &ProbeTarget,
    port: Option<u16>,
    admin: Option<SocketAddr>,
) -> Result<RoomsAccess, String> {
    let local = target.local;
    target.probe_local().await.map_err(|error| {
        let hint = if target.tls {
            "if it uses plain HTTP, start it with --tls-self-signed, or share it with --http"
        } else {
            "if it uses TLS, share it without --http"
        };
        format!("cannot use the server at {local}: {error}; {hint}")
    })?;
    let unsafe_server = |problem: &str, flags: &str| {
        Err(format!("the server at {local} is not safe to publish: {problem}; start it with {flags}"))
    };

    // Before the tunnel is open, the public port is known only if --port sets it.
    let host = format!("{}:{}", target.public_host, port.unwrap_or(1));
    let public_name =
        format!("--public-name '{}:{}'", target.public_host, port.map_or("*".to_owned(), |port| port.to_string()));
    let channel = target.visitor_channel(&host).await?;
    let health = |service: &str| HealthCheckRequest { service: service.to_owned() };
    if HealthClient::new(channel.clone()).check(health("")).await.is_err() {
        return unsafe_server("it rejects its public name", &public_name);
    }
    let join = Join { room: "signalbox-share-check".to_owned(), ..Join::default() };
    let subscribe = SubscribeRequest { open: Some(Open::Join(join)) };
    let joined = match SignalClient::new(channel.clone()).subscribe(subscribe).await {
        Ok(response) => response.into_inner().message().await.map(|_| ()),
        Err(status) => Err(status),
    };
    if joined.map_or_else(|status| status.code(), |()| Code::Ok) != Code::Unauthenticated {
        return unsafe_server("anybody can join any room", "--auth jwt and a key");
    }
    let list = RoomsClient::new(channel.clone()).list_rooms(ListRoomsRequest::default()).await;
    let rooms = match list.map_or_else(|status| status.code(), |_| Code::Ok) {
        Code::Ok => {
            return unsafe_server("anybody can delete its rooms", "--rooms false --admin-listen 127.0.0.1:50052");
        }
        Code::PermissionDenied if admin.is_none() => {
            return Err(format!(
                "the server at {local} does not serve Rooms there: pass its admin listener with --admin ADDR"
            ));
        }
        Code::PermissionDenied => RoomsAccess::None,
        _ => RoomsAccess::AdminTokens,
    };
    if HealthClient::new(channel.clone()).check(health("signalbox.v1.Rooms")).await.is_ok() {
        return unsafe_server("anybody can see its detailed health", "--detailed-health false");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let reflection = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await;
    if reflection.is_ok() {
        return unsafe_server("anybody can list its services", "--reflection false");
    }
    Ok(rooms)
}
