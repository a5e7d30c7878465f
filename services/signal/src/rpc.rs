//! The gRPC services. They decode and check requests, call the room and map errors.

mod admission;
pub mod codec;
#[doc(hidden)]
pub mod fuzzing;
mod join;
mod outbound;
mod rooms;
mod signal;
mod status;

pub use self::{rooms::RoomsService, signal::SignalService};

/// The path of the bidirectional rpc. Its request body never ends.
pub(crate) const EXCHANGE: &str = "/signalbox.v1.Signal/Exchange";

/// Server stubs that build.rs generates with this crate's frame type and codecs.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod stub {
    include!(concat!(env!("OUT_DIR"), "/signalbox.v1.Signal.rs"));
    include!(concat!(env!("OUT_DIR"), "/signalbox.v1.Rooms.rs"));
}
