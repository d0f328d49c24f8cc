//! Points in time: RFC 3339 for programs, local clock time for people.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Shows the broker's wall clock in one time zone, as seen at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now: Zoned,
}

impl Clock {
    /// The machine's zone, at this moment.
    pub(crate) fn local() -> Self {
        Self { now: Zoned::now() }
    }

    /// A fixed moment.
    #[cfg(test)]
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { now: now.to_zoned(TimeZone::UTC) }
    }

    /// `12:03:44`
    pub(crate) fn time_of_day(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.format(time, "%H:%M:%S")
    }

    /// `2026-11-21 12:03:44`
    pub(crate) fn date_and_time(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    /// `2026-11-21`
    pub(crate) fn date(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.format(time, "%Y-%m-%d")
    }

    /// The day of this moment, as [`Clock::date`] shows it.
    pub(crate) fn today(&self) -> String {
        self.now.strftime("%Y-%m-%d").to_string()
    }

    /// How long ago it was; nothing for the future, as clocks of two machines differ.
    pub(crate) fn since(&self, time: Option<&prost_types::Timestamp>) -> Option<Duration> {
        let time = parse(time?)?;
        Some(self.now.timestamp().duration_since(time).try_into().unwrap_or_default())
    }

    fn format(&self, time: Option<&prost_types::Timestamp>, format: &str) -> String {
        let Some(time) = time.and_then(parse) else { return "-".to_owned() };
        time.to_zoned(self.zone()).strftime(format).to_string()
    }

    fn zone(&self) -> TimeZone {
        self.now.time_zone().clone()
    }
}

/// RFC 3339 in UTC, as in `2026-11-21T12:03:44.125Z`.
pub(crate) fn rfc3339(time: &prost_types::Timestamp) -> Option<String> {
    parse(time).map(|time| time.to_string())
}

fn parse(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: i64, nanos: i32) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos }
    }

    #[test]
    fn times_are_shown_for_programs_and_people() {
        let time = stamp(1_795_262_624, 125_000_000);
        assert_eq!(rfc3339(&time).unwrap(), "2026-11-21T12:03:44.125Z");
        let clock = Clock::at(Timestamp::new(1_795_262_700, 0).unwrap());
        assert_eq!(clock.time_of_day(Some(&time)), "12:03:44");
        assert_eq!(clock.date_and_time(Some(&time)), "2026-11-21 12:03:44");
        assert_eq!(clock.since(Some(&time)), Some(Duration::from_millis(75_875)));
        assert_eq!(clock.since(Some(&stamp(1_795_262_701, 0))), Some(Duration::ZERO));
    }

    #[test]
    fn a_senseless_time_is_shown_as_none() {
        let clock = Clock::at(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.time_of_day(Some(&stamp(i64::MAX, 0))), "-");
        assert_eq!(rfc3339(&stamp(i64::MAX, 0)), None);
    }
}
