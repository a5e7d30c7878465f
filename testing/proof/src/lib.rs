//! Proof of the delivery guarantee (G1 to G7) from outside. Clients record what they send, its outcome, and what they
//! receive. A nemesis causes faults and records their effect. A checker verifies the whole history.

pub mod checker;
pub mod history;
pub mod member;
pub mod native;
pub mod nemesis;
pub mod operator;
pub mod proxy;
pub mod recorder;
pub mod run;
pub mod server;
pub mod web;
pub mod wire;
