//! gRPC-Web: the same sessions on `Subscribe` and `Send`, as browsers make them.

mod hosts;
mod origins;
mod sessions;
mod wire;
