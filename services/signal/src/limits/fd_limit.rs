//! The limit on open files. Every connection uses a file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors reserved for the store, the log and other files.
const RESERVE: u64 = 64;

/// Raises the soft limit on open files to the hard limit. Returns how many connections fit within the limit.
pub fn raise_fd_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the old limit stays and `getrlimit` returns it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit - RESERVE.min(limit / 2)).unwrap_or(usize::MAX)
}
