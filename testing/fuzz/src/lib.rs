//! What the fuzz targets share: a room with members in it, a whole server without sockets, keys that tokens are checked
//! with. `scripts/fuzz.sh` runs the targets; `examples/seeds.rs` makes what they begin with.

pub mod keys;
pub mod server;
pub mod stage;
