//! Calls by gRPC-Web and gRPC, through the request filter and the services of a whole server; see `signalbox_fuzz::server`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signalbox_fuzz::server::Server;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    // Time is virtual: it passes at once when there is nothing to do.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    static SERVER: Server = RUNTIME.with(|runtime| runtime.block_on(Server::new()));
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| SERVER.with(|server| runtime.block_on(server.run(data))));
});
