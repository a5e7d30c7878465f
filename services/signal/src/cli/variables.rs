//! The environment variables of settings. An empty variable counts as unset, because templates write `${X:-}` for a
//! setting without a value.

use std::{env, ffi::OsStr};

use clap::{Arg, Command, CommandFactory, Error, FromArgMatches};

use super::Cli;

/// Parses the arguments and variables of this process.
pub fn parse() -> Result<Cli, Error> {
    let command = ignore_empty(Cli::command()).mut_subcommands(ignore_empty);
    command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches))
}

/// Returns a note for each setting in an error that a variable sets, or that an empty variable leaves unset.
pub fn notes(error: &str) -> Vec<String> {
    let note = |arg: &Arg| {
        let (flag, variable) = (format!("--{}", arg.get_long()?), arg.get_env()?);
        let value = env::var_os(variable)?;
        let variable = variable.to_string_lossy();
        if !mentions(error, &flag) || is_argument(&flag) {
            None
        } else if value.is_empty() {
            Some(format!("{variable} is empty, so {flag} is unset"))
        } else {
            Some(format!("{flag} is set by {variable}"))
        }
    };
    Cli::command().get_arguments().filter_map(note).collect()
}

fn ignore_empty(command: Command) -> Command {
    command.mut_args(|arg| {
        let is_empty = arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(None::<&'static str>) } else { arg }
    })
}

/// Returns whether the command line has this flag, which takes precedence over its variable.
fn is_argument(flag: &str) -> bool {
    let is_flag = |arg: &OsStr| arg.to_string_lossy().split('=').next() == Some(flag);
    env::args_os().any(|arg| is_flag(&arg))
}

/// Returns whether a text contains this flag, and not only a longer one.
fn mentions(text: &str, flag: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(flag).any(|(at, _)| !text[at + flag.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_flags_are_mentioned() {
        for (text, found) in [
            ("invalid --turn-ttl: use less", true),
            ("'--turn-ttl <TIME>'", true),
            ("--turn-ttl", true),
            ("--turn-ttl-max, then --turn-ttl", true),
            ("--turn-ttl-max", false),
            ("--turn", false),
        ] {
            assert_eq!(mentions(text, "--turn-ttl"), found, "{text}");
        }
    }
}
