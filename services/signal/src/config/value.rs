//! Parsers for structured settings, such as URLs and times, and their error texts.

use std::{ffi::OsStr, fmt::Display, time::Duration};

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};
use http::HeaderName;

use crate::store::StoreUrl;

/// Formats the error for a value that parses but is not allowed. Errors of parsers contain only the advice, because
/// clap prepends the flag and the value.
pub(super) fn invalid(flag: &str, value: impl Display, advice: impl Display) -> String {
    format!(r#"invalid {flag} "{value}": use {advice}"#)
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("use a time such as 30s, 5m or 12h ({error})"))
}

/// Parses a header name. `*` would not cover `Authorization`, so it is no shorthand for every header.
pub(super) fn cors_header(text: &str) -> Result<HeaderName, String> {
    let advice = || "use the name of one header, such as x-request-id".to_owned();
    if text == "*" { Err(advice()) } else { text.parse().map_err(|_| advice()) }
}

/// Parses `--store`. The error does not contain the value, which may hold credentials.
#[derive(Debug, Clone)]
pub(super) struct SecretUrl;

impl TypedValueParser for SecretUrl {
    type Value = StoreUrl;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<StoreUrl, clap::Error> {
        let text = value.to_str().ok_or_else(|| "use UTF-8".to_owned());
        text.and_then(str::parse).map_err(|problem| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("invalid --store: {problem}\n")).with_cmd(command)
        })
    }
}
