//! An operator: reads metrics, removes members, deletes rooms. Its calls do not pass a faulty proxy.

use std::{net::SocketAddr, time::Duration};

use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use signalbox_proto::v1::{DeleteRoomRequest, ListMembersRequest, RemoveMemberRequest, rooms_client::RoomsClient};
use tokio::{net::TcpStream, time::timeout};
use tonic::transport::{Channel, Endpoint};

/// How long a call may take. The server may be paused or down.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The operator of the server at this address.
#[derive(Debug, Clone, Copy)]
pub struct Operator(pub SocketAddr);

impl Operator {
    /// Removes a member; returns whether the server has confirmed it.
    pub async fn remove(self, room: &str, member: &str) -> bool {
        let request = RemoveMemberRequest { room: room.to_owned(), member_id: member.to_owned(), ban: None };
        let call = async { self.rooms().await?.remove_member(request).await.ok() };
        timeout(CALL_TIMEOUT, call).await.is_ok_and(|done| done.is_some())
    }

    /// Deletes a room; returns the members just before, if the server has confirmed it.
    pub async fn close(self, room: &str) -> Option<Vec<String>> {
        let call = async {
            let mut rooms = self.rooms().await?;
            let members = rooms.list_members(ListMembersRequest { room: room.to_owned() }).await.ok()?.into_inner();
            rooms.delete_room(DeleteRoomRequest { name: room.to_owned() }).await.ok()?;
            Some(members.members.into_iter().map(|member| member.member_id).collect())
        };
        timeout(CALL_TIMEOUT, call).await.ok().flatten()
    }

    async fn rooms(self) -> Option<RoomsClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.0)).ok()?;
        Some(RoomsClient::new(endpoint.connect().await.ok()?))
    }

    /// The metrics of the server, as text.
    pub async fn metrics(self) -> Option<String> {
        let call = async {
            let socket = TcpStream::connect(self.0).await.ok()?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
            // It ends when the sender and the response are dropped.
            tokio::spawn(connection);
            let request = Request::get("/metrics").header(header::HOST, self.0.to_string());
            let request = request.body(Empty::<Bytes>::new()).ok()?;
            let response = sender.send_request(request).await.ok().filter(|response| response.status().is_success())?;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            String::from_utf8(body.to_vec()).ok()
        };
        timeout(CALL_TIMEOUT, call).await.ok().flatten()
    }
}

/// The metric of that name and labels.
pub fn metric(metrics: &str, name: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
