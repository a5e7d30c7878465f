//! Generates the server side of `signalbox.v1.Signal` with the server's own message and codec types: a room's log entry
//! is encoded once and its bytes are shared by every reader, which the stubs of the contract crate cannot express.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str, codec: &str| {
        Method::builder().name(name).route_name(route).input_type(input).output_type(output).codec_path(codec)
    };
    let proto = |message: &str| format!("signalbox_proto::v1::{message}");
    let frame = "crate::rpc::codec::Frame";
    let framed = "crate::rpc::codec::FrameCodec";

    let signal = Service::builder()
        .name("Signal")
        .package("signalbox.v1")
        .method(
            method("exchange", "Exchange", &proto("ClientMessage"), frame, framed)
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .method(method("subscribe", "Subscribe", &proto("SubscribeRequest"), frame, framed).server_streaming().build())
        .method(method("send", "Send", &proto("SendRequest"), frame, framed).build())
        .build();
    Builder::new().build_client(false).compile(&[signal]);
}
