//! Messages of clients.

use signalbox_proto::v1::{
    ClientMessage, Data, Heartbeat, IceCandidate, Join, Leave, MemberUpdate, Resume, SessionDescription,
    client_message::Body,
};

/// An anonymous join.
pub(crate) fn join(room: &str) -> Join {
    Join { room: room.to_owned(), ..Join::default() }
}

/// A join with an identity.
pub(crate) fn join_as(room: &str, identity: &str) -> Join {
    Join { room: room.to_owned(), identity: identity.to_owned(), ..Join::default() }
}

pub(crate) fn resume(token: &str, after_seq: u64) -> Resume {
    Resume { session_token: token.to_owned(), after_seq }
}

pub(crate) fn offer(sdp: &str) -> Body {
    Body::Offer(SessionDescription { sdp: sdp.to_owned() })
}

pub(crate) fn answer(sdp: &str) -> Body {
    Body::Answer(SessionDescription { sdp: sdp.to_owned() })
}

/// A candidate without any of the optional fields.
pub(crate) fn candidate(candidate: &str) -> Body {
    Body::Candidate(IceCandidate { candidate: candidate.to_owned(), ..IceCandidate::default() })
}

pub(crate) fn data(text: &str) -> Body {
    Body::Data(Data { text: text.to_owned(), ..Data::default() })
}

pub(crate) fn display_name(name: &str) -> Body {
    Body::Update(MemberUpdate { display_name: Some(name.to_owned()), ..MemberUpdate::default() })
}

pub(crate) fn heartbeat() -> Body {
    Body::Heartbeat(Heartbeat {})
}

pub(crate) fn leave() -> Body {
    Body::Leave(Leave::default())
}

/// A message without a sequence number.
pub(crate) fn unnumbered(to: &str, body: Body) -> ClientMessage {
    numbered(0, to, body)
}

/// A message with a sequence number.
pub(crate) fn numbered(seq: u64, to: &str, body: Body) -> ClientMessage {
    ClientMessage { seq, to: to.to_owned(), body: Some(body), ..ClientMessage::default() }
}
