//! The parser for `--log`. The filter of `tracing_subscriber` takes a misspelled level for a target, and then logs
//! nothing at all.

use tracing_subscriber::filter::LevelFilter;

/// The level of targets that no directive names.
const DEFAULT: &str = "info";

/// Parses a level, or directives separated by commas. Returns directives that cover every target.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let mut has_default = false;
    for directive in text.split(',') {
        let level = match directive.split_once('=') {
            Some((target, level)) => {
                check_target(target)?;
                level
            }
            None => {
                has_default = true;
                directive
            }
        };
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!(
                r#"unknown level "{level}": use off, error, warn, info, debug or trace, or TARGET=LEVEL"#
            ));
        }
    }
    Ok(if has_default { text.to_owned() } else { format!("{DEFAULT},{text}") })
}

fn check_target(target: &str) -> Result<(), String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if !target.is_empty() && target.chars().all(is_valid) {
        return Ok(());
    }
    Err(format!(r#"invalid target "{target}": use the name of a Rust module, such as signalbox_server or h2"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_has_a_default_level() {
        for (given, used) in [
            ("info", "info"),
            ("WARN", "WARN"),
            ("off", "off"),
            ("h2=warn", "info,h2=warn"),
            ("signalbox_server::rpc=debug,h2=warn", "info,signalbox_server::rpc=debug,h2=warn"),
            ("h2=debug,error", "h2=debug,error"),
        ] {
            assert_eq!(log_filter(given).as_deref(), Ok(used), "{given}");
        }
    }

    #[test]
    fn filters_that_would_log_nothing_are_refused() {
        for (filter, wrong) in [
            ("warning", "warning"),
            ("verbose", "verbose"),
            ("h2", "h2"),
            ("", "level \"\""),
            ("info,", "level \"\""),
            ("h2=", "level \"\""),
            ("h2=loud", "loud"),
            ("a=b=c", "b=c"),
            ("signalbox-server=debug", "signalbox-server"),
            ("=debug", "target \"\""),
            ("info, h2=warn", " h2"),
        ] {
            let error = log_filter(filter).expect_err(filter);
            assert!(error.contains(wrong), "{filter}: {error}");
        }
    }
}
