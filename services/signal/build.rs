//! Generates the server side of the services with the server's own codecs, which the stubs of the contract crate cannot
//! have: an entry is encoded once and all streams share its bytes, and a malformed message is INVALID_ARGUMENT with the
//! details of every other error.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str, codec: &str| {
        Method::builder().name(name).route_name(route).input_type(input).output_type(output).codec_path(codec)
    };
    let proto = |message: &str| format!("signalbox_proto::v1::{message}");
    let frame = "crate::rpc::codec::Frame";
    let framed = "crate::rpc::codec::FrameCodec";
    let codec = "crate::rpc::codec::MessageCodec";

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
        .method(method("send", "Send", &proto("SendRequest"), &proto("SendResponse"), codec).build())
        .build();

    let mut rooms = Service::builder().name("Rooms").package("signalbox.v1");
    for (name, route, input, output) in [
        ("create_room", "CreateRoom", "CreateRoomRequest", "Room"),
        ("get_room", "GetRoom", "GetRoomRequest", "Room"),
        ("list_rooms", "ListRooms", "ListRoomsRequest", "ListRoomsResponse"),
        ("update_room", "UpdateRoom", "UpdateRoomRequest", "Room"),
        ("delete_room", "DeleteRoom", "DeleteRoomRequest", ""),
        ("list_members", "ListMembers", "ListMembersRequest", "ListMembersResponse"),
        ("remove_member", "RemoveMember", "RemoveMemberRequest", ""),
    ] {
        let output = if output.is_empty() { "crate::rpc::codec::Empty".to_owned() } else { proto(output) };
        rooms = rooms.method(method(name, route, &proto(input), &output, codec).build());
    }
    let watch = method("watch_room", "WatchRoom", &proto("WatchRoomRequest"), &proto("RoomEvent"), codec);
    let rooms = rooms.method(watch.server_streaming().build()).build();

    Builder::new().build_client(false).compile(&[signal, rooms]);
}
