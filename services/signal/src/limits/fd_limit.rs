//! The limit on open files: every connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the store, the log and others need.
const RESERVE: u64 = 64;

/// Raises the soft limit on open files to the hard limit. Returns how many connections it allows.
pub fn raise_fd_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where the system refuses, the old limit stays, and is what the next line reads.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit - RESERVE.min(limit / 2)).unwrap_or(usize::MAX)
}
