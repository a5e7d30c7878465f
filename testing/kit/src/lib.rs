//! What the server's tests, the proof, the fuzz targets and the benchmarks share.
//!
//! - [`grpc_web`]: a gRPC-Web client, down to the frames.
//! - `MemoryStore`: room records in memory. Only with the feature `store`.
//! - [`poll`]: waiting for a condition for which there is no event.
//! - [`proc`]: memory and CPU time of a process, as Linux reports them.
//! - [`server_process`]: the server's program as a child process.
//! - [`skip`]: tests whose requirements this machine does not meet.

pub mod grpc_web;
#[cfg(feature = "store")]
mod memory_store;
pub mod poll;
pub mod proc;
pub mod server_process;
pub mod skip;

#[cfg(feature = "store")]
pub use self::memory_store::MemoryStore;
pub use self::poll::eventually;
