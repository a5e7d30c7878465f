//! `signalbox-mutant`: the `signalbox` program with a deliberate fault, for testing the tests; see `mutant.rs` beside
//! `main.rs`. Its own name keeps it from ever standing where the program does.

use std::process::ExitCode;

#[path = "../main.rs"]
mod program;

fn main() -> ExitCode {
    program::main()
}
