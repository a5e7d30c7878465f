//! Opens rooms from their records for newcomers and watchers, and applies changed settings to live rooms.

use std::{sync::Arc, time::Duration};

use signalbox_core::{Newcomer, Policy, Room, SessionStart, StreamKind, id::RoomName};
use signalbox_proto::v1::{DuplicateIdentity, RoomEvent};
use tracing::debug;

use super::{LiveRoom, Rooms, StreamGuard};
use crate::{
    clock::{now, now_ms},
    error::{Error, RoomError},
    store::{Created, GRACE, Record, Settings},
};

impl Rooms {
    /// Opens a session, and the room if it is not live.
    pub async fn join(
        self: &Arc<Self>,
        name: &RoomName,
        passcode: &str,
        newcomer: Newcomer,
        kind: StreamKind,
    ) -> Result<(StreamGuard, SessionStart, Arc<Record>), Error> {
        let id = newcomer.id;
        let mut newcomer = Some(newcomer);
        let mut verified = None;
        loop {
            let room = match self.find(name).filter(|room| !room.is_dormant()) {
                Some(room) => room,
                None => self.with_deadline(self.open(name)).await?,
            };
            if let Some(hash) = room.peek(|r| r.required_passcode_hash(verified.as_ref())) {
                // Hashing runs without the room's lock, so the room or its passcode may change meanwhile: check both
                // again.
                self.passcodes.verify(name, &hash, passcode).await?;
                verified = Some(hash);
                continue;
            }
            let joined = room.with(|r| {
                let is_unchanged = !r.is_retired() && r.required_passcode_hash(verified.as_ref()).is_none();
                let newcomer = newcomer.take_if(|_| is_unchanged)?;
                Some(r.join(now(), newcomer, verified.as_ref(), kind))
            });
            if let Some(joined) = joined {
                let start = joined?;
                let record = room.record();
                return Ok((StreamGuard::new(room, id, start.generation, false), start, record));
            }
        }
    }

    /// Starts watching a room, live or not. Returns the room, the watch number and the current members.
    pub async fn watch(self: &Arc<Self>, name: &RoomName) -> Result<(Arc<LiveRoom>, u64, Vec<RoomEvent>), Error> {
        loop {
            let room = match self.find(name) {
                Some(room) => room,
                None => self.with_deadline(self.open_to_watch(name)).await?,
            };
            if let Some(watch) = room.with(|r| (!r.is_retired()).then(|| r.watch())) {
                let (watch, present) = watch?;
                return Ok((room, watch, present));
            }
        }
    }

    /// Makes a room live for a newcomer. Creates a missing record if auto-create is on.
    async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Error> {
        let _lock = self.room_lock(name).await;
        let dormant = match self.find(name) {
            Some(room) if !room.is_dormant() => return Ok(room),
            dormant => dormant,
        };
        let record = match self.store.get(name).await? {
            Some(record) => {
                if record.settings.empty_timeout_ms.is_some() {
                    self.store.renew_expiry(vec![name.clone()], GRACE).await?;
                }
                record
            }
            None if self.defaults.auto_create => self.create_for_join(name).await?,
            None => return Err(Error::RoomNotFound),
        };
        if let Some(room) = dormant {
            if room.record().created_at_ms == record.created_at_ms {
                if room.record().version != record.version {
                    self.apply(&room, record);
                }
                return Ok(room);
            }
            // The record of the watched room has expired. The new record belongs to another room with the same name.
            room.close();
        }
        self.make_live(name, record)
    }

    async fn open_to_watch(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Error> {
        let _lock = self.room_lock(name).await;
        if let Some(room) = self.find(name) {
            return Ok(room);
        }
        let record = self.store.get(name).await?.ok_or(Error::RoomNotFound)?;
        self.make_live(name, record)
    }

    fn make_live(self: &Arc<Self>, name: &RoomName, record: Record) -> Result<Arc<LiveRoom>, Error> {
        let room = Room::new(self.policy(&record), self.limits.clone());
        let room = Arc::new(LiveRoom::new(name.clone(), record, room, Arc::downgrade(self)));
        let mut live = self.live.write();
        // The lock orders this check against `drain`: either this call sees that the server is draining, or `drain`
        // sees the room.
        if self.is_draining() {
            return Err(RoomError::Draining.into());
        }
        live.insert(name.clone(), room.clone());
        drop(live);
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

    /// Applies a changed record to a live room.
    pub fn apply(&self, room: &LiveRoom, record: Record) {
        let policy = self.policy(&record);
        room.apply(record, policy, &self.defaults);
    }

    /// Builds the policy of a live room from its record.
    fn policy(&self, record: &Record) -> Policy {
        let (settings, now, now_ms) = (&record.settings, now(), now_ms());
        let ban = |(identity, until): (&String, &u64)| {
            let left = Duration::from_millis(until.saturating_sub(now_ms));
            // A ban may end later than `Instant` can represent, so cap it.
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
