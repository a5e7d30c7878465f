//! Open files: a connection needs one, and so does whatever the server does beside.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are left for the store, the log and the like.
const RESERVE: u64 = 64;

/// Connections that the system's limit on open files leaves room for; raises the limit as far as that is free to.
pub fn room_for_connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What is asked for is what the system has allowed; where it allows less after all, it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit - RESERVE.min(limit / 2)).unwrap_or(usize::MAX)
}
