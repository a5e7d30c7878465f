//! How rooms become live: from their records, for a newcomer or for somebody who watches; and how changed settings
//! reach them.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use signalbox_proto::v1::{DuplicateIdentity, RoomEvent};
use tracing::debug;

use super::{Hub, LiveRoom, Seat, now};
use crate::{
    error::Error,
    room::{Carrier, Newcomer, Opened, Policy, RETRY, Room, id::RoomName},
    store::{Created, GRACE, Record, Settings, now_ms},
};

impl Hub {
    /// Opens a session, and the room if need be. `newcomer` makes what joins.
    pub async fn join(
        self: &Arc<Self>,
        name: &RoomName,
        passcode: &str,
        newcomer: impl Fn() -> Newcomer,
        carrier: Carrier,
    ) -> Result<(Seat, Opened, Arc<Record>), Error> {
        let mut proven = None;
        loop {
            let room = match self.find(name).filter(|room| !room.is_dormant()) {
                Some(room) => room,
                None => self.in_time(self.open(name)).await?,
            };
            if let Some(hash) = room.peek(|r| r.passcode_to_prove(proven.as_ref())) {
                // Without the room's lock, so it may be another room afterwards, with another passcode.
                self.passcodes.prove(name, &hash, passcode).await?;
                proven = Some(hash);
                continue;
            }
            let newcomer = Newcomer { proven: proven.clone(), ..newcomer() };
            let id = newcomer.id;
            let joined = room.with(|r| {
                let is_as_asked = !r.is_retired() && r.passcode_to_prove(proven.as_ref()).is_none();
                is_as_asked.then(|| r.join(now(), newcomer, carrier))
            });
            if let Some(joined) = joined {
                let opened = joined?;
                let record = room.record();
                let seat = Seat::new(room, id, opened.generation);
                return Ok((seat, opened, record));
            }
        }
    }

    /// Begins a watch of a room, live or not: the room, the watch's number, and the members who are there.
    pub async fn watch(self: &Arc<Self>, name: &RoomName) -> Result<(Arc<LiveRoom>, u64, Vec<RoomEvent>), Error> {
        loop {
            let room = match self.find(name) {
                Some(room) => room,
                None => self.in_time(self.open_to_watch(name)).await?,
            };
            if let Some(watch) = room.with(|r| (!r.is_retired()).then(|| r.watch())) {
                let (watch, there) = watch?;
                return Ok((room, watch, there));
            }
        }
    }

    /// Makes a room live for a newcomer, creating its record where the server does so.
    async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Error> {
        let _gate = self.gate(name).await;
        let dormant = match self.find(name) {
            Some(room) if !room.is_dormant() => return Ok(room),
            dormant => dormant,
        };
        let record = match self.store.get(name).await? {
            Some(record) => {
                if record.settings.empty_timeout_ms.is_some() {
                    self.store.keep(vec![name.clone()], GRACE).await?;
                }
                record
            }
            None if self.defaults.auto_create => self.create_for_join(name).await?,
            None => return Err(Error::RoomNotFound),
        };
        if let Some(room) = dormant {
            if room.record().created_at_ms == record.created_at_ms {
                if room.record().version != record.version {
                    self.adopt(&room, record);
                }
                return Ok(room);
            }
            // Its record ended unnoticed; this is another room of that name.
            room.close();
        }
        self.make_live(name, record)
    }

    async fn open_to_watch(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Error> {
        let _gate = self.gate(name).await;
        if let Some(room) = self.find(name) {
            return Ok(room);
        }
        let record = self.store.get(name).await?.ok_or(Error::RoomNotFound)?;
        self.make_live(name, record)
    }

    fn make_live(self: &Arc<Self>, name: &RoomName, record: Record) -> Result<Arc<LiveRoom>, Error> {
        let room = Room::new(self.policy(&record), self.limits.clone());
        let room = Arc::new(LiveRoom::new(name.clone(), record, room, Arc::downgrade(self)));
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        // Under this lock: either draining is seen here, or the room is seen by whoever drains.
        if self.is_draining() {
            return Err(Error::Draining(RETRY));
        }
        rooms.insert(name.clone(), room.clone());
        drop(rooms);
        debug!(room = %name, "room opened");
        Ok(room)
    }

    async fn create_for_join(&self, name: &RoomName) -> Result<Record, Error> {
        let timeout = u64::try_from(self.defaults.empty_timeout.as_millis()).unwrap_or(u64::MAX);
        let settings = Settings {
            duplicate_identity: DuplicateIdentity::Replace.into(),
            empty_timeout_ms: Some(timeout),
            ..Settings::default()
        };
        let record = Record::new(name, settings, now_ms());
        match self.store.create(record.clone()).await? {
            Created::New => Ok(record),
            Created::Exists(existing) => Ok(*existing),
        }
    }

    /// Makes a live room go by its changed record.
    pub fn adopt(&self, room: &LiveRoom, record: Record) {
        let policy = self.policy(&record);
        room.adopt(record, policy, &self.defaults);
    }

    /// What a live room goes by.
    fn policy(&self, record: &Record) -> Policy {
        let (settings, now, now_ms) = (&record.settings, now(), now_ms());
        let ban = |(identity, until): (&String, &u64)| {
            let left = Duration::from_millis(until.saturating_sub(now_ms));
            // A time that the clock cannot tell does not come.
            let until = now.checked_add(left).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
            (identity.clone(), until)
        };
        Policy {
            max_members: settings.max_members.unwrap_or(self.defaults.max_members),
            locked: settings.locked,
            duplicate_identity: DuplicateIdentity::try_from(settings.duplicate_identity)
                .unwrap_or(DuplicateIdentity::Replace),
            passcode_hash: settings.passcode_hash.as_deref().map(Arc::from),
            relay_only: settings.relay_only,
            bans: settings.bans.iter().map(ban).collect(),
        }
    }
}
