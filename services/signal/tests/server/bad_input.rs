//! What clients must not say: each with its code, reason and field, and without anybody else noticing.

mod calls;
mod connections;
mod joins;
mod streams;

use crate::common::{TestServer, body, native::Member, say};

/// Does something bad to a server, while two members of a room of their own exchange signals: they must hear each
/// other before and after it, and nothing else.
async fn undisturbed(bad: impl AsyncFnOnce(&TestServer)) {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "bystanders").await;
    let mut b = Member::join(&server, "bystanders").await;
    body!(a.next().await, MemberJoined);
    let exchange = async |a: &mut Member, b: &mut Member, text: &str| {
        a.say("", say::offer(text)).await;
        assert_eq!(body!(b.next().await, Offer).sdp, text);
        b.say("", say::answer(text)).await;
        assert_eq!(body!(a.next().await, Answer).sdp, text);
    };
    exchange(&mut a, &mut b, "before").await;
    bad(&server).await;
    exchange(&mut a, &mut b, "after").await;
}
