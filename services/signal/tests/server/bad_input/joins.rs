//! Invalid first messages.

use std::collections::HashMap;

use signalbox_proto::v1::{
    ClientMessage, CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, Join, ListMembersRequest, RemoveMemberRequest,
    Room, client_message::Body as ClientBody, subscribe_request::Open,
};
use tonic::Status;

use super::undisturbed;
use crate::common::{
    TestServer, assert_field_error, messages,
    native::{Member, Stream},
    web::{WebClient, WebMember},
};

/// The errors of a join on both transports.
async fn refused(server: &TestServer, join: Join) -> [Status; 2] {
    let native = Member::try_join(server.addr, join.clone()).await.err();
    let page = WebClient::new(server.addr).subscribe(Open::Join(join.clone())).await.err();
    let none = || panic!("{join:?} was accepted");
    [native.unwrap_or_else(none), page.unwrap_or_else(none)]
}

#[tokio::test]
async fn a_first_message_that_is_no_join_or_resume_is_refused() {
    undisturbed(async |server| {
        let firsts = [
            ClientMessage::default(),
            ClientMessage { seq: 1, ack: 1, to: "x".to_owned(), negotiation: 1, body: None },
            messages::unnumbered("", messages::heartbeat()),
            messages::unnumbered("", messages::leave()),
            messages::unnumbered("", messages::offer("v=0")),
        ];
        for first in firsts {
            let mut stream = Stream::open(server.addr).await;
            stream.send_message(first).await;
            assert_field_error(&stream.end().await.unwrap_err(), "INVALID_MESSAGE", "body");
        }
        let mut stream = Stream::open(server.addr).await;
        stream.half_close();
        assert_field_error(&stream.end().await.unwrap_err(), "INVALID_MESSAGE", "body");
    })
    .await;
}

#[tokio::test]
async fn invalid_room_names_are_refused() {
    undisturbed(async |server| {
        let too_long = "a".repeat(65);
        let bad = [
            "",
            &too_long,
            "ä",
            "комната",
            "😀",
            "a b",
            " demo",
            "demo ",
            "a/b",
            "../demo",
            "a.b",
            "a:b",
            "a\nb",
            "demo\0",
            "\u{7f}",
            "\u{202e}demo",
            "$where",
            "{}",
            "a'b",
            "a\"b",
            "a%20b",
        ];
        for name in bad {
            for status in refused(server, messages::join(name)).await {
                assert_field_error(&status, "INVALID_ROOM_NAME", "join.room");
            }
            let mut rooms = server.rooms().await;
            let name = name.to_owned();
            let room = Room { name: name.clone(), ..Room::default() };
            if !name.is_empty() {
                let created = rooms.create_room(CreateRoomRequest { room: Some(room), ..Default::default() }).await;
                assert_field_error(&created.unwrap_err(), "INVALID_ROOM_NAME", "room.name");
            }
            let got = rooms.get_room(GetRoomRequest { name: name.clone() }).await;
            assert_field_error(&got.unwrap_err(), "INVALID_ROOM_NAME", "name");
            let deleted = rooms.delete_room(DeleteRoomRequest { name: name.clone() }).await;
            assert_field_error(&deleted.unwrap_err(), "INVALID_ROOM_NAME", "name");
            let listed = rooms.list_members(ListMembersRequest { room: name.clone() }).await;
            assert_field_error(&listed.unwrap_err(), "INVALID_ROOM_NAME", "room");
            let removed =
                rooms.remove_member(RemoveMemberRequest { room: name, member_id: "x".to_owned(), ban: None }).await;
            assert_field_error(&removed.unwrap_err(), "INVALID_ROOM_NAME", "room");
        }
        for good in ["a", "-", "_", "A-z_09", &"a".repeat(64)] {
            let member = Member::join(server, good).await;
            assert_eq!(member.welcome().room.as_ref().unwrap().name, good);
        }
    })
    .await;
}

#[tokio::test]
async fn fields_of_a_join_beyond_their_limits_are_refused() {
    undisturbed(async |server| {
        let a_of = |n: usize| "a".repeat(n);
        type Make<'a> = Box<dyn Fn(usize) -> Join + 'a>;
        let attributes =
            |key: String, value: String| Join { attributes: HashMap::from([(key, value)]), ..messages::join("demo") };
        let entries = |n: usize| (0..n).map(|entry| (entry.to_string(), String::new())).collect();
        let cases: [(&str, usize, Make<'_>); 6] = [
            ("join.identity", 256, Box::new(|n| Join { identity: a_of(n), ..messages::join("demo") })),
            ("join.display_name", 256, Box::new(|n| Join { display_name: a_of(n), ..messages::join("demo") })),
            ("join.passcode", 256, Box::new(|n| Join { passcode: a_of(n), ..messages::join("demo") })),
            ("join.attributes", 4096, Box::new(|n| attributes("key".to_owned(), a_of(n - 3)))),
            ("join.attributes", 64, Box::new(|n| Join { attributes: entries(n), ..messages::join("demo") })),
            // Bytes of UTF-8, not characters.
            (
                "join.attributes",
                4096,
                Box::new(|n| attributes(format!("{}{}", "é".repeat(n / 2), a_of(n % 2)), a_of(0))),
            ),
        ];
        for (field, limit, make) in cases {
            for size in [limit - 1, limit] {
                let member = Member::join_with(server.addr, make(size)).await;
                member.send("", messages::leave()).await;
                WebMember::join(WebClient::new(server.addr), make(size)).await;
            }
            for status in refused(server, make(limit + 1)).await {
                assert_field_error(&status, "INVALID_MESSAGE", field);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_join_is_not_visible() {
    undisturbed(async |server| {
        let mut watcher = Member::join(server, "demo").await;
        refused(server, Join { identity: "a".repeat(257), ..messages::join("demo") }).await;
        let stream = Stream::begin(server.addr, ClientBody::Resume(messages::resume("garbage", 0))).await;
        assert!(stream.is_err());
        let next = Member::join(server, "demo").await;
        let joined = crate::common::body!(watcher.next().await, MemberJoined).member.unwrap();
        assert_eq!((joined.member_id, joined.join_order), (next.id, 2));
    })
    .await;
}
