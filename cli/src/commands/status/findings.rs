//! What is wrong with a broker, and what to do about it.

use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{GetStatusResponse, Vitals};
use serde::Serialize;

use crate::duration;
use crate::render::bytes;

/// Less room than this on the disk, and writing will soon fail.
const LITTLE_ROOM: u64 = 256 << 20;
/// A commit longer than this makes everybody wait.
const SLOW_COMMIT: Duration = Duration::from_millis(500);
/// How far behind a stream may be before it is told of: beyond it the broker reads the disk for it.
const LAG: u64 = 8_192;

/// Something that needs somebody.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// What is wrong.
    problem: String,
    /// What to do about it.
    next: String,
}

impl Finding {
    fn new(problem: String, next: &str) -> Self {
        Self { problem, next: next.to_owned() }
    }

    /// As people read it.
    pub(crate) fn lines(&self) -> String {
        format!("  {}\n    → {}\n", printable_line(&self.problem), self.next)
    }
}

/// All that is wrong, the worst first; nothing when all is well.
pub(crate) fn of(status: &GetStatusResponse, own_version: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(vitals) = &status.vitals {
        findings.extend(room(vitals));
        findings.extend(pace(vitals));
        findings.extend(bounds(vitals));
        findings.extend(strangers(vitals));
    }
    findings.extend(skew(&status.version, own_version));
    findings
}

fn room(vitals: &Vitals) -> Option<Finding> {
    let free = vitals.free_bytes.filter(|free| *free < LITTLE_ROOM)?;
    let problem = format!("only {} are free on the disk of the store", bytes(free));
    Some(Finding::new(problem, "make room there; without it the broker ends rather than lose a change"))
}

fn pace(vitals: &Vitals) -> Vec<Finding> {
    let mut findings = Vec::new();
    let last = duration::from_proto(vitals.last_commit.as_ref());
    if last > SLOW_COMMIT {
        let problem = format!("the last commit took {}", millis(last));
        findings.push(Finding::new(
            problem,
            "look what else keeps the disk busy, or move the home to a faster one",
        ));
    }
    if vitals.queue_depth > vitals.queue_capacity / 2 && vitals.queue_capacity > 0 {
        let problem =
            format!("{} of at most {} requests wait for the disk", vitals.queue_depth, vitals.queue_capacity);
        findings.push(Finding::new(problem, "find who writes so much with `meshctl events`"));
    }
    if vitals.watch_lag > LAG {
        let problem = format!("the slowest stream is {} revisions behind", vitals.watch_lag);
        findings.push(Finding::new(
            problem,
            "end or repair the program that does not read its stream; it costs the others nothing",
        ));
    }
    findings
}

fn bounds(vitals: &Vitals) -> Vec<Finding> {
    let near = |used: u64, limit: u64| limit > 0 && used.saturating_mul(10) >= limit.saturating_mul(9);
    let mut findings: Vec<_> = vitals
        .limits
        .iter()
        .filter(|limit| near(limit.used, limit.limit))
        .map(|limit| {
            let problem = format!("{} of at most {} {}", limit.used, limit.limit, limit.name);
            Finding::new(problem, "let go of some; what goes beyond is refused")
        })
        .collect();
    if let (Some(open), Some(most)) = (vitals.open_files, vitals.max_open_files)
        && near(open, most)
    {
        let problem = format!("{open} of at most {most} files and connections are open");
        findings.push(Finding::new(problem, "raise the limit of open files (`ulimit -Hn`) and restart it"));
    }
    findings
}

fn strangers(vitals: &Vitals) -> Option<Finding> {
    let refused = vitals.refused_credentials;
    (refused > 0).then(|| {
        let calls = if refused == 1 { "call" } else { "calls" };
        let problem = format!("{refused} {calls} came without a good credential since the start");
        Finding::new(problem, "see its log for when; look for a program with an old token, or for a stranger")
    })
}

fn skew(broker: &str, own: &str) -> Option<Finding> {
    (broker != own).then(|| {
        let problem = format!("the broker is version {broker}, this meshctl is {own}");
        Finding::new(problem, "`meshctl restart` lets the same version serve; nothing is lost")
    })
}

/// A span too short for the units that people plan with.
pub(crate) fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::LimitUse;

    use super::*;

    fn status(vitals: Vitals) -> GetStatusResponse {
        GetStatusResponse { version: "1".into(), vitals: Some(vitals), ..GetStatusResponse::default() }
    }

    fn problems(vitals: Vitals) -> Vec<String> {
        of(&status(vitals), "1").into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn a_broker_that_is_well_has_no_findings() {
        let limits = vec![LimitUse { name: "locks".into(), used: 89, limit: 100 }];
        let vitals = Vitals {
            free_bytes: Some(LITTLE_ROOM),
            queue_depth: 10,
            queue_capacity: 8_192,
            watch_lag: LAG,
            open_files: Some(100),
            max_open_files: Some(1_024),
            last_commit: duration::to_proto(SLOW_COMMIT),
            limits,
            ..Vitals::default()
        };
        assert_eq!(problems(vitals), [""; 0]);
        let old = GetStatusResponse { version: "1".into(), ..GetStatusResponse::default() };
        assert_eq!(of(&old, "1"), []);
    }

    #[test]
    fn each_trouble_is_named() {
        let limits = vec![LimitUse { name: "locks".into(), used: 90, limit: 100 }];
        let vitals = Vitals {
            free_bytes: Some(LITTLE_ROOM - 1),
            queue_depth: 5_000,
            queue_capacity: 8_192,
            watch_lag: LAG + 1,
            open_files: Some(1_000),
            max_open_files: Some(1_024),
            last_commit: duration::to_proto(SLOW_COMMIT * 2),
            refused_credentials: 3,
            limits,
            ..Vitals::default()
        };
        let told = of(&status(vitals), "2");
        let told: Vec<_> = told.iter().map(|finding| finding.problem.as_str()).collect();
        assert_eq!(
            told,
            [
                "only 256.0 MiB are free on the disk of the store",
                "the last commit took 1000.0 ms",
                "5000 of at most 8192 requests wait for the disk",
                "the slowest stream is 8193 revisions behind",
                "90 of at most 100 locks",
                "1000 of at most 1024 files and connections are open",
                "3 calls came without a good credential since the start",
                "the broker is version 1, this meshctl is 2",
            ]
        );
    }
}
