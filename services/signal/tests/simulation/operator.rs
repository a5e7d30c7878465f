//! An operator that removes members and closes the room.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use signalbox_proof::history::Event;
use signalbox_proto::v1::{DeleteRoomRequest, ListMembersRequest, RemoveMemberRequest, rooms_client::RoomsClient};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, transport::Channel};

use crate::{ROOM, TROUBLE, World, network::dial};

/// The server may be down.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn run(world: World, seed: u64) -> turmoil::Result {
    let mut rng = StdRng::seed_from_u64(seed);
    let end = Instant::now() + TROUBLE;
    while Instant::now() < end {
        sleep(Duration::from_millis(rng.random_range(1000..8000))).await;
        let (closes, index) = (rng.random_ratio(1, 6), rng.random_range(0..1000));
        // Without a reply the outcome is unknown.
        if let Ok(Ok((sessions, reason))) = timeout(CALL_TIMEOUT, act(closes, index)).await {
            for session in sessions {
                world.note(Event::Ended { session, reason: reason.to_owned() });
            }
        }
    }
    Ok(())
}

/// Closes the room or removes one of its members; returns the sessions that ended, and the reason.
async fn act(closes: bool, index: usize) -> Result<(Vec<String>, &'static str), Status> {
    let mut rooms: RoomsClient<Channel> = RoomsClient::new(dial());
    let (room, name) = (ROOM.to_owned(), ROOM.to_owned());
    let members = rooms.list_members(ListMembersRequest { room: room.clone() }).await?.into_inner().members;
    let mut sessions: Vec<String> = members.into_iter().map(|member| member.member_id).collect();
    if closes {
        rooms.delete_room(DeleteRoomRequest { name }).await?;
        return Ok((sessions, "ROOM_CLOSED"));
    }
    if sessions.is_empty() {
        return Ok((sessions, ""));
    }
    let member_id = sessions.swap_remove(index % sessions.len());
    rooms.remove_member(RemoveMemberRequest { room, member_id: member_id.clone(), ban: None }).await?;
    Ok((vec![member_id], "REMOVED"))
}
