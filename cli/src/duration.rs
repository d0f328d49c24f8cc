//! Durations as people write and read them.

use std::time::Duration;

/// Parses `90`, `90s`, `30m`, `12h`, `7d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and s, m, h or d, such as 90s, 30m or 12h".to_owned()),
    };
    let number = digits.parse::<u32>().map_err(|_| "write a whole number, such as 90s or 30m".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

/// The two largest units: `45s`, `28m`, `3h 5m`, `2d 4h`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds / 60 % 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds / 3600 % 24, "h")),
    };
    if small.0 == 0 {
        format!("{}{}", large.0, large.1)
    } else {
        format!("{}{} {}{}", large.0, large.1, small.0, small.1)
    }
}

/// What the wire takes. Durations typed here always fit.
pub(crate) fn to_proto(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

/// What the wire sent; nothing for an unset or negative one.
pub(crate) fn from_proto(duration: Option<&prost_types::Duration>) -> Duration {
    duration.and_then(|duration| Duration::try_from(*duration).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, seconds) in
            [("0", 0), ("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "1.5h", "1w", "1 h", "1hm", "99999999999", "ü", "3µ", "+", "0x10"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_units_are_shown() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m 1s"),
            (1680, "28m"),
            (11_100, "3h 5m"),
            (86_400, "1d"),
            (187_200, "2d 4h"),
        ] {
            assert_eq!(show(Duration::from_secs(seconds)), text);
        }
    }
}
