//! Invalid input of clients: refused with its code, reason and field, without effect on other members.

mod calls;
mod connections;
mod joins;
mod streams;

use crate::common::{TestServer, body, messages, native::Member};

/// Sends something bad to a server. Two members of another room exchange signals before and after it, and must receive
/// nothing else.
async fn undisturbed(bad: impl AsyncFnOnce(&TestServer)) {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "bystanders").await;
    let mut b = Member::join(&server, "bystanders").await;
    body!(a.next().await, MemberJoined);
    let exchange = async |a: &mut Member, b: &mut Member, text: &str| {
        a.send("", messages::offer(text)).await;
        assert_eq!(body!(b.next().await, Offer).sdp, text);
        b.send("", messages::answer(text)).await;
        assert_eq!(body!(a.next().await, Answer).sdp, text);
    };
    exchange(&mut a, &mut b, "before").await;
    bad(&server).await;
    exchange(&mut a, &mut b, "after").await;
}
