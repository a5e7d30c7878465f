//! Sessions over gRPC-Web, on `Subscribe` and `Send`.

mod hosts;
mod origins;
mod sessions;
mod wire;
