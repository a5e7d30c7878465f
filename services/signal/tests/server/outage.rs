//! A database that is killed, hangs, changes its primary, loses replies or has a full disk: live rooms continue, calls
//! that need the database fail within 2 s, and succeed again within 5 s of its return.

mod acknowledged;
mod away;
mod disk_full;
mod failover;
mod frozen;
mod live;
mod lost_reply;
mod watch;
