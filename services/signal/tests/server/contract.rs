//! The contract: every rpc of the .proto files is served.

use http::Method;
use prost::Message;
use prost_types::FileDescriptorSet;
use signalbox_proto::FILE_DESCRIPTOR_SET;
use signalbox_testkit::grpc_web::frame;
use tonic::Code;

use crate::common::{
    TestServer,
    raw::{Version, grpc_status, request},
};

/// The paths of all rpcs in the descriptors.
fn paths() -> Vec<String> {
    let descriptors = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let services = descriptors.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
    services
        .flat_map(|(file, service)| {
            service.method.iter().map(move |method| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
        })
        .collect()
}

#[tokio::test]
async fn every_rpc_is_implemented() {
    let server = TestServer::start(&[]).await;
    let status_of = async |path: &str| {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        // An empty message ends the streaming calls, too.
        let response = request(server.addr, Version::Http2, Method::POST, path, &headers, frame(&[])).await;
        grpc_status(response.unwrap()).await
    };
    let paths = paths();
    for known in ["/signalbox.v1.Signal/Exchange", "/signalbox.v1.Rooms/WatchRoom"] {
        assert!(paths.iter().any(|path| path == known), "{known} is not in {paths:?}");
    }
    for path in &paths {
        let status = status_of(path).await;
        assert_ne!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
    assert_eq!(status_of("/signalbox.v1.Signal/Unknown").await.code(), Code::Unimplemented);
}
