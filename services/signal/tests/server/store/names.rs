//! Invalid room names never reach the database.

use mongodb::bson::{Document, doc};
use proptest::{prelude::*, test_runner::TestRunner};
use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListRoomsRequest, RemoveMemberRequest,
    Room, client_message::Body as ClientBody,
};
use signalbox_testkit::require;
use tokio::runtime::Handle;

use crate::common::{TestServer, assert_field_error, messages, mongo::Mongo, native::Stream};

/// Invalid room names: of the wrong length, or with a character other than A-Z, a-z, 0-9, '_' and '-'.
fn invalid_name() -> impl Strategy<Value = String> {
    let wrong = prop_oneof![
        Just("$".to_owned()),
        Just(".".to_owned()),
        Just("\0".to_owned()),
        Just("{\"$gt\":\"\"}".to_owned()),
        Just("😀".to_owned()),
        "[\\x00-\\x1f\\x7f]",
        any::<char>()
            .prop_filter("a wrong one", |c| !c.is_ascii_alphanumeric() && !"_-".contains(*c))
            .prop_map(String::from),
    ];
    prop_oneof![
        ("[A-Za-z0-9_-]{0,20}", wrong, "[A-Za-z0-9_-]{0,20}")
            .prop_map(|(before, wrong, after)| before + &wrong + &after),
        "\\$[a-z]{2,8}",
        "[a-z]{1,5}(\\.[a-z]{1,5}){1,3}",
        "[A-Za-z0-9_-]{65,300}",
        Just("a".repeat(10_000)),
        Just("$".repeat(10_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_name_is_refused_without_a_query() {
    let mongo = require!(Mongo::standalone().await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let rooms = server.rooms().await;
    // From here on the profiler of the database records all queries.
    let database = mongo.database("rooms").await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let queries = async || {
        let about_rooms = doc! { "ns": "rooms.rooms" };
        database.collection::<Document>("system.profile").count_documents(about_rooms).await.unwrap()
    };

    let handle = Handle::current();
    let addr = server.addr;
    let property = |name: String| {
        let mut rooms = rooms.clone();
        handle.block_on(async {
            let room = Room { name: name.clone(), ..Room::default() };
            let refused = rooms.create_room(CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() });
            assert_field_error(&refused.await.unwrap_err(), "INVALID_ROOM_NAME", "room.name");
            let refused = rooms.get_room(GetRoomRequest { name: name.clone() }).await.unwrap_err();
            assert_field_error(&refused, "INVALID_ROOM_NAME", "name");
            let refused = rooms.delete_room(DeleteRoomRequest { name: name.clone() }).await.unwrap_err();
            assert_field_error(&refused, "INVALID_ROOM_NAME", "name");
            let refused = rooms.list_members(ListMembersRequest { room: name.clone() }).await.unwrap_err();
            assert_field_error(&refused, "INVALID_ROOM_NAME", "room");
            let remove = RemoveMemberRequest { room: name.clone(), ..RemoveMemberRequest::default() };
            assert_field_error(&rooms.remove_member(remove).await.unwrap_err(), "INVALID_ROOM_NAME", "room");
            let page = ListRoomsRequest { page_token: name.clone(), ..ListRoomsRequest::default() };
            assert_field_error(&rooms.list_rooms(page).await.unwrap_err(), "INVALID_MESSAGE", "page_token");
            let joined = Stream::begin(addr, ClientBody::Join(messages::join(&name))).await;
            assert_field_error(&joined.err().expect("no room"), "INVALID_ROOM_NAME", "join.room");
        });
        Ok(())
    };
    tokio::task::block_in_place(|| {
        TestRunner::new(ProptestConfig::with_cases(200)).run(&invalid_name(), property).unwrap();
    });
    assert_eq!(queries().await, 0, "a name reached the database");

    // The profiler shows queries with a valid name.
    let name = "-_a".repeat(21);
    let room = Room { name: name.clone(), ..Room::default() };
    let mut rooms = rooms.clone();
    rooms.create_room(CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() }).await.expect("a room");
    rooms.get_room(GetRoomRequest { name }).await.expect("the room");
    assert_eq!(queries().await, 2);
}
