//! Proof of the delivery guarantee (README.md, G1 to G7), from outside: clients note what they sent, what became of it
//! and what reached them; a nemesis notes which faults it caused and what they did; a checker holds the whole history
//! against the guarantee.

pub mod checker;
pub mod history;
pub mod member;
pub mod native;
pub mod nemesis;
pub mod notes;
pub mod operator;
pub mod proxy;
pub mod run;
pub mod server;
pub mod web;
pub mod wire;
