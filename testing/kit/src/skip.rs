//! Tests whose requirements this machine does not meet: skipped with a line that says why, and never in CI.

use std::{env, fmt, path::PathBuf};

/// A requirement that this machine does not meet, and how to meet it.
#[derive(Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The program that `variable` names, or else the one at `default`.
pub fn program(variable: &str, default: &str) -> Result<PathBuf, Missing> {
    let path = env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(Missing(format!("no program at {}; set {variable}", path.display()))) }
}

/// Reports that the calling test is skipped. Panics in CI, that is, with the variable `CI` set.
#[allow(clippy::print_stderr, reason = "the line is for people")]
pub fn skip(missing: &Missing) {
    assert!(env::var_os("CI").is_none(), "in CI nothing is skipped: {missing}");
    eprintln!("skipped: {missing}");
}

/// The value of a `Result<T, Missing>`. Without it the calling test is skipped.
#[macro_export]
macro_rules! require {
    ($requirement:expr) => {
        match $requirement {
            Ok(met) => met,
            Err(missing) => return $crate::skip::skip(&missing),
        }
    };
}
