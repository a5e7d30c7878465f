//! Members on the native client library.

use signalbox_client::{Client, Session};
use signalbox_proto::v1::Join;
use tonic::transport::Endpoint;

use crate::Result;

/// Clients for shared connections, in turn.
pub(crate) struct Shared(Vec<Client>);

impl Shared {
    pub(crate) fn new(url: &str, connections: usize) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?;
        let client = |_| {
            let channel = endpoint.connect_lazy();
            Client::with_dial(move || channel.clone())
        };
        Ok(Self((0..connections.max(1)).map(client).collect()))
    }

    pub(crate) fn client(&self, index: usize) -> &Client {
        &self.0[index % self.0.len()]
    }
}

/// Joins a room.
pub(crate) async fn join(client: &Client, room: &str) -> Result<Session> {
    Ok(client.join(Join { room: room.to_owned(), ..Join::default() }).await?)
}
