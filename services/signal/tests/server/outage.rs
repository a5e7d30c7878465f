//! A database that is killed, hangs, changes its primary, loses replies or has a full disk: live rooms go on untouched,
//! what needs the database is refused within 2 s, and all is well again within 5 s of its return.

mod acknowledged;
mod away;
mod disk_full;
mod failover;
mod frozen;
mod live;
mod lost_reply;
mod watch;
