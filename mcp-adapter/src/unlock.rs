//! Giving up claims, or narrowing them, which also answers those who asked for it: `mesh_unlock`.

use mesh_client::proto::{Lock, ReleaseLocksRequest};
use mesh_client::{ClientError, ErrorReason, Session};

use crate::args::{Answer, Failure};
use crate::call::Call;
use crate::member::Joined;
use crate::news::held_list;
use crate::render::{word, words};

/// Longest word to those who asked, in bytes.
const NOTE: usize = 512;

/// Gives up own locks: those named, or all; holds on to what `keep` names.
pub(crate) async fn unlock(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let mut note = args.text("note")?.unwrap_or_default();
    note.truncate(note.floor_char_boundary(NOTE));
    let request = ReleaseLocksRequest {
        paths: joined.place.paths(&args.several("paths", ", ")?).await?,
        keep: joined.place.paths(&args.several("keep", ", ")?).await?,
        note,
        ..ReleaseLocksRequest::default()
    };
    if let (true, Some(other)) = (request.paths.is_empty(), args.besides(&["paths", "keep", "note"])) {
        return Err(Failure::new(format!(
            "{}: is none of paths, keep, note. Nothing was unlocked. Next: name the locks in paths, or nothing for all",
            word(other)
        )));
    }
    if request.paths.is_empty() && !request.keep.is_empty() {
        let held = held(joined);
        return Err(Failure::new(format!(
            "paths: name the locks to narrow. Nothing was unlocked; you hold {held}"
        )));
    }
    // Before the events of this call, which may be here before its answer.
    let told = joined.news.lock().asking(&request.paths);
    match release(&joined.session, &request).await {
        Ok((released, kept)) => {
            let mut news = joined.news.lock();
            news.released(&released);
            news.granted(&kept);
            news.answered(&request.paths);
            let others: Vec<_> = kept.iter().map(|lock| &lock.path).chain(&request.keep).collect();
            let mut rest = news.locks().clone();
            rest.retain(|path, _| !others.contains(&path));
            Ok(done(&released, &kept, &request.keep, &told, &held_list(&rest)))
        }
        Err(error) if error.reason() == Some(ErrorReason::LockNotHeld) => {
            let path = error.refusal().and_then(|refusal| refusal.metadata.get("path"));
            let path = path.map_or_else(|| "one of them".into(), |path| word(path));
            let held = held(joined);
            Err(Failure::new(format!("nothing unlocked: you hold no lock on {path}. You hold {held}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What was released, and what is held instead; all locks take as many calls as they need.
async fn release(
    session: &Session,
    request: &ReleaseLocksRequest,
) -> Result<(Vec<String>, Vec<Lock>), ClientError> {
    let mut released = Vec::new();
    let mut left = u32::MAX;
    loop {
        let answer = session.release_locks(request.clone()).await?;
        // Whatever a broker says, this ends.
        let fewer = answer.remaining < std::mem::replace(&mut left, answer.remaining);
        let progress = fewer && !answer.paths.is_empty();
        released.extend(answer.paths);
        if !request.paths.is_empty() || answer.remaining == 0 || !progress {
            return Ok((released, answer.kept));
        }
    }
}

fn held(joined: &Joined) -> String {
    let held = held_list(joined.news.lock().locks());
    if held.is_empty() { "no locks".into() } else { held }
}

/// What was released and kept, who is told so, and what is still held besides.
fn done(released: &[String], kept: &[Lock], keep: &[String], told: &[String], rest: &str) -> String {
    let mut parts = Vec::new();
    if !released.is_empty() {
        parts.push(format!("unlocked {}", words(released, 20)));
    }
    if !keep.is_empty() {
        let paths: Vec<_> = kept.iter().map(|lock| lock.path.clone()).collect();
        parts.push(format!("kept {}", words(if paths.is_empty() { keep } else { &paths }, 20)));
    }
    if parts.is_empty() {
        return "you hold no locks".into();
    }
    match told.len() {
        0 => {}
        1 => parts.push(format!("{} is told", words(told, 20))),
        _ => parts.push(format!("{} are told", words(told, 20))),
    }
    if !rest.is_empty() {
        parts.push(format!("you still hold {rest}"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_what_was_kept_and_who_hears_of_it() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let kept = Lock { path: "src/auth.rs".into(), ..Lock::default() };
        for (answer, told) in [
            (done(&[], &[], &[], &[], ""), "you hold no locks"),
            (done(&texts(&["a", "b"]), &[], &[], &[], ""), "unlocked a, b"),
            (
                done(&texts(&["src/"]), &[kept], &texts(&["src/auth.rs"]), &texts(&["owl"]), "b (9m left)"),
                "unlocked src/; kept src/auth.rs; owl is told; you still hold b (9m left)",
            ),
            (
                done(&[], &[], &texts(&["a b"]), &texts(&["owl", "elm"]), ""),
                "kept \"a b\"; owl, elm are told",
            ),
        ] {
            assert_eq!(answer, told);
        }
    }
}
