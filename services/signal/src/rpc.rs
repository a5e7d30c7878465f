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

/// The paths of long-lived calls: sessions, watches and reflection.
pub(crate) const SESSIONS: [&str; 6] = [
    EXCHANGE,
    "/signalbox.v1.Signal/Subscribe",
    "/signalbox.v1.Rooms/WatchRoom",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Server stubs that build.rs generates with this crate's frame type and codecs.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod stub {
    include!(concat!(env!("OUT_DIR"), "/signalbox.v1.Signal.rs"));
    include!(concat!(env!("OUT_DIR"), "/signalbox.v1.Rooms.rs"));
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use signalbox_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn every_streaming_call_counts_as_a_session() {
        let mut expected = Vec::new();
        for set in [FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET] {
            for file in FileDescriptorSet::decode(set).expect("descriptors").file {
                for service in &file.service {
                    let streaming = service.method.iter().filter(|m| m.client_streaming() || m.server_streaming());
                    let path = |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
                    expected.extend(streaming.map(|method| path(method.name())));
                }
            }
        }
        assert!(expected.iter().all(|path| SESSIONS.contains(&path.as_str())), "{expected:?}");
        assert_eq!(expected.len() + 2, SESSIONS.len(), "and two versions of reflection");
    }
}
