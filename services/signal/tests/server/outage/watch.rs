//! The service and health of a server whose database may be unavailable.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use http::Method;
use serde_json::Value;
use signalbox_proto::v1::{CreateRoomRequest, GetRoomRequest, Room, rooms_client::RoomsClient};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::common::{
    DEADLINE, assert_error, connect, messages,
    native::Member,
    raw::{Version, request, text},
    within,
};

/// How soon calls that need the database fail, and how soon they succeed after its return.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(2);
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Watches a server.
pub(crate) struct Watch {
    addr: SocketAddr,
    rooms: RoomsClient<Channel>,
    health: Streaming<HealthCheckResponse>,
    next: AtomicU64,
}

impl Watch {
    pub(crate) async fn start(addr: SocketAddr) -> Self {
        let request = HealthCheckRequest { service: "signalbox.v1.Rooms".to_owned() };
        let health =
            HealthClient::new(connect(addr).await).watch(request).await.expect("health is served").into_inner();
        Self { addr, rooms: RoomsClient::new(connect(addr).await), health, next: AtomicU64::new(0) }
    }

    fn fresh(&self) -> String {
        format!("fresh-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates a room of that name.
    pub(crate) async fn create(&self, name: &str) -> Result<Room, Status> {
        let room = Room { name: name.to_owned(), ..Room::default() };
        let create = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
        self.rooms.clone().create_room(create).await.map(tonic::Response::into_inner)
    }

    /// Creates a room with as many labels as a room may have.
    pub(crate) async fn create_large(&self, name: &str) -> Result<Room, Status> {
        let labels = [("large".to_owned(), "x".repeat(4000))].into();
        let room = Room { name: name.to_owned(), labels, ..Room::default() };
        let create = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
        self.rooms.clone().create_room(create).await.map(tonic::Response::into_inner)
    }

    /// Creates a room, which must fail in time; returns how long that took.
    pub(crate) async fn create_is_refused(&self) -> Duration {
        let start = Instant::now();
        let refused = self.create(&self.fresh()).await.expect_err("the database is unavailable");
        assert_refused(&refused, start.elapsed())
    }

    /// Joins a new room, which must fail in time; returns how long that took.
    pub(crate) async fn join_is_refused(&self) -> Duration {
        let start = Instant::now();
        let refused = Member::try_join(self.addr, messages::join(&self.fresh())).await;
        assert_refused(&refused.err().expect("the database is unavailable"), start.elapsed())
    }

    /// Does both.
    pub(crate) async fn all_is_refused(&self) {
        tokio::join!(self.create_is_refused(), self.join_is_refused());
    }

    /// Waits until the health of the server is degraded, in all its forms.
    pub(crate) async fn becomes_degraded(&mut self) {
        self.becomes(ServingStatus::NotServing).await;
        assert_eq!(self.healthz().await["status"], "degraded");
        let request = HealthCheckRequest { service: "signalbox.v1.Signal".to_owned() };
        let signal = HealthClient::new(connect(self.addr).await).check(request).await.expect("health is served");
        assert_eq!(signal.into_inner().status(), ServingStatus::Serving);
    }

    /// Within 5 s of the return of the database rooms can be created and joined, and the health is ok.
    pub(crate) async fn recovers(&mut self, since: Instant) {
        let mut refused = 0;
        while let Err(status) = self.create(&self.fresh()).await {
            assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE");
            refused += 1;
            assert!(since.elapsed() < BACK_WITHIN, "{refused} creates failed since the return of the database");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.becomes(ServingStatus::Serving).await;
        assert!(since.elapsed() < BACK_WITHIN, "it took {:?}", since.elapsed());
        assert_eq!(self.healthz().await["status"], "ok");
        Member::try_join(self.addr, messages::join(&self.fresh())).await.expect("rooms open again");
    }

    async fn becomes(&mut self, wanted: ServingStatus) {
        let change = async {
            loop {
                let health = self.health.message().await.expect("a health watch").expect("it does not end");
                if health.status() == wanted {
                    return;
                }
            }
        };
        within(DEADLINE, change).await;
    }

    pub(crate) async fn healthz(&self) -> Value {
        let response = request(self.addr, Version::Http1, Method::GET, "/healthz", &[], "").await.expect("it serves");
        serde_json::from_str(&text(response).await).expect("JSON")
    }
}

/// Whether a room exists; retries until the database is available.
pub(crate) async fn exists(rooms: &mut RoomsClient<Channel>, name: &str) -> bool {
    let start = Instant::now();
    loop {
        match rooms.get_room(GetRoomRequest { name: name.to_owned() }).await {
            Ok(room) => return room.into_inner().name == name,
            Err(status) if status.code() == Code::Unavailable && start.elapsed() < DEADLINE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) => {
                assert_error(&status, Code::NotFound, "ROOM_NOT_FOUND");
                return false;
            }
        }
    }
}

fn assert_refused(status: &Status, took: Duration) -> Duration {
    assert_error(status, Code::Unavailable, "STORE_UNAVAILABLE");
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|after| !after.is_zero()), "it has retry_delay: {status:?}");
    assert!(took < REFUSED_WITHIN, "it took {took:?}");
    took
}
