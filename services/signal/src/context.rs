//! State that all services of the server share.

use std::{sync::Arc, time::Duration};

use crate::{auth::Authenticator, ice::IceConfig, limits::Memory, metrics::Rejections, random::Random, rooms::Rooms};

/// State that all services of the server share.
pub struct Context {
    /// Live rooms.
    pub rooms: Arc<Rooms>,
    /// Authenticates callers.
    pub auth: Arc<Authenticator>,
    /// ICE servers for members.
    pub ice: IceConfig,
    /// The memory of the process, and its limit.
    pub memory: Arc<Memory>,
    /// Source of random bits.
    pub random: Random,
    /// Counts rejected joins and resumes.
    pub rejections: Rejections,
    /// How long a new stream may take to join or resume.
    pub join_timeout: Duration,
}
