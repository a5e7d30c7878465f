//! Tokens: verification, permissions, renewal, revocation.

mod clients;
mod command;
mod hostile;
mod joining;
mod keys;
mod lifetime;
mod removal;
mod rooms;
mod throttle;

use std::ops::Deref;

use serde_json::{Value, json};
use signalbox_proto::v1::Join;
use tempfile::TempDir;
use tonic::Status;

use crate::common::{
    TestServer,
    jwt::{Key, claims, claims_with, write},
    messages,
    native::Member,
};

/// A server that requires tokens, and the key that signs them.
struct TokenServer {
    server: TestServer,
    key: Key,
    _folder: TempDir,
}

impl Deref for TokenServer {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl TokenServer {
    async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key::ed25519(1);
        let path = write(folder.path(), "jwt.pub", &key.pem()).display().to_string();
        let server = TestServer::start(&[&["--auth", "jwt", "--jwt-key", &path], flags].concat()).await;
        Self { server, key, _folder: folder }
    }

    /// A token for a room, valid for five minutes.
    fn token(&self, room: &str, subject: &str) -> String {
        self.key.mint(&claims(room, subject))
    }

    /// The same with claims replaced or added.
    fn token_with(&self, room: &str, subject: &str, others: &Value) -> String {
        self.key.mint(&claims_with(room, subject, others))
    }

    /// A token that is valid for `seconds`.
    fn token_for(&self, room: &str, subject: &str, seconds: u64) -> String {
        self.token_with(room, subject, &json!({"exp": crate::common::jwt::now() + seconds}))
    }

    async fn try_join(&self, token: &str, join: Join) -> Result<Member, Status> {
        Member::try_join_with_token(self.server.addr, Some(token), join).await
    }

    /// Joins, which must succeed.
    async fn join(&self, token: &str, room: &str) -> Member {
        self.try_join(token, messages::join(room)).await.expect("the join is accepted")
    }
}
