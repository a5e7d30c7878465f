//! Sessions over gRPC-Web, on `Subscribe` and `Send`.

mod cookies;
mod hosts;
mod origins;
mod sessions;
mod wire;
