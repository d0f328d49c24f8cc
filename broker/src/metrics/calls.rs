//! What is noted of calls, where they enter.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_proto::v1::ErrorReason;
use prost::Message;
use tonic::Code;

use super::Snapshot;
use super::commits::micros;
use super::histogram::{Histogram, SECONDS};

/// The method of a call to something that this broker does not have.
const OTHER: &str = "other";

/// How long calls took, by method and code. Kept only when somebody asked for figures.
#[derive(Debug)]
pub(crate) struct Calls {
    /// By the path of a request, the method as it is shown. Whatever else is called is one method.
    methods: HashMap<String, &'static str>,
    took: Mutex<BTreeMap<(&'static str, &'static str), Histogram>>,
}

/// Calls that were refused, by reason. A refusal is rare enough to be counted always.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    by_reason: Mutex<BTreeMap<&'static str, u64>>,
    credentials: AtomicU64,
}

impl Calls {
    /// Knows the methods of the contract and those of the standard services beside it.
    pub(crate) fn new() -> Self {
        let sets = [mesh_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let files = sets.iter().flat_map(|set| {
            prost_types::FileDescriptorSet::decode(*set).map(|set| set.file).unwrap_or_default()
        });
        let mut methods = HashMap::new();
        for file in files {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    // The contract is one; its names live as long as the process.
                    let shown: &'static str = name.clone().leak();
                    methods.insert(format!("/{name}"), shown);
                }
            }
        }
        Self { methods, took: Mutex::default() }
    }

    /// Notes a call: how long its answer took, or of a stream its opening.
    pub(crate) fn note(&self, path: &str, code: Code, took: Duration) {
        let method = self.methods.get(path).copied().unwrap_or(OTHER);
        let mut series = lock(&self.took);
        let histogram = series.entry((method, code_name(code))).or_insert_with(|| Histogram::new(&SECONDS));
        histogram.note(micros(took));
    }

    /// Every series: method, code, and how long its calls took.
    pub(crate) fn all(&self) -> Vec<(&'static str, &'static str, Snapshot)> {
        let series = lock(&self.took);
        series.iter().map(|((method, code), took)| (*method, *code, took.snapshot())).collect()
    }
}

impl Refused {
    /// Notes a refusal. A reason that is not in the contract counts under the status code.
    pub(crate) fn note(&self, reason: Option<&str>, code: Code) {
        if code == Code::Unauthenticated {
            self.credentials.fetch_add(1, Ordering::Relaxed);
        }
        let known = reason.and_then(|reason| ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")));
        let known = known.map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"));
        *lock(&self.by_reason).entry(known.unwrap_or(code_name(code))).or_default() += 1;
    }

    /// Calls without a credential that is good, since the start.
    pub(crate) fn credentials(&self) -> u64 {
        self.credentials.load(Ordering::Relaxed)
    }

    /// How many there were, by reason.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.by_reason).clone()
    }
}

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A status code as gRPC spells it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_make_up_is_one_series() {
        let calls = Calls::new();
        for path in ["/mesh.v1.LockService/AcquireLocks", "/no.such/Thing", "/", "/mesh.v1.LockService/X"] {
            calls.note(path, Code::Ok, Duration::from_millis(1));
        }
        let seen: Vec<_> =
            calls.all().into_iter().map(|(method, code, s)| (method, code, s.count())).collect();
        assert_eq!(seen, [("mesh.v1.LockService/AcquireLocks", "OK", 1), (OTHER, "OK", 3)]);
    }

    #[test]
    fn refusals_count_by_reason_of_the_contract_only() {
        let refused = Refused::default();
        refused.note(Some("UNAUTHENTICATED"), Code::Unauthenticated);
        refused.note(Some("made up"), Code::Internal);
        refused.note(None, Code::Internal);
        assert_eq!(refused.all(), BTreeMap::from([("INTERNAL", 2), ("UNAUTHENTICATED", 1)]));
        assert_eq!(refused.credentials(), 1);
    }
}
